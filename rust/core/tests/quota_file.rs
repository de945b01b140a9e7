//! `quota_file`: quotas of many values, read from CSV, in tables that values with equal numbers share.

mod guard;

use std::fmt::Write;

use guard::{MIB, check, list, message};
use throttle_core::engine::{Engine, Live};
use throttle_core::error::PolicyError;
use throttle_core::key::Secret;
use throttle_core::policy::{Base, NoBase, Policy, Source};

const ORG: &str = "quota_file = \"q.csv\"\n[[limit]]\nname = \"org\"\nper = \"sender.org\"\nrate = \"5/hour\"\n";

/// Reads a policy over `base.toml`, with a file of quotas.
fn read(text: &str, base: &str, csv: &str) -> Result<Policy, PolicyError> {
    Policy::parse_with("policy.toml", text, &mut |wanted| match wanted {
        Base::File { path, .. } => Ok(Source { file: path.to_owned(), text: base.to_owned() }),
        Base::Quotas { path: "q.csv", from } => Ok(Source { file: format!("{from}:q.csv"), text: csv.to_owned() }),
        Base::Quotas { .. } => Err(NoBase::Unreadable("No such file or directory".into())),
        Base::BuiltIn(_) => Err(NoBase::Nowhere),
    })
}

fn start(policy: &Policy, memory_bytes: u64) -> Result<Engine, PolicyError> {
    Engine::new(policy, memory_bytes, list(&[]), Secret::new([7; 16]))
}

fn engine(text: &str, csv: &str) -> Engine {
    start(&read(text, "", csv).expect("a right policy"), MIB).expect("it fits")
}

/// How many of forty messages of a sender are admitted.
fn admitted(engine: &Engine, sender: &str) -> usize {
    (0..40).filter(|_| check(engine, &message("192.0.2.1", sender), 1).allowed()).count()
}

#[test]
fn a_row_is_a_quota_and_its_value_is_read_as_that_of_a_sender() {
    let csv = "\u{feff}burst, value ,limit,rate\r\n# big ones\r\n\r\n\
               20,salesforce.com,org,7/hour\r\n,\"BÜCHER.com\" , org ,\"11/hour\"\n";
    let engine = engine(ORG, csv);
    let senders = ["a@x.salesforce.com", "a@xn--bcher-kva.com", "a@other.com"];
    assert_eq!(senders.map(|sender| admitted(&engine, sender)), [20, 11, 5]);
}

#[test]
fn quotas_of_the_file_come_beside_those_of_the_limit_and_scale_multiplies_them() {
    let text = format!("scale = 2\n{ORG}quota.\"ex.com\" = {{ rate = \"8/hour\" }}\n");
    let engine = engine(&text, "limit,value,rate\norg,b.com,3/hour\n");
    assert_eq!(["a@ex.com", "a@b.com", "a@c.com"].map(|sender| admitted(&engine, sender)), [16, 6, 10]);
}

#[test]
fn values_with_equal_numbers_share_a_table_and_none_of_them_a_count() {
    let mut csv = String::from("limit,value,rate,burst\n");
    for n in 0..1000 {
        writeln!(csv, "org,h{n}.com,9/hour,{}", if n % 10 == 0 { "20" } else { "" }).expect("text");
    }
    let engine = engine(ORG, &csv);
    let names: Vec<String> = engine.tables(&|| ()).into_iter().map(|table| table.name).collect();
    assert_eq!(names[..3], ["org", "org, quota of h0.com and 99 more", "org, quota of h1.com and 899 more"]);
    for n in 0..1000 {
        let expected = if n % 10 == 0 { 20 } else { 9 };
        assert_eq!(admitted(&engine, &format!("a@h{n}.com")), expected, "h{n}.com");
    }
    assert_eq!(
        engine.tables(&|| ())[1..3].iter().map(|table| (table.used, table.untracked)).collect::<Vec<_>>(),
        [(100, 0), (900, 0)]
    );
    assert_eq!(admitted(&engine, "a@other.com"), 5);
}

