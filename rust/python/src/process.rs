//! The number of this process. A forked child has another number than its parent, and starts with nothing in flight.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The number of forks between the first process and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

static REGISTERED: Once = Once::new();

pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

#[pyfunction]
fn begin() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Registers a hook that changes the number in every forked child. It registers the hook only once, even when the
/// module is loaded several times. A platform without fork needs no hook.
pub(crate) fn watch_forks(py: Python<'_>) -> PyResult<()> {
    let mut done = Ok(());
    REGISTERED.call_once(|| {
        done = (|| {
            let os = py.import("os")?;
            if os.hasattr("register_at_fork")? {
                let hooks = PyDict::new(py);
                hooks.set_item("after_in_child", wrap_pyfunction!(begin, py)?)?;
                os.call_method("register_at_fork", (), Some(&hooks))?;
            }
            Ok(())
        })();
    });
    done
}
