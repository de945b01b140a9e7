//! Reads and writes policies: from TOML, or from Python's arguments, to limits that can be compiled.
//!
//! Every way to a [`Policy`] goes through the same checks and gives the same messages. This module knows no memory
//! layout; `plan` compiles a policy into stores and their tables.
//!
//! ```text
//!  TOML text ── field ──> fields ── document ──> fields over those of the base ──┐
//!                                                                                ├── limit ──> limits, a policy
//!  Python's arguments ─────────────────────────> fields ─────────────────────────┘
//! ```
//!
//! * `model`: policies and limits   * `rows`: the table of all fields
//! * `field`: a field as it was written, and what is wrong with it   * `value`: what one field may hold
//! * `limit`: the fields of one limit together   * `document`: one file over its base, and all its limits together
//! * `entries`: `[[allow]]` and `[[block]]`   * `quota_file`: quotas of many values, in a file of their own
//! * `reply_template`: the operator's own replies, and the page that they name

mod document;
mod entries;
mod field;
mod limit;
mod model;
mod quota_file;
mod reply_template;
mod rows;
mod value;

pub use crate::decision::Template;
pub use crate::stage::{Stage, Stages};
pub use crate::store::params::{Algorithm, Charge, Fraction, Rate, WhenFull};
pub use document::{Base, Bases, NoBase, Source};
pub use field::{Field, FieldValue};
pub use model::{Action, Choice, Count, Limit, MAX_LIMITS, MAX_VALUES, Mode, Policy, PolicyEntry, Quota, Report, Rule};
pub use model::{Share, Until, Verified};
pub(crate) use model::{joined_name, reserved};
pub use reply_template::is_help_url;
pub(crate) use value::write_size;
pub use value::{duration_us, memory_bytes, write_bytes};
