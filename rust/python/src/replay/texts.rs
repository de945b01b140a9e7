//! `Texts`: many short texts in one string, each with its hash. None of them is a Python object.
//!
//! This module does not know what the texts mean. Invariant: hashes are those of [`hash`], which has another key in
//! each process, because anybody can choose the text of a log.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::LazyLock;

use pyo3::prelude::*;

/// Texts in one string, and the end of each.
#[derive(Debug, Default)]
pub(super) struct Piece {
    text: String,
    ends: Vec<usize>,
}

/// See `_replay.pyi`.
#[pyclass(module = "throttle._replay", frozen)]
#[derive(Debug, Default)]
pub(crate) struct Texts {
    piece: Piece,
    hashes: Vec<u64>,
}

#[pymethods]
impl Texts {
    #[new]
    fn new(texts: Vec<String>) -> Self {
        let mut all = Self::default();
        texts.iter().for_each(|text| all.push(text));
        all
    }

    /// Returns the texts as a list.
    fn list(&self) -> Vec<&str> {
        self.iter().map(|(_, text)| text).collect()
    }

    fn __len__(&self) -> usize {
        self.hashes.len()
    }
}

impl Texts {
    pub(super) fn push(&mut self, text: &str) {
        self.piece.write(|all| all.push_str(text));
        self.hashes.push(hash(text.as_bytes()));
    }

    /// Yields the hash and the text of each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &str)> {
        self.hashes.iter().enumerate().map(|(place, hash)| (*hash, self.piece.get(place)))
    }
}

impl Piece {
    /// Appends the text that `write` writes.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.text);
        self.ends.push(self.text.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, place: usize) -> &str {
        let begin = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[begin..self.ends[place]]
    }

    pub(super) fn run(&self, places: Range<usize>) -> impl Iterator<Item = &str> {
        places.map(|place| self.get(place))
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

/// Returns the hash of a key, which is the same in `Texts`, `Counts` and `Seen`.
pub(super) fn hash(octets: &[u8]) -> u64 {
    static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    SECRET.hash_one(octets)
}
