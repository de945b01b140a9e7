//! Text in, normalised identities out.
//!
//! Knows no counts, no limits, no memory. Never fails: every input has some identity.
//!
//! * [`kind`]: the names of identities (`sender.org`)   * [`value`]: what an identity can hold
//! * `network`, `host`, `address`: one grammar each   * `plain`: names that need no grammar
//! * [`suffix`]: the Public Suffix List, and where in a host its organisation begins
//! * [`extract`]: all identities of one envelope   * [`header_parser`]: the address fields of a message's header
//! * [`parse_value`]: one value, as an operator writes it   * [`scope`]: what such a value covers

mod address;
pub mod extract;
pub mod header_parser;
mod host;
pub mod kind;
mod network;
pub mod parse_value;
mod plain;
pub mod scope;
pub mod suffix;
pub mod value;

pub use extract::{Identities, MOST_VALUES, Values};
pub use kind::{Identity, Prefixes, Source, Sources, UnknownIdentity};
pub(crate) use suffix::RUNGS;
pub use suffix::{SuffixError, SuffixList};
pub use value::{Part, Tag, Trust, Value};
