//! Notices: which limit began to refuse which key, and which stopped. They are for logs and alerts, which must not
//! write a line for each refused message.
//!
//! **Idea.** A row for each limit and key that is refused now. The first refusal of a key makes a row and the notice
//! "began"; later ones only count. A key that was not refused for [`QUIET_US`] has stopped: the next reader of notices
//! finds that out, or a new key that needs the row. It removes the row, and adds the notice "stopped" with the time of
//! the last refusal. No thread is needed.
//!
//! ```text
//!  refusal:  row of (limit, key) ← count, time      no row: a new one, and "began"
//!                                                   no room: untracked; the challenger of its slot ← count
//!  challenger refused twice as often as the least of eight rows: "displaced", and "began" for the challenger
//!  read:     each row that was quiet for ten minutes → "stopped"; then the entries after the reader's serial number
//! ```
//!
//! **Displacement.** Somebody could make [`MOST_ROWS`] keys be refused, and then nobody would be told of a later
//! offender. So a key without a row may take one. Each of [`CHALLENGERS`] slots follows one such key, by majority vote
//! (Boyer and Moore, "A fast majority vote algorithm", 1991): a refusal of the key counts up, one of another key of the
//! slot counts down, and at zero the other key takes the slot. At 16, 32, 64, … refusals the key is compared with
//! [`SAMPLED`] rows. It displaces the one that was refused least, if it was itself refused at least twice as often. Of
//! a row, what was refused ten minutes ago counts half, twenty minutes ago a quarter, and so on. So a key gets a row
//! when it is refused more often than all other keys without a row in its slot together, and twice as often as the
//! least of its sampled rows was lately. To keep it out costs an attacker as many refusals as it has. The hash is
//! secret, so nobody knows which keys share a slot. Dropped: a new key that takes the row of the quietest one at once
//! (Space-Saving). Each of many invented keys would displace another.
//!
//! **Bound.** At most [`MOST_ROWS`] keys at once, however many names an attacker invents. A displacement at least
//! doubles the count of a row, so n refusals in ten minutes begin at most `MOST_ROWS × (1 + log2 n)` notices. The last
//! [`MOST_ENTRIES`] notices are kept, and a reader learns how many it has missed. A key's text is cut at [`MOST_TEXT`]
//! bytes. All memory is allocated at construction, except that of limits' names.
//!
//! **Cost.** An admitted check that is near no limit does not come here. A refused one takes a lock of its own and one
//! look-up for each limit that refuses; one that displaces a row, or tries to, eight more.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::key::Key;

/// How long a key must not be refused before it has stopped: ten minutes, as long as the burst of most limits lasts.
pub const QUIET_US: i64 = 600_000_000;

/// The most keys that are followed at once.
pub const MOST_ROWS: usize = 256;

/// How many keys without a row are followed by majority vote.
const CHALLENGERS: usize = 32;

/// Of how many rows a challenger displaces the one that was refused least.
const SAMPLED: usize = 8;

/// The fewest refusals of a challenger that displaces a row.
const LEAST_CHALLENGE: u64 = 16;

/// The most notices that are kept.
pub const MOST_ENTRIES: usize = 1024;

/// The most bytes of a key's text.
pub const MOST_TEXT: usize = 256;

/// What a notice tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A limit began to refuse a key.
    Began,
    /// A limit stopped refusing a key, when it was refused for the last time.
    Stopped,
    /// A key that is refused is followed no more, because another one was refused more often.
    Displaced,
}

/// One notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its number: each notice has one more than the one before, and the first has 1.
    pub serial: u64,
    /// What it tells.
    pub change: Change,
    /// The time of the first refusal, in microseconds of the caller's clock.
    pub since_us: i64,
    /// The time of the last refusal until then.
    pub until_us: i64,
    /// The limit.
    pub limit: Arc<str>,
    /// Its identities by name.
    pub identity: Arc<str>,
    /// The key, as refusals tell it.
    pub key: String,
    /// How many checks of the key were refused from the first to the last refusal; at least so many, if it displaced
    /// another one.
    pub refused: u64,
    /// Whether the limit is in shadow mode, and admitted what it would have refused.
    pub is_shadow: bool,
}

