//! How many permits there may be at once.

use pyo3::prelude::*;
use throttle_core::engine::Engine;
use throttle_core::error::PolicyError as CoreError;
use throttle_core::policy::FieldValue;

use crate::error::policy_error;
use crate::field;

pub(crate) fn number(given: &Bound<'_, PyAny>) -> PyResult<u32> {
    let most = Engine::MAX_OPEN_MOST;
    let value = field::value(given)?;
    let number = match value {
        FieldValue::Integer(number) => u32::try_from(number).ok().filter(|number| (1..=most).contains(number)),
        _ => None,
    };
    number.ok_or_else(|| {
        let allowed = format!("a whole number from 1 to {most}");
        let field = Some("max_open".to_owned());
        policy_error(given.py(), CoreError { field, found: value.to_string(), allowed, ..CoreError::default() })
    })
}
