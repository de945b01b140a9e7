//! HyperLogLog and its martingale against plain registers, and both against what theory says of their errors.

mod draw;

use draw::{key, unit};
use proptest::prelude::*;
use throttle_core::key::{Key, Secret};
use throttle_core::sketch::hyperloglog::Martingale;
use throttle_core::sketch::hyperloglog::{Change, HyperLogLog};

fn shape(precision: u32) -> HyperLogLog {
    HyperLogLog::new(precision).expect("a precision")
}

fn memory(shape: HyperLogLog) -> Vec<u64> {
    vec![0; shape.words()]
}

fn filled(shape: HyperLogLog, keys: &[Key]) -> Vec<u64> {
    let mut words = memory(shape);
    for key in keys {
        shape.add(&mut words, *key);
    }
    words
}

fn registers(shape: HyperLogLog, words: &[u64]) -> Vec<u8> {
    (0..shape.registers()).map(|number| shape.register(words, number)).collect()
}

fn told(martingale: &Martingale) -> f64 {
    martingale.estimate().expect("one writer, and not full")
}

/// The register of a key and its run, from the key's digits.
fn digits(precision: u32, key: Key) -> (usize, u8) {
    let text = format!("{:064b}", key.0);
    let (register, rest) = text.split_at(precision as usize);
    let run = rest.find('1').unwrap_or(rest.len()) + 1;
    (usize::from_str_radix(register, 2).expect("binary digits"), run as u8)
}

/// A key with a stated register and run.
fn aimed(shape: HyperLogLog, register: usize, run: u8) -> Key {
    let q = 64 - shape.precision;
    let rest = if u32::from(run) > q { 0 } else { 1 << (q - u32::from(run)) };
    Key((register as u64) << q | rest)
}

/// Any key, those of long runs as often as others, and few registers as often as many.
fn keys() -> impl Strategy<Value = Vec<Key>> {
    let key = prop_oneof![
        any::<u64>(),
        (any::<u64>(), 0u32..64).prop_map(|(bits, shift)| bits >> shift),
        (any::<u64>(), 4u32..64, 0u32..64).prop_map(|(bits, high, low)| bits << high | bits & 1 << low),
        (0u64..16, 0u32..60).prop_map(|(register, run)| register << 60 | 1 << run),
    ];
    prop::collection::vec(key.prop_map(Key), 0..200)
}

proptest! {
    #[test]
    fn every_register_holds_its_longest_run_and_a_change_says_so(precision in 4u32..=18, keys in keys()) {
        let shape = shape(precision);
        let (mut words, mut plain) = (memory(shape), vec![0u8; shape.registers()]);
        let mut martingale = Martingale::default();
        for key in keys {
            let (register, run) = digits(precision, key);
            let expected = (run > plain[register]).then_some(Change { from: plain[register], to: run });
            let change = shape.add(&mut words, key);
            prop_assert_eq!(change, expected);
            plain[register] = plain[register].max(run);
            if let Some(change) = change {
                martingale.note(shape, change);
            }
        }
        prop_assert!(registers(shape, &words) == plain);
        prop_assert!(shape.is_sound(&words));
        prop_assert!(martingale.is_sound(shape, &words));
    }

    #[test]
    fn merged_it_is_the_sketch_of_both_streams(precision in 4u32..=18, first in keys(), second in keys()) {
        let shape = shape(precision);
        let (one, other) = (filled(shape, &first), filled(shape, &second));
        let mut merged = one.clone();
        shape.merge(&mut merged, &other);
        let both: Vec<_> = first.into_iter().chain(second).collect();
        prop_assert!(merged == filled(shape, &both));
        let mut turned = other;
        shape.merge(&mut turned, &one);
        prop_assert!(merged == turned);
        shape.merge(&mut turned, &one);
        prop_assert!(merged == turned, "what is in it already changes nothing");
    }

    #[test]
    fn no_estimate_is_below_zero_or_no_number(precision in 4u32..=18, keys in keys()) {
        let shape = shape(precision);
        let estimate = shape.estimate(&filled(shape, &keys));
        prop_assert!(estimate >= 0.0 && (estimate == 0.0) == keys.is_empty(), "{estimate}");
    }
}

