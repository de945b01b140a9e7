//! `throttle-core`: rate limits for inbound mail in memory fixed before start.
//!
//! Pure: no Python, no I/O, no clock.
//!
//! * [`envelope`]: what is known of one SMTP transaction   * [`identity`]: text in, normalised identities out
//! * [`key`]: what a value is hashed to; text ends there
//! * [`policy`]: a TOML file, its limits, the compiled plan   * [`region`], [`store`]: the memory, and what counts in it
//! * [`sketch`]: estimates in fixed memory, over anybody's words
//! * [`engine`]: one envelope, all its limits, one [`decision`]   * [`reply`]: what the server should answer   * [`time`]: integers for it

pub mod decision;
pub mod engine;
pub mod envelope;
pub mod error;
pub mod identity;
pub mod key;
pub mod policy;
pub mod region;
pub mod reply;
pub mod sketch;
pub mod store;
pub mod time;
