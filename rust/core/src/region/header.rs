//! The first page of the region: its magic and version, engine time, permits, and one counter for each limit.
//!
//! [`Header`] defines the name and the place of every word. [`Region::over`](super::Region::over) takes over pages that
//! were written earlier only after [`Header::check`]: pages with another magic or version are refused.
//!
//! Engine time never falls. It starts at zero, so a clock that starts below zero is a step back like any other.

use bytemuck::{Pod, Zeroable};

use super::PAGE_BYTES;
use crate::time::MAX_US;

/// Limits that the header has counters for.
pub const COUNTERS: usize = 434;

/// The first word of every region.
const MAGIC: u64 = u64::from_le_bytes(*b"throttle");

/// The layout of everything behind the magic; a change of any table's layout changes this number.
const VERSION: u64 = 2;

/// Words that nothing uses yet.
const RESERVED: usize = PAGE_BYTES as usize / size_of::<u64>() - 13 - COUNTERS;

/// The least step back of the clock that changes the offset. During a smaller step engine time stands still. One
/// second.
const STEP_US: u64 = 1_000_000;

/// All words of the first page.
#[repr(C, align(4096))]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Header {
    magic: u64,
    version: u64,
    /// Engine time.
    pub epoch: Epoch,
    /// How many times the policy over this region was changed.
    pub generation: u64,
    /// Engine time of the first check; zero before it.
    pub began_us: u64,
    /// Not zero while all limits are in shadow mode, regardless of their own modes.
    pub shadow: u64,
    /// Only [`Region::set_permits`](super::Region::set_permits) changes them, because a hint says whether any is open.
    pub(super) permits: OpenPermits,
    /// The number of charges of each limit that found no room.
    pub untracked: [u64; COUNTERS],
    _reserved: [u64; RESERVED],
}

const _: () = assert!(size_of::<Header>() as u64 == PAGE_BYTES);

/// The state of the permits. It is kept even when no limit has a table for them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct OpenPermits {
    /// Permits that are open now.
    pub open: u64,
    /// The serial number of the last permit taken.
    pub last_serial: u64,
    /// Permits up to this serial number are void.
    pub void_up_to: u64,
    /// The generation of the process that takes permits: how many forks led to it.
    pub generation: u64,
    /// The first record in the list of free ones, plus one; zero when the list is empty.
    pub first_free: u64,
    /// Records that were ever used.
    pub ever_used: u64,
}

/// Why pages cannot be used as a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotARegion {
    /// There is not even one page.
    Empty,
    /// The first word is not the magic: these pages belong to something else.
    OtherMagic(u64),
    /// The layout is that of another version.
    OtherVersion(u64),
}

impl Header {
    /// The header of a region in which nothing was counted yet.
    pub(super) fn new() -> Self {
        Self { magic: MAGIC, version: VERSION, ..Self::zeroed() }
    }

    /// Checks that the pages have the layout of this version of the crate.
    pub(super) fn check(&self) -> Result<(), NotARegion> {
        match (self.magic, self.version) {
            (MAGIC, VERSION) => Ok(()),
            (MAGIC, other) => Err(NotARegion::OtherVersion(other)),
            (other, _) => Err(NotARegion::OtherMagic(other)),
        }
    }
}

/// A time that the caller passes, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// Read from the clock: engine time runs as fast as the clock, but ignores its steps back.
    Clock(i64),
    /// Stated by the caller: engine time moves there, but never back.
    Stated(i64),
}

impl Now {
    /// The time in microseconds since the Unix epoch, wherever it comes from.
    pub fn us(self) -> i64 {
        let (Self::Clock(us) | Self::Stated(us)) = self;
        us
    }
}

/// Engine time, and how far it is from the clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Epoch {
    /// Engine time at the last check, µs.
    pub last_us: u64,
    /// The number that is added to the clock, µs: the sum of its steps back.
    pub offset_us: i64,
}

impl Epoch {
    /// `now` as engine time, µs.
    ///
    /// It is before [`Epoch::last_us`] when the clock went back, or when the caller states an earlier time.
    pub fn reads(self, now: Now) -> i64 {
        match now {
            Now::Clock(us) => us.saturating_add(self.offset_us),
            Now::Stated(us) => us,
        }
    }

    /// Engine time at `now`, and the offset as it is from then on.
    pub fn at(self, now: Now) -> Self {
        let (wanted, follows) = (self.reads(now), matches!(now, Now::Clock(_)));
        let reached = wanted.max(0).unsigned_abs().min(MAX_US);
        let last = i64::try_from(self.last_us).unwrap_or(i64::MAX);
        let behind = last.saturating_sub(wanted);
        if behind <= 0 {
            return Self { last_us: reached, ..self };
        }
        let stepped = follows && behind.unsigned_abs() >= STEP_US;
        let shift = if stepped { behind } else { 0 };
        Self { offset_us: self.offset_us.saturating_add(shift), ..self }
    }
}