#[test]
fn windows_with_quotas_are_exact_in_small_groups_and_in_large_ones() {
    let mut csv = String::from("limit,value,rate\n");
    for n in 0..600 {
        writeln!(csv, "users,u{n},{}/hour", if n < 50 { 7 } else { 9 }).expect("text");
    }
    let text = "quota_file = \"q.csv\"\n[[limit]]\nname = \"users\"\nper = \"auth.user\"\nrate = \"5/hour\"\n";
    let engine = engine(text, &csv);
    for n in 0..600 {
        let user = format!("u{n}");
        let envelope =
            throttle_core::envelope::Envelope { auth_user: Some(user.as_bytes()), ..message("192.0.2.1", "a@b.com") };
        let admitted = (0..12).filter(|_| check(&engine, &envelope, 1).allowed()).count();
        assert_eq!(admitted, if n < 50 { 7 } else { 9 }, "{user}");
    }
}

#[test]
fn of_two_values_of_a_composite_the_first_in_the_file_counts_also_when_others_share_its_numbers() {
    let text = "quota_file = \"q.csv\"\n[[limit]]\nname = \"pair\"\n\
                per = [\"client.net/24/48\", \"sender.org\"]\nrate = \"5/hour\"\n";
    let csv = "limit,value,rate\npair,a.com,9/hour\npair,192.0.2.0/24,7/hour\npair,b.com,9/hour\n";
    let engine = engine(text, csv);
    let pairs = ["x@a.com", "x@b.com", "x@c.com"].map(|sender| admitted(&engine, sender));
    assert_eq!(pairs, [9, 7, 7], "b.com has the numbers of a.com, and stands below the network");
}

fn values(count: usize, rate: impl Fn(usize) -> usize) -> String {
    let mut csv = String::from("limit,value,rate\n");
    (0..count).for_each(|n| writeln!(csv, "org,h{n}.com,{}/hour", rate(n)).expect("text"));
    csv
}

#[test]
fn a_hundred_thousand_values_fit_and_each_is_held_to_its_numbers() {
    let policy = read(ORG, "", &values(100_000, |n| 6 + n % 2)).expect("a right policy");
    assert_eq!(policy.quota_file, Some(("policy.toml:q.csv".into(), 100_000)));
    let engine = start(&policy, 16 * MIB).expect("it fits");
    assert_eq!(engine.memory_bytes(), 16 * MIB, "the index lies outside");
    assert_eq!(engine.quota_bytes(), 262_144 * 16 + 100_000 * 2 + 32_768 * 8);
    for n in (0..100_000).step_by(97) {
        assert_eq!(admitted(&engine, &format!("a@h{n}.com")), 6 + n % 2, "h{n}.com");
    }
    assert_eq!(admitted(&engine, "a@h100000.com"), 5);
    for n in 0..100_000 {
        check(&engine, &message("192.0.2.1", &format!("a@h{n}.com")), 1);
    }
    let tables = engine.tables(&|| ());
    assert_eq!([tables[1].untracked, tables[2].untracked], [0, 0], "every value has a bucket at once");
    let error = read(ORG, "", &values(100_001, |_| 6)).expect_err("too many");
    assert_eq!(error.to_string(), "policy.toml:q.csv: found 100001 values; allowed: at most 100000 in one file");
    let text = format!("{ORG}quota.\"ex.com\" = {{ rate = \"8/hour\" }}\n");
    let error = start(&read(&text, "", &values(100_000, |_| 6)).expect("text"), 16 * MIB).expect_err("one too many");
    assert_eq!((&*error.found, &*error.allowed), ("100001 values with quotas", "at most 100000 in a policy"));
}

#[test]
fn so_many_different_numbers_fit_and_one_more_is_an_error_of_its_line() {
    let fits = read(ORG, "", &values(1000, |n| 6 + n % 256)).expect("a right policy");
    start(&fits, 16 * MIB).expect("256 tables");
    let error = start(&read(ORG, "", &values(257, |n| 6 + n)).expect("text"), 16 * MIB).expect_err("257");
    assert_eq!((error.file.as_str(), error.line), ("policy.toml:q.csv", Some(258)));
    assert_eq!(error.allowed, "at most 256 quotas with different numbers in a policy");
}

