//! What a server finds out, and no envelope says: that a recipient does not exist, that a client failed to log in, that
//! a message is spam or carries a virus.
//!
//! ```text
//!  prepare   no lock    envelope → identities → keys, of the limits that count the report
//!  charge    the lock   now ← engine time; each key is charged one, at most until its counter is full
//! ```
//!
//! A limit with `count = "reports"` is charged here and nowhere else. A check consults it as it consults any rate, and
//! is refused while there is no room for one more report. So a limit that blocks does so at the next check that it
//! refuses, by the code of every other limit.
//!
//! **A report is never refused.** Each of its keys is charged by itself, whatever the others have room for, also in
//! shadow mode, and while the key is blocked or an operator's entry lets it pass: what happened is true in any case.
//! What does not fit is lost, so a client that continues while it is refused waits no longer for it.
//!
//! A report is no check: statistics do not count it, and it makes no element known. It is charged once for each key and
//! cannot be refunded.

use super::Engine;
use super::request::{Room, StageFilter};
use super::transaction::Purpose;
use crate::envelope::Envelope;
use crate::identity::{Identities, Identity};
use crate::plan::LimitSet;
use crate::policy::{Report, Stages};
use crate::region::Now;
use crate::store::request::Question;

impl Engine {
    /// Charges one to the keys of `envelope`, of every limit that counts `report`. Engine time moves as by a check.
    pub fn report(&self, envelope: &Envelope<'_>, report: Report, now: Now) {
        let counting = self.plan.applicable.reported(report);
        let read = counting.iter().flat_map(|limit| self.plan.limits[usize::from(limit)].limit.identities());
        let identities = Identities::read(envelope, &self.suffixes, read.map(Identity::source).collect());
        let mut room = Room::kept();
        let filter = StageFilter { without: LimitSet::ALL.minus(counting), ..StageFilter::default() };
        self.prepare_filtered(&mut room.request, &identities, None, Stages::ALL, Purpose::Admit, Some(&filter));
        let (mut region, epoch) = self.shared.at(now, true);
        region.count_report(report as usize);
        for entry in &room.request.stores.entries {
            let counter = self.plan.limits[usize::from(entry.limit)].store.rate_counter();
            let (Some(counter), Question::Rate { at, .. }) = (counter, &entry.question) else { continue };
            if !counter.charge_up_to_full(&mut region, at, epoch.last_us) {
                self.count_untracked(&mut region, entry.limit);
            }
        }
        drop(region);
        room.keep();
    }
}
