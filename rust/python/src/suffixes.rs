//! The suffix list. `throttle.suffixes` reads it, and this file compiles it. The bundled list is compiled once in each
//! process.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use throttle_core::identity::SuffixList;

use crate::error::ThrottleError;

static BUNDLED: PyOnceLock<Arc<SuffixList>> = PyOnceLock::new();

/// Compiles the list at `path`, or the bundled list, together with the operator's own suffixes.
pub(crate) fn compiled(py: Python<'_>, path: Option<&Bound<'_, PyAny>>, extra: &[String]) -> PyResult<Arc<SuffixList>> {
    let compile = || -> PyResult<Arc<SuffixList>> {
        let text: String = py.import("throttle.suffixes")?.call_method1("read", (path,))?.extract()?;
        match py.detach(|| SuffixList::parse(&text, extra)) {
            Ok(list) => Ok(Arc::new(list)),
            Err(error) => {
                let list = path.map_or(Ok("bundled".to_owned()), |path| path.str().map(|path| path.to_string()))?;
                Err(ThrottleError::new_err(format!("suffix list {list}: {error}")))
            }
        }
    };
    if path.is_none() && extra.is_empty() {
        return BUNDLED.get_or_try_init(py, compile).cloned();
    }
    compile()
}
