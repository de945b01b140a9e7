//! A pause in long work that may not give up the interpreter while it holds the region's lock.
//!
//! A fork copies the lock as it is, and forks happen only where the interpreter is held: whoever holds both at once
//! is never copied holding the lock.

use std::thread::sleep;
use std::time::Duration;

use pyo3::prelude::*;

/// Long enough for a thread that waits to wake up. One that is given up and taken back at once wakes the waiting
/// thread in vain, for ever.
const PAUSE: Duration = Duration::from_micros(100);

pub(crate) fn let_others_run(py: Python<'_>) {
    py.detach(|| sleep(PAUSE));
}