/// What a reader gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// The notices after the reader's serial number, the oldest first.
    pub entries: Vec<Notice>,
    /// The keys that are refused now: the notice "began" of each, with the number of refusals so far. The oldest first.
    pub refusing: Vec<Notice>,
    /// How many notices after that number are gone.
    pub overwritten: u64,
    /// The number of the latest notice, 0 before the first.
    pub last: u64,
    /// How many refusals of keys had no row at that time, since there are as many keys as rows.
    pub untracked: u64,
}

/// The keys that are refused now, and the latest notices.
#[derive(Debug)]
pub(super) struct Notices(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Rows by the hash of limit and key.
    rows: HashMap<u64, Row>,
    /// The hashes of all rows, in no order.
    hashes: Vec<u64>,
    challengers: [Challenger; CHALLENGERS],
    entries: VecDeque<Notice>,
    last: u64,
    untracked: u64,
    /// Before this time no row is quiet, so a search for one is of no use.
    full_until_us: i64,
}

#[derive(Debug)]
struct Row {
    /// The notice "began", with what was refused so far.
    notice: Notice,
    /// Its index in `hashes`.
    index: usize,
    /// Its refusals, halved every [`QUIET_US`] since `halved_us`: what it was refused long ago protects no row.
    weight: u64,
    halved_us: i64,
}

impl Row {
    /// The weight at `now_us`.
    fn weight(&mut self, now_us: i64) -> u64 {
        let halvings = now_us.saturating_sub(self.halved_us) / QUIET_US;
        if halvings > 0 {
            self.weight >>= halvings.min(63);
            self.halved_us += halvings * QUIET_US;
        }
        self.weight
    }
}

/// A key without a row. The default is no key.
#[derive(Clone, Copy, Debug, Default)]
struct Challenger {
    hash: u64,
    /// Refusals of the key, less those of other keys of the slot meanwhile.
    refused: u64,
    since_us: i64,
    until_us: i64,
}

/// What refused a check: a limit and one of its keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusing<'l> {
    /// A hash of the limit's name and the key, so that a limit which a reload has changed counts on.
    pub key: Key,
    /// The limit.
    pub limit: &'l Arc<str>,
    /// Its identities by name.
    pub identity: &'l Arc<str>,
    /// Whether it is in shadow mode.
    pub is_shadow: bool,
}

impl Default for Notices {
    fn default() -> Self {
        Self(Mutex::new(State {
            rows: HashMap::with_capacity(MOST_ROWS),
            hashes: Vec::with_capacity(MOST_ROWS),
            challengers: [Challenger::default(); CHALLENGERS],
            entries: VecDeque::with_capacity(MOST_ENTRIES),
            last: 0,
            untracked: 0,
            full_until_us: i64::MIN,
        }))
    }
}

impl Notices {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal at `now_us`. `text` makes the text of the key, when it is needed.
    pub(super) fn refused(&self, refusing: Refusing<'_>, now_us: i64, text: impl FnOnce() -> String) {
        let mut state = self.state();
        let hash = refusing.key.0;
        if let Some(row) = state.rows.get_mut(&hash) {
            if now_us.saturating_sub(row.notice.until_us) < QUIET_US {
                row.notice.refused += 1;
                row.notice.until_us = row.notice.until_us.max(now_us);
                row.weight = row.weight(now_us) + 1;
                return;
            }
            state.remove(hash, Change::Stopped);
        }
        if state.rows.len() == MOST_ROWS && now_us >= state.full_until_us {
            state.stop_quiet(now_us);
        }
        let (mut since_us, mut refused) = (now_us, 1);
        if state.rows.len() == MOST_ROWS {
            state.untracked += 1;
            let Some(challenger) = state.challenge(hash, now_us) else { return };
            (since_us, refused) = (challenger.since_us, challenger.refused);
        }
        drop(state);
        // The text is made without the lock.
        let key = clipped(text());
        let (limit, identity) = (Arc::clone(refusing.limit), Arc::clone(refusing.identity));
        let is_shadow = refusing.is_shadow;
        let (change, until_us) = (Change::Began, now_us);
        let notice = Notice { serial: 0, change, since_us, until_us, limit, identity, key, refused, is_shadow };
        let mut state = self.state();
        if let Some(Row { notice, .. }) = state.rows.get_mut(&hash) {
            notice.refused += refused; // another thread was faster
        } else if state.rows.len() == MOST_ROWS {
            state.untracked += 1;
        } else {
            let (notice, index) = (state.push(notice), state.hashes.len());
            state.rows.insert(hash, Row { notice, index, weight: refused, halved_us: now_us });
            state.hashes.push(hash);
        }
    }

