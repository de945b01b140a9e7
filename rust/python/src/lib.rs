//! The module `throttle._core`: a list of its classes.

mod base;
mod blocked;
mod clock;
mod count_min;
mod decision;
mod envelope;
mod error;
mod explain;
mod field;
mod frame;
mod guard;
mod headers;
mod hyperloglog;
mod learned;
mod limit;
mod limiter;
mod max_open;
mod memory;
mod number;
mod offender;
mod pause;
mod permit;
mod policy;
mod process;
mod replay;
mod seed;
mod session;
mod sketches;
mod stage;
mod suffixes;
mod text;
mod values;
#[cfg(not(feature = "abi3"))]
mod vectorcall;
mod watch;

use pyo3::pymodule;

#[pymodule(gil_used = false)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::blocked::Blocked;
    #[pymodule_export]
    use super::clock::ManualClock;
    #[pymodule_export]
    use super::count_min::CountMin;
    #[pymodule_export]
    use super::decision::Decision;
    #[pymodule_export]
    use super::envelope::Envelope;
    #[pymodule_export]
    use super::guard::Throttle;
    #[pymodule_export]
    use super::hyperloglog::HyperLogLog;
    #[pymodule_export]
    use super::limit::Limit;
    #[pymodule_export]
    use super::limiter::RateLimiter;
    #[pymodule_export]
    use super::offender::Offender;
    #[pymodule_export]
    use super::permit::Permit;
    #[pymodule_export]
    use super::policy::Policy;
    #[pymodule_export]
    use super::replay::counts::Counts;
    #[pymodule_export]
    use super::replay::rows::Rows;
    #[pymodule_export]
    use super::replay::seen::Seen;
    #[pymodule_export]
    use super::replay::texts::Texts;
    #[pymodule_export]
    use super::session::Session;

    /// The exceptions are Python's own classes, so that one of them can be a `ValueError` too.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::process::watch_forks(module.py())?;
        #[cfg(not(feature = "abi3"))]
        super::vectorcall::install(module.py());
        let errors = module.py().import("throttle.errors")?;
        module.add("ThrottleError", errors.getattr("ThrottleError")?)?;
        module.add("PolicyError", errors.getattr("PolicyError")?)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
