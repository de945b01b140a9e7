//! What fuzzing has kept, run through the same checks in every test run: `rust/fuzz/src` says what must hold,
//! `make fuzz` looks for more.
//!
//! A crash becomes a test by being put into the corpus of its target.

#![allow(unreachable_pub, dead_code, reason = "the modules are those of the fuzzing crate; each test uses its part")]

#[path = "../../fuzz/src/addresses.rs"]
mod addresses;
#[path = "../../fuzz/src/authentication_results.rs"]
mod authentication_results;
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
use std::path::{Path, PathBuf};

/// Fewer inputs are no corpus: the directory was lost, or looked for in the wrong place.
const LEAST: usize = 50;
/// `make corpus` keeps no more of the inputs that fuzzing found. Inputs with a name, which have a `-`, come on top.
const MOST_FOUND: usize = 100;

#[track_caller]
fn check_all(target: &str, check: impl Fn(&[u8]) + panic::RefUnwindSafe) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files: Vec<_> =
        corpus.read_dir().expect("a corpus").map(|entry| entry.expect("a readable directory").path()).collect();
    assert!(files.len() >= LEAST, "{} inputs in {}", files.len(), corpus.display());
    let has_name = |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().contains('-'));
    let found = files.iter().filter(|file| !has_name(file)).count();
    assert!(found <= MOST_FOUND, "{found} found inputs in {}: run `make corpus`", corpus.display());
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
fn authentication_results_hold() {
    check_all("authentication_results", authentication_results::check);
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
