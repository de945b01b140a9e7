//! The rows of `policy_errors`, a row a line.

use super::{Broken, Wrong};

const FIELDS: &str =
    "name, per, rate, burst, count, reports, distinct, refuse, new_to, remember, settle, charge, warm_up, \
    readmit, in_flight, share, reserve, first, verified, when_full, memory, algorithm, action, mode, quota, reply";

const COUNTS: &str = r#""connections", "messages", "recipients", "bytes" or "reports""#;

const REPORTS: &str = r#"with count = "reports", a list of what it counts, as ["unknown-recipient"]"#;

const OUTCOMES: &str = r#""unknown-recipient", "auth-failure", "spam" or "virus""#;

const GUESSED: &str = "\"defer\" or \"reject\" per auth.user with reports of \"auth-failure\": whoever guesses at \
    the password of a user could have the user blocked; \"block\" needs a key of client.* alone";

const READMITTED: &str =
    "no `readmit` together with count = \"recipients\", or a `distinct` or `per` with several values in a message";

const NO_LIMIT: &str = "1 to 64 of them, each under `[[limit]]`; or extends = \"inbound\"";

const SIZE: &str = r#"a whole number and a unit (B, kB, MB, GB, TB, KiB, MiB, GiB or TiB), as "64 MiB""#;

const ACTIONS: &str = r#""defer", "reject" or "block" with a time, as "block 10 minutes""#;

const POLICY: &str =
    "extends, without, mode, scale, max_recipients, largest_message, help_url, quota_file, suffixes, allow, block, \
    limit";

const TIME: &str =
    "a date and a time with its zone (ISO 8601), as 2027-01-31T12:00:00Z or 2027-01-31T12:00:00+01:00";

const HELP: &str = "an http or https address of at most 200 bytes in the characters of RFC 3986, as \
    \"https://example.com/deferred\"";

const RECIPIENTS: &str = "a whole number from 100 to 1000000: a server takes at least 100 (RFC 5321 §4.5.3.1.8)";

const IDENTITIES: &str = "one of client.ip, client.net, client.net/<v4>/<v6>, client.host, client.org, helo.host, \
    helo.org, auth.user, sender.address, sender.host, sender.org, sender.org+N, sender.registered, rcpt.address, \
    rcpt.host, from.address, from.host, from.org, reply_to.address, reply_to.org, reply_to.mailbox, \
    reply_to.unaligned, list.id, dkim.org, global";

/// Text that is not TOML.
pub(super) const SYNTAX: &[Broken] = &[
    ("[[limit]\nname = \"x\"", 1, 9, "broken TOML (unclosed array table)", "here `]`"),
    ("[[limit]]\nname = \"x\"\nper = \"client.net\"\nrate = \"9/minute\"\nburst = ", 5, 9,
        "broken TOML (string values must be quoted)", "here text in quotes, or a number"),
    ("[[limit]]\nname = \"x\"\nper = \"client.net\"\nrate = \"9/minute\"\nrate = \"8/minute\"", 5, 1,
        "broken TOML (duplicate key)", "each key once in a table"),
    ("scale = \"1\n", 1, 11, "broken TOML (invalid basic string)", "here `\"`"),
    ("[[limit]]\nname = \"x\"\nper = \"client.net\"\nrate = \"9/minute\"\nper = [\"a\"\n", 5, 11,
        "broken TOML (unclosed array)", "here `]`"),
];

