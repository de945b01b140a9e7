//! Every field that a policy may have: its name, the kind of its value, what it says.
//!
//! One table for all who have to know: the readers take a field only when it is here ([`known`]), messages list these names, and the JSON Schema is
//! made of these rows (`schema`). So the schema cannot promise what no reader takes, nor a reader take what the schema does not know.
//! Knows no value: what one may hold is the kind's, in `value`, `rate` and `quantity`.

use super::field::Wrong;
use super::nearest::nearest;
use super::words::{Count, Mode, Refuse, Verified, words};
use crate::store::params::{Algorithm, WhenFull};

/// A field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// For who writes a policy: what it says, its default.
    pub(super) says: &'static str,
    /// Values that are right, as TOML writes them.
    pub(super) examples: &'static [&'static str],
}

/// What kind of value a field takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A limit's name.
    Name,
    /// Names of limits.
    Names,
    /// A built-in policy, or the path of a file.
    Base,
    /// A factor.
    Factor,
    /// A word, or a word and a time.
    Action,
    /// An SMTP reply line.
    Reply,
    /// One of a few words.
    Word(fn() -> Vec<&'static str>),
    /// An identity.
    Identity,
    /// An identity, or a list of them.
    Identities,
    /// An amount a period.
    Rate,
    /// A whole number, or a size.
    Amount,
    /// A time.
    Time,
    /// A size, or a number of bytes.
    Memory,
    /// A part of a whole.
    Part,
    /// Public suffixes.
    Suffixes,
    /// A table of these fields, of which the named ones have to be there.
    Table(&'static [Known], &'static [&'static str]),
    /// A table for each of any values.
    Tables(&'static [Known], &'static [&'static str]),
    /// Limits.
    Limits,
}

const fn row(name: &'static str, kind: Kind, says: &'static str, examples: &'static [&'static str]) -> Known {
    Known { name, kind, says, examples }
}

/// What a policy may say outside its limits.
#[rustfmt::skip]
pub(super) const POLICY: &[Known] = &[
    row("extends", Kind::Base, "The policy that this one changes: a built-in one, or a `.toml` file beside this one.", &["\"inbound\"", "\"site.toml\""]),
    row("without", Kind::Names, "Limits of the extended policy that are left out.", &["[\"auth-pace\"]"]),
    row("mode", Kind::Word(|| words(&Mode::NAMED)), "\"shadow\": decide and count, and let everything pass. Default: \"enforce\".", &["\"shadow\""]),
    row("scale", Kind::Factor, "Multiplies every rate, burst and cap. Default: 1.", &["5", "0.5"]),
    row("suffixes", Kind::Table(SUFFIXES, &[]), "Public suffixes of your own.", &["{ extra = [\"onmicrosoft.com\"] }"]),
    row("limit", Kind::Limits, "The limits, each under `[[limit]]`.", &[]),
];

/// `[suffixes]`
pub(super) const SUFFIXES: &[Known] = &[row(
    "extra",
    Kind::Suffixes,
    "Names under which anybody can get a name, beside those of the Public Suffix List.",
    &["[\"onmicrosoft.com\", \"amazonses.com\"]"],
)];

/// `[[limit]]`
#[rustfmt::skip]
pub(super) const LIMIT: &[Known] = &[
    row("name", Kind::Name, "Tells the limit in refusals; unique in the policy. In a policy that extends another the same name changes that limit.", &["\"pair-pace\""]),
    row("per", Kind::Identities, "What is counted by: one identity, or several that make one key together.", &["\"sender.org\"", "[\"client.net/24/48\", \"sender.org\"]"]),
    row("rate", Kind::Rate, "How much in how long. With `distinct`: how many new elements.", &["\"600/minute\"", "\"20/10 minutes\"", "\"1 GiB/hour\""]),
    row("burst", Kind::Amount, "How much at once, of \"gcra\" only. Default: the amount of the rate.", &["6000", "\"64 MiB\""]),
    row("count", Kind::Word(|| words(&Count::NAMED)), "What one check counts as. Default: \"messages\"; \"bytes\" where the rate or cap has a unit of size.", &["\"recipients\""]),
    row("distinct", Kind::Identity, "Count different values of this, not messages.", &["\"sender.host\""]),
    row("refuse", Kind::Word(|| words(&Refuse::NAMED)), "Beside `distinct`: \"new\" elements only, or \"all\" of the key. Default: \"new\".", &["\"all\""]),
    row("remember", Kind::Time, "How long an admitted element stays known. Default: \"1 day\".", &["\"7 days\""]),
    row("settle", Kind::Time, "The ladder: how long a part of a name must be known to own an allowance.", &["\"1 hour\""]),
    row("in_flight", Kind::Amount, "How much may be open at once: connections, messages or bytes.", &["2000", "\"1 GiB\""]),
    row("share", Kind::Table(SHARE, &["per", "of_free"]), "The part of what is still free that one key may hold; one it may hold always.", &["{ per = \"client.net/24/48\", of_free = \"1/10\" }"]),
    row("verified", Kind::Word(|| words(&Verified::NAMED)), "Which classes it looks at. Default: \"any\", each class with counters of its own.", &["\"proven\""]),
    row("when_full", Kind::Word(|| words(&WhenFull::NAMED)), "What happens to a key for which the table has no room. Default: \"admit\"; per auth.user or global \"sketch\".", &["\"refuse\""]),
    row("memory", Kind::Memory, "Its share of the memory. Default: by how long one message occupies a slot.", &["\"2 MiB\"", "65536"]),
    row("algorithm", Kind::Word(|| words(&Algorithm::NAMED)), "How a rate is kept. Default: \"gcra\"; per auth.user or global \"sliding-window\".", &["\"sliding-window\""]),
    row("action", Kind::Action, "What a refusal does: \"defer\", \"reject\", or \"block\" and a time, where the key is proven. Default: \"defer\".", &["\"reject\"", "\"block 10 minutes\""]),
    row("mode", Kind::Word(|| words(&Mode::NAMED)), "\"shadow\": decide and count, and let pass. Default: \"enforce\".", &["\"shadow\""]),
    row("quota", Kind::Tables(QUOTA, &["rate"]), "Other numbers for a named value of any part of `per`, in a table of its own.", &["{ \"salesforce.com\" = { rate = \"6000/minute\" } }"]),
    row("reply", Kind::Reply, "The line that a refusal is answered with, with places {key}, {identity}, {limit} and {seconds}. Default: by kind of limit.", &["\"450 4.7.1 {key} is too fast; retry in {seconds} s\""]),
];

/// `share`
pub(super) const SHARE: &[Known] = &[
    row("per", Kind::Identities, "Whose part is bounded.", &["\"client.net/24/48\""]),
    row("of_free", Kind::Part, "The part of what is still free.", &["\"1/10\""]),
];

/// `quota."a value"`
pub(super) const QUOTA: &[Known] = &[
    row("rate", Kind::Rate, "As the limit's own.", &["\"6000/minute\""]),
    row("burst", Kind::Amount, "How much at once. Default: the amount of this rate.", &["60000"]),
];

/// The row of `name`, or what is wrong with a field that has none.
pub(super) fn known<'t>(table: &'t [Known], name: &str) -> Result<&'t Known, Wrong> {
    table.iter().find(|known| known.name == name).ok_or_else(|| {
        let names: Vec<&str> = table.iter().map(|known| known.name).collect();
        let wrong = Wrong::allowed(names.join(", "));
        wrong.found("an unknown field").suggest(nearest(name, names))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    const RIGHT: &str = "[[limit]]\nname = \"x\"\nper = \"sender.org\"\nrate = \"9/minute\"\n";

    /// What is told of a policy with this text, below a limit that is right or above it.
    fn told(above: &str, below: &str) -> (Option<String>, String) {
        let text = format!("{above}\n{RIGHT}{below}\n");
        let error = Policy::parse("policy.toml", &text).expect_err(&text);
        (error.field, error.found)
    }

    /// A field that the table has and no reader reads would be taken in silence.
    #[test]
    fn whatever_stands_in_the_table_is_read() {
        let is_read = |field: &str, (told, found): (Option<String>, String)| {
            assert_eq!((told.as_deref(), &*found), (Some(field), "true"));
        };
        for known in POLICY.iter().filter(|known| !matches!(known.name, "limit" | "extends" | "without")) {
            is_read(known.name, told(&format!("{} = true", known.name), ""));
        }
        assert_eq!(told("extends = true", "").1, "true");
        assert_eq!(told("without = true", "").1, "true");
        for known in SUFFIXES {
            is_read(&format!("suffixes.{}", known.name), told(&format!("suffixes.{} = true", known.name), ""));
        }
        for known in LIMIT.iter().filter(|known| !matches!(known.name, "name" | "per" | "rate")) {
            is_read(known.name, told("", &format!("{} = true", known.name)));
        }
        for name in ["name", "per", "rate"] {
            let text = format!("[[limit]]\n{name} = true\n");
            assert_eq!(Policy::parse("policy.toml", &text).expect_err(name).found, "true");
        }
        for known in SHARE {
            is_read(&format!("share.{}", known.name), told("", &format!("share.{} = true", known.name)));
        }
        for known in QUOTA {
            let field = format!("quota.\"a.com\".{}", known.name);
            is_read(&field, told("", &format!("quota.\"a.com\".{} = true", known.name)));
        }
    }
}
