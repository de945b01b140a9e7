//! Estimates in fixed memory: how often a key was added ([`count_min`]), and how many different ones ([`hyperloglog`]).
//!
//! Pure mathematics. A sketch is a description that can be copied; its memory is the caller's, plain words that start
//! as zeros. Every method takes exactly as many of them as `words` says, and panics on another number.
//!
//! It knows no lines, no time, no text and no mail. What comes in is a [`Key`](crate::key::Key): sixty-four bits,
//! uniform, and secret from those who choose what is counted. A sender that knows the hash can drive both sketches to
//! any value.
//!
//! Invariant: nothing here allocates, and a memory of zeros is an empty sketch.

pub mod count_min;
pub mod hyperloglog;
