#![allow(dead_code, reason = "each test binary uses a part")]
//! Keys of a fixed sequence, as good as hashes: statistics see the same ones in every run.

use throttle_core::key::Key;

/// The finaliser of SplitMix64.
pub(crate) fn mix(number: u64) -> u64 {
    let a = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    b ^ b >> 31
}

/// The key of element `number` in the run of `seed`.
pub(crate) fn key(seed: u64, number: u64) -> Key {
    Key(mix(mix(seed.wrapping_add(1)).wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15))))
}

/// Uniform in (0, 1).
pub(crate) fn unit(seed: u64, number: u64) -> f64 {
    ((key(seed, number).0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}