/// Relative errors of both estimators, one a seed.
struct Errors {
    raw: Vec<f64>,
    martingale: Vec<f64>,
}

const STEPS: [u64; 7] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];

/// The errors at every step, over `seeds` streams in which every second key was there before.
fn errors(shape: HyperLogLog, seeds: u64) -> Vec<Errors> {
    let mut errors: Vec<_> = STEPS.iter().map(|_| Errors { raw: Vec::new(), martingale: Vec::new() }).collect();
    for seed in 0..seeds {
        let (mut words, mut martingale, mut number) = (memory(shape), Martingale::default(), 0);
        for (step, errors) in STEPS.into_iter().zip(&mut errors) {
            while number < step {
                for number in [number, number / 2] {
                    if let Some(change) = shape.add(&mut words, key(seed, number)) {
                        martingale.note(shape, change);
                    }
                }
                number += 1;
            }
            errors.raw.push(shape.estimate(&words) / step as f64 - 1.0);
            errors.martingale.push(told(&martingale) / step as f64 - 1.0);
        }
    }
    errors
}

/// Each within 5 σ; their mean, too, which is √runs times narrower; and where the theory's σ is reached,
/// their spread is σ.
fn assert_theory(what: &str, errors: &[f64], sigma: f64, reached: bool) {
    let runs = errors.len() as f64;
    let mean = errors.iter().sum::<f64>() / runs;
    let spread = (errors.iter().map(|error| error * error).sum::<f64>() / runs).sqrt();
    println!("{what}: mean {:+.2} σ, spread {:.2} σ", mean / sigma, spread / sigma);
    for error in errors {
        assert!(error.abs() < 5.0 * sigma, "{what}: an error of {error}");
    }
    assert!(mean.abs() < 5.0 * sigma / runs.sqrt(), "{what}: a bias of {mean}");
    let noise = 5.0 / (2.0 * runs).sqrt();
    assert!(spread / sigma < 1.0 + noise, "{what}: a spread of {spread}");
    assert!(!reached || spread / sigma > 1.0 - noise, "{what}: a spread of only {spread}: is this the theory's σ?");
}

#[test]
fn errors_are_those_of_theory_from_one_to_a_million() {
    for (precision, seeds) in [(6, 150), (10, 150), (14, 80)] {
        let shape = shape(precision);
        let m = shape.registers() as f64;
        for (step, errors) in STEPS.into_iter().zip(errors(shape, seeds)) {
            let reached = step as f64 > 5.0 * m;
            assert_theory(&format!("p {precision}, {step}, raw"), &errors.raw, 1.04 / m.sqrt(), reached);
            assert_theory(&format!("p {precision}, {step}, martingale"), &errors.martingale, 0.833 / m.sqrt(), reached);
        }
    }
}

#[test]
fn a_handful_is_counted_almost_exactly() {
    let shape = shape(14);
    for seed in 0..50 {
        let (mut words, mut martingale) = (memory(shape), Martingale::default());
        for number in 0..10 {
            martingale.note(shape, shape.add(&mut words, key(seed, number)).expect("a register of its own"));
            let truth = number as f64 + 1.0;
            assert!((shape.estimate(&words) / truth - 1.0).abs() < 0.001);
            assert!((told(&martingale) / truth - 1.0).abs() < 0.001);
        }
    }
}

/// Registers as so many keys would leave them: each register saw a Poisson number of keys,
/// of which one stays below a run of k with 1 − 2^−k.
fn after(shape: HyperLogLog, count: f64, seed: u64) -> Vec<u64> {
    let mut words = memory(shape);
    let mean = count / shape.registers() as f64;
    for register in 0..shape.registers() {
        // P(run ≤ k) = exp(−mean · 2^−k), turned round
        let run = (mean / -unit(seed, register as u64).ln()).log2().ceil();
        if run >= 1.0 {
            shape.add(&mut words, aimed(shape, register, run.min(f64::from(shape.longest())) as u8));
        }
    }
    words
}

