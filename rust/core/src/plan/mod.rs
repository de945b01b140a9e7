//! A policy, compiled: what a check reads, hashes and asks, worked out once, over tables in one region.
//!
//! ```text
//!  Policy ── quotas ──> limits with tables of their own ── memory ──> Region + tables ── compile ──> Plan
//!  Plan + Policy ── reload ──> the next Plan over the same region
//! ```
//!
//! * [`plan`]: the plan itself   * `compile`: limits to stores   * `quotas`: the values that quotas name
//! * `memory`: which table gets how much, with `budget` and `in_flight`   * `reload`: another policy over a region in use
//!
//! Knows no envelope and no TOML.

mod budget;
mod compile;
mod in_flight;
mod memory;
mod plan;
mod quotas;
mod reload;

pub use compile::compile;
pub use plan::*;
pub use reload::{Step, recompile};
