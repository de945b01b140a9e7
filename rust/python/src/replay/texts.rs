//! `Texts`: many short texts in one piece of memory, so that none of them is an object of Python, and the hash of each.
//!
//! Knows not what they are. Invariant: hashes are those of [`hash`], which is another one in each process: a log's
//! text is anybody's.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::LazyLock;

use pyo3::prelude::*;

/// Texts one behind another.
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

    /// As Python has them.
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

    /// Hash and text of each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &str)> {
        self.hashes.iter().enumerate().map(|(place, hash)| (*hash, self.piece.get(place)))
    }
}

impl Piece {
    /// Appends what `write` writes at the end of the others.
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

/// Of a key, wherever it is counted.
pub(super) fn hash(octets: &[u8]) -> u64 {
    static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    SECRET.hash_one(octets)
}
