//! `throttle-core`: rate limits for inbound mail in memory fixed before start.
//!
//! Pure: no Python, no I/O, no clock.
//!
//! * [`envelope`]: what is known of one SMTP transaction   * [`identity`]: text in, normalised identities out
//! * [`policy`]: a TOML file, its limits

pub mod envelope;
pub mod error;
pub mod identity;
pub mod policy;
