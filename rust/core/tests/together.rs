//! What one check brings at once: several recipients, and limits that share a memory.

mod guard;

use guard::{check, engine, message};
use throttle_core::envelope::Envelope;
use throttle_core::region::Now;

fn to(recipients: &[String]) -> Vec<&[u8]> {
    recipients.iter().map(String::as_bytes).collect()
}

/// P4: none of them may be admitted without a slot; and nobody is told "never" for what fits.
#[test]
fn new_recipients_that_share_lines_each_get_a_slot_or_are_refused_together() {
    let policy = "[[limit]]\nname = \"mailbox\"\nper = \"rcpt.address\"\ncount = \"recipients\"\nrate = \"1/day\"\n\
        when_full = \"refuse\"";
    for count in [2, 50, 200, 250, 446, 600] {
        // Sixteen pages of 448 slots, the least a limit gets, two of the header and counters, one that observes.
        // Two choices of seven fill more than half of them.
        let engine = engine(policy, 19 * 4096);
        let recipients: Vec<String> = (0..count * 16).map(|number| format!("m{number}@box.com")).collect();
        let recipients = to(&recipients);
        let all = Envelope { rcpt_to: &recipients, ..message("192.0.2.1", "a@ex.com") };
        let admitted = check(&engine, &all, 1).allowed();
        let untracked: u64 = engine.tables(&|| ()).iter().map(|table| table.untracked).sum();
        assert_eq!(untracked, 0, "{count} a page");
        assert_eq!(admitted, count <= 250, "{count} a page");
        for recipient in recipients.chunks(1).step_by(97) {
            let one = Envelope { rcpt_to: recipient, ..message("192.0.2.1", "a@ex.com") };
            assert_eq!(check(&engine, &one, 2).allowed(), !admitted, "{count} a page");
        }
    }
}

/// Junk before a recipient is one value and several elements: the places of the two differ.
#[test]
fn junk_among_the_recipients_hides_no_fresh_one() {
    let engine = engine(
        "[[limit]]\nname = \"spread\"\nper = \"client.net\"\ndistinct = \"rcpt.address\"\nrate = \"10/hour\"",
        1 << 20,
    );
    let junk: Vec<Vec<u8>> = (0..3u8).map(|junk| [&[0x80 + junk][..], b"@x.com"].concat()).collect();
    let mut admitted = 0;
    for number in 0..100 {
        let fresh = format!("fresh{number}@x.com");
        let mut recipients: Vec<&[u8]> = junk.iter().map(Vec::as_slice).collect();
        recipients.extend([fresh.as_bytes(), b"known@x.com"]);
        let envelope = Envelope { rcpt_to: &recipients, ..message("192.0.2.1", "a@ex.com") };
        admitted += u32::from(check(&engine, &envelope, 1 + number).allowed());
    }
    assert_eq!(admitted, 6, "three of junk, one known and six fresh: ten in an hour");
}

#[test]
fn of_limits_over_one_memory_the_second_has_its_ladder_too() {
    let limit = |name, settle| {
        format!(
            "[[limit]]\nname = \"{name}\"\nper = \"sender.registered\"\ndistinct = \"sender.host\"\nrate = \"{settle}\n\
            remember = \"1 day\"\n"
        )
    };
    let policy = [limit("fresh", "100/hour\""), limit("ladder", "2/hour\"\nsettle = \"1 hour\"")].concat();
    let engine = engine(&policy, 1 << 20);
    let hour = 3_600_000_000;
    for at_us in [0, hour + hour / 2] {
        assert!(check(&engine, &message("192.0.2.1", "a@h0.tenant.ex.com"), at_us).allowed());
    }
    // The tenant has come back after an hour, and owns an allowance next to that of the organisation.
    let senders = ["h1.tenant", "h2.tenant", "x1.other", "x2.other", "h3.tenant", "x3.other"];
    let allowed =
        senders.map(|host| check(&engine, &message("192.0.2.1", &format!("a@{host}.ex.com")), 2 * hour).allowed());
    assert_eq!(allowed, [true, true, true, true, false, false]);
}

#[test]
fn a_host_that_is_the_value_of_per_is_never_new_for_recipients_too() {
    let engine =
        engine("[[limit]]\nname = \"to\"\nper = \"rcpt.host\"\ndistinct = \"sender.host\"\nrate = \"1/hour\"", 1 << 20);
    let recipients = [&b"u@x.com"[..], b"u@y.com"];
    let from = |sender| Envelope { rcpt_to: &recipients, ..message("192.0.2.1", sender) };
    assert!(check(&engine, &from("a@z.com"), 1).allowed(), "new under both");
    let own = Envelope { rcpt_to: &recipients[1..], ..message("192.0.2.1", "a@y.com") };
    assert!(check(&engine, &own, 2).allowed(), "y.com to y.com");
    assert!(!check(&engine, &from("a@y.com"), 3).allowed(), "y.com is new under x.com");
}

/// P10 where slots are scarce: a key whose lines have promised slots only gets one as soon as a key before it can move
/// to its other line.
#[test]
fn new_recipients_that_meet_a_full_table_are_told_when_there_is_room_for_all_and_not_a_microsecond_later() {
    for algorithm in ["gcra", "sliding-window"] {
        let policy = format!(
            "[[limit]]\nname = \"mailbox\"\nper = \"rcpt.address\"\ncount = \"recipients\"\nrate = \"1/minute\"\n\
            memory = \"4 KiB\"\nalgorithm = \"{algorithm}\"\nwhen_full = \"refuse\""
        );
        let mut refused = 0;
        for round in 0..60u64 {
            let engine = engine(&policy, 1 << 20);
            let mut now = 0;
            for number in 0..420u64 {
                now = number * 50_001;
                let one = [format!("m{round}-{number}@box.com")];
                check(&engine, &Envelope { rcpt_to: &to(&one), ..message("192.0.2.1", "a@ex.com") }, now);
            }
            let recipients: Vec<String> = (0..12).map(|number| format!("x{round}-{number}@box.com")).collect();
            let recipients = to(&recipients);
            let all = Envelope { rcpt_to: &recipients, ..message("192.0.2.1", "a@ex.com") };
            let Some(refusal) = check(&engine, &all, now).refusal else { continue };
            let from = now + refusal.wait_us.expect("a minute later the table is empty");
            let passes = |at_us: u64| engine.peek(&all, None, Now::Stated(at_us as i64)).allowed();
            refused += 1;
            assert!(passes(from), "{algorithm}, round {round}");
            // Between two times at which a slot falls free nothing changes: they are some 50 ms apart.
            let earlier = (now..from).step_by(10_000).chain([from - 1]).find(|&at_us| passes(at_us));
            assert_eq!(earlier, None, "{algorithm}, round {round}: told {from}");
        }
        assert!(refused > 20, "{algorithm}: {refused}");
    }
}
