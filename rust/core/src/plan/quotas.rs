//! Quotas as limits with tables of their own, their values read as a sender's would be.
//!
//! Here, not where the file is read: what a value names depends on the suffix list.
//! Knows no tables. Invariant: a value that no sender can have is an error, not a quota that nobody gets.

use crate::error::PolicyError;
use crate::identity::parse_value::{NotAValue, parse_value};
use crate::identity::{Identity, SuffixList};
use crate::key::{Key, Secret};
use crate::policy::{Limit, Policy, Quota, Rule, WhenFull};
use crate::region::PAGE_BYTES;

/// Most quotas of a policy: a check looks each of its keys up among those of its limit.
pub(super) const MAX_QUOTAS: usize = 256;

/// A quota, as a limit with other numbers.
pub(super) struct PlannedQuota {
    /// Place of its limit in the policy.
    pub(super) of: usize,
    /// With the numbers of the quota.
    pub(super) limit: Limit,
    /// Keys of the value, one for each part of `per` that can have it.
    pub(super) keys: Vec<Key>,
}

/// A copy of `limit` with the numbers of a quota. It gets a table of its own; a single key needs only the smallest.
pub(super) fn with_quota(limit: &Limit, quota: &Quota) -> Limit {
    let mut copy = Limit { quotas: vec![quota.clone()], ..limit.clone() };
    match limit.rule {
        Rule::FanOut { .. } => {}
        // One page holds both keys, proven and claimed. It is never full, so there is nothing to sketch.
        Rule::Rate { .. } if limit.per.len() == 1 => {
            (copy.memory, copy.when_full) = (Some(PAGE_BYTES), WhenFull::Refuse)
        }
        // One page is for the keys, one for their registers.
        Rule::Distinct { .. } if limit.per.len() == 1 => copy.memory = Some(2 * PAGE_BYTES),
        Rule::Rate { .. } | Rule::Distinct { .. } | Rule::InFlight { .. } => copy.memory = None,
    }
    if let Some((rate, burst)) = copy.rule.rate_and_burst_mut() {
        (*rate, *burst) = (quota.rate, quota.burst);
    }
    copy
}

/// The quotas of all limits, their values read as a sender's would be.
pub(super) fn quotas(
    policy: &Policy,
    suffixes: &SuffixList,
    secret: &Secret,
) -> Result<Vec<PlannedQuota>, PolicyError> {
    let mut all: Vec<PlannedQuota> = Vec::new();
    for (of, limit) in policy.limits.iter().enumerate() {
        for quota in &limit.quotas {
            let wrong = |found: String, allowed: String| PolicyError {
                file: quota.file.as_ref().or(limit.file.as_ref()).unwrap_or(&policy.file).clone(),
                line: quota.line.or(limit.line),
                limit: Some(limit.name.clone()),
                field: Some("quota".into()),
                found,
                allowed,
                ..PolicyError::default()
            };
            let read = |identity: &Identity| parse_value(*identity, &quota.of, suffixes, |value| secret.key(value));
            let (mut keys, mut instead) = (Vec::new(), None);
            for identity in &limit.per {
                match read(identity) {
                    Ok(key) => keys.push(key),
                    Err(NotAValue::Is(other)) => instead = instead.or(Some((identity, other))),
                    Err(_) => {}
                }
            }
            if keys.is_empty() {
                let allowed = match instead {
                    Some((identity, other)) => format!("{other:?}, the {identity} that it has"),
                    None => format!("a value of {}", limit.per_name()),
                };
                return Err(wrong(format!("{:?}", quota.of), allowed));
            }
            if all.iter().any(|other| other.of == of && other.keys.iter().any(|key| keys.contains(key))) {
                return Err(wrong(format!("{:?} a second time", quota.of), "each value once".into()));
            }
            if all.len() == MAX_QUOTAS {
                let found = format!("a quota after the first {MAX_QUOTAS}");
                return Err(wrong(found, format!("at most {MAX_QUOTAS} quotas in a policy")));
            }
            all.push(PlannedQuota { of, limit: with_quota(limit, quota), keys });
        }
    }
    Ok(all)
}
