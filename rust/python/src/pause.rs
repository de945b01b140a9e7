//! A pause in long work, in which other threads can run. Long work must keep the interpreter while it holds the
//! region's lock, so it pauses between two holds of the lock.
//!
//! A fork copies the lock in its current state, and only a thread that holds the interpreter can fork. So while a
//! thread holds both the lock and the interpreter, no other thread can fork and copy a held lock.

use std::thread::sleep;
use std::time::Duration;

use pyo3::prelude::*;

/// The length of a pause: long enough for a waiting thread to wake up. If the interpreter were released and taken back
/// at once, the waiting thread would wake each time and never get it.
const PAUSE: Duration = Duration::from_micros(100);

pub(crate) fn let_others_run(py: Python<'_>) {
    py.detach(|| sleep(PAUSE));
}
