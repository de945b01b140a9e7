//! What of operators' words and of limits' blocks covers one envelope: for people.
//!
//! It looks where a check looks. Invariant: the word that decides a check is among what is told of it.

use super::Engine;
use super::check::key_text;
use super::marked::lets_pass;
use super::operators::Blocked;
use super::request::Request;
use crate::envelope::Envelope;
use crate::identity::{Identities, scope};
use crate::policy::Stages;
use crate::region::Now;
use crate::store::access_entry::AccessAction;

impl Engine {
    /// Operators' words in the order of the scopes, without those that let pass what is not proven; then the blocks of limits, in file order.
    pub(super) fn covering(&self, envelope: &Envelope<'_>, stages: Stages, now: Now) -> Vec<Blocked> {
        let marks = self.marks(stages);
        let (Some((seen, _)), Some(marked)) = (marks, self.plan.marked) else { return Vec::new() };
        let identities = Identities::read(envelope, &self.suffixes, self.sources(stages, marks));
        let mut request = Request::default();
        self.ask_marked(&mut request, &identities, seen, stages);
        let Some(mut asked) = request.marks else { return Vec::new() };
        let mut texts = Vec::with_capacity(asked.scopes.len());
        scope::each(&identities, &asked.marks, |scope| texts.push(scope.to_string()));
        let mut entries = Vec::with_capacity(asked.scopes.len());
        let now_us = {
            let (region, epoch) = self.shared.at(now, false);
            entries.extend(asked.scopes.iter().map(|key| marked.listed.get(&region, *key, epoch.last_us)));
            for blocked in &mut asked.blocked {
                blocked.until_us = marked.blocks.until_us(&region, &blocked.at, blocked.key, epoch.last_us);
            }
            epoch.last_us
        };
        let left = |until_us: u64| (until_us < u64::MAX).then(|| until_us - now_us);
        let said = entries.into_iter().zip(texts).filter_map(|(entry, value)| {
            let entry = entry.filter(|entry| entry.word == AccessAction::Block || lets_pass(*entry, asked.class))?;
            Some(Blocked {
                identity: super::marked::identity_of(entry.identity).to_string(),
                value: Some(value),
                left_us: left(entry.until_us),
                by: None,
                word: entry.word,
            })
        });
        let blocks = asked.blocked.iter().filter_map(|blocked| {
            let planned = &self.plan.limits[usize::from(blocked.limit)];
            Some(Blocked {
                identity: planned.per_name.to_string(),
                value: Some(key_text(&identities, planned, blocked.nth, None)),
                left_us: left(blocked.until_us?),
                by: Some(planned.name.to_string()),
                word: AccessAction::Block,
            })
        });
        said.chain(blocks).collect()
    }
}
