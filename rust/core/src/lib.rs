//! `throttle-core`: rate limits for inbound mail in memory fixed before start.
//!
//! Pure: no Python, no I/O, no clock.
//!
//! * [`envelope`]: what is known of one SMTP transaction
//! * [`identity`]: text in, normalised identities out
//! * [`key`]: what a value is hashed to; text ends there
//! * [`policy`]: a TOML file and its limits
//! * [`plan`]: a policy compiled into stores and their tables
//! * [`region`], [`store`]: the memory, and what counts in it
//! * [`stats`]: distinct counts and names of offenders, which never refuse
//! * [`sketch`]: estimates in fixed memory
//! * [`engine`]: one envelope, all its limits, one [`decision`] with what the server should answer
//! * [`delegation`]: what Postfix asks a policy service, as steps of sessions
//! * [`time`]: times as integers
//!
//! ```
//! use std::sync::Arc;
//! use throttle_core::{engine::Engine, envelope::Envelope, identity::SuffixList};
//! use throttle_core::{key::Secret, policy::Policy, region::Now};
//!
//! let policy = Policy::parse("policy.toml", r#"
//!     [[limit]]
//!     name = "org-pace"
//!     per = "sender.org"
//!     rate = "2/minute"
//! "#)?;
//! let list = "// ===BEGIN ICANN DOMAINS===\ncom\n// ===END ICANN DOMAINS===";
//! let suffixes = Arc::new(SuffixList::parse(list, &policy.extra_suffixes)?);
//! let engine = Engine::new(&policy, 1 << 20, suffixes, Secret::new(*b"16 secret bytes."))?;
//!
//! let envelope = Envelope { mail_from: Some(b"joe@mx.example.com"), ..Envelope::default() };
//! let allowed = [0, 1, 2].map(|us| engine.check(&envelope, None, Now::Stated(us)).allowed());
//! assert_eq!(allowed, [true, true, false]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bitset;
pub mod decision;
pub mod delegation;
pub mod diagnosis;
pub mod engine;
pub mod envelope;
pub mod error;
pub mod export;
pub mod identity;
pub mod key;
pub mod plan;
pub mod policy;
pub mod region;
pub mod sketch;
pub mod stage;
pub mod stats;
pub mod store;
pub mod time;