#[test]
fn errors_are_those_of_theory_far_beyond_what_can_be_added_here() {
    for precision in [8, 14] {
        let shape = shape(precision);
        for exponent in [6, 7, 8, 9, 12, 15, 18, 19] {
            let count = 10f64.powi(exponent);
            let errors: Vec<_> = (0..60)
                .map(|run| shape.estimate(&after(shape, count, run + 100 * exponent as u64)) / count - 1.0)
                .collect();
            let sigma = 1.04 / (shape.registers() as f64).sqrt();
            assert_theory(&format!("p {precision}, 10^{exponent}"), &errors, sigma, exponent < 19);
        }
    }
}

#[test]
fn names_that_differ_in_a_digit_are_as_good_as_random_ones() {
    let shape = shape(12);
    let secret = Secret::new(*b"sixteen octets!!");
    let mut words = memory(shape);
    for number in 0..200_000 {
        shape.add(&mut words, secret.text(format!("user{number}@org.com").as_bytes()));
    }
    assert!((shape.estimate(&words) / 200_000.0 - 1.0).abs() < 5.0 * 1.04 / 64.0);
}

#[test]
fn full_registers_change_no_more_and_count_without_end() {
    let shape = shape(4);
    let (mut words, mut martingale) = (memory(shape), Martingale::default());
    for register in 0..16 {
        for run in 1..=shape.longest() {
            martingale.note(shape, shape.add(&mut words, aimed(shape, register, run)).expect("a longer run"));
        }
    }
    assert_eq!(martingale, Martingale::LOST);
    assert_eq!(martingale.estimate(), None);
    assert!((0..1000).all(|number| shape.add(&mut words, key(1, number)).is_none()));
    assert_eq!(shape.estimate(&words), f64::INFINITY);
}

#[test]
fn a_martingale_of_other_registers_is_not_sound() {
    let shape = shape(4);
    let (mut words, mut martingale) = (memory(shape), Martingale::default());
    let change = shape.add(&mut words, key(1, 1)).expect("the first key");
    assert!(!martingale.is_sound(shape, &words), "a change was not noted");
    martingale.note(shape, change);
    assert!(martingale.is_sound(shape, &words));
    assert!(!martingale.is_sound(shape, &memory(shape)));
    assert!(!Martingale { sum: u64::MAX, ..martingale }.is_sound(shape, &words));
    assert!(Martingale::LOST.is_sound(shape, &words));
}

#[test]
fn what_is_lost_stays_lost() {
    let (shape, mut martingale) = (shape(4), Martingale::LOST);
    martingale.note(shape, Change { from: 0, to: 1 });
    assert_eq!(martingale, Martingale::LOST);
}

#[test]
fn memory_that_no_keys_could_have_left_is_not_sound() {
    let shape = shape(4);
    let longest: Vec<_> = (0..16).map(|register| aimed(shape, register, 61)).collect();
    assert!(shape.is_sound(&filled(shape, &longest)));
    assert!(!shape.is_sound(&[62, 0]), "a run longer than sixty bits have");
    assert!(!shape.is_sound(&[0, 1 << 32]), "behind the last register");
    assert!(!shape.is_sound(&[0]), "too short");
    assert!(!shape.is_sound(&[0; 3]), "too long");
}

#[test]
fn precisions_are_four_to_eighteen_and_six_bits_a_register() {
    let words = |precision| HyperLogLog::new(precision).map(|shape| shape.words());
    assert_eq!((3..=19).map(words).collect::<Vec<_>>()[..5], [None, Some(2), Some(3), Some(6), Some(12)]);
    assert_eq!((words(14), words(18), words(19)), (Some(1_536), Some(24_576), None));
}

#[test]
#[should_panic(expected = "words of a HyperLogLog sketch")]
fn memory_of_another_shape_panics() {
    shape(6).estimate(&[0; 7]);
}
