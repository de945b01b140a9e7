//! The built-in replies of a guard, so that a replay recognises them in the log of a server.

use std::collections::BTreeSet;

use pyo3::prelude::*;
use throttle_core::decision::Reply;
use throttle_core::stage::Stage;

/// A second, in microseconds.
const WAIT_US: u64 = 1_000_000;

/// See `_replay.pyi`.
#[pyfunction]
pub(crate) fn replies(key: &str) -> BTreeSet<String> {
    let mut replies = BTreeSet::new();
    for kind in (0..=u8::MAX).map(Reply::of_number) {
        for wait_us in [Some(WAIT_US), None] {
            for rejects_at in Stage::ALL.into_iter().map(Some).chain([None]) {
                replies.insert(kind.text(key, wait_us, rejects_at, None));
            }
        }
    }
    replies
}
