//! `Offender`: a value that came near a limit.

use pyo3::prelude::*;
use throttle_core::stats::Offender as Core;

use crate::clock::seconds;

#[doc = doc!("Offender")]
#[pyclass(module = "throttle", frozen, get_all, eq)]
#[derive(Debug, PartialEq)]
pub(crate) struct Offender {
    #[doc = doc!("Offender.value")]
    value: String,
    #[doc = doc!("Offender.admitted")]
    admitted: u64,
    #[doc = doc!("Offender.refused")]
    refused: u64,
    #[doc = doc!("Offender.fan_out")]
    fan_out: Option<f64>,
    #[doc = doc!("Offender.first_seen")]
    first_seen: f64,
}

impl From<Core> for Offender {
    fn from(Core { value, admitted, refused, fan_out, since_us, .. }: Core) -> Self {
        Self { value, admitted, refused, fan_out, first_seen: seconds(since_us) }
    }
}

#[pymethods]
impl Offender {
    #[new]
    #[pyo3(signature = (value, admitted, refused, fan_out, first_seen))]
    fn new(value: String, admitted: u64, refused: u64, fan_out: Option<f64>, first_seen: f64) -> Self {
        Self { value, admitted, refused, fan_out, first_seen }
    }

    fn __getnewargs__(&self) -> (&str, u64, u64, Option<f64>, f64) {
        (&self.value, self.admitted, self.refused, self.fan_out, self.first_seen)
    }

    fn __repr__(&self) -> String {
        let Self { value, admitted, refused, first_seen, .. } = self;
        let fan_out = self.fan_out.map_or("None".into(), |fan_out| format!("{fan_out:.1}"));
        format!(
            "Offender({value:?}, admitted={admitted}, refused={refused}, fan_out={fan_out}, first_seen={first_seen:?})"
        )
    }
}
