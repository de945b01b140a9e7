//! `diagnose`: which identity ties the present surge of mail together.
//!
//! ```text
//!  message ──▶ samples: at most 96 whole messages of each minute, of the last 66 ──▶ surge: what the last five
//!              minutes have more of than the hour before, and which value most of that shares
//! ```
//!
//! * [`samples`]: which messages are kept, and what of them   * [`identities`]: the values of one kept message
//! * `minutes`: which minutes are compared   * `volumes`: how often each value is among their messages
//! * [`surge`]: the analysis   * [`finding`]: what it says
//!
//! Why whole messages, and not the heaviest values of each identity: a record keeps what occurs together. So two floods
//! at once can be told apart, and a command can be tried on real messages of the hour before.
//!
//! Nothing here knows limits, keys or policies. Invariant: memory and time are fixed, whatever is sent.

pub mod finding;
pub mod identities;
mod minutes;
pub mod samples;
pub mod surge;
mod volumes;
