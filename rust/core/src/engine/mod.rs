//! One envelope, all its limits, one answer.
//!
//! ```text
//!  prepare  no lock    envelope → identities → keys → request; every line is prefetched
//!  transact the lock   consult everything; charge everything if all agree, else nothing
//!  finish   no lock    outcome → decision, and names for the values near a limit
//! ```
//!
//! Check, peek, admit, the steps of a session and explain take these three steps in this order. Refund prepares a
//! request, and then takes the lock to give charges back; report prepares a request, and then takes the lock to charge
//! what the server has found out. The engine knows the order of the steps; it knows no algorithm and no mail syntax.
//!
//! * This file: the engine, and [`Live`], whose policy can change while checks go on
//! * `request`: what `prepare` fills in   * `access`: operators' entries and limits' blocks, in all three steps
//! * `session`: one SMTP connection, and `refund`   * `limiter`: one table for any key
//! * `operators`: block, allow, reset, learn   * `lists`: the entries of the policy
//! * `report`: what a server finds out later   * `inspect`: tables, forecast, statistics
//! * `metrics`: what checks came to   * `explain`: a check in words
//! * `notices`: which limit began to refuse which key, for logs and alerts   * `diagnose`: what ties a surge together
//!
//! **Reload.** A check holds a read lock on the engine. A reload takes the write lock only to swap the plan. No check
//! sees two policies, and the old policy decides until the new one is ready.
//!
//! ```text
//!  reload:  compile  ──>  empty new tables in idle pages  ──>  write lock: empty those in pages of the old plan; swap
//! ```
//!
//! Where a new table needs the pages of the old plan, checks wait until these are empty: 2 to 13 ms at 256 MiB. The
//! limits stay in force: switched off meanwhile, they let 11 million messages of a held flood pass in 8 s
//! (`benches/reload.py`). The reload took so long because every pause for other threads of Python waits for their
//! turns, of 5 ms each.
//!
//! A caller that walks over whole tables clones the engine out of its lock, so that no change of policy waits for the
//! walk; [`each_page`](crate::region::SharedRegion::each_page) ends such a walk when the policy changes.

mod access;
mod diagnose;
mod explain;
mod finish;
mod inspect;
mod limiter;
mod lists;
mod metrics;
mod notices;
mod operators;
mod prepare;
mod report;
mod request;
mod session;
mod transaction;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

pub use crate::plan::LimitSet;
pub use explain::{Explained, ExplainedIdentity, Explanation, LimitState};
pub use finish::Decided;
pub use inspect::{Forecast, Loads, TableUse};
pub use limiter::{Hit, Limiter};
pub use metrics::{Counted, LimitMetrics, Metrics};
pub use notices::{Change, MOST_ENTRIES, MOST_ROWS, MOST_TEXT, Notice, QUIET_US, Read as ReadNotices};
pub use operators::{BlockError, Blocked, Lesson};
pub use request::{Found, Request};
pub use session::{Receipt, Session, Step};
pub use transaction::{Outcome, Purpose};

use notices::Notices;

use crate::diagnosis::samples::Samples;
use crate::identity::{Identities, Identity, Sources, SuffixList};
use crate::plan::{Plan, compile, recompile};
use crate::policy::{Mode, Policy};
use crate::region::{Now, PAGE_BYTES, SharedRegion};
use crate::{envelope::Envelope, error::PolicyError, key::Key, key::Secret};

/// A compiled policy over its memory. May be shared between threads.
#[derive(Debug)]
pub struct Engine {
    plan: Plan,
    secret: Secret,
    suffixes: Arc<SuffixList>,
    /// The mode that the policy states. [`Engine::mode`] returns the mode in force.
    stated_mode: Mode,
    /// The most recipients of one transaction.
    max_recipients: usize,
    /// The remarks of the policy's entries.
    comments: Arc<HashMap<Key, String>>,
    /// What limits refuse now, over all policies.
    notices: Arc<Notices>,
    /// The messages of the last minutes, over all policies, if they are sampled.
    samples: Option<Arc<Samples>>,
    shared: SharedRegion,
}

/// A guard of a policy that can be changed.
#[derive(Debug)]
pub struct Live {
    engine: RwLock<Arc<Engine>>,
}

/// Why a policy was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReloaded {
    /// The policy cannot be obeyed, or not without a restart.
    Wrong(PolicyError),
    /// Another change came first, and its policy is in force.
    Overtaken,
}

impl Engine {
    /// Allocates and touches everything that will ever be needed.
    ///
    /// # Errors
    /// [`PolicyError`] when the policy does not fit into `memory_bytes`.
    pub fn new(
        policy: &Policy, memory_bytes: u64, suffixes: Arc<SuffixList>, secret: Secret,
    ) -> Result<Self, PolicyError> {
        Self::with_max_open(policy, memory_bytes, suffixes, secret, Self::MAX_OPEN)
    }

