//! Estimates in fixed memory: how often a key was added ([`count_min`]), and how many different keys were added
//! ([`hyperloglog`]).
//!
//! This is pure mathematics. A sketch is a description that can be copied. The caller owns its memory: plain words that
//! start as zeros. A method that takes words needs exactly `words()` of them, and panics otherwise.
//!
//! A sketch knows no lines, no time, no text and no mail. Its input is a [`Key`](crate::key::Key): 64 uniform bits that
//! a sender cannot predict. A sender that knows the hash can drive both sketches to any value.
//!
//! Invariant: nothing here allocates, and a memory of zeros is an empty sketch.

pub mod count_min;
pub mod hyperloglog;
