//! The counters of `throttle.replay`: the values of many envelopes, and exact counts of their keys.
//!
//! They are in Rust because a log has millions of lines, and each line has about fifteen keys. The Python code decides
//! what is counted, for how long, and how much of it is kept.

pub(crate) mod counts;
pub(crate) mod replies;
pub(crate) mod rows;
pub(crate) mod seen;
pub(crate) mod texts;
pub(crate) mod values;