    /// [`Engine::new`] with at most `max_open` permits at once, at least one.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn with_max_open(
        policy: &Policy, memory_bytes: u64, suffixes: Arc<SuffixList>, secret: Secret, max_open: u32,
    ) -> Result<Self, PolicyError> {
        Self::starting_at(policy, memory_bytes, suffixes, secret, max_open, Now::Stated(0))
    }

    /// [`Engine::with_max_open`], with the entries of the policy that have not ended at `now`.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn starting_at(
        policy: &Policy, memory_bytes: u64, suffixes: Arc<SuffixList>, secret: Secret, max_open: u32, now: Now,
    ) -> Result<Self, PolicyError> {
        let lists = Self::read_lists(policy, &suffixes, &secret)?;
        let max_open = max_open.clamp(1, Self::MAX_OPEN_MOST);
        let (plan, region) = compile(policy, memory_bytes, max_open, &suffixes, &secret)?;
        let engine = Self {
            plan,
            secret,
            suffixes,
            stated_mode: policy.mode,
            max_recipients: most_recipients(policy),
            comments: Arc::clone(&lists.comments),
            notices: Arc::default(),
            samples: None,
            shared: SharedRegion::new(region),
        };
        engine.put_lists(policy, &lists, Some(now))?;
        engine.set_mode(policy.mode);
        Ok(engine)
    }

    /// How many times the policy was changed before this one.
    pub(super) fn generation(&self) -> u64 {
        self.shared.generation
    }

    /// Returns the mode in force. In [`Mode::Shadow`] limits, entries and blocks are consulted and none of them
    /// refuses, whatever the mode of a limit.
    pub fn mode(&self) -> Mode {
        if self.shared.lock().is_shadow() { Mode::Shadow } else { Mode::Enforce }
    }

    /// Changes [`Engine::mode`], for this policy and those that follow.
    pub fn set_mode(&self, mode: Mode) {
        self.shared.lock().header_mut().shadow = u64::from(mode == Mode::Shadow);
    }

    /// The notices after the one of number `after`: which limit began to refuse which key, and which has stopped.
    pub fn notices(&self, after: u64, now: Now) -> ReadNotices {
        self.notices.read(after, now.us())
    }

    /// Bytes of all counters: exact, and constant.
    pub fn memory_bytes(&self) -> u64 {
        self.shared.bytes
    }

    /// Bytes of the index of values that have quotas: fixed with the policy, and outside [`Engine::memory_bytes`].
    pub fn quota_bytes(&self) -> u64 {
        self.plan.quota_bytes()
    }

    /// Every identity of `envelope` that is present, as text: those without parameters, and those that the policy
    /// names.
    pub fn identities(&self, envelope: &Envelope<'_>) -> Vec<(Identity, Vec<String>)> {
        self.named_identities(&Identities::read(envelope, &self.suffixes, Sources::ALL))
    }

    fn named_identities(&self, identities: &Identities<'_>) -> Vec<(Identity, Vec<String>)> {
        let others = self.observed().filter(|identity| !Identity::PLAIN.contains(identity));
        let texts = |identity| identities.values(identity).iter().map(ToString::to_string).collect::<Vec<_>>();
        let others = others.map(|identity| (identity, texts(identity))).filter(|(_, texts)| !texts.is_empty());
        identities.named().into_iter().chain(others).collect()
    }

    /// The plan and the memory, for tests that compare the memory word by word.
    #[doc(hidden)]
    pub fn parts(&self) -> (&Plan, &SharedRegion) {
        (&self.plan, &self.shared)
    }
}

impl Live {
    /// Begins with `engine`.
    pub fn new(engine: Engine) -> Self {
        Self { engine: RwLock::new(Arc::new(engine)) }
    }

    /// The engine of the policy in force. The caller must not hold it during anything slow: a change of policy waits
    /// for it, and all checks wait for the change.
    pub fn engine(&self) -> RwLockReadGuard<'_, Arc<Engine>> {
        // Nothing panics while it holds the lock for writing. Even then the engine would be the old or the new one.
        self.engine.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the policy and its suffix list. Limits that did not change keep their tables with all counts, permits
    /// stay held, and entries made at run time stay. `pause` runs every so many pages that are emptied.
    ///
    /// # Errors
    /// [`NotReloaded`]. When the policy is wrong, nothing has changed.
    pub fn reload(&self, policy: &Policy, suffixes: Arc<SuffixList>, pause: &dyn Fn()) -> Result<(), NotReloaded> {
        // Declared before the guard below, so that it is dropped after it: no check waits for that.
        let before = Arc::clone(&self.engine());
        let pages = (before.memory_bytes() / PAGE_BYTES) as u32;
        let lists = Engine::read_lists(policy, &suffixes, &before.secret).map_err(NotReloaded::Wrong)?;
        let next = recompile(&before.plan, pages, policy, &suffixes, &before.secret).map_err(NotReloaded::Wrong)?;
        let (mut plan, from) = (next.plan, next.from);
        let is_same_list = Arc::ptr_eq(&suffixes, &before.suffixes) || suffixes == before.suffixes;
        let since = plan.since(&from, &before.plan, before.generation() + 1, is_same_list);
        for (planned, since) in plan.limits.iter_mut().zip(since) {
            planned.since = since;
        }
        if !next.idle.iter().all(|table| before.shared.clear(table, pause)) {
            return Err(NotReloaded::Overtaken);
        }
        let mut current = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, &before) {
            return Err(NotReloaded::Overtaken);
        }
        // No operator makes an entry meanwhile: that takes the lock for reading.
        before.put_lists(policy, &lists, None).map_err(NotReloaded::Wrong)?;
        let next = Engine {
            plan,
            secret: before.secret.clone(),
            suffixes,
            stated_mode: policy.mode,
            max_recipients: most_recipients(policy),
            comments: Arc::clone(&lists.comments),
            notices: Arc::clone(&before.notices),
            samples: before.samples.clone(),
            shared: before.shared.for_next_generation(&from, &next.used, &next.new_slots),
        };
        // A mode that was set by hand stays, unless this policy states another mode than the one before. No check
        // runs the new limits in the old mode.
        if policy.mode != before.stated_mode {
            next.set_mode(policy.mode);
        }
        *current = Arc::new(next);
        Ok(())
    }
}

/// The most recipients that a policy lets one transaction have.
fn most_recipients(policy: &Policy) -> usize {
    policy.max_recipients.map_or(usize::MAX, |most| most as usize)
}