#[test]
fn a_file_that_extends_replaces_the_quotas_of_its_base_and_its_file() {
    let base = format!("{ORG}quota.\"ex.com\" = {{ rate = \"8/hour\" }}\nquota.\"b.com\" = {{ rate = \"8/hour\" }}\n");
    let csv = "limit,value,rate\norg,EX.com,9/hour\norg,c.com,9/hour\n";
    let engine = |text: &str| {
        let policy = read(text, &base.replace("quota_file = \"q.csv\"\n", ""), csv).expect("a right policy");
        start(&policy, MIB).expect("it fits")
    };
    let rates = |engine: Engine| ["a@ex.com", "a@b.com", "a@c.com"].map(|sender| admitted(&engine, sender));
    assert_eq!(rates(engine("extends = \"base.toml\"\nquota_file = \"q.csv\"")), [9, 8, 9]);
    let of_base = |own: &str| {
        read(
            &format!("extends = \"base.toml\"\n{own}"),
            &base.replace("quota.\"ex.com\" = { rate = \"8/hour\" }\n", ""),
            csv,
        )
    };
    let policy =
        of_base("[[limit]]\nname = \"org\"\nquota.\"Ex.Com.\" = { rate = \"17/hour\" }").expect("a right policy");
    assert_eq!(rates(start(&policy, MIB).expect("it fits")), [17, 8, 9]);
    let left_out = of_base("without = [\"org\"]\n[[limit]]\nname = \"net\"\nper = \"client.net\"\nrate = \"9/hour\"");
    assert_eq!(left_out.expect("rows of a limit that was left out are skipped").limits[0].quotas, []);
}

#[test]
fn a_wrong_row_is_told_with_file_line_and_column() {
    let place = "policy.toml:q.csv";
    for (csv, sentence) in [
        (
            "",
            ":1:1: limit: found no such column; allowed: \
             a first line that names the columns, as limit,value,rate,burst",
        ),
        (
            "limit,value,rates",
            ":1:13: found \"rates\" in the first line, which names the columns; \
             allowed: limit, value, rate, burst; did you mean \"rate\"?",
        ),
        ("limit,value,rate,rate", ":1:18: rate: found a second column of this name; allowed: each column once"),
        (
            "limit,value,burst",
            ":1:1: rate: found no such column; allowed: \
             a first line that names the columns, as limit,value,rate,burst",
        ),
        ("limit,value,rate\norg,ex.com", ":2:1: found 2 fields; allowed: 3 fields, as in the first line"),
        ("limit,value,rate\n\nogr,ex.com,9/hour", ":3:1: limit: found \"ogr\"; allowed: org; did you mean \"org\"?"),
        ("limit,value,rate\norg,,9/hour", ":2:5: value: found nothing; allowed: a value, as \"example.com\""),
        (
            "limit,value,rate\norg,\"bü.com\", 9 an hour",
            ":2:15: rate: found \"9 an hour\"; allowed: \
             a whole number, a slash and a period, as \"600/minute\", \"20/10 minutes\" or \
             \"1 GiB/hour\"; did you mean \"9/hour\"?",
        ),
        (
            "limit,value,rate,burst\norg,ex.com,9/hour,many",
            ":2:19: burst: found \"many\"; allowed: a whole number from 1 to 2^50; of bytes also a size, as \"64 MiB\"",
        ),
        (
            "limit,value,rate\norg,\"ex.com,9/hour",
            ":2:5: found a field that begins with a quote; \
             allowed: a quote at the end of the field, and then a comma or the end of the line",
        ),
        (
            "limit,value,rate\norg,\"ex\".com,9/hour",
            ":2:5: found a field that begins with a quote; \
             allowed: a quote at the end of the field, and then a comma or the end of the line",
        ),
    ] {
        let error = read(ORG, "", csv).expect_err(csv);
        assert_eq!(error.to_string(), format!("{place}{sentence}"), "{csv}");
    }
    for (csv, line, found, allowed) in [
        (
            "limit,value,rate\norg,ex.com,9/hour\norg,EX.com.,8/hour",
            3,
            "\"EX.com.\" a second time, first in policy.toml:q.csv:2",
            "each value once",
        ),
        ("limit,value,rate\norg,mx.ex.com,9/hour", 2, "\"mx.ex.com\"", "\"ex.com\", the sender.org that it has"),
        ("limit,value,rate\norg,a@b.com,9/hour", 2, "\"a@b.com\"", "a value of sender.org"),
    ] {
        let error = start(&read(ORG, "", csv).expect("text"), MIB).expect_err(csv);
        assert_eq!((error.file.as_str(), error.line), (place, Some(line)), "{error}");
        assert_eq!((&*error.found, &*error.allowed), (found, allowed));
    }
    let sized = read(ORG, "", "limit,value,rate\norg,ex.com,9 MB/hour").expect_err("a size");
    assert_eq!(
        sized.to_string(),
        "policy.toml:q.csv:2: limit \"org\", quota.\"ex.com\".rate: found \"9 MB/hour\"; \
         allowed: a rate without a unit of size, as the limit's own"
    );
    let missing = read(&ORG.replace("q.csv", "no.csv"), "", "").expect_err("no file");
    assert_eq!(
        missing.to_string(),
        "policy.toml:1: quota_file: found \"no.csv\", which cannot be read (No such file or directory); \
         allowed: the path of a CSV file, relative to this file"
    );
}

