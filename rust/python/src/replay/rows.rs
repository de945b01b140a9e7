//! `Rows`: the values of many envelopes that are still to be counted, and the keys made of them.
//!
//! This module knows no limit. Invariant: each row has one run of texts for each identity; a run may be empty.

use std::fmt::Write;
use std::sync::Arc;

use pyo3::prelude::*;
use throttle_core::engine::Purpose;
use throttle_core::identity::{Identities, Identity, Trust, Value};
use throttle_core::policy::Stages;

use super::texts::{Piece, Texts};
use crate::decision::Decision;
use crate::envelope::Envelope;
use crate::error::wrong_value;
use crate::guard::Throttle;

/// Separates the values of a key.
const JOINED: &str = " + ";

/// See `_replay.pyi`. The identities are those of the guard's policy at the time when `Rows` is made.
#[pyclass(module = "throttle._replay")]
pub(crate) struct Rows {
    guard: Py<Throttle>,
    observed: Vec<Identity>,
    times: Vec<f64>,
    proven: Vec<bool>,
    texts: Piece,
    /// The index of the first text of each identity of each row, and at the end the number of texts.
    begins: Vec<usize>,
}

#[pymethods]
impl Rows {
    #[new]
    fn new(guard: Py<Throttle>) -> Self {
        let observed = guard.get().engine().observed().collect();
        let (times, proven, texts, begins) = (Vec::new(), Vec::new(), Piece::default(), vec![0]);
        Self { guard, observed, times, proven, texts, begins }
    }

    /// Checks an envelope at the time `now`. Appends it with the time `at` if it is admitted and no limit in shadow
    /// mode would refuse it, and otherwise returns the decision.
    fn ask(
        &mut self, py: Python<'_>, now: &Bound<'_, PyAny>, at: f64, envelope: &Bound<'_, Envelope>,
    ) -> PyResult<Option<Py<Decision>>> {
        let guard = self.guard.clone_ref(py);
        let now = guard.get().clock.read(py, Some(now))?;
        let said = envelope.get().with(py, |core| {
            let mut is_appended = false;
            let (decision, charge, _) =
                guard.get().engine().decide_and(core, None, now, Purpose::Check, |decision, identities| {
                    is_appended = decision.refusal.is_none() && decision.shadow.is_empty();
                    if is_appended {
                        self.append(at, identities);
                    }
                });
            (!is_appended).then_some((decision, charge))
        });
        let made = |(core, charge)| Decision::of_envelope(py, core, guard, envelope.clone().unbind(), charge);
        said.map(made).transpose()
    }

    /// Appends an envelope without a check.
    fn add(&mut self, py: Python<'_>, at: f64, envelope: &Bound<'_, Envelope>) {
        let engine = Arc::clone(&self.guard.get().engine());
        envelope.get().with(py, |core| self.append(at, &engine.read(core, Stages::known_of(core))));
    }

    /// Returns the keys of the rows whose sender has the trust `verified`, in the order of the rows. A key joins one
    /// value of each identity at `places`, in every combination.
    fn keys(&self, places: Vec<usize>, verified: &str) -> PyResult<Texts> {
        self.check(&places)?;
        let any = verified == "any";
        let mut keys = Texts::default();
        for row in (0..self.times.len()).filter(|row| any || self.proven[*row] == (verified == "proven")) {
            self.each_key(row, &places, &mut |key| keys.push(key));
        }
        Ok(keys)
    }

    fn clear(&mut self) {
        self.times.clear();
        self.proven.clear();
        self.texts.clear();
        self.begins.truncate(1);
    }

    fn __len__(&self) -> usize {
        self.times.len()
    }
}

impl Rows {
    fn append(&mut self, at: f64, identities: &Identities<'_>) {
        let Self { observed, times, proven, texts, begins, .. } = self;
        for identity in observed {
            if identity.has_many() {
                identities.values(*identity).iter().for_each(|value| push(texts, value));
            } else if let Some(value) = identities.value(*identity) {
                push(texts, &value);
            }
            begins.push(texts.len());
        }
        times.push(at);
        proven.push(identities.trust(Identity::SenderHost) != Trust::Claimed);
    }

    /// Calls `take` with each key of one row.
    pub(super) fn each_key(&self, row: usize, places: &[usize], take: &mut impl FnMut(&str)) {
        if let [place] = places {
            return self.values(row, *place).for_each(take);
        }
        let mut key = String::new();
        self.each_joined(row, places, &mut key, take);
    }

    fn each_joined(&self, row: usize, places: &[usize], key: &mut String, take: &mut impl FnMut(&str)) {
        let [place, rest @ ..] = places else { return take(key) };
        let before = key.len();
        for value in self.values(row, *place) {
            key.push_str(value);
            if !rest.is_empty() {
                key.push_str(JOINED);
            }
            self.each_joined(row, rest, key, take);
            key.truncate(before);
        }
    }

    pub(super) fn values(&self, row: usize, place: usize) -> impl Iterator<Item = &str> {
        let first = row * self.observed.len() + place;
        self.texts.run(self.begins[first]..self.begins[first + 1])
    }

    pub(super) fn times(&self) -> &[f64] {
        &self.times
    }

    /// Returns an error if a place is not that of an identity.
    pub(super) fn check(&self, places: &[usize]) -> PyResult<()> {
        let allowed = self.observed.len();
        match places.iter().find(|place| **place >= allowed) {
            Some(place) => Err(wrong_value("place", &place.to_string(), &format!("less than {allowed}"))),
            None => Ok(()),
        }
    }
}

fn push(texts: &mut Piece, value: &Value<'_>) {
    texts.write(|text| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{value}");
    });
}
