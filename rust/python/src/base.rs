//! Reads the text of a base policy, a policy of the package or a file, and of a file of quotas. Paths are relative to
//! the file that names them.
//!
//! The core does no I/O. Python reads the files, so its errors name a file that cannot be read.

use std::path::PathBuf;

use pyo3::prelude::*;
use throttle_core::policy::{Base, NoBase, Source};

/// Reads a base or a file of quotas, for `Policy::parse_with`.
pub(crate) fn source(py: Python<'_>, base: Base<'_>) -> Result<Source, NoBase> {
    match base {
        Base::BuiltIn(name) => {
            let names = builtin_names(py).map_err(|error| unreadable(py, &error))?;
            if !names.iter().any(|known| known == name) {
                return Err(NoBase::Unknown(names));
            }
            let text = builtin_text(py, name).map_err(|error| unreadable(py, &error))?;
            Ok(Source { file: format!("built-in {name}.toml"), text })
        }
        Base::File { path, from } | Base::Quotas { path, from } => {
            relative(py, path, from).map_err(|error| unreadable(py, &error))
        }
    }
}

/// Reads the bytes of a file. Python reads them, so that its error names the file.
pub(crate) fn octets(py: Python<'_>, path: PathBuf) -> PyResult<Vec<u8>> {
    py.import("pathlib")?.call_method1("Path", (path,))?.call_method0("read_bytes")?.extract()
}

/// The text of a policy that comes with the package.
pub(crate) fn builtin_text(py: Python<'_>, name: &str) -> PyResult<String> {
    py.import("throttle.policies")?.call_method1("read", (name,))?.extract()
}

/// The names of the policies that come with the package.
pub(crate) fn builtin_names(py: Python<'_>) -> PyResult<Vec<String>> {
    py.import("throttle.policies")?.call_method0("names")?.extract()
}

fn relative(py: Python<'_>, path: &str, from: &str) -> PyResult<Source> {
    let os_path = py.import("os.path")?;
    let folder = os_path.call_method1("dirname", (from,))?;
    // Each file has one spelling, so that a cycle of files is found.
    let file = os_path.call_method1("normpath", (os_path.call_method1("join", (folder, path))?,))?;
    let octets = octets(py, file.extract()?)?;
    let text = String::from_utf8(octets).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        pyo3::exceptions::PyValueError::new_err(format!("not UTF-8 at byte {at}"))
    })?;
    Ok(Source { file: file.extract()?, text })
}

/// The text of an `OSError` without the file name, which the message already contains.
fn unreadable(py: Python<'_>, error: &PyErr) -> NoBase {
    let value = error.value(py);
    let words = value.getattr("strerror").ok().and_then(|words| words.extract::<String>().ok());
    NoBase::Unreadable(words.unwrap_or_else(|| value.to_string()))
}
