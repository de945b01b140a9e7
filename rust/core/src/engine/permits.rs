//! Permits: what is held, and its release.
//!
//! Charges of rates stay when a permit is released: what was sent was sent. Knows no connection. Invariant: what a token holds was admitted in the step
//! that gave it, and nothing is released by time.

use super::Engine;
use crate::store::permits::Token;

impl Engine {
    /// Permits at once, unless stated: five times the messages that `inbound` lets be in flight, so that there is room for their connections too.
    pub const MAX_OPEN: u32 = 10_000;

    /// Most permits that can be stated.
    pub const MAX_OPEN_MOST: u32 = 1 << 24;

    /// Releases what a permit holds; `false` when [`Engine::begin`] came between and it holds nothing.
    #[expect(clippy::needless_pass_by_value, reason = "a token is good for one release")]
    pub fn release(&self, token: Token) -> bool {
        let mut region = self.shared.lock();
        let has_held = self.plan.in_flight.release(&mut region, &token);
        has_held
    }

    /// Starts with nothing held in the process of this `generation`, unless it has done so before: every token given earlier is void.
    ///
    /// A process begins as generation 0, and a forked child counts on: what the parent holds is not the child's.
    pub fn begin(&self, generation: u64) {
        let mut region = self.shared.lock();
        self.plan.in_flight.begin(&mut region, generation);
    }
}
