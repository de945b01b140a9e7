//! What may never refuse: how many different values an identity had of late, and the names of those that come near a limit.
//!
//! It has one table of the region, and a description of it that can be copied. It knows no text but the names it is given, and no limit.
//! Invariant: nothing here is asked when a decision is made.
//!
//! * `layout`: sizes and places   * `panes`: the last minute and hour   * `distinct`: how many   * `offenders`, `name`: who

mod distinct;
mod layout;
mod name;
mod offenders;
mod panes;

pub use layout::Layout;
pub use name::{NAME_BYTES, Name};
pub use offenders::{Offender, Snapshot};
pub use panes::Window;

use crate::key::Key;
use crate::region::{Region, Table};

/// A value that a check brings: place of its identity in the plan, and its key of no class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityKey {
    /// Place of the identity.
    pub place: usize,
    /// The key.
    pub key: Key,
}

/// A value that gets a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Which.
    pub seen: IdentityKey,
    /// As text.
    pub name: Name,
    /// When, µs of the check's clock.
    pub since_us: i64,
}

/// Observation of one policy.
#[derive(Debug)]
pub struct Stats {
    table: Table,
    layout: Layout,
    /// Whether its table is emptied just now.
    is_paused: bool,
    /// For each identity the place of the one whose values are counted under its names.
    elements: Box<[Option<usize>]>,
}

impl Stats {
    /// In `table`, which has [`Layout::bytes`]; `elements` has an entry for each identity.
    pub fn new(table: Table, layout: Layout, elements: Box<[Option<usize>]>) -> Self {
        Self { table, layout, is_paused: false, elements }
    }

    /// Sizes and places.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// From now on it notes nothing and knows nobody.
    pub fn pause(&mut self) {
        self.is_paused = true;
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Notes a check: every value that it brought, and what it came to.
    #[inline]
    pub fn note(&self, region: &mut Region, seen: &[IdentityKey], admitted: bool, at_us: u64) {
        if self.is_paused {
            return;
        }
        let words = region.words_mut(&self.table);
        let row = panes::current_row(&self.layout, words, at_us);
        let shape = self.layout.shape;
        let registers: &mut [u8] = bytemuck::cast_slice_mut(&mut words[row..row + self.layout.registers()]);
        for IdentityKey { place, key } in seen {
            let (number, run) = shape.split(*key);
            let register = &mut registers[place * shape.registers() + number];
            *register = run.max(*register);
        }
        if offenders::any(words) {
            self.count(words, row, seen, admitted);
        }
    }

    #[inline]
    fn count(&self, words: &mut [u64], row: usize, seen: &[IdentityKey], admitted: bool) {
        for IdentityKey { place, key } in seen {
            if let Some(slot) = offenders::find(&self.layout, words, *place, *key) {
                offenders::count(&self.layout, words, row, (*place, slot), self.elements(*place, seen), admitted);
            }
        }
    }

    fn elements<'s>(&self, place: usize, seen: &'s [IdentityKey]) -> impl Iterator<Item = Key> + use<'s> {
        let element = self.elements[place];
        seen.iter().filter(move |seen| Some(seen.place) == element).map(|seen| seen.key)
    }

    /// Whether a value has a name already.
    pub fn is_named(&self, region: &Region, seen: &IdentityKey) -> bool {
        offenders::find(&self.layout, region.words(&self.table), seen.place, seen.key).is_some()
    }

    /// Gives names to values that have none, and counts the check that brought them. A value that got its name meanwhile stays as it is.
    pub fn enter(&self, region: &mut Region, newcomers: &[Newcomer], seen: &[IdentityKey], admitted: bool) {
        if self.is_paused {
            return;
        }
        let now_us = region.epoch().last_us;
        let words = region.words_mut(&self.table);
        let row = panes::current_row(&self.layout, words, now_us);
        for newcomer in newcomers {
            let IdentityKey { place, key } = newcomer.seen;
            if offenders::find(&self.layout, words, place, key).is_none() {
                let slot = offenders::enter(&self.layout, words, now_us, newcomer);
                offenders::count(&self.layout, words, row, (place, slot), self.elements(place, seen), admitted);
            }
        }
    }

    /// Room for [`Stats::gather`], to be taken before the lock.
    pub fn registers(&self) -> Registers {
        Registers(vec![0; self.layout.shape.registers() / 8])
    }

    /// Merges an identity's registers of a window that ends at `now_us`.
    pub fn gather(&self, region: &Region, place: usize, window: Window, now_us: u64, into: &mut Registers) {
        let (layout, words) = (&self.layout, region.words(&self.table));
        let gather = |row| distinct::gather(layout, words, row, place, &mut into.0);
        match window {
            Window::Minute => panes::minute_rows(layout, words, now_us).for_each(gather),
            Window::Hour => panes::hour_rows(layout, words, now_us).for_each(gather),
        }
    }

    /// How many different values what was gathered stands for.
    pub fn estimate(&self, gathered: &Registers) -> f64 {
        distinct::estimate(&self.layout, &gathered.0)
    }

    /// Room for [`Stats::copy`], to be taken before the lock.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.layout)
    }

    /// Copies the names of an identity as they are at `now_us`.
    pub fn copy(&self, region: &Region, place: usize, now_us: u64, into: &mut Snapshot) {
        into.take(&self.layout, region.words(&self.table), place, now_us);
    }

    /// The names that were copied, who sent most first.
    pub fn offenders(&self, place: usize, copied: &Snapshot) -> Vec<Offender> {
        copied.offenders(self.elements[place].is_some())
    }
}

/// Registers of a window, merged.
#[derive(Debug)]
pub struct Registers(Vec<u64>);
