//! `Seen`: which elements came under which keys, and the first and last time of each.
//!
//! The memory is that of `Counts`: one text with all pairs, in which an element follows its key, and a hash table of
//! places.
//!
//! This module knows no limit. Invariant: places are in the order in which pairs first came. Pruning puts the pairs
//! that it keeps in the order of their rank.

use std::cmp::Ordering;

use hashbrown::HashTable;
use pyo3::prelude::*;

use super::rows::Rows;
use super::texts::{Texts, hash};

/// Tags of elements without a name. A guard tells such elements apart by their raw bytes, so each of them is new, and
/// the tag is not worth learning.
const JUNK: [&str; 2] = ["MALFORMED", "OVERLONG"];

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    begin: usize,
    /// The place where the key ends and the element begins.
    middle: usize,
    end: usize,
    first: f64,
    last: f64,
}

/// See `_replay.pyi`.
#[pyclass(module = "throttle._replay")]
#[derive(Debug)]
pub(crate) struct Seen {
    text: String,
    of: HashTable<Entry>,
    most: usize,
    comeback_s: f64,
}

#[pymethods]
impl Seen {
    #[new]
    fn new(most: usize, comeback_s: f64) -> Self {
        Self { text: String::new(), of: HashTable::new(), most, comeback_s }
    }

    /// Notes the elements at `place` under the keys at `per`, for all rows except `without`, which is sorted. Returns
    /// the key of each element that was not seen for `remember_s` seconds.
    fn update(
        &mut self, rows: &Rows, per: Vec<usize>, place: usize, remember_s: f64, without: Vec<usize>,
    ) -> PyResult<Texts> {
        rows.check(&per)?;
        rows.check(&[place])?;
        let mut new = Texts::default();
        let mut pair = String::new();
        let mut without = without.into_iter().peekable();
        for (row, at) in rows.times().iter().enumerate() {
            if without.next_if_eq(&row).is_some() {
                continue;
            }
            rows.each_key(row, &per, &mut |key| {
                pair.clear();
                pair.push_str(key);
                for element in rows.values(row, place) {
                    pair.truncate(key.len());
                    pair.push_str(element);
                    if self.is_new(*at, &pair, key.len(), remember_s) {
                        new.push(key);
                    }
                }
            });
        }
        Ok(new)
    }

    /// If there are more than `most` pairs, keeps `most / 2`: first those that came back, then the latest. Returns how
    /// many it removed.
    fn prune(&mut self) -> usize {
        if self.of.len() <= self.most {
            return 0;
        }
        let comeback_s = self.comeback_s;
        let rank = |entry: &Entry| (entry.last - entry.first >= comeback_s, entry.last);
        let mut kept = self.in_order();
        kept.sort_by(|one, other| rank(other).partial_cmp(&rank(one)).unwrap_or(Ordering::Equal));
        let dropped = kept.split_off(self.most / 2).len();
        let before = std::mem::take(&mut self.text);
        self.of.clear();
        kept.iter().for_each(|entry| self.insert(&before[entry.begin..entry.end], entry));
        dropped
    }

    /// Returns key, element, first and last time of each pair.
    fn items(&self) -> Vec<(&str, &str, f64, f64)> {
        let parts = |Entry { begin, middle, end, first, last, .. }: Entry| {
            (&self.text[begin..middle], &self.text[middle..end], first, last)
        };
        self.in_order().into_iter().map(parts).collect()
    }

    fn __len__(&self) -> usize {
        self.of.len()
    }
}

impl Seen {
    /// Notes a pair, which is a key of `key_len` bytes and the element, and returns whether the element is new.
    fn is_new(&mut self, at: f64, pair: &str, key_len: usize, remember_s: f64) -> bool {
        let (key, element) = pair.split_at(key_len);
        if element == key {
            return false; // the key itself is never new
        }
        let hash = hash(pair.as_bytes());
        let text = &self.text;
        let is_it = |entry: &Entry| {
            entry.hash == hash && entry.middle - entry.begin == key_len && &text[entry.begin..entry.end] == pair
        };
        if let Some(entry) = self.of.find_mut(hash, is_it) {
            let is_new = at - entry.last > remember_s;
            if is_new {
                entry.first = at;
            }
            entry.last = at;
            return is_new;
        }
        if !JUNK.contains(&element) {
            self.insert(pair, &Entry { hash, begin: 0, middle: key_len, end: pair.len(), first: at, last: at });
        }
        true
    }

    /// Appends the text of a pair and an entry with its times. The places in the given entry are only used to find the
    /// length of the key.
    fn insert(&mut self, pair: &str, Entry { hash, begin, middle, first, last, .. }: &Entry) {
        let at = self.text.len();
        self.text.push_str(pair);
        let (middle, end) = (at + middle - begin, self.text.len());
        let entry = Entry { hash: *hash, begin: at, middle, end, first: *first, last: *last };
        self.of.insert_unique(*hash, entry, |entry| entry.hash);
    }

    fn in_order(&self) -> Vec<Entry> {
        let mut all: Vec<_> = self.of.iter().copied().collect();
        all.sort_unstable_by_key(|entry| entry.begin);
        all
    }
}
