//! The format of a sketch as bytes, for a file or another process.
//!
//! ```text
//!  0        4       5      6  8                24                     56              56 + 8 n     64 + 8 n
//!  "thrS"   1       kind   0  seed             four numbers, n last   n words         check
//!           version
//! ```
//!
//! All numbers are little-endian. The check is the hash of all bytes before it, keyed by the seed. It detects damage,
//! but not forgery, because the bytes contain the seed. They contain it because without the seed nothing could be
//! added to the restored sketch. So these bytes are as secret as the seed.
//!
//! This file knows no sketch. Invariant: `from_bytes` accepts only complete bytes that `to_bytes` of the same version
//! wrote.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use throttle_core::key::Secret;

use crate::error::not_of_type;
use crate::seed::Seed;

const MAGIC: &[u8; 4] = b"thrS";
const VERSION: u8 = 1;
const HEAD: usize = 56;
const CHECK: usize = 8;

/// The kind of sketch that the bytes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    CountMin = 1,
    HyperLogLog = 2,
}

/// The content of the bytes.
pub(crate) struct Frame {
    pub(crate) seed: Seed,
    /// Numbers that this kind of sketch needs in addition to its words.
    pub(crate) numbers: [u64; 3],
    pub(crate) words: Vec<u64>,
}

/// Writes a sketch as bytes.
pub(crate) fn to_bytes(kind: Kind, seed: &Seed, numbers: [u64; 3], words: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + 8 * words.len() + CHECK);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[VERSION, kind as u8, 0, 0]);
    bytes.extend_from_slice(seed);
    for number in numbers.iter().chain([&(words.len() as u64)]).chain(words) {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&check(seed, &bytes));
    bytes
}

/// Reads the bytes of a sketch. The error states what is wrong with them.
pub(crate) fn from_bytes(kind: Kind, data: &Bound<'_, PyAny>) -> PyResult<Frame> {
    let Ok(data) = data.cast::<PyBytes>() else {
        return Err(not_of_type("data", data, "bytes"));
    };
    let bytes = data.as_bytes();
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Err(corrupt(&format!("{} bytes; allowed: at least {}", bytes.len(), HEAD + CHECK)));
    };
    if !head.starts_with(MAGIC) {
        return Err(corrupt("other bytes; allowed: what to_bytes() gave"));
    }
    if head[4] != VERSION {
        return Err(corrupt(&format!("version {}; allowed: version {VERSION}", head[4])));
    }
    if head[5] != kind as u8 {
        return Err(corrupt(&format!("another kind of sketch; allowed: a {kind:?}")));
    }
    let words: Vec<u64> = rest.chunks_exact(8).map(number).collect();
    let numbers = [24, 32, 40, 48].map(|at| number(&head[at..at + 8]));
    // The last word is the check.
    let Some((_, counters)) =
        words.split_last().filter(|(_, counters)| rest.len() % 8 == 0 && counters.len() as u64 == numbers[3])
    else {
        return Err(corrupt(&format!("{} bytes; allowed: as many as the header says", bytes.len())));
    };
    let mut seed = Seed::default();
    seed.copy_from_slice(&head[8..24]);
    let (before, told) = bytes.split_at(bytes.len() - CHECK);
    if told != check(&seed, before) {
        return Err(corrupt("bytes that do not match their check; allowed: what to_bytes() gave, unchanged"));
    }
    Ok(Frame { seed, numbers: [numbers[0], numbers[1], numbers[2]], words: counters.to_vec() })
}

/// Makes the error for bytes that are not a valid sketch.
pub(crate) fn corrupt(found_and_allowed: &str) -> PyErr {
    PyValueError::new_err(format!("data: found {found_and_allowed}"))
}

fn check(seed: &Seed, before: &[u8]) -> [u8; CHECK] {
    Secret::new(*seed).text(before).0.to_le_bytes()
}

fn number(word: &[u8]) -> u64 {
    let mut octets = [0; 8];
    octets.copy_from_slice(word);
    u64::from_le_bytes(octets)
}
