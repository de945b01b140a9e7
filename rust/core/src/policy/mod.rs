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
//! * [`limit`]: what a limit is   * [`quota`]: other numbers for a named value   * [`rate`], `quantity`, `scale`: numbers with units   * `stage`: when it runs
//! * [`plan`], `budget`, `named`: limits and quotas to stores, and their tables   * `print`: a limit back as TOML   * `nearest`: the name that was meant

mod assemble;
mod budget;
mod draft;
pub mod field;
pub mod limit;
mod named;
mod nearest;
mod parse;
pub mod plan;
mod print;
mod quantity;
pub mod quota;
pub mod rate;
mod scale;
mod stage;
mod validate;

pub use assemble::MAX_LIMITS;
pub use field::{Field, FieldValue};
pub use limit::{Algorithm, Count, Limit, Mode, Policy, Refuse, Rule, Verified, WhenFull};
pub use quantity::memory_bytes;
pub use quota::Quota;
pub use rate::Rate;
pub use stage::{Stage, Stages};
