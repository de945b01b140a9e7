//! What must hold for any input at all, as functions of bytes that panic when it does not.
//!
//! `cargo fuzz` looks for such bytes; `rust/core/tests/corpus.rs` runs what was found before through the same functions
//! in every test run.
//!
//! * [`addresses`], [`domains`], [`headers`]: what senders write   * [`authentication_results`]: what border servers
//!   write   * [`policies`]: what operators write   * `suffix_rules`: an obvious oracle

pub mod addresses;
pub mod authentication_results;
pub mod domains;
pub mod headers;
pub mod policies;
mod reading;
mod suffix_rules;
