//! What is open: a record for each permit, of what it holds and for whom.
//!
//! **Idea.** At most `max_open` records in a list of free ones. A permit is released by its token, once: a record remembers the serial number of
//! its permit, numbers are never given twice, and a token of another number releases nothing. So is one from before [`Permits::begin`], as
//! in a forked child: what its parent holds is not the child's.
//!
//! ```text
//!  header's last line    open │ last serial │ void up to │ generation │ first free record │ records ever used
//!  table                 counts of limits that have one key in all, a word a limit; then the records
//!  record                serial, 0 when free │ limits that it is held under, a bit each │ bytes │ a key a tally
//!                        a free one: 0 │ next free record
//! ```
//!
//! **Cost.** One cache line to take, one to give back. **Bound.** Exact. A policy without in-flight limits has no records: permits are only counted.
//!
//! **Source.** A free list in the records themselves; serial numbers against a token that is shown twice: generational indices.
//!
//! **Dropped.** What is held kept only in the permit itself: then nobody could let go of what a process held that is no more.

use crate::key::Key;
use crate::region::{OpenPermits, PAGE_BYTES, Region, Table};

/// Counts of limits before the records: one for every limit that a policy can have.
pub const COUNTS: usize = 64;

/// Words of a record before its keys.
const HEAD: usize = 3;

/// The right to release what one permit holds, once.
#[must_use = "what it holds stays held until it is released"]
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    serial: u64,
    record: u32,
}

/// What a permit holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The limits, a bit each.
    pub limits: u64,
    /// What those that count bytes count.
    pub bytes: u64,
}

/// The permits of a guard.
#[derive(Clone, Copy, Debug)]
pub struct Permits {
    most: u64,
    /// Absent when nothing can be held.
    table: Option<Table>,
    tallies: usize,
}

impl Permits {
    /// Bytes of the table.
    pub fn bytes(most: u64, tallies: usize) -> u64 {
        ((COUNTS as u64 + most * (HEAD + tallies) as u64) * 8).next_multiple_of(PAGE_BYTES)
    }

    /// At most `most` at once, with records in `table`, which has [`Permits::bytes`].
    pub fn new(most: u64, table: Option<Table>, tallies: usize) -> Self {
        debug_assert!(table.is_none_or(|table| table.bytes() >= Self::bytes(most, tallies)));
        Self { most, table, tallies }
    }

    /// The table.
    pub fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// Most at once.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// How many there are.
    pub fn open(region: &Region) -> u64 {
        region.permits().open
    }

    /// Whether there is one more.
    #[inline]
    pub fn has_room(&self, region: &Region) -> bool {
        Self::open(region) < self.most
    }

    /// What is counted of a limit that has one key in all.
    #[inline]
    pub fn count(&self, region: &Region, limit: usize) -> u64 {
        self.table.as_ref().map_or(0, |table| region.words(table)[limit])
    }

    /// The same, to be written.
    pub fn count_mut<'r>(&self, region: &'r mut Region, limit: usize) -> Option<&'r mut u64> {
        region.words_mut(self.table.as_ref()?).get_mut(limit)
    }

    /// One more; asked only when [`Permits::has_room`]. `keys` are those of `held`, in the order of the tallies.
    pub fn take(&self, region: &mut Region, held: &Held, keys: impl Iterator<Item = (usize, Key)>) -> Token {
        let mut known = *region.permits();
        known.open += 1;
        known.last_serial += 1;
        let serial = known.last_serial;
        let Some(table) = &self.table else {
            region.set_permits(known);
            return Token { serial, record: 0 };
        };
        let (record, place);
        if known.first_free > 0 {
            record = known.first_free - 1;
            place = self.place(record);
            known.first_free = region.words(table)[place + 1];
        } else {
            record = known.ever_used;
            place = self.place(record);
            known.ever_used += 1;
        }
        region.set_permits(known);
        let words = region.words_mut(table);
        words[place] = serial;
        words[place + 1] = held.limits;
        words[place + 2] = held.bytes;
        for (tally, key) in keys {
            words[place + HEAD + tally] = key.0;
        }
        Token { serial, record: u32::try_from(record).unwrap_or(u32::MAX) }
    }

    /// What the permit of `token` holds, when it still does.
    pub fn held(&self, region: &Region, token: &Token) -> Option<Held> {
        if token.serial <= region.permits().void_up_to {
            return None;
        }
        let Some(table) = &self.table else { return Some(Held::default()) };
        let words = region.words(table).get(self.place(token.record.into())..)?;
        (words.first() == Some(&token.serial)).then(|| Held { limits: words[1], bytes: words[2] })
    }

    /// Its key in a tally.
    pub fn key(&self, region: &Region, token: &Token, tally: usize) -> Key {
        let place = self.place(token.record.into()) + HEAD + tally;
        Key(self.table.as_ref().map_or(0, |table| region.words(table)[place]))
    }

    /// Gives the record back; asked only when [`Permits::held`] says that it is the token's.
    pub fn give_back(&self, region: &mut Region, token: &Token) {
        let mut known = *region.permits();
        known.open = known.open.saturating_sub(1);
        let next_free = known.first_free;
        if self.table.is_some() {
            known.first_free = u64::from(token.record) + 1;
        }
        region.set_permits(known);
        let Some(table) = &self.table else { return };
        let place = self.place(token.record.into());
        let words = region.words_mut(table);
        words[place] = 0;
        words[place + 1] = next_free;
    }

    /// Begins anew in the process of this `generation`, unless it has: every token given before is void. Whether it did.
    pub fn begin(&self, region: &mut Region, generation: u64) -> bool {
        let known = *region.permits();
        if known.generation == generation {
            return false;
        }
        let last_serial = known.last_serial;
        region.set_permits(OpenPermits { generation, last_serial, void_up_to: last_serial, ..OpenPermits::default() });
        if let Some(table) = &self.table {
            region.words_mut(table).fill(0);
        }
        true
    }

    fn place(&self, record: u64) -> usize {
        COUNTS + record as usize * (HEAD + self.tallies)
    }
}
