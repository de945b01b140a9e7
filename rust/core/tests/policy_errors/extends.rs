//! The rows of `extends`, a row a line: what is wrong with two files together.

use super::Wrong;

const OWN: &str = "policy.toml";
const LIMITS: &str = "limits of what it extends: pair, open, hosts";
const BASES: &str = r#"the name of a built-in policy, as "inbound", or the path of a `.toml` file"#;
const KNOWN: &str = r#""base" or "submission", or the path of a `.toml` file"#;
const AMOUNT: &str = r#"a whole number from 1 to 2^50; of bytes also a size, as "64 MiB""#;
const WINDOW: &str = r#"no `burst` with algorithm "sliding-window": a window lets its amount through at once"#;

pub(super) const CASES: &[Wrong] = &[
    // What it extends.
    ("extends = 3", OWN, 1, "", "extends", "3", BASES, ""),
    ("extends = \"bse\"", OWN, 1, "", "extends", r#""bse""#, KNOWN, "base"),
    ("scale = 1\nextends = \"outbound\"", OWN, 2, "", "extends", r#""outbound""#, KNOWN, ""),
    ("extends = \"none.toml\"", OWN, 1, "", "extends",
        r#""none.toml", which cannot be read (No such file or directory)"#, BASES, ""),
    ("extends = \"own.toml\"", "own.toml", 1, "", "extends",
        r#""policy.toml", which comes back to itself (policy.toml, own.toml, policy.toml)"#,
        "a policy that does not extend this one", ""),
    ("extends = \"circle.toml\"", "round.toml", 1, "", "extends",
        r#""circle.toml", which comes back to itself (circle.toml, round.toml, circle.toml)"#,
        "a policy that does not extend this one", ""),
    ("extends = \"deep1.toml\"", "deep7.toml", 1, "", "extends", r#""deep8.toml", the 9th file in a row"#,
        "at most 8 files that extend one another", ""),
    // The base is wrong by itself.
    ("extends = \"wrong.toml\"\nscale = 0", "wrong.toml", 4, "x", "rate", r#""0/minute""#, "an amount from 1 to 2^50",
        ""),
    ("extends = \"unclear.toml\"", "unclear.toml", 4, "pair", "burst", "0", AMOUNT, ""),
    // Limits that are left out.
    ("extends = \"base\"\nwithout = \"pair\"", OWN, 2, "", "without", r#""pair""#,
        r#"a list of limits, as ["auth-pace"]"#, ""),
    ("extends = \"base\"\nwithout = [\"pair\",\n\"opne\"]", OWN, 3, "", "without", r#""opne""#, LIMITS, "open"),
    ("extends = \"base\"\nwithout = [5]", OWN, 2, "", "without", "5", LIMITS, ""),
    ("extends = \"base\"\nwithout = [\"pair\", \"open\", \"hosts\"]", OWN, 0, "", "", "no limit",
        "1 to 64 of them, each under `[[limit]]`", ""),
    // The file is wrong by itself.
    ("extends = \"base\"\nscale = 0", OWN, 2, "", "scale", "0", "a number from 0.000001 to 1,000,000", ""),
    ("extends = \"base\"\nmode = \"off\"", OWN, 2, "", "mode", r#""off""#, r#""enforce" or "shadow""#, ""),
    ("extends = \"base\"\nsuffixes.extra = [\"*.b\"]", OWN, 2, "", "suffixes.extra", r#""*.b""#,
        r#"a plain suffix, as "onmicrosoft.com""#, "b"),
    ("extends = \"base\"\n[[limit]]\nname = \"pair\"\nburst = 0", OWN, 4, "pair", "burst", "0", AMOUNT, ""),
    ("extends = \"base\"\n[[limit]]\nname = \"pair\"\nbrust = 1", OWN, 4, "pair", "brust", "an unknown field", FIELDS,
        "burst"),
    ("extends = \"base\"\n[[limit]]\nname = \"pair\"\nburst = 1\n[[limit]]\nname = \"pair\"\nburst = 2", OWN, 6, "pair",
        "name", r#""pair" a second time, first in line 3"#, "every name once", ""),
    ("extends = \"base\"\n[[limit]]\nrate = \"5/minute\"", OWN, 2, "limit 1", "name", "nothing",
        "a name of lower-case letters, digits and `-`", ""),
    ("extends = \"base\"\n[[limit]]\nname = \"piar\"\nrate = \"5/minute\"", OWN, 2, "piar", "per", "nothing",
        r#"one identity or a list of them, as "client.net""#, "pair"),
    ("extends = \"base\"\n[[limit]]\nname = \"new\"\nrate = \"5/minute\"", OWN, 2, "new", "per", "nothing",
        r#"one identity or a list of them, as "client.net""#, ""),
    ("extends = \"base\"\n[[limit]]\nname = \"pair\"\n[limit.quota]\n\"z.com\" = { burst = 5 }", OWN, 5, "pair",
        r#"quota."z.com".rate"#, "nothing", r#"a rate, as "6000/minute""#, ""),
    ("extends = \"base\"\n[[limit]]\nname = \"pair\"\n[limit.quota]\n\"ex.com\" = { brst = 5 }", OWN, 5, "pair",
        r#"quota."ex.com".brst"#, "an unknown field", "rate, burst", "burst"),
    ("extends = \"base\"\n[[limit]]\nname = \"open\"\nshare = { of_free = \"3/2\" }", OWN, 4, "open", "share.of_free",
        r#""3/2""#, r#"a part up to the whole, as "1/10", no finer than "1/1000""#, ""),
    // Each is right by itself, the two together are not: the place is that of the file that extends.
    ("extends = \"base\"\n[[limit]]\nname = \"pair\"\nalgorithm = \"sliding-window\"", OWN, 2, "pair", "burst",
        "6000, which built-in base.toml:8 says", WINDOW, ""),
    ("extends = \"base\"\n[[limit]]\nname = \"open\"\nburst = 5", OWN, 4, "open", "burst", "5",
        "no `burst` together with `in_flight`: it is no rate, all that it allows may come at once", ""),
    ("extends = \"base\"\n[[limit]]\nname = \"hosts\"\nin_flight = 5", OWN, 2, "hosts", "distinct",
        r#""sender.host", which built-in base.toml:20 says"#,
        "one rule: `rate`, `distinct` with `rate`, or `in_flight`", ""),
    ("extends = \"base\"\n[[limit]]\nname = \"open\"\nper = \"client.net/24/48\"", OWN, 2, "open", "share.per",
        r#""client.net/24/48", which built-in base.toml:16 says"#,
        "another identity than those of `per`, with many values, because they share what is free", ""),
    ("extends = \"base\"\n[[limit]]\nname = \"hosts\"\nper = \"sender.host\"", OWN, 2, "hosts", "distinct",
        r#""sender.host", which built-in base.toml:20 says"#,
        "another identity than those of `per`: under itself, a thing is never new", ""),
    ("extends = \"base\"\n[[limit]]\nname = \"pair\"\nrate = \"1 GiB/hour\"", OWN, 2, "pair", r#"quota."ex.com".rate"#,
        r#""60/minute", which built-in base.toml:10 says"#, "a rate with a unit of size, as the limit's own", ""),
    ("extends = \"base\"\n\nscale = 1000000\n[[limit]]\nname = \"open\"\nin_flight = 2000000000", OWN, 4, "open",
        "in_flight", "2000000000 × scale 1000000", "at most 2^50 after `scale`", ""),
    ("extends = \"big.toml\"\n\nscale = 1000", OWN, 3, "x", "rate", "2000000000000 × scale 1000",
        "at most 2^50 after `scale`", ""),
];

const FIELDS: &str =
    "name, per, rate, burst, count, reports, distinct, refuse, new_to, remember, settle, charge, warm_up, \
     readmit, in_flight, share, reserve, first, verified, when_full, memory, algorithm, action, mode, quota, reply";
