//! From a TOML file, or from Python's fields, to limits that can be obeyed.
//!
//! Knows no memory layout but for the budget it asks for. Whoever holds a [`Policy`] need not check it again: every way to one goes through
//! the same checks and says the same sentences.
//!
//! ```text
//!  TOML text ── parse ── written, over what it `extends` ──┐
//!                                                          ├─> [field] ── draft ──> validate ──> Limit ── assemble (scale) ──> Policy
//!  Python's fields ────────────────────────────────────────┘    one value at a time   together            all limits together
//! ```
//!
//! * `fields`: every field that there is, for the readers and for `schema`   * `extends`: one file over another
//! * [`limit`]: what a limit is, in `words`   * [`quota`]: other numbers for a named value   * `stage`: when it runs
//! * `value`: what one field may hold; with [`rate`], `quantity` and `scale`: numbers with units
//! * `fan_out`, `in_flight`: the fields of a fan-out and of a cap together   * `action`, [`template`]: what a refusal comes to, and its words   * `nearest`: the name that was meant
//! * `unstated`: names that no limit has   * `print`: a limit back as TOML
//! * `compile`, with `named`, `allocate`, `budget` and `held`: limits and quotas to stores and their tables, the [`plan`]
//! * `recompile`: the same over a region that is in use

mod action;
mod assemble;
mod draft;
mod extends;
mod fan_out;
pub mod field;
mod fields;
mod in_flight;
pub mod limit;
mod nearest;
mod parse;
mod print;
mod quantity;
pub mod quota;
mod rate;
mod reply_template;
mod scale;
mod schema;
pub(crate) mod unstated;
mod validate;
mod value;
mod words;
mod written;

pub use crate::reply::Template;
pub use crate::stage::{Stage, Stages};
pub use crate::store::params::{Algorithm, Fraction, Rate, WhenFull};
pub use action::Action;
pub use assemble::MAX_LIMITS;
pub use extends::{Base, Bases, NoBase, Source};
pub use field::{Field, FieldValue};
pub use limit::{Limit, Policy, Rule, Share};
pub use quantity::memory_bytes;
pub use quota::Quota;
pub use words::{Count, Mode, Refuse, Verified};
