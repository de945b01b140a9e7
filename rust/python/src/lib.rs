//! The module `throttle._core`: a list of its classes.

include!(concat!(env!("OUT_DIR"), "/docs.rs"));

mod argument;
mod authentication_results;
mod base;
mod blocked;
mod clock;
mod count_min;
mod decision;
mod diagnosis;
mod duration;
mod envelope;
mod error;
mod explain;
mod field;
mod frame;
mod guard;
mod headers;
mod hit;
mod hyperloglog;
mod learned;
mod limit;
mod limiter;
mod max_open;
mod memory;
mod metrics;
mod number;
mod offender;
mod pause;
mod permit;
mod policy;
mod policy_server;
mod process;
mod replay;
mod report;
mod seed;
mod session;
mod sketches;
mod stage;
mod suffixes;
mod text;
mod tracked;
#[cfg(not(feature = "abi3"))]
mod vectorcall;
mod watch;

use pyo3::pymodule;

#[pymodule(gil_used = false)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::authentication_results::authentication_results;
    #[pymodule_export]
    use super::blocked::Blocked;
    #[pymodule_export]
    use super::clock::ManualClock;
    #[pymodule_export]
    use super::count_min::CountMin;
    #[pymodule_export]
    use super::decision::Decision;
    #[pymodule_export]
    use super::duration::duration_seconds;
    #[pymodule_export]
    use super::envelope::Envelope;
    #[pymodule_export]
    use super::guard::Throttle;
    #[pymodule_export]
    use super::hit::HitResult;
    #[pymodule_export]
    use super::hyperloglog::HyperLogLog;
    #[pymodule_export]
    use super::limit::Limit;
    #[pymodule_export]
    use super::limiter::RateLimiter;
    #[pymodule_export]
    use super::metrics::MetricsExporter;
    #[pymodule_export]
    use super::offender::Offender;
    #[pymodule_export]
    use super::permit::Permit;
    #[pymodule_export]
    use super::policy::Policy;
    #[pymodule_export]
    use super::policy_server::PolicyServer;
    #[pymodule_export]
    use super::session::Session;

    /// The counters of `throttle.replay`: the module `throttle._replay`, which has no file of its own.
    #[pymodule]
    mod _replay {
        #[pymodule_export]
        use crate::replay::counts::Counts;
        #[pymodule_export]
        use crate::replay::replies::replies;
        #[pymodule_export]
        use crate::replay::rows::Rows;
        #[pymodule_export]
        use crate::replay::seen::Seen;
        #[pymodule_export]
        use crate::replay::texts::Texts;
        #[pymodule_export]
        use crate::replay::values::{observed, values};
    }

    /// Adds the exceptions, which are classes written in Python, so that one of them can also be a `ValueError`.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::process::watch_forks(module.py())?;
        #[cfg(not(feature = "abi3"))]
        super::vectorcall::install(module.py());
        let errors = module.py().import("throttle.errors")?;
        module.add("ThrottleError", errors.getattr("ThrottleError")?)?;
        module.add("PolicyError", errors.getattr("PolicyError")?)?;
        module.py().import("sys")?.getattr("modules")?.set_item("throttle._replay", module.getattr("_replay")?)?;
        module.delattr("_replay")?;
        module.index()?.call_method1("remove", ("_replay",))?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
