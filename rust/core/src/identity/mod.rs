//! Text in, normalised identities out.
//!
//! Knows no counts, no limits, no memory. Never fails: every input has some identity.
//!
//! * [`kind`]: the names of identities (`sender.org`)   * [`value`]: what they can hold
//! * `network`, `host`, `address`, `user`: the grammars; `plain`: what needs none   * [`suffix`]: the Public Suffix List
//! * `domain`: where in a host its organisation begins   * [`read`]: one envelope, all its identities
//! * [`header`]: the header of a message, as text   * `said`: the identities of it
//! * [`named`]: one value, as an operator writes it   * [`scope`]: what such a value covers

mod address;
mod domain;
pub mod header;
mod host;
pub mod kind;
pub mod named;
mod network;
mod plain;
pub mod read;
mod said;
pub mod scope;
pub mod suffix;
mod user;
pub mod value;

pub(crate) use domain::RUNGS;
pub use kind::{Identity, Prefixes, Source, Sources, UnknownIdentity};
pub(crate) use read::UseValue;
pub use read::{Identities, Values};
pub use said::MOST_VALUES;
pub use suffix::{SuffixError, SuffixList};
pub use value::{Class, Part, Tag, Value};
