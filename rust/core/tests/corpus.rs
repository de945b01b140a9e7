//! What fuzzing has kept, run through the same checks in every test run: `rust/fuzz/src` says what must hold,
//! `make fuzz` looks for more.
//!
//! A crash becomes a test by being put into the corpus of its target.

#![allow(unreachable_pub, dead_code, reason = "the modules are those of the fuzzing crate; each test uses its part")]

#[path = "../../fuzz/src/addresses.rs"]
mod addresses;
#[path = "../../fuzz/src/domains.rs"]
mod domains;
#[path = "../../fuzz/src/headers.rs"]
mod headers;
#[path = "../../fuzz/src/policies.rs"]
mod policies;
#[path = "../../fuzz/src/reading.rs"]
mod reading;
#[path = "../../fuzz/src/suffix_rules.rs"]
mod suffix_rules;

use std::panic;
use std::path::Path;

/// Fewer than that are no corpus: the directory was lost, or looked for in the wrong place.
const LEAST: usize = 50;

#[track_caller]
fn check_all(target: &str, check: impl Fn(&[u8]) + panic::RefUnwindSafe) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files: Vec<_> =
        corpus.read_dir().expect("a corpus").map(|entry| entry.expect("a readable directory").path()).collect();
    assert!(files.len() >= LEAST, "{} inputs in {}", files.len(), corpus.display());
    for file in files {
        let input = std::fs::read(&file).expect("a readable file");
        if panic::catch_unwind(|| check(&input)).is_err() {
            panic!("{} does not hold", file.display());
        }
    }
}

#[test]
fn addresses_hold() {
    check_all("addresses", addresses::check);
}

#[test]
fn domains_hold() {
    check_all("domains", domains::check);
}

#[test]
fn headers_hold() {
    check_all("headers", headers::check);
}

#[test]
fn policies_hold() {
    check_all("policies", policies::check);
}
