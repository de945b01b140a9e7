//! The entries of the policy (`[[allow]]` and `[[block]]`) in the access list: read at start and on reload.
//!
//! A reload replaces exactly the entries of the policy before. Entries made at run time stay, and are in force before
//! one of the policy for the same scope. An entry whose time is over is left out.
//!
//! Comments stay outside the region: nothing that checks mail reads them.

use std::collections::HashMap;
use std::sync::Arc;

use super::Engine;
use super::operators::access_entry;
use crate::plan::AccessTables;
use crate::policy::{Policy, PolicyEntry};
use crate::region::{Now, Region};
use crate::store::access_list::{AccessEntry, PackedText};
use crate::{error::PolicyError, identity::SuffixList, key::Key, key::Secret};

/// The entries of a policy, before they are in the access list.
pub(super) struct Lists {
    /// Each with its time of the calendar, in microseconds since the Unix epoch.
    entries: Vec<(AccessEntry, PackedText, Option<i64>)>,
    /// The remarks, by the keys of what the entries cover.
    pub(super) comments: Arc<HashMap<Key, String>>,
}

impl Engine {
    /// Reads the entries.
    ///
    /// # Errors
    /// An identity that cannot be listed, a value that is none of it, a value that is listed twice in one file.
    pub(super) fn read_lists(policy: &Policy, suffixes: &SuffixList, secret: &Secret) -> Result<Lists, PolicyError> {
        let mut listed: HashMap<Key, (usize, &PolicyEntry)> = HashMap::new();
        let mut entries = Vec::new();
        for stated in &policy.entries {
            let PolicyEntry { identity, value, action, .. } = stated;
            let (entry, text) = access_entry(*identity, value, *action, suffixes, secret).map_err(|error| {
                let argument = error.field.as_deref().unwrap_or("value");
                // The argument of `allow` is a field here.
                let allowed = error.allowed.replace("unverified=True", "unverified = true");
                let field = Some(format!("{}.{argument}", stated.list()));
                PolicyError {
                    field,
                    found: error.found,
                    allowed,
                    suggestion: error.suggestion,
                    ..stated.place(&policy.file)
                }
            })?;
            let (entry, until_us) =
                (AccessEntry { is_of_policy: true, ..entry }, stated.until.as_ref().map(|until| until.us));
            match listed.get(&entry.key) {
                // The entry of the file that extends replaces that of its base, which comes first.
                Some((place, first)) if first.file != stated.file => {
                    entries[*place] = (entry, text, until_us);
                    listed.insert(entry.key, (*place, stated));
                }
                Some((_, first)) => {
                    let line = first.line.map(|line| format!(", first in line {line}")).unwrap_or_default();
                    let (found, allowed) =
                        (format!("{value:?} a second time{line}"), "each value once in a file".into());
                    let field = Some(format!("{}.value", stated.list()));
                    return Err(PolicyError { field, found, allowed, ..stated.place(&policy.file) });
                }
                None => {
                    listed.insert(entry.key, (entries.len(), stated));
                    entries.push((entry, text, until_us));
                }
            }
        }
        let comments = listed.iter().filter_map(|(key, (_, stated))| Some((*key, stated.comment.clone()?)));
        Ok(Lists { comments: Arc::new(comments.collect()), entries })
    }

    /// Replaces the entries of the policy in the access list. `now` tells which have ended; if it is
    /// missing, engine time does.
    ///
    /// # Errors
    /// There is no room for so many entries; then nothing is changed.
    pub(super) fn put_lists(&self, policy: &Policy, lists: &Lists, now: Option<Now>) -> Result<(), PolicyError> {
        let mut region = self.shared.lock();
        let epoch = region.header().epoch;
        let epoch = now.map_or(epoch, |now| epoch.at(now));
        let us = |until_us: i64| until_us.saturating_add(epoch.offset_us).max(0).unsigned_abs();
        let entries = lists
            .entries
            .iter()
            .map(|(entry, text, until_us)| (AccessEntry { until_us: until_us.map_or(u64::MAX, us), ..*entry }, *text));
        let entries: Vec<_> = entries.filter(|(entry, _)| entry.holds(epoch.last_us)).collect();
        let Some(access) = self.plan.access else {
            return if entries.is_empty() { Ok(()) } else { Err(no_room(policy, entries.len(), 0, 0)) };
        };
        let put = access.list.replace_policy(&mut region, &entries, epoch.last_us);
        let is_changed = put.map_err(|room| no_room(policy, entries.len(), room, access.list.most - room))?;
        if is_changed {
            self.renew_entry_hints(access, &region);
        }
        Ok(())
    }

    /// Makes the hints of the entries anew. The caller holds the lock.
    pub(super) fn renew_entry_hints(&self, access: AccessTables, region: &Region) {
        self.shared.hints.entries.replace(&mut access.list.keys(region));
        self.shared.hints.set_entry_kinds(&bytemuck::cast(access.list.head(region).kinds));
    }
}

/// The error for more entries than there is room for, in addition to those made at run time.
fn no_room(policy: &Policy, entries: usize, room: usize, at_run_time: usize) -> PolicyError {
    let found = format!("{entries} entries in [[allow]] and [[block]]");
    let others =
        if at_run_time > 0 { format!(", in addition to {at_run_time} made at run time") } else { String::new() };
    let allowed = format!("at most {room} in this memory{others}; 256 KiB have room for some, 16 MiB for 1024");
    PolicyError { file: policy.file.clone(), found, allowed, ..PolicyError::default() }
}
