//! What `throttle.replay` counts with: the values of many envelopes, and exact counts of their keys.
//!
//! It is here because a log has millions of lines and each some fifteen keys; what is counted, for how long and how
//! much of it is kept, Python says.

pub(crate) mod counts;
pub(crate) mod rows;
pub(crate) mod seen;
pub(crate) mod texts;
pub(crate) mod values;
