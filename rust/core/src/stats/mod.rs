//! Statistics that never refuse: how many different values an identity had in the last minute and the last hour, and
//! the names of those that come near a limit.
//!
//! They have one table of the region, and a description of it that can be copied. They know no limit, and no text
//! except the names of offenders, which the caller passes. Invariant: no decision depends on anything here.
//!
//! * `layout`: the parts of the table, and the panes of time   * `offenders`: names, and what they sent
//!
//! **Distinct values.** Every pane has one HyperLogLog for each identity. Every check, admitted or not, raises at most
//! one register for each value, in the current pane. It uses the keys that the limits have computed. The merged panes
//! of a window are the sketch of all keys of the window.
//!
//! ```text
//!  note(key):  (number, run) ← the key's bits;  register ← max(register, run)
//!              one byte a register, so that a pane is merged 16 at a time
//!  distinct:   the highest value of each register over the panes of the window;  Ertl's estimate, after the lock
//! ```
//!
//! **Cost.** One byte a value and check: 6 ns for five values (`cargo bench --bench stats`). **Size.** Ten bytes a
//! register: `layout` lists the rows. **Bound.** Relative standard error 1.04 / √m: 2.3 % at 2¹¹ registers, 13 % at the
//! smallest size, which only a memory of some ten pages gets.
//!
//! Keys carry no trust here: a name counts once, whether it is proven or claimed. An absent identity counts nothing.
//! Values without a normal form count as their tag: all MALFORMED ones as one value, and all OVERLONG ones as one.
//!
//! **Source.** `sketch/hyperloglog.rs`. **Dropped.** The martingale estimator: a window is a merge, and merged sketches
//! have none.

mod layout;
mod offenders;

pub use layout::{IdentityKey, Layout, Window, value_of};
pub use offenders::{NAME_BYTES, Name, Newcomer, Offender, Snapshot};

use self::layout::take_higher;
use crate::region::{Region, Table};

/// Statistics of one policy.
#[derive(Debug)]
pub struct Stats {
    /// The memory of all statistics.
    pub table: Table,
    /// The layout of the table.
    pub layout: Layout,
    /// For each identity, what is counted for each offender.
    elements: Box<[Option<Elements>]>,
}

/// The elements of an identity's offenders: the values of the `distinct` identity of a fan-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elements {
    /// The place of the `distinct` identity.
    pub place: usize,
    /// Whether the fan-out knows elements again; one that refuses the whole key does not.
    pub are_remembered: bool,
}

impl Stats {
    /// Statistics in `table`, which has [`Layout::bytes`]; `elements` has an entry for each identity.
    pub fn new(table: Table, layout: Layout, elements: Box<[Option<Elements>]>) -> Self {
        Self { table, layout, elements }
    }

    /// Notes a check: every value that it brought, and whether it was admitted. `new` returns how many elements of a
    /// value's fan-out were new, by the places of the two identities and the number of the value.
    #[inline(always)]
    pub fn note(
        &self, region: &mut Region, values: &[IdentityKey], new: impl Fn(usize, usize, u32) -> u32, admitted: bool,
        at_us: u64,
    ) {
        let words = region.words_mut(&self.table);
        let row = self.layout.current_row(words, at_us);
        let shape = self.layout.shape;
        let registers: &mut [u8] = bytemuck::cast_slice_mut(&mut words[row..row + self.layout.registers]);
        for IdentityKey { place, key } in values {
            let (number, run) = shape.split(*key);
            let register = &mut registers[(place << shape.precision) + number];
            // Most values were seen before in this pane, and then the cache line stays clean.
            if run > *register {
                *register = run;
            }
        }
        if offenders::any(words) {
            for &value in values {
                if let Some(slot) = offenders::find(&self.layout, words, value) {
                    self.count(words, row, (value, slot), values, &new, admitted);
                }
            }
        }
    }

    fn count(
        &self, words: &mut [u64], row: usize, (value, slot): (IdentityKey, usize), values: &[IdentityKey],
        new: &impl Fn(usize, usize, u32) -> u32, admitted: bool,
    ) {
        let place = value.place;
        let element = self.elements[place];
        let elements = values.iter().filter(|value| element.is_some_and(|element| value.place == element.place));
        let new = element.filter(|element| element.are_remembered).map(|element| {
            let nth = values.iter().filter(|other| other.place == place).position(|other| *other == value);
            new(place, element.place, nth.unwrap_or(0) as u32)
        });
        offenders::count(&self.layout, words, row, (place, slot), elements.map(|value| value.key), new, admitted);
    }

    /// Whether a value has a name already.
    pub fn is_named(&self, region: &Region, value: &IdentityKey) -> bool {
        offenders::find(&self.layout, region.words(&self.table), *value).is_some()
    }

    /// Gives names to values that have none, and counts the check that brought them. A value that got its name from
    /// another check meanwhile stays as it is.
    pub fn enter(
        &self, region: &mut Region, newcomers: &[Newcomer], values: &[IdentityKey],
        new: impl Fn(usize, usize, u32) -> u32, admitted: bool,
    ) {
        let now_us = region.header().epoch.last_us;
        let words = region.words_mut(&self.table);
        let row = self.layout.current_row(words, now_us);
        for newcomer in newcomers {
            if offenders::find(&self.layout, words, newcomer.value).is_none() {
                let slot = offenders::enter(&self.layout, words, now_us, newcomer);
                self.count(words, row, (newcomer.value, slot), values, &new, admitted);
            }
        }
    }

    /// Allocates the registers for [`Stats::gather`], before the lock is taken.
    pub fn registers(&self) -> Vec<u64> {
        vec![0; self.layout.shape.registers() / 8]
    }

    /// Merges an identity's registers of a window that ends at `now_us`.
    pub fn gather(&self, region: &Region, place: usize, window: Window, now_us: u64, into: &mut [u64]) {
        let (layout, words) = (&self.layout, region.words(&self.table));
        let length = into.len();
        let merge = |row| take_higher(into, &words[row + place * length..][..length]);
        match window {
            Window::Minute => layout.minute_rows(words, now_us).for_each(merge),
            Window::Hour => layout.hour_rows(words, now_us).for_each(merge),
        }
    }

    /// Estimates the number of different values from the gathered registers.
    pub fn estimate(&self, gathered: &[u64]) -> f64 {
        self.layout.shape.estimate_of(bytemuck::cast_slice(gathered).iter().copied())
    }

    /// Copies the names of an identity as they are at `now_us`.
    pub fn copy(&self, region: &Region, place: usize, now_us: u64, into: &mut Snapshot) {
        into.take(&self.layout, region.words(&self.table), place, now_us);
    }

    /// The copied names, the one that sent most first.
    pub fn offenders(&self, place: usize, copied: &Snapshot) -> Vec<Offender> {
        copied.offenders(self.elements[place].is_some())
    }
}