#[test]
fn a_row_of_a_limit_that_has_no_quotas_is_an_error_of_its_line() {
    let csv = "limit,value,rate\n\norg,ex.com,9/hour\norg,ex.org,9/hour\n";
    let open = "[[limit]]\nname = \"org\"\nper = \"sender.org\"\nin_flight = 9\n";
    let all = "[[limit]]\nname = \"org\"\nper = \"global\"\nrate = \"9/hour\"\n";
    let no_quota = "no `quota` together with `in_flight`: give the value a limit of its own";
    for (text, base, allowed) in [
        (format!("quota_file = \"q.csv\"\n{open}"), "", no_quota),
        (format!("quota_file = \"q.csv\"\n{all}"), "", "no `quota` per global, which has one value"),
        ("extends = \"base.toml\"\nquota_file = \"q.csv\"\n".into(), open, no_quota),
    ] {
        let error = read(&text, base, csv).expect_err(&text);
        let sentence =
            format!("policy.toml:q.csv:3: limit \"org\", quota: found a row for \"ex.com\"; allowed: {allowed}");
        assert_eq!(error.to_string(), sentence, "{text}");
    }
    let stated = format!("quota_file = \"q.csv\"\n{open}quota.\"b.com\" = {{ rate = \"8/hour\" }}\n");
    let error = read(&stated, "", csv).expect_err("a quota of the policy");
    assert_eq!((error.file.as_str(), error.line, &*error.found), ("policy.toml", Some(6), "a table"));
}

#[test]
fn a_reload_reads_the_quotas_again_and_what_keeps_its_numbers_counts_on() {
    let csv = |rows: &[&str]| format!("limit,value,rate\n{}\n", rows.join("\n"));
    let policy = |rows: &[&str]| read(ORG, "", &csv(rows)).expect("a right policy");
    let live = Live::new(start(&policy(&["org,a.com,9/hour", "org,b.com,7/hour"]), MIB).expect("it fits"));
    let rates = |live: &Live| ["x@a.com", "x@b.com", "x@c.com"].map(|sender| admitted(&live.engine(), sender));
    assert_eq!(rates(&live), [9, 7, 5]);
    live.reload(&policy(&["org,c.com,9/hour", "org,a.com,9/hour", "org,b.com,8/hour"]), list(&[]), &|| ())
        .expect("it fits");
    assert_eq!(
        rates(&live),
        [0, 8, 9],
        "a.com counts on, b.com has other numbers, and c.com is new among those of a.com"
    );
    live.reload(&policy(&["org,b.com,8/hour"]), list(&[]), &|| ()).expect("it fits");
    assert_eq!(
        rates(&live),
        [5, 0, 0],
        "the bucket of the limit itself was never used by a.com, and is empty for c.com"
    );
}

#[test]
fn what_was_read_is_printed_as_quotas_of_the_limits() {
    let policy =
        read(ORG, "", "limit,value,rate,burst\norg,ex.com,9/hour,\norg,\"a \"\"b\"\"\",9/hour,11").expect("text");
    let printed = policy.to_toml();
    let again = Policy::parse("policy.toml", &printed).expect("what was printed");
    let quotas = |policy: &Policy| -> Vec<_> {
        policy.limits[0].quotas.iter().map(|quota| (quota.of.clone(), quota.rate, quota.burst)).collect()
    };
    assert_eq!(quotas(&again), quotas(&policy), "{printed}");
    assert_eq!(quotas(&policy)[1].0, "a \"b\"");
}
