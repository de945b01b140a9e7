//! `Counts`: how often each text came.
//!
//! All texts lie in one byte vector, and a hash table has the place of each. So a text costs no allocation of its own,
//! and a look-up has at most two cache misses.
//!
//! This module knows no time and no bound on the number of texts. Invariants: counts are exact up to 2⁶⁴ − 1, where
//! they stay. Places are in the order in which texts first came. A text of a log may contain lone surrogates, and
//! Python gets it back unchanged.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use hashbrown::HashTable;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PySet, PyString};

use super::texts::{Texts, hash};

#[derive(Debug)]
struct Entry {
    hash: u64,
    begin: usize,
    len: usize,
    count: u64,
}

/// See `_replay.pyi`.
#[pyclass(module = "throttle._replay")]
#[derive(Debug, Default)]
pub(crate) struct Counts {
    octets: Vec<u8>,
    of: HashTable<Entry>,
}

#[pymethods]
impl Counts {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    #[pyo3(signature = (key, amount=1))]
    fn add(&mut self, key: &Bound<'_, PyString>, amount: u64) -> PyResult<()> {
        let key = octets(key)?;
        self.count(hash(&key), &key, amount);
        Ok(())
    }

    fn update(&mut self, keys: &Texts) {
        keys.iter().for_each(|(hash, key)| self.count(hash, key.as_bytes(), 1));
    }

    /// Counts the texts that are in the table, and returns how many are not.
    fn update_known(&mut self, keys: &Texts) -> usize {
        keys.iter().filter(|(hash, key)| !self.count_known(*hash, key.as_bytes(), 1)).count()
    }

    fn merge(&mut self, other: &Self) {
        other.of.iter().for_each(|entry| self.count(entry.hash, entry.text(&other.octets), entry.count));
    }

    /// Returns the text with the highest count, and the count. Of several such texts it is the one that came first.
    fn most<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyAny>, u64)>> {
        let first = self.of.iter().max_by_key(|entry| (entry.count, Reverse(entry.begin)));
        first.map(|entry| Ok((text(py, entry.text(&self.octets))?, entry.count))).transpose()
    }

    /// Returns the `n` texts with the highest counts in descending order. Equal counts are in the order of their texts.
    fn top<'py>(&self, py: Python<'py>, n: usize) -> PyResult<Vec<(Bound<'py, PyAny>, u64)>> {
        let mut all: Vec<_> = self.of.iter().map(|entry| (Reverse(entry.count), entry.text(&self.octets))).collect();
        if n < all.len() {
            all.select_nth_unstable(n);
            all.truncate(n);
        }
        all.sort_unstable();
        all.into_iter().map(|(count, octets)| Ok((text(py, octets)?, count.0))).collect()
    }

    /// Subtracts the count at rank `most` from all counts, and removes the texts whose count is 0 then. Returns the
    /// count that was subtracted.
    fn prune(&mut self, most: usize) -> u64 {
        let mut counts: Vec<_> = self.of.iter().map(|entry| Reverse(entry.count)).collect();
        if most >= counts.len() {
            return 0;
        }
        let less = counts.select_nth_unstable(most).1.0;
        let before = std::mem::take(self);
        let mut kept: Vec<_> = before.of.iter().filter(|entry| entry.count > less).collect();
        kept.sort_unstable_by_key(|entry| entry.begin);
        kept.iter().for_each(|entry| self.count(entry.hash, entry.text(&before.octets), entry.count - less));
        less
    }

    /// Returns for each count how many texts have it, without the texts of a set.
    fn amounts<'py>(&self, py: Python<'py>, without: &Bound<'py, PySet>) -> PyResult<Bound<'py, PyDict>> {
        let mut amounts: HashMap<u64, u64> = HashMap::new();
        self.of.iter().for_each(|entry| *amounts.entry(entry.count).or_default() += 1);
        let mut leave_out = |count: u64| {
            amounts.entry(count).and_modify(|texts| *texts -= 1);
        };
        if without.len() < self.of.len() {
            for key in without {
                self.get(&octets(key.cast::<PyString>()?)?).into_iter().for_each(&mut leave_out);
            }
        } else {
            for entry in &self.of {
                if without.contains(text(py, entry.text(&self.octets))?)? {
                    leave_out(entry.count);
                }
            }
        }
        let told = PyDict::new(py);
        for (count, texts) in amounts.into_iter().filter(|(_, texts)| *texts > 0) {
            told.set_item(count, texts)?;
        }
        Ok(told)
    }

    fn clear(&mut self) {
        self.octets.clear();
        self.of.clear();
    }

    fn __getitem__(&self, key: &Bound<'_, PyString>) -> PyResult<u64> {
        Ok(self.get(&octets(key)?).unwrap_or(0))
    }

    fn __contains__(&self, key: &Bound<'_, PyString>) -> PyResult<bool> {
        Ok(self.get(&octets(key)?).is_some())
    }

    fn __len__(&self) -> usize {
        self.of.len()
    }
}

impl Counts {
    fn get(&self, key: &[u8]) -> Option<u64> {
        let hash = hash(key);
        self.of.find(hash, |entry| entry.is(hash, key, &self.octets)).map(|entry| entry.count)
    }

    fn count(&mut self, hash: u64, key: &[u8], amount: u64) {
        if !self.count_known(hash, key, amount) {
            let entry = Entry { hash, begin: self.octets.len(), len: key.len(), count: amount };
            self.octets.extend_from_slice(key);
            self.of.insert_unique(hash, entry, |entry| entry.hash);
        }
    }

    /// Adds to the count of a text that is in the table, and returns whether it is.
    fn count_known(&mut self, hash: u64, key: &[u8], amount: u64) -> bool {
        let known = self.of.find_mut(hash, |entry| entry.is(hash, key, &self.octets));
        known.map(|entry| entry.count = entry.count.saturating_add(amount)).is_some()
    }
}

impl Entry {
    fn text<'a>(&self, octets: &'a [u8]) -> &'a [u8] {
        &octets[self.begin..self.begin + self.len]
    }

    fn is(&self, hash: u64, key: &[u8], octets: &[u8]) -> bool {
        self.hash == hash && self.text(octets) == key
    }
}

/// Encodes a text as UTF-8 in which a lone surrogate is encoded like a character. Different texts have different bytes,
/// and the bytes are in the order of the texts.
fn octets<'a>(text: &'a Bound<'_, PyString>) -> PyResult<Cow<'a, [u8]>> {
    match text.to_str() {
        Ok(text) => Ok(Cow::Borrowed(text.as_bytes())),
        Err(_) => Ok(Cow::Owned(text.call_method1("encode", ("utf-8", "surrogatepass"))?.extract()?)),
    }
}

fn text<'py>(py: Python<'py>, octets: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    match std::str::from_utf8(octets) {
        Ok(text) => Ok(PyString::new(py, text).into_any()),
        Err(_) => PyBytes::new(py, octets).call_method1("decode", ("utf-8", "surrogatepass")),
    }
}
