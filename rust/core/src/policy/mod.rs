//! From a TOML file, or from Python's fields, to limits that can be obeyed.
//!
//! Knows no memory layout but for the budget it asks for. Whoever holds a [`Policy`] need not check it again: every way to one goes through
//! the same checks and says the same sentences.
//!
//! ```text
//!  TOML text ── parse ──┐
//!                       ├─> [field] ── draft ──> validate ──> Limit ── assemble (scale) ──> Policy
//!  Python's fields ─────┘    one value at a time   together            all limits together
//! ```
//!
//! * [`limit`]: what a limit is   * [`rate`], `quantity`, `scale`: numbers with units   * `stage`: when it runs
//! * `in_flight`: a cap's fields together   * [`plan`], `budget`, `held`: limits to stores, and their tables   * `print`: a limit back as TOML   * `nearest`: the name that was meant

mod assemble;
mod budget;
mod draft;
pub mod field;
mod held;
mod in_flight;
pub mod limit;
mod nearest;
mod parse;
pub mod plan;
mod print;
mod quantity;
pub mod rate;
mod scale;
mod stage;
mod validate;

pub use assemble::MAX_LIMITS;
pub use field::FieldValue;
pub use limit::{Algorithm, Count, Limit, Part, Policy, Rule, Share, Verified, WhenFull};
pub use quantity::memory_bytes;
pub use rate::Rate;
pub use stage::{Stage, Stages};
