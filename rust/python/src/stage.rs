//! The argument `stage`: which limits a check runs.

use pyo3::prelude::*;
use pyo3::types::PyString;
use throttle_core::policy::{Stage, Stages};

use crate::error::{not_of_type, wrong_value};

/// Reads `None`, one stage or several stages.
#[inline]
pub(crate) fn stages(given: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Stages>> {
    given.map(stated).transpose()
}

fn stated(given: &Bound<'_, PyAny>) -> PyResult<Stages> {
    if let Some(stage) = stage(given) {
        return Ok(Stages::default().with(stage));
    }
    let items = match given.try_iter() {
        Ok(items) if !given.is_instance_of::<PyString>() => items,
        _ if given.is_instance_of::<PyString>() => return Err(unknown(given)),
        _ => return Err(not_of_type("stage", given, "a stage, an iterable of stages, or None")),
    };
    let mut all = Stages::default();
    for item in items {
        let item = item?;
        if !item.is_instance_of::<PyString>() {
            return Err(not_of_type("stage", &item, "a stage, an iterable of stages, or None"));
        }
        all = all.with(stage(&item).ok_or_else(|| unknown(&item))?);
    }
    Ok(all)
}

fn stage(name: &Bound<'_, PyAny>) -> Option<Stage> {
    let name = name.cast::<PyString>().ok()?.to_str().ok()?;
    Stage::ALL.into_iter().find(|stage| stage.name() == name)
}

fn unknown(given: &Bound<'_, PyAny>) -> PyErr {
    let found = given.repr().map_or_else(|_| "something without a repr".to_owned(), |repr| repr.to_string());
    let allowed = Stage::ALL.map(Stage::name).join(", ");
    wrong_value("stage", &found, &format!("{allowed}, or several of them"))
}
