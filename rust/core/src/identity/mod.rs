//! Text in, normalised identities out (DESIGN §5).
//!
//! Knows no counts, no limits, no memory. Never fails: every input has some identity.
//!
//! * [`kind`]: the names of identities (`sender.org`)   * [`value`]: what they can hold
//! * [`network`], [`host`], [`address`]: the three grammars   * [`suffix`]: the Public Suffix List
//! * [`read`]: one envelope, all its identities

pub mod kind;
pub mod value;

pub use kind::{Identity, Prefixes, Source, Sources};
pub use value::{Class, Tag, Value};
