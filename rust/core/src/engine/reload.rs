//! An engine whose policy can be changed while checks go on.
//!
//! A check holds the engine for reading, from its first look at the plan to its last line; a change of policy takes it
//! for writing for as long as it takes to put another plan in its place. All that is slow about a change is done
//! before: compiling, and emptying the tables of new limits, which nobody uses meanwhile. So a check waits for one
//! check at most, and none ever sees half of a policy.
//!
//! ```text
//!  reload:  old ──swap──> between: limits that stay ──empty the pages of the others──swap──> new
//! ```
//!
//! Until its pages are empty, some milliseconds, a new or changed limit counts nothing and refuses nothing. Whoever
//! walks over whole tables takes the engine out, so that nobody waits for that;
//! [`each_page`](crate::region::SharedRegion::each_page) ends such a walk when the policy changes.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::Engine;
use super::inspect::TableUse;
use crate::error::PolicyError;
use crate::identity::SuffixList;
use crate::plan::recompile;
use crate::policy::Policy;
use crate::region::PAGE_BYTES;

/// A guard of a policy that can be changed.
#[derive(Debug)]
pub struct Live {
    engine: RwLock<Arc<Engine>>,
}

/// Why a policy was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReloaded {
    /// It cannot be obeyed, or not without a restart.
    Wrong(PolicyError),
    /// Another change came between, and holds.
    Overtaken,
}

impl Live {
    /// Begins with `engine`.
    pub fn new(engine: Engine) -> Self {
        Self { engine: RwLock::new(Arc::new(engine)) }
    }

    /// The engine of the policy at this moment. Not to be held across anything slow: a change of policy waits, and all
    /// others wait for that.
    #[inline]
    pub fn engine(&self) -> RwLockReadGuard<'_, Arc<Engine>> {
        // Nothing that holds it for writing panics; should it ever, the engine is one or the other.
        self.engine.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// [`Engine::tables`], without holding up a change of policy.
    pub fn tables(&self, pause: &dyn Fn()) -> Vec<TableUse> {
        let engine = Arc::clone(&self.engine());
        engine.tables(pause)
    }

    /// Changes the policy; `suffixes` go with it. Limits that did not change keep their counts and their share, and
    /// everything that is open stays open. `pause` runs every so many pages that are emptied.
    ///
    /// # Errors
    /// [`NotReloaded`]. After a wrong one nothing has changed.
    pub fn reload(&self, policy: &Policy, suffixes: Arc<SuffixList>, pause: &dyn Fn()) -> Result<(), NotReloaded> {
        let mut engine = Arc::clone(&self.engine());
        let pages = (engine.memory_bytes() / PAGE_BYTES) as u32;
        let steps = recompile(&engine.plan, pages, policy, &suffixes, &engine.secret).map_err(NotReloaded::Wrong)?;
        for mut step in steps {
            let is_same_list = Arc::ptr_eq(&suffixes, &engine.suffixes) || suffixes == engine.suffixes;
            let since = step.plan.since(&step.from, &engine.plan, engine.generation() + 1, is_same_list);
            for (planned, since) in step.plan.limits.iter_mut().zip(since) {
                planned.since = since;
            }
            if !step.fresh.iter().all(|table| engine.shared.clear(table, pause)) {
                return Err(NotReloaded::Overtaken);
            }
            let mut current = self.engine.write().unwrap_or_else(PoisonError::into_inner);
            if !Arc::ptr_eq(&current, &engine) {
                return Err(NotReloaded::Overtaken);
            }
            let next = Engine {
                plan: step.plan,
                secret: engine.secret.clone(),
                suffixes: Arc::clone(&suffixes),
                stated_mode: policy.mode,
                shared: engine.shared.for_next_generation(&step.from),
            };
            // A mode that was set by hand stays, unless this policy says another than the one before. No check sees its
            // limits in the mode of that one.
            if policy.mode != engine.stated_mode {
                next.set_mode(policy.mode);
            }
            let next = Arc::new(next);
            *current = Arc::clone(&next);
            drop(current);
            // The one before is taken apart only now: nobody waits for it.
            engine = next;
        }
        Ok(())
    }
}