/// A whole file.
pub(super) const FILE_CASES: &[Wrong] = &[
    (r#"largest_message = "150 MB"
[[limit]]
name = "bytes"
per = "global"
in_flight = "1 GB"
reserve = "100 MB"
share = { per = "client.net", of_free = "1/8" }"#, 0, "", "largest_message",
        r#""150 MB", which "bytes" can never let pass"#,
        r#"at most "112500 kB", since that limit lets no more pass when nothing is held"#, ""),
    (r#"largest_message = "150 MB"
scale = 0.1
[[limit]]
name = "bytes"
per = "client.net"
in_flight = "1 GB""#, 0, "", "largest_message", r#""150 MB", which "bytes" can never let pass"#,
        r#"at most "100 MB", since that limit lets no more pass when nothing is held"#, ""),
    ("", 0, "", "", "no limit", NO_LIMIT, ""),
    (r#"[[block]]
identity = "client.ip"
value = "192.0.2.1""#, 0, "", "", "no limit", NO_LIMIT, ""),
    ("limit = []", 1, "", "limit", "[]", "`[[limit]]`, once for each limit", ""),
    (r#"[limit]
name = "x""#, 1, "", "limit", "a table", "`[[limit]]`, once for each limit", ""),
    ("limit = 3", 1, "", "limit", "3", "`[[limit]]`, once for each limit", ""),
    ("limit = [3]", 1, "", "limit", "3", "`[[limit]]`, once for each limit", ""),
    (r#"[[limits]]
name = "x""#, 1, "", "limits", "an unknown field", POLICY, "limit"),
    (r#"scale = 1000
[[limit]]
name = "x"
per = "client.net"
rate = "2000000000000/minute""#, 2, "x", "rate", "2000000000000 × scale 1000", "at most 2^50 after `scale`", ""),
    (r#"scale = 1000
[[limit]]
name = "x"
per = "client.net"
rate = "9/minute"
burst = 2000000000000"#, 2, "x", "burst", "2000000000000 × scale 1000", "at most 2^50 after `scale`", ""),
    (r#"[[limit]]
per = "client.net"
rate = "9/minute""#, 1, "limit 1", "name", "nothing", "a name of lower-case letters, digits and `-`", ""),
    (r#"[[limit]]
name = "Pair Pace"
per="client.net"
rate="9/minute""#, 2, "limit 1", "name", r#""Pair Pace""#, "lower-case letters, digits and `-`, at most 64 of them",
        "pair-pace"),
    (r#"[[limit]]
name = "blocked""#, 2, "blocked", "name", r#""blocked""#,
        "another name, since max-open, max-recipients, blocked, out-of-order are the names of built-in refusals", ""),
    (r#"[[limit]]
name = """#, 2, "limit 1", "name", r#""""#, "lower-case letters, digits and `-`, at most 64 of them", ""),
    (r#"[[limit]]
name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#, 2, "limit 1", "name",
        r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…"#,
        "lower-case letters, digits and `-`, at most 64 of them", ""),
    (r#"[[limit]]
name = "päce""#, 2, "limit 1", "name", r#""päce""#, "lower-case letters, digits and `-`, at most 64 of them", ""),
    (r#"zzz = 1
[[limit]]
name = "x"
per = "client.net"
rate = "9/minute"
burst = 0"#, 1, "", "zzz", "an unknown field", POLICY, ""),
    (r#"limit = [{ name = "x", per = "client.net", rate = "0/minute" }]
scale = 0"#, 1, "x", "rate", r#""0/minute""#, "an amount from 1 to 2^50", ""),
];

/// Above a limit that is right.
pub(super) const TOP_CASES: &[Wrong] = &[
    ("largest_message = 150", 1, "", "largest_message", "150", MESSAGE_SIZE, ""),
    (r#"largest_message = "150 mb""#, 1, "", "largest_message", r#""150 mb""#,
        SIZE, "150 MB"),
    ("help_url = 5", 1, "", "help_url", "5", HELP, ""),
    (r#"help_url = """#, 1, "", "help_url", r#""""#, HELP, ""),
    (r#"help_url = "https://""#, 1, "", "help_url", r#""https://""#, HELP, ""),
    (r#"help_url = "https:///deferred""#, 1, "", "help_url", r#""https:///deferred""#, HELP, ""),
    (r#"help_url = "ftp://example.com/""#, 1, "", "help_url", r#""ftp://example.com/""#, HELP, ""),
    (r#"help_url = "HTTPS://example.com/""#, 1, "", "help_url", r#""HTTPS://example.com/""#, HELP, ""),
    (r#"help_url = "example.com/deferred""#, 1, "", "help_url", r#""example.com/deferred""#, HELP,
        "https://example.com/deferred"),
    (r#"help_url = "https://example.com/why deferred""#, 1, "", "help_url", r#""https://example.com/why deferred""#,
        HELP, ""),
    (r#"help_url = "https://example.com/{key}""#, 1, "", "help_url", r#""https://example.com/{key}""#, HELP, ""),
    (r#"help_url = "https://ex.com/\r\n250 ok""#, 1, "", "help_url", r#""https://ex.com/\U0000000D\n250 ok""#, HELP,
        ""),
    (r#"help_url = "https://例え.jp/""#, 1, "", "help_url", r#""https://例え.jp/""#, HELP, ""),
    (concat!("help_url = \"https://example.com/",
        "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890\""),
        1, "", "help_url", r#""https://example.com/012345678901234567890123456789012345678…"#, HELP, ""),
    ("scale = 0", 1, "", "scale", "0", "a number from 0.000001 to 1,000,000", ""),
    ("scale = -1", 1, "", "scale", "-1", "a number from 0.000001 to 1,000,000", ""),
    ("scale = 0.0000001", 1, "", "scale", "1e-7", "a number from 0.000001 to 1,000,000", ""),
    ("scale = 1000001", 1, "", "scale", "1000001", "a number from 0.000001 to 1,000,000", ""),
    ("scale = nan", 1, "", "scale", "nan", "a number from 0.000001 to 1,000,000", ""),
    (r#"scale = "2""#, 1, "", "scale", r#""2""#, "a number from 0.000001 to 1,000,000", ""),
    ("max_recipients = 99", 1, "", "max_recipients", "99", RECIPIENTS, ""),
    ("max_recipients = 1000001", 1, "", "max_recipients", "1000001", RECIPIENTS, ""),
    (r#"max_recipients = "1000""#, 1, "", "max_recipients", r#""1000""#, RECIPIENTS, ""),
    (r#"mode = "shadwo""#, 1, "", "mode", r#""shadwo""#, r#""enforce" or "shadow""#, "shadow"),
    ("mode = true", 1, "", "mode", "true", r#""enforce" or "shadow""#, ""),
    (r#"extends = "inbound""#, 1, "", "extends", r#""inbound""#, "no `extends` here, where no other policy can be read",
        ""),
    (r#"without = ["net-pace"]"#, 1, "", "without", r#"["net-pace"]"#, "`without` only together with `extends`", ""),
    ("skale = 2", 1, "", "skale", "an unknown field", POLICY, "scale"),
    (r#"[suffixes]
extras = ["a.com"]"#, 2, "", "suffixes.extras", "an unknown field", "extra", "extra"),
    (r#"[suffixes]
extra = "a.com""#, 2, "", "suffixes.extra", r#""a.com""#,
        r#"a list of plain suffixes, as ["onmicrosoft.com", "amazonses.com"]"#, ""),
    (r#"[suffixes]
extra = ["a.com",
 "*.b.com"]"#, 3, "", "suffixes.extra", r#""*.b.com""#, r#"a plain suffix, as "onmicrosoft.com""#, "b.com"),
    (r#"[suffixes]
extra = [".b.com"]"#, 2, "", "suffixes.extra", r#"".b.com""#, r#"a plain suffix, as "onmicrosoft.com""#, "b.com"),
    (r#"[suffixes]
extra = ["b c"]"#, 2, "", "suffixes.extra", r#""b c""#, r#"a plain suffix, as "onmicrosoft.com""#, ""),
    ("[suffixes]\nextra = [5]", 2, "", "suffixes.extra", "5", r#"a plain suffix, as "onmicrosoft.com""#, ""),
    (r#"suffixes = ["a.com"]"#, 1, "", "suffixes", r#"["a.com"]"#, "a table `[suffixes]` with `extra`", ""),
    ("allow = 3", 1, "", "allow", "3", "`[[allow]]`, once for each entry", ""),
    ("block = [3]", 1, "", "block", "3", "`[[block]]`, once for each entry", ""),
    ("[[block]]\nvalue = \"x\"", 1, "", "block.identity", "nothing", r#"one identity, as "client.net""#, ""),
    ("[[block]]\nidentity = \"client.net\"", 1, "", "block.value", "nothing",
        r#"a value of the identity, as "203.0.113.0/24""#, ""),
    (r#"[[allow]]
identity = "sender.orgs""#, 2, "", "allow.identity", r#""sender.orgs""#, IDENTITIES, "sender.org"),
    ("[[allow]]\nvalue = 5", 2, "", "allow.value", "5", "text in quotes", ""),
    ("[[allow]]\nvalue = \"\"", 2, "", "allow.value", "\"\"", "text in quotes", ""),
    ("[[allow]]\ncomment = 5", 2, "", "allow.comment", "5", "text in quotes", ""),
    ("[[allow]]\nunverified = 1", 2, "", "allow.unverified", "1", "true or false", ""),
    ("[[allow]]\nunverified = \"true\"", 2, "", "allow.unverified", "\"true\"", "true or false", ""),
    ("[[block]]\nunverified = true", 2, "", "block.unverified", "an unknown field",
        "identity, value, until, comment", ""),
    ("[[block]]\nuntill = 5", 2, "", "block.untill", "an unknown field", "identity, value, until, comment", "until"),
    ("[[block]]\nuntil = 5", 2, "", "block.until", "5", TIME, ""),
    ("[[block]]\nuntil = true", 2, "", "block.until", "true", TIME, ""),
    ("[[block]]\nuntil = 2027-01-31", 2, "", "block.until", "2027-01-31", TIME, ""),
    ("[[block]]\nuntil = 2027-01-31T12:00:00", 2, "", "block.until", "2027-01-31T12:00:00", TIME, ""),
    ("[[block]]\nuntil = \"2027-01-31T12:00\"", 2, "", "block.until", "\"2027-01-31T12:00\"", TIME, ""),
    ("[[block]]\nuntil = \"2027-02-29T12:00Z\"", 2, "", "block.until", "\"2027-02-29T12:00Z\"", TIME, ""),
    ("[[block]]\nuntil = \"tomorrow\"", 2, "", "block.until", "\"tomorrow\"", TIME, ""),
    ("quota_file = 5", 1, "", "quota_file", "5", "the path of a CSV file, as \"quotas.csv\"", ""),
    ("quota_file = \"\"", 1, "", "quota_file", "\"\"", "the path of a CSV file, as \"quotas.csv\"", ""),
    ("quota_file = \"q.csv\"", 1, "", "quota_file", "\"q.csv\"",
        "no `quota_file` here, where no other file can be read", ""),
];

/// Below `NAME`.
pub(super) const NAME_CASES: &[Wrong] = &[
    (r#"per = "client.net"
rate = "9/minute"
[[limit]]
name = "x"
per = "client.net"
rate = "9/minute""#, 6, "x", "name", r#""x" a second time, first in line 2"#, "every name once", ""),
    (r#"rate = "9/minute""#, 1, "x", "per", "nothing", r#"one identity or a list of them, as "client.net""#, ""),
    ("per = []", 3, "x", "per", "[]", r#"one identity or a list of them, as ["client.net", "sender.org"]"#, ""),
    (r#"per = """#, 3, "x", "per", r#""""#, IDENTITIES, ""),
    (r#"per = "sender.organisation""#, 3, "x", "per", r#""sender.organisation""#, IDENTITIES, ""),
    (r#"per = "sender.rog""#, 3, "x", "per", r#""sender.rog""#, IDENTITIES, "sender.org"),
    (r#"per = ["client.net",
 "sendr.org"]"#, 4, "x", "per", r#""sendr.org""#, IDENTITIES, "sender.org"),
    (r#"per = "client.net/24""#, 3, "x", "per", r#""client.net/24""#,
        r#""client.net", or with both lengths of prefix, 0–32 and 0–128, as "client.net/24/48""#, ""),
    (r#"per = "client.net/33/48""#, 3, "x", "per", r#""client.net/33/48""#,
        r#""client.net", or with both lengths of prefix, 0–32 and 0–128, as "client.net/24/48""#, ""),
    (r#"per = "sender.org+6""#, 3, "x", "per", r#""sender.org+6""#,
        r#""sender.org", or with 1 to 5 labels more, as "sender.org+2""#, ""),
    (r#"per = ["client.net", "client.net/24/64"]"#, 3, "x", "per", r#""client.net/24/64" a second time"#,
        "each identity once", ""),
    (r#"per = ["rcpt.host",
"rcpt.address"]"#, 4, "x", "per", r#""rcpt.address" as a second of them"#,
        "at most one identity with several values in a message (rcpt.*, from.*, reply_to.*, dkim.org)", ""),
    (r#"per = ["client.ip","client.net","client.host","client.org","helo.host"]"#, 3, "x", "per", "5 of them",
        "at most 4 identities", ""),
    (r#"per = "reply-to.address""#, 3, "x", "per", r#""reply-to.address""#, IDENTITIES, "reply_to.address"),
    (r#"per = ["from.org", "dkim.org"]"#, 3, "x", "per", r#""dkim.org" as a second of them"#,
        "at most one identity with several values in a message (rcpt.*, from.*, reply_to.*, dkim.org)", ""),
    (r#"per = "reply_to.address"
distinct = "from.org"
rate = "9/minute""#, 4, "x", "distinct", r#""from.org""#,
        "an identity with one value in a message, since `per` has one with several", ""),
    ("per = 5", 3, "x", "per", "5", IDENTITIES, ""),
    (r#"per = [["client.net"]]"#, 3, "x", "per", r#"["client.net"]"#, IDENTITIES, ""),
    ("per = {a=1}", 3, "x", "per", "a table", IDENTITIES, ""),
    (r#"per = "client.net""#, 1, "x", "rate", "nothing", "one rule: `rate`, `distinct` with `rate`, or `in_flight`",
        ""),
    (r#"per = "client.net"
rate = "0/minute""#, 4, "x", "rate", r#""0/minute""#, "an amount from 1 to 2^50", ""),
    (r#"per = "client.net"
rate = "-5/minute""#, 4, "x", "rate", r#""-5/minute""#, "an amount from 1 to 2^50", ""),
    (r#"per = "client.net"
rate = "600 a minute""#, 4, "x", "rate", r#""600 a minute""#,
        r#"a whole number, a slash and a period, as "600/minute", "20/10 minutes" or "1 GiB/hour""#, "600/minute"),
    (r#"per = "client.net"
rate = "600 per minute""#, 4, "x", "rate", r#""600 per minute""#,
        r#"a whole number, a slash and a period, as "600/minute", "20/10 minutes" or "1 GiB/hour""#, "600/minute"),
    (r#"per = "client.net"
rate = "600""#, 4, "x", "rate", r#""600""#,
        r#"a whole number, a slash and a period, as "600/minute", "20/10 minutes" or "1 GiB/hour""#, ""),
    (r#"per = "client.net"
rate = "600/min""#, 4, "x", "rate", r#""600/min""#,
        r#"after the slash a period in second(s), minute(s), hour(s) or day(s), as "10 minutes""#, "600/minute"),
    (r#"per = "client.net"
rate = "600/fortnight""#, 4, "x", "rate", r#""600/fortnight""#,
        r#"after the slash a period in second(s), minute(s), hour(s) or day(s), as "10 minutes""#, ""),
    (r#"per = "client.net"
rate = "600/week""#, 4, "x", "rate", r#""600/week""#,
        r#"after the slash a period in second(s), minute(s), hour(s) or day(s), as "10 minutes""#, "600/7 days"),
    (r#"per = "client.net"
rate = "600/0 minutes""#, 4, "x", "rate", r#""600/0 minutes""#, "a period from 1 second to 366 days", ""),
    (r#"per = "client.net"
rate = "600/367 days""#, 4, "x", "rate", r#""600/367 days""#, "a period from 1 second to 366 days", ""),
    (r#"per = "client.net"
rate = "1,000/minute""#, 4, "x", "rate", r#""1,000/minute""#,
        r#"a whole number, a slash and a period, as "600/minute", "20/10 minutes" or "1 GiB/hour""#, "1000/minute"),
    (r#"per = "client.net"
rate = "0.5/second""#, 4, "x", "rate", r#""0.5/second""#,
        r#"a whole number, a slash and a period, as "600/minute", "20/10 minutes" or "1 GiB/hour""#, ""),
    (r#"per = "client.net"
rate = "1 GB /h""#, 4, "x", "rate", r#""1 GB /h""#,
        r#"after the slash a period in second(s), minute(s), hour(s) or day(s), as "10 minutes""#, "1 GB/hour"),
    (r#"per = "client.net"
rate = "1 gib/hour""#, 4, "x", "rate", r#""1 gib/hour""#,
        SIZE, "1 GiB/hour"),
    (r#"per = "client.net"
rate = "1 KB/hour""#, 4, "x", "rate", r#""1 KB/hour""#,
        SIZE, "1 kB/hour"),
    (r#"per = "client.net"
rate = "600 messages/minute""#, 4, "x", "rate", r#""600 messages/minute""#,
        r#"a whole number, a slash and a period, as "600/minute", "20/10 minutes" or "1 GiB/hour""#, "600/minute"),
    (r#"per = "client.net"
rate = "2048 TiB/day""#, 4, "x", "rate", r#""2048 TiB/day""#, "a size from 1 B to 1024 TiB", ""),
    (r#"per = "client.net"
rate = "1125899906842625/day""#, 4, "x", "rate", r#""1125899906842625/day""#, "an amount from 1 to 2^50", ""),
    (r#"per = "client.net"
rate = "99999999999999999999999/day""#, 4, "x", "rate", r#""99999999999999999999999/day""#, "an amount from 1 to 2^50",
        ""),
    (r#"per = "client.net"
rate = "/minute""#, 4, "x", "rate", r#""/minute""#,
        r#"a whole number, a slash and a period, as "600/minute", "20/10 minutes" or "1 GiB/hour""#, ""),
    (r#"per = "client.net"
rate = "600/""#, 4, "x", "rate", r#""600/""#,
        r#"after the slash a period in second(s), minute(s), hour(s) or day(s), as "10 minutes""#, ""),
    (r#"per = "client.net"
rate = 600"#, 4, "x", "rate", "600", r#"text, as "600/minute", "20/10 minutes" or "1 GiB/hour""#, ""),
    (r#"per = "client.net"
rate = 0.5"#, 4, "x", "rate", "0.5", r#"text, as "600/minute", "20/10 minutes" or "1 GiB/hour""#, ""),
    (r#"per = "client.net"
rate = true"#, 4, "x", "rate", "true", r#"text, as "600/minute", "20/10 minutes" or "1 GiB/hour""#, ""),
    (r#"per = "client.net"
rate = 1979-05-27"#, 4, "x", "rate", "1979-05-27", r#"text, as "600/minute", "20/10 minutes" or "1 GiB/hour""#, ""),
    (r#"per = "client.net"
rate = "600/99999999999999999999 days""#, 4, "x", "rate", r#""600/99999999999999999999 days""#,
        "a period from 1 second to 366 days", ""),
    (r#"per = "client.net"
rate = """#, 4, "x", "rate", r#""""#,
        r#"a whole number, a slash and a period, as "600/minute", "20/10 minutes" or "1 GiB/hour""#, ""),
    (r#"per = "client.net"
rate = "6 00/minute""#, 4, "x", "rate", r#""6 00/minute""#,
        r#"a whole number, a slash and a period, as "600/minute", "20/10 minutes" or "1 GiB/hour""#, ""),
    (r#"per = "sender.org"
rate = "9/minute"
count = "connections""#, 5, "x", "count", r#""connections""#,
        r#""connections" only per identities known before a message: client.*, helo.*, global"#, ""),
    (r#"per = "client.net"
rate = "9 MiB/hour"
count = "reports"
reports = ["spam"]"#, 5, "x", "count", r#""reports""#, r#""bytes", since the rate has a unit of size"#, ""),
    (r#"per = "auth.user"
rate = "9/hour"
count = "reports"
reports = ["spam", "auth-failure"]
action = "block 1 hour""#, 7, "x", "action", r#""block 1 hour""#, GUESSED, ""),
    (r#"per = ["client.ip", "auth.user"]
rate = "9/hour"
count = "reports"
reports = ["auth-failure"]
action = "block 1 hour""#, 7, "x", "action", r#""block 1 hour""#, GUESSED, ""),
    (r#"per = "auth.user"
rate = "9/hour"
count = "reports"
reports = ["auth-failure"]
algorithm = "sliding-window"
burst = 9"#, 8, "x", "burst", "9",
        "no `burst` with algorithm \"sliding-window\": a window lets its amount through at once", ""),
    (r#"per="client.net"
rate="1 GiB/hour"
count="messages""#, 5, "x", "count", r#""messages""#, r#""bytes", since the rate has a unit of size"#, ""),
    (r#"per = "sender.registered"
distinct = "sender.host"
rate = "1 GiB/hour""#, 5, "x", "rate", r#""1 GiB/hour""#,
        "with `distinct`, a rate of new elements, without a unit of size", ""),
    (r#"per="sender.org"
distinct="sender.host""#, 1, "x", "rate", "nothing", r#"with `distinct`, a rate of new elements, as "200/10 minutes""#,
        ""),
    (r#"per = "sender.registered"
distinct = "sender.hosts"
rate = "9/minute""#, 4, "x", "distinct", r#""sender.hosts""#, IDENTITIES, "sender.host"),
    (r#"per = "sender.registered"
distinct = "global"
rate = "9/minute""#, 4, "x", "distinct", r#""global""#, "an identity of which there can be many; there is one `global`",
        ""),
    (r#"per = "sender.registered"
distinct = "sender.registered"
rate = "9/minute""#, 4, "x", "distinct", r#""sender.registered""#,
        "another identity than those of `per`: under itself, a thing is never new", ""),
    (r#"per = "sender.registered"
distinct = ["sender.host"]
rate = "9/minute""#, 4, "x", "distinct", r#"["sender.host"]"#, IDENTITIES, ""),
    (r#"per = "sender.registered"
distinct = "sender.org"
rate = "9/minute"
settle = "1 hour""#, 6, "x", "settle", r#""1 hour""#,
        "`settle` only with a `distinct` that is a whole host, as sender.host, not sender.org", ""),
    (r#"per = "client.net"
distinct = "sender.host"
rate = "9/minute"
settle = "1 hour""#, 6, "x", "settle", r#""1 hour""#,
        "`settle` only with a `per` that is one identity, and a part of sender.host: its organisation", ""),
    (r#"per = ["client.net","sender.registered"]
distinct = "sender.host"
rate = "9/minute"
settle = "1 hour""#, 6, "x", "settle", r#""1 hour""#,
        "`settle` only with a `per` that is one identity, and a part of sender.host: its organisation", ""),
    (r#"per = ["dkim.org", "list.id"]
rate = "9/minute"
verified = "proven""#, 5, "x", "verified", r#""proven""#,
        r#""any", "claimed" or "unproven", since what a header says is never proven"#, ""),
    (r#"per = "client.net"
rate = "9/minute"
count = "connections"
verified = "claimed""#, 6, "x", "verified", r#""claimed""#,
        r#""any" with count = "connections": a connection has no sender"#, ""),
    (r#"per = "sender.org"
distinct = "rcpt.host"
rate = "9/minute"
count = "recipients""#, 6, "x", "count", r#""recipients""#,
        r#""messages" with a `distinct` or `per` with several values in a message, with refuse = "all""#, ""),
    (r#"per = "reply_to.address"
distinct = "sender.org"
rate = "9/minute"
charge = "until-return""#, 6, "x", "charge", r#""until-return""#,
        r#""once" with a `distinct` or `per` with several values in a message"#, ""),
    (r#"per = "helo.host"
rate = "9/minute"
verified = "proven""#, 5, "x", "verified", r#""proven""#,
        r#""any", "claimed" or "unproven", since a HELO name is never proven"#, ""),
    (r#"per = "auth.user"
rate = "9/minute"
memory = "4 KiB""#, 5, "x", "memory", r#""4 KiB""#,
        r#"at least "8 KiB" with when_full "sketch": a page for the table, one for the sketch"#, ""),
    (r#"per = ["auth.user", "global"]
rate = "9/minute"
burst = 9
when_full = "refuse""#, 5, "x", "burst", "9",
        "no `burst` with algorithm \"sliding-window\", the default per auth.user or global: \
        a window lets its amount through at once", ""),
    (r#"per = "sender.org"
distinct = "sender.host"
rate = "9/minute"
burst = 20
algorithm = "sliding-window""#, 6, "x", "burst", "20",
        r#"no `burst` with algorithm "sliding-window": a window lets its amount through at once"#, ""),
    (r#"burst = 0
rate = "0/minute""#, 3, "x", "burst", "0", r#"a whole number from 1 to 2^50; of bytes also a size, as "64 MiB""#, ""),
];

/// Below `RATE`.
pub(super) const RATE_CASES: &[Wrong] = &[
    ("burst = 0", 5, "x", "burst", "0", r#"a whole number from 1 to 2^50; of bytes also a size, as "64 MiB""#, ""),
    ("burst = -1", 5, "x", "burst", "-1", r#"a whole number from 1 to 2^50; of bytes also a size, as "64 MiB""#, ""),
    ("burst = 1.5", 5, "x", "burst", "1.5", r#"a whole number from 1 to 2^50; of bytes also a size, as "64 MiB""#, ""),
    (r#"burst = "10""#, 5, "x", "burst", r#""10""#,
        r#"a whole number from 1 to 2^50; of bytes also a size, as "64 MiB""#, ""),
    (r#"burst = "10 MiB""#, 5, "x", "burst", r#""10 MiB""#, "a whole number, since the limit does not count bytes", ""),
    ("burst = 99999999999999999999", 5, "x", "burst", "99999999999999999999",
        r#"a whole number from 1 to 2^50; of bytes also a size, as "64 MiB""#, ""),
    ("burst = 1125899906842625", 5, "x", "burst", "1125899906842625",
        r#"a whole number from 1 to 2^50; of bytes also a size, as "64 MiB""#, ""),
    (r#"count = "message""#, 5, "x", "count", r#""message""#, COUNTS, "messages"),
    (r#"count = "stones""#, 5, "x", "count", r#""stones""#, COUNTS, ""),
    ("count = 1", 5, "x", "count", "1", COUNTS, ""),
    (r#"count = "reports""#, 1, "x", "reports", "nothing", REPORTS, ""),
    (r#"reports = ["spam"]"#, 5, "x", "reports", r#"["spam"]"#,
        r#"`reports` only together with count = "reports""#, ""),
    (r#"count = "messages"
reports = ["spam"]"#, 6, "x", "reports", r#"["spam"]"#, r#"`reports` only together with count = "reports""#, ""),
    (r#"count = "reports"
reports = []"#, 6, "x", "reports", "[]", REPORTS, ""),
    (r#"count = "reports"
reports = "spam""#, 6, "x", "reports", r#""spam""#, REPORTS, ""),
    (r#"count = "reports"
reports = ["spam", "unknown-recipients"]"#, 6, "x", "reports", r#""unknown-recipients""#, OUTCOMES,
        "unknown-recipient"),
    (r#"count = "reports"
reports = ["spam", 3]"#, 6, "x", "reports", "3", OUTCOMES, ""),
    (r#"count = "reports"
reports = ["spam", "virus", "spam"]"#, 6, "x", "reports", r#""spam" a second time"#, "each of them once", ""),
    (r#"count = "reports"
reports = ["spam"]
action = "block 1 hour"
quota."192.0.2.0/24" = { rate = "9 MiB/hour" }"#, 8, "x", "quota.\"192.0.2.0/24\".rate", r#""9 MiB/hour""#,
        "a rate without a unit of size, as the limit's own", ""),
    (r#"refuse = "new""#, 5, "x", "refuse", r#""new""#, "`refuse` only together with `distinct`", ""),
    (r#"refuse = "all""#, 5, "x", "refuse", r#""all""#, "`refuse` only together with `distinct`", ""),
    (r#"remember = "1 day""#, 5, "x", "remember", r#""1 day""#, "`remember` only together with `distinct`", ""),
    (r#"settle = "1 hour""#, 5, "x", "settle", r#""1 hour""#, "`settle` only together with `distinct`", ""),
    (r#"verified = "prooven""#, 5, "x", "verified", r#""prooven""#,
        r#""any", "proven", "claimed" or "unproven""#, "proven"),
    (r#"charge = "twice""#, 5, "x", "charge", r#""twice""#, "`charge` only together with `distinct`", ""),
    (r#"warm_up = "1 hour""#, 5, "x", "warm_up", r#""1 hour""#, "`warm_up` only together with `distinct`", ""),
    (r#"readmit = "1 minute""#, 5, "x", "readmit", r#""1 minute""#, "`readmit` only together with `distinct`", ""),
    (r#"when_full = "drop""#, 5, "x", "when_full", r#""drop""#, r#""admit", "sketch" or "refuse""#, ""),
    (r#"memory = "2 MB/s""#, 5, "x", "memory", r#""2 MB/s""#,
        SIZE, ""),
    (r#"memory = "2""#, 5, "x", "memory", r#""2""#,
        SIZE, ""),
    (r#"memory = "2 mib""#, 5, "x", "memory", r#""2 mib""#,
        SIZE, "2 MiB"),
    ("memory = 0", 5, "x", "memory", "0", r#"a size from "4 KiB" on, as "2 MiB", or a number of bytes"#, ""),
    ("memory = 1024", 5, "x", "memory", "1024", r#"a size from "4 KiB" on, as "2 MiB", or a number of bytes"#, ""),
    ("memory = 2.5", 5, "x", "memory", "2.5", r#"a size from "4 KiB" on, as "2 MiB", or a number of bytes"#, ""),
    (r#"memory = "2048 TiB""#, 5, "x", "memory", r#""2048 TiB""#, "a size from 1 B to 1024 TiB", ""),
    (r#"memory = "-1 MiB""#, 5, "x", "memory", r#""-1 MiB""#,
        SIZE, ""),
    (r#"memory = "10 PiB""#, 5, "x", "memory", r#""10 PiB""#, SIZE, ""),
    (r#"memory = "2000 tib""#, 5, "x", "memory", r#""2000 tib""#, SIZE, ""),
    (r#"memory = "64M""#, 5, "x", "memory", r#""64M""#, SIZE, "64 MiB"),
    (r#"memory = "4.8M""#, 5, "x", "memory", r#""4.8M""#, SIZE, "4915 KiB"),
    (r#"memory = "1.5 GiB""#, 5, "x", "memory", r#""1.5 GiB""#, SIZE, "1536 MiB"),
    (r#"memory = "2.5 kB""#, 5, "x", "memory", r#""2.5 kB""#, SIZE, "2500 B"),
    (r#"memory = "1.5.5 MiB""#, 5, "x", "memory", r#""1.5.5 MiB""#, SIZE, ""),
    (r#"memory = "0.0 MiB""#, 5, "x", "memory", r#""0.0 MiB""#, SIZE, ""),
    (r#"memory = "2 megs""#, 5, "x", "memory", r#""2 megs""#,
        SIZE, ""),
    (r#"algorithm = "leaky""#, 5, "x", "algorithm", r#""leaky""#, r#""gcra" or "sliding-window""#, ""),
    (r#"algorithm = "sliding window""#, 5, "x", "algorithm", r#""sliding window""#, r#""gcra" or "sliding-window""#,
        "sliding-window"),
    (r#"burst = 10
algorithm = "sliding-window""#, 5, "x", "burst", "10",
        r#"no `burst` with algorithm "sliding-window": a window lets its amount through at once"#, ""),
    (r#"action = "defr""#, 5, "x", "action", r#""defr""#, ACTIONS, "defer"),
    (r#"action = 3"#, 5, "x", "action", "3", ACTIONS, ""),
    (r#"action = "reject 1 hour""#, 5, "x", "action", r#""reject 1 hour""#, ACTIONS, "reject"),
    (r#"action = "block""#, 5, "x", "action", r#""block""#, ACTIONS, "block 10 minutes"),
    (r#"action = "block 10 min""#, 5, "x", "action", r#""block 10 min""#,
        r#"after "block" a whole number and a unit (second(s), minute(s), hour(s) or day(s)), as "7 days""#,
        "block 10 minutes"),
    (r#"action = "block 900 days""#, 5, "x", "action", r#""block 900 days""#,
        r#"after "block" a time from 1 second to 366 days"#, ""),
    ("in_flight = 2000", 4, "x", "rate", r#""9/minute""#, "one rule: `rate`, `distinct` with `rate`, or `in_flight`",
        ""),
    (r#"share = { per = "client.net", of_free = "1/10" }"#, 5, "x", "share", "a table",
        "`share` only together with `in_flight`", ""),
    (r#"mode = "off""#, 5, "x", "mode", r#""off""#, r#""enforce" or "shadow""#, ""),
    (r#"quota = "6000/minute""#, 5, "x", "quota", r#""6000/minute""#,
        r#"a table of values, as quota."salesforce.com" = { rate = "6000/minute" }"#, ""),
    ("[limit.quota]", 5, "x", "quota", "a table",
        r#"a table of values, as quota."salesforce.com" = { rate = "6000/minute" }"#, ""),
    (r#"[limit.quota]
"192.0.2.0/24" = "6000/minute""#, 6, "x", "quota", r#""6000/minute""#,
        r#"a table with `rate`, as { rate = "6000/minute" }"#, ""),
    (r#"[limit.quota."192.0.2.0/24"]
burst = 1"#, 5, "x", r#"quota."192.0.2.0/24".rate"#, "nothing", r#"a rate, as "6000/minute""#, ""),
    (r#"[limit.quota."192.0.2.0/24"]
rate = "1/minute"
brust = 1"#, 7, "x", r#"quota."192.0.2.0/24".brust"#, "an unknown field", "rate, burst", "burst"),
    (r#"[limit.quota."192.0.2.0/24"]
rate = "0/minute""#, 6, "x", r#"quota."192.0.2.0/24".rate"#, r#""0/minute""#, "an amount from 1 to 2^50", ""),
    (r#"[limit.quota."192.0.2.0/24"]
rate = "1 MiB/minute""#, 6, "x", r#"quota."192.0.2.0/24".rate"#, r#""1 MiB/minute""#,
        "a rate without a unit of size, as the limit's own", ""),
    (r#"algorithm = "sliding-window"
[limit.quota."192.0.2.0/24"]
rate = "1/minute"
burst = 3"#, 8, "x", r#"quota."192.0.2.0/24".burst"#, "3",
        r#"no `burst` with algorithm "sliding-window": a window lets its amount through at once"#, ""),
    (r#"reply = 450"#, 5, "x", "reply", "450",
        r#"one line of text, as "450 4.7.1 {key} sends too fast; retry in {seconds} s""#, ""),
    (r#"reply = "450 no""#, 5, "x", "reply", r#""450 no""#,
        r#"behind the code an enhanced one (RFC 3463), as "450 4.7.1 …""#, ""),
    (r#"reply = "250 2.0.0 ok""#, 5, "x", "reply", r#""250 2.0.0 ok""#,
        r#"first a code that refuses, 400 to 459 or 500 to 559, as "450 4.7.1 …""#, ""),
    (r#"reply = "470 4.7.1 no""#, 5, "x", "reply", r#""470 4.7.1 no""#,
        r#"first a code that refuses, 400 to 459 or 500 to 559, as "450 4.7.1 …""#, ""),
    (r#"reply = "450 4.7.01 no""#, 5, "x", "reply", r#""450 4.7.01 no""#,
        r#"behind the code an enhanced one (RFC 3463), as "450 4.7.1 …""#, ""),
    (r#"reply = "450 5.7.1 no""#, 5, "x", "reply", r#""450 5.7.1 no""#,
        "an enhanced code of the code's class, 4, behind 450", ""),
    (r#"reply = "450 4.7.1 ""#, 5, "x", "reply", r#""450 4.7.1 ""#,
        r#"text behind the codes, as "450 4.7.1 {key} sends too fast""#, ""),
    (r#"reply = "450 4.7.1 zu schnell für uns""#, 5, "x", "reply", r#""450 4.7.1 zu schnell für uns""#,
        "printable ASCII on one line (RFC 5321 §4.2)", ""),
    (r#"reply = "450 4.7.1 no\r\n250 ok""#, 5, "x", "reply", r#""450 4.7.1 no\U0000000D\n250 ok""#,
        "printable ASCII on one line (RFC 5321 §4.2)", ""),
    (r#"reply = "450 4.7.1 {kye} is too fast""#, 5, "x", "reply", "{kye}",
        "{key}, {limit}, {identity}, {seconds}, {help}", "{key}"),
    (r#"reply = "450 4.7.1 {key} is too fast: {help}""#, 5, "x", "reply", "{help}",
        "{help} only together with `help_url`, the address that it inserts", ""),
    (r#"reply = "450 4.7.1 {help} {help} {key}, {key}""#, 5, "x", "reply", r#""450 4.7.1 {help} {help} {key}, {key}""#,
        "a line of at most 510 octets with its places filled, 64 of them for each key and 200 for help; this one takes \
         542", ""),
    (r#"reply = "450 4.7.1 {key is too fast""#, 5, "x", "reply", r#""450 4.7.1 {key is too fast""#,
        "braces in pairs, around the name of a place, as {key}", ""),
    (r#"reply = "450 4.7.1 key} is too fast""#, 5, "x", "reply", r#""450 4.7.1 key} is too fast""#,
        "braces in pairs, around the name of a place, as {key}", ""),
    (r#"reply = "450 4.7.1 {{key}} is too fast""#, 5, "x", "reply", r#""450 4.7.1 {{key}} is too fast""#,
        "braces in pairs, around the name of a place, as {key}", ""),
    (r#"reply = "550 5.7.1 no""#, 5, "x", "reply", r#""550 5.7.1 no""#,
        r#"a code from 400 to 459 with action = "defer", after which the message comes again; or action = "reject""#,
        ""),
    ("reply = \"450 4.7.1 no\"\naction = \"reject\"", 5, "x", "reply", r#""450 4.7.1 no""#,
        r#"a code from 500 to 559 with action = "reject""#, ""),
    ("reply = \"550 5.7.1 no\"\naction = \"block 1 hour\"", 5, "x", "reply", r#""550 5.7.1 no""#,
        "a code from 400 to 459 with action = \"block 1 hour\", after which the message comes again; \
        or action = \"reject\"", ""),
    (r#"reply = "421 4.7.0 no""#, 5, "x", "reply", r#""421 4.7.0 no""#,
        "another code than 421 for a limit at mail, where the connection stays open", ""),
    ("reply = \"450 4.7.1 no\"\ncount = \"connections\"", 5, "x", "reply", r#""450 4.7.1 no""#,
        "421 for a limit at connect, where the server closes the connection", ""),
    ("reply = \"550 5.7.1 no\"\ncount = \"connections\"\naction = \"reject\"", 5, "x", "reply", r#""550 5.7.1 no""#,
        "554 for a limit at connect, where no other code rejects (RFC 5321 §3.1)", ""),
    ("reply = \"450 4.7.1 {key}{key}{key}{key}{key}{key}{key}{key}\"", 5, "x", "reply",
        r#""450 4.7.1 {key}{key}{key}{key}{key}{key}{key}{key}""#,
        "a line of at most 510 octets with its places filled, 64 of them for each key; this one takes 522", ""),
    ("brust = 5", 5, "x", "brust", "an unknown field", FIELDS, "burst"),
    (r#"when-full = "admit""#, 5, "x", "when-full", "an unknown field", FIELDS, "when_full"),
    ("zzz = 5", 5, "x", "zzz", "an unknown field", FIELDS, ""),
];

/// Below `FAN_OUT`.
pub(super) const FAN_OUT_CASES: &[Wrong] = &[
    (r#"count="connections""#, 6, "x", "count", r#""connections""#,
        r#""messages" or "recipients" with `distinct`, where new elements are counted"#, ""),
    ("readmit = 2", 6, "x", "readmit", "2", r#"text, as "7 days" or "90 minutes""#, ""),
    (r#"readmit = "13 hours""#, 6, "x", "readmit", r#""13 hours""#, "at most half of `remember`, here \"1 day\"", ""),
    ("count = \"recipients\"\nreadmit = \"1 minute\"", 7, "x", "readmit", r#""1 minute""#, READMITTED, ""),
    ("readmit = \"1 minute\"\ncharge = \"twice\"", 6, "x", "readmit", r#""1 minute""#,
        r#"no `readmit` together with a `charge` other than "once": a note is of an element that is not known"#, ""),
    ("readmit = \"1 minute\"\naction = \"reject\"", 6, "x", "readmit", r#""1 minute""#,
        "no `readmit` together with an `action`: only what was deferred comes back", ""),
    ("refuse = \"all\"\nreadmit = \"1 minute\"", 7, "x", "readmit", r#""1 minute""#,
        "no `readmit`, since nothing is remembered when the bucket has drained, with refuse = \"all\"", ""),
    ("warm_up = 2", 6, "x", "warm_up", "2", r#"text, as "7 days" or "90 minutes""#, ""),
    (r#"charge = "always""#, 6, "x", "charge", r#""always""#, r#""once", "twice" or "until-return""#, ""),
    (r#"refuse = "all"
charge = "twice""#, 7, "x", "charge", r#""twice""#,
        r#"no `charge`, since nothing is remembered when the bucket has drained, with refuse = "all""#, ""),
    (r#"new_to = "client.net""#, 6, "x", "new_to", r#""client.net""#,
        "client.ip and client.net only, in `per` too", ""),
    (r#"new_to = "client.iq""#, 6, "x", "new_to", r#""client.iq""#, IDENTITIES, "client.ip"),
    ("refuse = \"all\"\nnew_to = \"client.net\"", 7, "x", "new_to", r#""client.net""#,
        "no `new_to`, since nothing is remembered when the bucket has drained, with refuse = \"all\"", ""),
    (r#"count = "reports"
reports = ["spam"]"#, 6, "x", "count", r#""reports""#,
        r#""messages" or "recipients" with `distinct`, where new elements are counted"#, ""),
    (r#"refuse = "old""#, 6, "x", "refuse", r#""old""#, r#""new" or "all""#, ""),
    (r#"refuse = "al""#, 6, "x", "refuse", r#""al""#, r#""new" or "all""#, "all"),
    ("refuse = true", 6, "x", "refuse", "true", r#""new" or "all""#, ""),
    (r#"refuse = "all"
remember = "7 days""#, 7, "x", "remember", r#""7 days""#,
        r#"no `remember`, since nothing is remembered when the bucket has drained, with refuse = "all""#, ""),
    (r#"settle = "1 hour"
refuse = "all""#, 6, "x", "settle", r#""1 hour""#,
        r#"no `settle`, since nothing is remembered when the bucket has drained, with refuse = "all""#, ""),
    (r#"settle = "1 hour"
remember = "7 days"
refuse = "all""#, 6, "x", "settle", r#""1 hour""#,
        r#"no `settle`, since nothing is remembered when the bucket has drained, with refuse = "all""#, ""),
    (r#"refuse = "all"
algorithm = "sliding-window""#, 7, "x", "algorithm", r#""sliding-window""#,
        r#""gcra", a bucket that only a fresh element fills, with refuse = "all""#, ""),
    (r#"refuse = "all"
memory = "4 KiB""#, 7, "x", "memory", r#""4 KiB""#, r#""8 KiB" or more, for two tables, with refuse = "all""#, ""),
    (r#"refuse = "all"
when_full = "sketch""#, 7, "x", "when_full", r#""sketch""#,
        r#""admit" or "refuse", since a sketch cannot tell a fresh element from a seen one, with refuse = "all""#,
        ""),
    (r#"refuse = "all"
count = "recipients""#, 7, "x", "count", r#""recipients""#,
        r#""messages" with a `distinct` or `per` with several values in a message, with refuse = "all""#, ""),
    (r#"remember = "7""#, 6, "x", "remember", r#""7""#,
        r#"a whole number and a unit (second(s), minute(s), hour(s) or day(s)), as "7 days""#, ""),
    ("remember = 7", 6, "x", "remember", "7", r#"text, as "7 days" or "90 minutes""#, ""),
    (r#"remember="1 week""#, 6, "x", "remember", r#""1 week""#,
        r#"a whole number and a unit (second(s), minute(s), hour(s) or day(s)), as "7 days""#, "7 days"),
    (r#"remember="0 days""#, 6, "x", "remember", r#""0 days""#, "a time from 1 second to 366 days", ""),
    (r#"remember = "400 days""#, 6, "x", "remember", r#""400 days""#, "a time from 1 second to 366 days", ""),
    (r#"remember = "days""#, 6, "x", "remember", r#""days""#,
        r#"a whole number and a unit (second(s), minute(s), hour(s) or day(s)), as "7 days""#, ""),
    (r#"settle = "2 days""#, 6, "x", "settle", r#""2 days""#, r#"at most as long as `remember`, here "1 day""#, ""),
];

/// Below `IN_FLIGHT`.
pub(super) const IN_FLIGHT_CASES: &[Wrong] = &[
    (r#"rate = "9/minute""#, 5, "x", "rate", r#""9/minute""#, ONE_RULE, ""),
    (r#"distinct = "sender.host""#, 5, "x", "distinct", r#""sender.host""#, ONE_RULE, ""),
    ("burst = 9", 5, "x", "burst", "9",
        "no `burst` together with `in_flight`: it is no rate, all that it allows may come at once", ""),
    (r#"algorithm = "gcra""#, 5, "x", "algorithm", r#""gcra""#,
        "no `algorithm` together with `in_flight`: what is open is counted exactly, and in no window", ""),
    (r#"when_full = "admit""#, 5, "x", "when_full", r#""admit""#,
        "no `when_full` together with `in_flight`: its tables are made so that they cannot fill", ""),
    (r#"memory = "1 MiB""#, 5, "x", "memory", r#""1 MiB""#,
        "no `memory` together with `in_flight`: its tables are as large as `max_open` needs", ""),
    (r#"refuse = "new""#, 5, "x", "refuse", r#""new""#, "`refuse` only together with `distinct`", ""),
    (r#"remember = "1 day""#, 5, "x", "remember", r#""1 day""#, "`remember` only together with `distinct`", ""),
    (r#"settle = "1 hour""#, 5, "x", "settle", r#""1 hour""#, "`settle` only together with `distinct`", ""),
    (r#"burst = 9
rate = "9/minute""#, 5, "x", "burst", "9",
        "no `burst` together with `in_flight`: it is no rate, all that it allows may come at once", ""),
    (r#"count = "recipients""#, 5, "x", "count", r#""recipients""#,
        r#""connections", "messages" or "bytes" with `in_flight`"#, ""),
    (r#"count = "reports"
reports = ["virus"]"#, 5, "x", "count", r#""reports""#,
        r#""connections", "messages" or "bytes" with `in_flight`"#, ""),
    (r#"verified = "claimed""#, 5, "x", "verified", r#""claimed""#,
        r#""any" with `in_flight` and without an identity of sender.*"#, ""),
    (r#"count = "connections"
share = { per = "sender.org", of_free = "1/2" }"#, 5, "x", "count", r#""connections""#,
        r#""connections" only per identities known before a message: client.*, helo.*, global"#, ""),
    ("share = 3", 5, "x", "share", "3", SHARE, ""),
    (r#"share = "1/10""#, 5, "x", "share", r#""1/10""#, SHARE, ""),
    ("share = {}", 5, "x", "share.per", "nothing", r#"whose part is bounded, as "client.net/24/48""#, ""),
    (r#"share = { per = "client.ip" }"#, 5, "x", "share.of_free", "nothing",
        r#"a part of what is still free, as "1/10""#, ""),
    (r#"share = { per = "client.iq", of_free = "1/2" }"#, 5, "x", "share.per", r#""client.iq""#, IDENTITIES,
        "client.ip"),
    (r#"share = { per = "client.net", of_free = "1/2" }"#, 5, "x", "share.per", r#""client.net""#, ANOTHER, ""),
    (r#"share = { per = "global", of_free = "1/2" }"#, 5, "x", "share.per", r#""global""#, ANOTHER, ""),
    (r#"share = { per = "rcpt.host", of_free = "1/2" }"#, 5, "x", "share.per", r#""rcpt.host""#, SINGLE, ""),
    (r#"share = { per = "client.ip", of_free = "3/2" }"#, 5, "x", "share.of_free", r#""3/2""#, PART, ""),
    (r#"share = { per = "client.ip", of_free = "0/2" }"#, 5, "x", "share.of_free", r#""0/2""#, PART, ""),
    (r#"share = { per = "client.ip", of_free = "1/1001" }"#, 5, "x", "share.of_free", r#""1/1001""#, PART, ""),
    (r#"share = { per = "client.ip", of_free = "10 %" }"#, 5, "x", "share.of_free", r#""10 %""#, PART, ""),
    (r#"share = { per = "client.ip", of_free = 0.1 }"#, 5, "x", "share.of_free", "0.1", PART, ""),
    (r#"share = { per = "client.ip", of_fre = "1/2" }"#, 5, "x", "share.of_fre", "an unknown field", "per, of_free",
        "of_free"),
    (r#"[limit.share]
per = "client.ip"
of_free = "2/1""#, 7, "x", "share.of_free", r#""2/1""#, PART, ""),
    ("share = []", 5, "x", "share", "[]", SHARE, ""),
    (r#"share = [3]"#, 5, "x", "share", "[3]", SHARE, ""),
    (r#"share = [{ per = "client.ip", of_free = "1/2" }, { per = "client.net/16/32" }]"#, 5, "x", "share[1].of_free",
        "nothing", r#"a part of what is still free, as "1/10""#, ""),
    (r#"share = [
    { per = "client.ip", of_free = "1/2" },
    { per = "client.net/16/32", of_free = "1/0" },
]"#, 7, "x", "share[1].of_free", r#""1/0""#, PART, ""),
    (r#"share = [
    { per = "client.ip", of_free = "1/2" },
    { per = "client.ip", of_free = "1/3" },
]"#, 7, "x", "share[1].per", r#""client.ip""#, TIER, ""),
    (r#"share = [{ per = "client.net/16/32", of_free = "1/2" }, { per = "client.net", of_free = "1/2" }]"#, 5, "x",
        "share[1].per", r#""client.net""#, ANOTHER, ""),
    (r#"share = [{ per = "client.ip", of_free = "1/2" }, { per = "client.ip", of_fre = "1/2" }]"#, 5, "x",
        "share[1].of_fre", "an unknown field", "per, of_free", "of_free"),
    (r#"share = [{ per = "client.ip", of_free = "1/2" }, { per = "client.net/1/1", of_free = "1/2" },
{ per = "client.net/2/2", of_free = "1/2" }, { per = "client.net/3/3", of_free = "1/2" }, {}]"#, 5, "x", "share",
        r#"[{ per = "client.ip", of_free = "1/2" }, { per = "client.net…"#, SHARE, ""),
    ("reserve = 3", 5, "x", "reserve", "3", "`reserve` only together with `share`", ""),
    (r#"first = "1 MB""#, 5, "x", "first", r#""1 MB""#, "`first` only together with `share`", ""),
    ("reserve = 0\nshare = { per = \"client.ip\", of_free = \"1/2\" }", 5, "x", "reserve", "0", CAP, ""),
    ("reserve = 9\nshare = { per = \"client.ip\", of_free = \"1/2\" }", 5, "x", "reserve", "9",
        "less than `in_flight`, since the rest is what is shared", ""),
    ("reserve = \"1 kB\"\nshare = { per = \"client.ip\", of_free = \"1/2\" }", 5, "x", "reserve", r#""1 kB""#,
        "a whole number, since `in_flight` is one", ""),
    ("first = \"1 B\"\nshare = { per = \"client.ip\", of_free = \"1/2\" }", 5, "x", "first", r#""1 B""#,
        "no `first` with an `in_flight` that does not count bytes: a key that holds nothing may take one", ""),
];

/// Below `NAME`, of a cap.
pub(super) const CAP_CASES: &[Wrong] = &[
    ("per = \"rcpt.address\"\nin_flight = 5", 3, "x", "per", r#""rcpt.address""#, SINGLE, ""),
    ("per = [\"client.net\", \"rcpt.host\"]\nin_flight = 5", 3, "x", "per", r#""rcpt.host""#, SINGLE, ""),
    ("per = \"from.org\"\nin_flight = 5", 3, "x", "per", r#""from.org""#, SINGLE, ""),
    ("per = \"client.net\"\nin_flight = 0", 4, "x", "in_flight", "0", CAP, ""),
    ("per = \"client.net\"\nin_flight = 1.5", 4, "x", "in_flight", "1.5", CAP, ""),
    ("per = \"client.net\"\nin_flight = \"100\"", 4, "x", "in_flight", r#""100""#, CAP, ""),
    ("per = \"client.net\"\nin_flight = \"1 GiB/hour\"", 4, "x", "in_flight", r#""1 GiB/hour""#, CAP, ""),
    ("per = \"client.net\"\nin_flight = \"1 GiB\"\ncount = \"messages\"", 5, "x", "count", r#""messages""#,
        r#""bytes", since `in_flight` is a size"#, ""),
    ("per = \"sender.org\"\nin_flight = 5\ncount = \"connections\"", 5, "x", "count", r#""connections""#,
        r#""connections" only per identities known before a message: client.*, helo.*, global"#, ""),
    ("per = \"global\"\nin_flight = \"1 MB\"\nreserve = 5\nshare = { per = \"client.ip\", of_free = \"1/2\" }", 5, "x",
        "reserve", "5", "a size, since `in_flight` is one", ""),
    ("per = \"global\"\nin_flight = \"1 MB\"\nfirst = \"2 MB\"\nshare = { per = \"client.ip\", of_free = \"1/2\" }", 5,
        "x", "first", r#""2 MB""#, "at most `in_flight`, since no more passes", ""),
    ("per = \"global\"\nin_flight = \"1 MB\"\nfirst = 5\nshare = { per = \"client.ip\", of_free = \"1/2\" }", 5, "x",
        "first", "5", MESSAGE_SIZE, ""),
    ("per = \"client.ip\"\ndistinct = \"client.host\"\nrate = \"9/minute\"\nnew_to = \"client.ip\"", 6, "x", "new_to",
        r#""client.ip""#, "another key than `per`, since that is the key without this field", ""),
    ("per = \"client.ip\"\ndistinct = \"client.host\"\nrate = \"9/minute\"\nnew_to = \"sender.org\"", 6, "x", "new_to",
        r#""sender.org""#, "client.ip and client.net only, in `per` too", ""),
    ("per = \"client.ip\"\nrate = \"9/minute\"\nnew_to = \"client.net\"", 5, "x", "new_to", r#""client.net""#,
        "`new_to` only together with `distinct`", ""),
    ("per = \"helo.host\"\nin_flight = 5\nverified = \"proven\"", 5, "x", "verified", r#""proven""#,
        r#""any", "claimed" or "unproven", since a HELO name is never proven"#, ""),
];

const MESSAGE_SIZE: &str = "a size, as \"1 MB\"";
const ONE_RULE: &str = "one rule: `rate`, `distinct` with `rate`, or `in_flight`";
const CAP: &str = "a whole number from 1 to 2^50, or a size, as \"1 GiB\"";
const SHARE: &str =
    "a table, as { per = \"client.net/24/48\", of_free = \"1/10\" }, or a list of one to four of them";
const TIER: &str = "a key that no earlier tier has, since each bounds its own";
const PART: &str = "a part up to the whole, as \"1/10\", no finer than \"1/1000\"";
const ANOTHER: &str = "another identity than those of `per`, with many values, because they share what is free";
const SINGLE: &str =
    "with `in_flight`, only what a message has one of: a permit is of fixed size";
