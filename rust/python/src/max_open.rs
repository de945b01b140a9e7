//! The argument `max_open`: the number of permits that can be held at once.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt};
use throttle_core::engine::Engine;

use crate::error::{not_of_type, wrong_value};

pub(crate) fn number(given: &Bound<'_, PyAny>) -> PyResult<u32> {
    let most = Engine::MAX_OPEN_MOST;
    let allowed = format!("a whole number from 1 to {most}");
    if !given.is_instance_of::<PyInt>() || given.is_instance_of::<PyBool>() {
        return Err(not_of_type("max_open", given, &allowed));
    }
    let number = given.extract().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| wrong_value("max_open", &given.to_string(), &allowed))
}
