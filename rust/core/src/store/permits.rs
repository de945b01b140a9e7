//! Open permits: a record for each, of what it holds and for which keys.
//!
//! **Idea.** There are at most `max_open` records, and a list of the free ones. A permit is released by its token,
//! once: a record remembers the serial number of its permit, numbers are never given twice, and a token with another
//! number releases nothing. A token from before [`Permits::begin`] releases nothing either, as in a forked child:
//! what its parent holds is not the child's.
//!
//! ```text
//!  region's header   [`OpenPermits`]: how many are open, serial numbers, the list of free records
//!  table             a count for each limit that has a single key, a word a limit; then the records
//!  record            serial, 0 when free │ limits that it is held under, as bits │ bytes │ a key for each key counts
//!                    a free one: 0 │ next free record
//! ```
//!
//! **Cost.** One cache line to take, one to give back. **Bound.** Exact. A policy without in-flight limits has no
//! records: permits are only counted.
//!
//! **Source.** A free list in the records themselves; serial numbers against a token that is shown twice: generational
//! indices.
//!
//! **Dropped.** What is held kept only in the permit itself: then nothing could release what a process held that has
//! ended.

use crate::key::Key;
use crate::region::{OpenPermits, PAGE_BYTES, Region, Table};

/// Words for counts before the records: one for every limit that a policy can have.
pub const COUNTS: usize = 64;

/// Words of a record before its keys.
const HEAD: usize = 3;

/// The right to release, once, what a permit holds.
#[must_use = "what it holds stays held until it is released"]
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    serial: u64,
    record: u32,
}

/// What a permit holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The limits that it is held under, a bit each.
    pub limits: u64,
    /// The bytes that limits on bytes count.
    pub bytes: u64,
}

impl Held {
    /// The places of the limits that it is held under.
    #[inline]
    pub fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let mut left = self.limits;
        std::iter::from_fn(move || {
            let lowest = (left != 0).then(|| left.trailing_zeros() as usize);
            left &= left.wrapping_sub(1);
            lowest
        })
    }
}

/// The permits of one engine.
#[derive(Clone, Copy, Debug)]
pub struct Permits {
    most: u64,
    /// `None` when no limit counts what is in flight.
    table: Option<Table>,
    keys: usize,
}

impl Permits {
    /// Bytes of a table for `most` permits with `keys` keys each.
    pub fn bytes(most: u64, keys: usize) -> u64 {
        ((COUNTS as u64 + most * (HEAD + keys) as u64) * 8).next_multiple_of(PAGE_BYTES)
    }

    /// At most `most` permits at once, with records in `table`, which has [`Permits::bytes`].
    pub fn new(most: u64, table: Option<Table>, keys: usize) -> Self {
        debug_assert!(table.is_none_or(|table| table.bytes() >= Self::bytes(most, keys)));
        Self { most, table, keys }
    }

    /// The table.
    pub fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// Most permits at once.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// How many permits are open.
    pub fn open(region: &Region) -> u64 {
        region.permits().open
    }

    /// Whether one more permit can be given.
    #[inline]
    pub fn has_room(&self, region: &Region) -> bool {
        Self::open(region) < self.most
    }

    /// The count of a limit that has a single key (`global`).
    #[inline]
    pub fn count(&self, region: &Region, limit: usize) -> u64 {
        self.table.as_ref().map_or(0, |table| region.words(table)[limit])
    }

    /// Changes the count of a limit that has a single key.
    pub fn set_count(&self, region: &mut Region, limit: usize, count: u64) {
        if let Some(table) = &self.table {
            region.words_mut(table)[limit] = count;
        }
    }

    /// Gives a permit; the caller has checked [`Permits::has_room`]. `keys` are the keys that hold something, each with
    /// its place among the key counts.
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
        for (nth, key) in keys {
            words[place + HEAD + nth] = key.0;
        }
        Token { serial, record: u32::try_from(record).unwrap_or(u32::MAX) }
    }

    /// What the permit of `token` holds; `None` when it was released, or given before [`Permits::begin`].
    pub fn held(&self, region: &Region, token: &Token) -> Option<Held> {
        if token.serial <= region.permits().void_up_to {
            return None;
        }
        let Some(table) = &self.table else { return Some(Held::default()) };
        let words = region.words(table).get(self.place(token.record.into())..)?;
        (words.first() == Some(&token.serial)).then(|| Held { limits: words[1], bytes: words[2] })
    }

    /// The key that it holds something under, in the key counts at that place.
    pub fn key(&self, region: &Region, token: &Token, nth: usize) -> Key {
        let place = self.place(token.record.into()) + HEAD + nth;
        Key(self.table.as_ref().map_or(0, |table| region.words(table)[place]))
    }

    /// Frees the record of `token`; the caller has checked [`Permits::held`].
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

    /// Starts afresh in the process of this `generation`: every token given before is void. It returns `false`, and
    /// does nothing, when it has started in this process already.
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
        COUNTS + record as usize * (HEAD + self.keys)
    }
}
