//! A set of a policy's own limits, which are at most 64. A quota counts as the limit that it belongs to.

use crate::bitset::{Member, Set};
use crate::policy::MAX_LIMITS;

const _: () = assert!(MAX_LIMITS <= u64::BITS as usize);

/// A set of limits by their index in the policy.
pub type LimitSet = Set<u16>;

impl Member for u16 {
    const COUNT: u32 = MAX_LIMITS as u32;

    #[inline]
    fn place(self) -> u32 {
        self.into()
    }

    #[inline]
    fn at(place: u32) -> Self {
        place as Self
    }
}
