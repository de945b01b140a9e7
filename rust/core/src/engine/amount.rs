//! How much one check counts as, for each key of a limit.
//!
//! Knows no keys: amounts come in the order of the values. Invariant: the amounts of all hosts add up to the number of recipients.

use std::collections::HashMap;

use crate::identity::{Identities, Identity, Part, Value};

/// An amount for each value of the identity that has several.
pub(super) enum Amounts {
    /// One amount for all.
    Same(u64),
    /// One for each.
    Each(Vec<u64>),
}

impl Amounts {
    #[inline]
    pub(super) fn get(&self, nth: usize) -> u64 {
        match self {
            Self::Same(amount) => *amount,
            Self::Each(amounts) => amounts.get(nth).copied().unwrap_or(0),
        }
    }
}

/// Recipients, duplicates once: one for each address, as many as there are at each host, all of them for anything else.
pub(super) fn recipients(per: &[Identity], identities: &Identities<'_>) -> Amounts {
    if per.contains(&Identity::RcptAddress) {
        return Amounts::Same(1);
    }
    let all = identities.values(Identity::RcptAddress);
    if !per.contains(&Identity::RcptHost) {
        return Amounts::Same(all.len() as u64);
    }
    let mut at_host: HashMap<&Part<'_>, u64> = HashMap::with_capacity(all.len());
    let mut elsewhere = 0;
    for recipient in &all {
        match recipient {
            Value::Address(_, host) => *at_host.entry(host).or_default() += 1,
            _ => elsewhere += 1,
        }
    }
    let amount = |host: &Value<'_>| match host {
        Value::Name(host) => at_host.get(host).copied().unwrap_or(elsewhere),
        _ => elsewhere,
    };
    Amounts::Each(identities.values(Identity::RcptHost).iter().map(amount).collect())
}
