//! A fast path for `Envelope(…)`: the interpreter passes an array of arguments and builds no tuple and no dictionary.
//!
//! PyO3 sets only `tp_new`, which needs both. The fast path accepts interned keywords and values that run no Python
//! code. It leaves every other call to `tp_new`, the slow path, so each error message has one source.
//! The limited API hides the layout of type objects, so an `abi3` build has only `tp_new`.

use std::ptr;

use pyo3::exceptions::PySystemError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{PyTypeInfo, ffi};

use crate::envelope::{Envelope, FIELDS};

/// The arguments of one call in the order of [`FIELDS`]; `None` stands for one that is absent or Python's `None`.
pub(crate) type Arguments<'a, 'py> = [Option<Borrowed<'a, 'py, PyAny>>; FIELDS.len()];

static KEYWORDS: PyOnceLock<[Py<PyString>; FIELDS.len()]> = PyOnceLock::new();

/// Makes `Envelope(…)` take the fast path. The module calls this function once, before any envelope is made.
pub(crate) fn install(py: Python<'_>) {
    KEYWORDS.get_or_init(py, || FIELDS.map(|name| PyString::intern(py, name).unbind()));
    let class = Envelope::type_object_raw(py);
    // SAFETY: The type object is complete and lives as long as the process. The module is still being imported, so no
    // other thread can call the class. Nothing inherits the slot, because `Envelope` allows no subclasses.
    unsafe { (*class).tp_vectorcall = Some(call) };
}

/// The `tp_vectorcall` of `Envelope`.
///
/// # Safety
/// The caller is attached and obeys PEP 590: `args` holds the positional arguments and then one value for each name of
/// the tuple `names`, which may be null.
unsafe extern "C" fn call(
    class: *mut ffi::PyObject, args: *const *mut ffi::PyObject, nargsf: usize, names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: The caller guarantees what `plain` and `general` need.
    let made = unsafe {
        let py = Python::assume_attached();
        match plain(py, args, nargsf, names) {
            Some(envelope) => Bound::new(py, envelope).map(Bound::into_ptr),
            None => general(py, class, args, nargsf, names),
        }
    };
    made.unwrap_or_else(|error| {
        // SAFETY: The caller is attached.
        error.restore(unsafe { Python::assume_attached() });
        ptr::null_mut()
    })
}

/// Makes the envelope when the fast path accepts the arguments, and returns `None` otherwise.
///
/// # Safety
/// As for [`call`].
#[inline]
unsafe fn plain(
    py: Python<'_>, args: *const *mut ffi::PyObject, nargsf: usize, names: *mut ffi::PyObject,
) -> Option<Envelope> {
    let keywords = KEYWORDS.get(py)?;
    let mut arguments: Arguments<'_, '_> = [None; FIELDS.len()];
    if nargsf & !ffi::PY_VECTORCALL_ARGUMENTS_OFFSET != 0 {
        return None;
    }
    if names.is_null() {
        return Envelope::plain(&arguments);
    }
    // Arguments usually come in the order of the fields, so the search starts after the last match.
    let mut next = 0;
    // SAFETY: `names` is a tuple of `str`, and `args` holds a live object for each of them.
    unsafe {
        for place in 0..ffi::PyTuple_GET_SIZE(names) {
            let name = ffi::PyTuple_GET_ITEM(names, place);
            let is_it = |keyword: &Py<PyString>| keyword.as_ptr() == name;
            let found = match keywords[next..].iter().position(is_it) {
                Some(ahead) => next + ahead,
                None => keywords.iter().position(is_it)?,
            };
            let value = Borrowed::from_ptr(py, *args.offset(place));
            arguments[found] = (!value.is_none()).then_some(value);
            next = found + 1;
        }
    }
    Envelope::plain(&arguments)
}

/// Calls `tp_new`, as the interpreter does for a class without `tp_vectorcall`.
///
/// # Safety
/// As for [`call`].
#[cold]
unsafe fn general(
    py: Python<'_>, class: *mut ffi::PyObject, args: *const *mut ffi::PyObject, nargsf: usize,
    names: *mut ffi::PyObject,
) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: `class` is the type object of `Envelope`, and the arguments are as the caller promises.
    unsafe {
        let positional = ffi::PyVectorcall_NARGS(nargsf);
        let value = |place| Borrowed::from_ptr(py, *args.offset(place));
        let before = PyTuple::new(py, (0..positional as usize).map(|place| value(place as isize)))?;
        let keywords = PyDict::new(py);
        if !names.is_null() {
            for place in 0..ffi::PyTuple_GET_SIZE(names) {
                let name = Borrowed::from_ptr(py, ffi::PyTuple_GET_ITEM(names, place));
                keywords.set_item(name, value(positional + place))?;
            }
        }
        let class = class.cast::<ffi::PyTypeObject>();
        let new = (*class).tp_new.ok_or_else(|| PySystemError::new_err("Envelope has no tp_new"))?;
        let made = new(class, before.as_ptr(), keywords.as_ptr());
        if made.is_null() { Err(PyErr::fetch(py)) } else { Ok(made) }
    }
}