    /// The number of the latest notice, 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.state().last
    }

    /// Finds out which keys have stopped by `now_us`, and returns the notices after the one of number `after`.
    pub(super) fn read(&self, after: u64, now_us: i64) -> Read {
        let mut state = self.state();
        state.stop_quiet(now_us);
        let State { rows, entries, last, untracked, .. } = &*state;
        let mut refusing: Vec<_> = rows.values().map(|row| row.notice.clone()).collect();
        refusing.sort_unstable_by_key(|notice| notice.serial);
        let first = entries.front().map_or(*last + 1, |notice| notice.serial);
        Read {
            entries: entries.iter().filter(|notice| notice.serial > after).cloned().collect(),
            refusing,
            overwritten: first.saturating_sub(after.saturating_add(1)),
            last: *last,
            untracked: *untracked,
        }
    }
}

impl State {
    /// Adds a notice with the next number, and returns it.
    fn push(&mut self, mut notice: Notice) -> Notice {
        self.last += 1;
        notice.serial = self.last;
        if self.entries.len() == MOST_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(notice.clone());
        notice
    }

    /// Removes the rows of all keys that have stopped by `now_us`.
    fn stop_quiet(&mut self, now_us: i64) {
        let mut last: Vec<(i64, u64)> = self.rows.iter().map(|(hash, row)| (row.notice.until_us, *hash)).collect();
        last.sort_unstable();
        for (last_us, hash) in last {
            let quiet_from_us = last_us.saturating_add(QUIET_US);
            if now_us < quiet_from_us {
                self.full_until_us = quiet_from_us;
                break;
            }
            self.remove(hash, Change::Stopped);
        }
    }

    /// Counts a refusal of a key without a row while all rows are taken. Returns the key's count when it has just
    /// displaced a row.
    #[cold]
    fn challenge(&mut self, hash: u64, now_us: i64) -> Option<Challenger> {
        let slot = &mut self.challengers[(hash >> 32) as usize % CHALLENGERS];
        if slot.hash != hash {
            if slot.refused > 0 && now_us.saturating_sub(slot.until_us) < QUIET_US {
                slot.refused -= 1;
                return None;
            }
            *slot = Challenger { hash, refused: 0, since_us: now_us, until_us: now_us };
        }
        slot.refused += 1;
        slot.until_us = slot.until_us.max(now_us);
        let challenger = *slot;
        if challenger.refused < LEAST_CHALLENGE || !challenger.refused.is_power_of_two() {
            return None;
        }
        let sampled = self.hashes.iter().cycle().skip(hash as usize % MOST_ROWS).take(SAMPLED);
        let rows = &mut self.rows;
        let weights = sampled.map(|hash| (rows.get_mut(hash).map_or(0, |row| row.weight(now_us)), *hash));
        let (least, displaced) = weights.min()?;
        if challenger.refused < 2 * least {
            return None;
        }
        slot.refused = 0;
        self.remove(displaced, Change::Displaced);
        Some(challenger)
    }

    /// Removes the row at a hash, and tells why.
    fn remove(&mut self, hash: u64, change: Change) {
        let Some(Row { notice, index, .. }) = self.rows.remove(&hash) else { return };
        self.hashes.swap_remove(index);
        if let Some(moved) = self.hashes.get(index).and_then(|hash| self.rows.get_mut(hash)) {
            moved.index = index;
        }
        self.push(Notice { change, ..notice });
    }
}

/// A text of at most [`MOST_TEXT`] bytes.
fn clipped(mut text: String) -> String {
    if text.len() > MOST_TEXT {
        let end = (0..=MOST_TEXT).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
        text.truncate(end);
    }
    text
}
