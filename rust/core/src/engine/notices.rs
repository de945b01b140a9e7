//! Notices: which limit began to refuse which key, and which stopped. They are for logs and alerts, which must not
//! write a line for each refused message.
//!
//! **Idea.** A row for each limit and key that is refused now. The first refusal of a key makes a row and the notice
//! "began"; later ones only count. A key that was not refused for [`QUIET_US`] has stopped: the next reader of notices
//! finds that out, or a new key that needs the row. It removes the row, and adds the notice "stopped" with the time of
//! the last refusal. No thread is needed.
//!
//! ```text
//!  refusal:  row of (limit, key) ← count, time      no row: a new one, and "began"; no room: untracked
//!  read:     each row that was quiet for ten minutes → "stopped"; then the entries after the reader's serial number
//! ```
//!
//! **Bound.** At most [`MOST_ROWS`] keys at once, so at most that many begin in ten minutes, however many names an
//! attacker invents. The last [`MOST_ENTRIES`] notices are kept, and a reader learns how many it has missed. A key's
//! text is cut at [`MOST_TEXT`] bytes. All memory is allocated at construction, except that of limits' names.
//!
//! **Cost.** An admitted check that is near no limit does not come here. A refused one takes a lock of its own and one
//! look-up for each limit that refuses.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::key::Key;

/// How long a key must not be refused before it has stopped: ten minutes, as long as the burst of most limits lasts.
pub const QUIET_US: i64 = 600_000_000;

/// The most keys that are followed at once.
pub const MOST_ROWS: usize = 256;

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
    /// How many checks of the key were refused from the first to the last refusal.
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
    /// How many refusals of keys had no row, since there are as many keys as rows.
    pub untracked: u64,
}

/// The keys that are refused now, and the latest notices.
#[derive(Debug)]
pub(super) struct Notices(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Rows by the hash of limit and key: the notice "began" of each, with what was refused so far.
    rows: HashMap<u64, Notice>,
    entries: VecDeque<Notice>,
    last: u64,
    untracked: u64,
    /// Before this time no row is quiet, so a search for one is of no use.
    full_until_us: i64,
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
        let (rows, entries) = (HashMap::with_capacity(MOST_ROWS), VecDeque::with_capacity(MOST_ENTRIES));
        Self(Mutex::new(State { rows, entries, last: 0, untracked: 0, full_until_us: i64::MIN }))
    }
}

impl Notices {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal at `now_us`. `text` makes the text of the key, when it is needed.
    pub(super) fn refused(&self, refusing: Refusing<'_>, now_us: i64, text: impl FnOnce() -> String) {
        let mut state = self.state();
        let place = refusing.key.0;
        if let Some(row) = state.rows.get_mut(&place) {
            if now_us.saturating_sub(row.until_us) < QUIET_US {
                row.refused += 1;
                row.until_us = row.until_us.max(now_us);
                return;
            }
            state.stop(place);
        }
        if state.rows.len() == MOST_ROWS && now_us >= state.full_until_us {
            state.stop_quiet(now_us);
        }
        if state.rows.len() == MOST_ROWS {
            state.untracked += 1;
            return;
        }
        drop(state);
        // The text is made without the lock.
        let key = clipped(text());
        let (limit, identity) = (Arc::clone(refusing.limit), Arc::clone(refusing.identity));
        let is_shadow = refusing.is_shadow;
        let (change, since_us, until_us) = (Change::Began, now_us, now_us);
        let notice = Notice { serial: 0, change, since_us, until_us, limit, identity, key, refused: 1, is_shadow };
        let mut state = self.state();
        if let Some(row) = state.rows.get_mut(&place) {
            row.refused += 1; // another thread was faster
        } else if state.rows.len() == MOST_ROWS {
            state.untracked += 1;
        } else {
            let notice = state.push(notice);
            state.rows.insert(place, notice);
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
        let mut refusing: Vec<_> = rows.values().cloned().collect();
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
        let mut last: Vec<(i64, u64)> = self.rows.iter().map(|(place, row)| (row.until_us, *place)).collect();
        last.sort_unstable();
        for (last_us, place) in last {
            let quiet_from_us = last_us.saturating_add(QUIET_US);
            if now_us < quiet_from_us {
                self.full_until_us = quiet_from_us;
                break;
            }
            self.stop(place);
        }
    }

    /// Removes the row at a place, whose key has stopped.
    fn stop(&mut self, place: u64) {
        if let Some(row) = self.rows.remove(&place) {
            self.push(Notice { change: Change::Stopped, ..row });
        }
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
