//! `Throttle(learned=…)`: known elements of another run. `throttle.learned` reads the file, and this file adds the
//! elements to the guard.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use throttle_core::engine::{Engine, Lesson};
use throttle_core::identity::Identity;
use throttle_core::region::Now;
use throttle_core::store::seen_set::Learned;

/// How many elements of a file were kept, and how many were not, for the log message.
#[derive(Debug, Default)]
struct Outcome {
    kept: u64,
    forgotten: u64,
    one_too_many: u64,
    not_needed: u64,
    no_value: u64,
}

/// Adds the known elements of the file at `path` to a guard that has not checked anything yet.
///
/// The elements keep their times, so an element that was seen yesterday is a day old. When the clock is earlier than
/// the end of the file's period, all times are moved back by the difference.
pub(crate) fn load(py: Python<'_>, engine: &Engine, path: &Bound<'_, PyAny>, now: Now) -> PyResult<()> {
    let module = py.import("throttle.learned")?;
    let state = module.call_method1("read", (path,))?;
    let now_us = now.us();
    let ahead_us = state.getattr("until_us")?.extract::<i64>()?.saturating_sub(now_us).max(0);
    let memories: Vec<(Vec<String>, String)> = state.getattr("memories")?.extract()?;
    let memories: Vec<Vec<usize>> = memories.iter().map(|(per, distinct)| memories_of(engine, per, distinct)).collect();
    let mut outcome = Outcome::default();
    for entry in state.getattr("entries")?.try_iter()? {
        let (memory, per, element, first_us, last_us): (usize, Vec<String>, String, i64, i64) = entry?.extract()?;
        let per: Vec<&str> = per.iter().map(String::as_str).collect();
        let [first_us, last_us] = [first_us, last_us].map(|us| us.saturating_sub(ahead_us));
        let lesson = Lesson { per: &per, element: &element, first_us, last_us };
        let here = memories.get(memory).map_or(&[][..], Vec::as_slice);
        if here.is_empty() {
            outcome.not_needed += 1;
        }
        for &memory in here {
            *match engine.learn(memory, &lesson, now) {
                Ok(Learned::Kept) => &mut outcome.kept,
                Ok(Learned::Forgotten) => &mut outcome.forgotten,
                Ok(Learned::OneTooMany) => &mut outcome.one_too_many,
                Err(_) => &mut outcome.no_value,
            } += 1;
        }
    }
    let told = PyDict::new(py);
    told.set_item("kept", outcome.kept)?;
    told.set_item("forgotten", outcome.forgotten)?;
    told.set_item("one_too_many", outcome.one_too_many)?;
    told.set_item("not_needed", outcome.not_needed)?;
    told.set_item("no_value", outcome.no_value)?;
    module.call_method("tell", (path,), Some(&told))?;
    Ok(())
}

/// Finds the seen sets for these identities. A name that is no identity of this version has no seen set.
fn memories_of(engine: &Engine, per: &[String], distinct: &str) -> Vec<usize> {
    let per: Result<Vec<Identity>, _> = per.iter().map(|name| name.parse()).collect();
    match (per, distinct.parse()) {
        (Ok(per), Ok(distinct)) => engine.seen_sets(&per, distinct),
        _ => Vec::new(),
    }
}
