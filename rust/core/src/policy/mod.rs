//! From a TOML file to limits. Knows no memory layout but for the budget it asks for.

pub mod limit;
pub mod rate;

pub use limit::{Count, Limit, Policy, Rule, Verified, WhenFull};
pub use rate::Rate;
