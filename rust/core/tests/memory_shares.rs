//! How the memory is shared out: half to the seen sets, the rest to the rates by weight, and nobody below the floor.

mod guard;

use guard::{MIB, engine, list};
use proptest::prelude::*;
use throttle_core::engine::Engine;
use throttle_core::error::PolicyError;
use throttle_core::key::Secret;
use throttle_core::policy::{FieldValue, Policy, memory_bytes};
use throttle_core::region::PAGE_BYTES;

/// The smallest table of a limit that states no memory.
const FLOOR: u64 = 65_536;

/// A limit of so many seconds between messages. A fan-out has a seen set too.
fn limit(name: &str, seconds: u32, fans_out: bool) -> String {
    let distinct = if fans_out { "distinct = 'sender.host'" } else { "" };
    format!("[[limit]]\nname = '{name}'\nper = 'client.{name}'\n{distinct}\nrate = '1/{seconds} seconds'\n")
}

fn within(policy: &Policy, memory_bytes: u64) -> Result<Engine, PolicyError> {
    Engine::new(policy, memory_bytes, list(&[]), Secret::new([7; 16]))
}

#[test]
fn half_goes_to_seen_sets_and_rates_share_by_weight_above_the_floor() {
    let policy = limit("ip", 30_000, false) + &limit("net", 10_000, false) + &limit("host", 1, true);
    let tables = engine(&policy, 16 * MIB).tables(&|| ());
    let pages = |name: &str| tables.iter().find(|table| table.name == name).expect("a table").bytes / PAGE_BYTES;
    let (heavy, light, lightest) = (pages("ip"), pages("net"), pages("host"));
    assert_eq!(lightest, FLOOR / PAGE_BYTES);
    assert_eq!(heavy / 3, light, "{heavy} pages for three times the weight");
    let rates = heavy + light + lightest;
    assert!(rates.abs_diff(pages("memory of host")) <= 2, "{rates} pages for rates, out of 16 MiB {tables:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn never_more_than_asked_for_and_never_below_the_floor(
        limits in prop::collection::vec((any::<bool>(), 1u32..1 << 20), 1..4), pages in 0u64..1 << 10,
    ) {
        let limits = limits.iter().zip(["ip", "net", "host"]);
        let text: String = limits.map(|(&(fans_out, seconds), name)| limit(name, seconds, fans_out)).collect();
        let policy = Policy::parse("test.toml", &text).expect("a right policy");
        let memory = pages * PAGE_BYTES;
        match within(&policy, memory) {
            Ok(engine) => {
                let tables = engine.tables(&|| ());
                prop_assert!(tables.iter().map(|table| table.bytes).sum::<u64>() < memory, "{tables:?}");
                prop_assert!(tables.iter().all(|table| table.bytes >= FLOOR), "{tables:?}");
            }
            Err(error) => {
                let least = error.allowed.split(' ').find_map(|word| word.parse::<u64>().ok()).expect("a number");
                prop_assert!(memory < least, "{error}");
                prop_assert!(within(&policy, least - 1).is_err() && within(&policy, least).is_ok(), "{error}");
            }
        }
    }
}

#[test]
fn a_memory_that_leaves_no_room_is_an_error_of_its_limit_with_a_size_that_fits() {
    let rules = |memory: &str| {
        format!(
            "{}{}memory = \"{memory}\"\n{}",
            limit("ip", 60, false),
            limit("net", 60, false),
            limit("host", 60, true)
        )
    };
    let error = |memory: &str| {
        let policy = Policy::parse("policy.toml", &rules(memory)).expect("a right policy");
        within(&policy, 16 * MIB).err().map(|error| error.to_string())
    };
    let told = error("32 MiB").expect("too much");
    let place = "policy.toml:6: limit \"net\", memory: found \"32 MiB\" in a guard of 16777216 bytes (16 MiB); ";
    assert!(told.starts_with(place), "{told}");
    let most = told.split("allowed: at most \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a size");
    let least = told.split("at least ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a number of bytes");
    assert_eq!(error(most), None, "{told}");
    let bytes = memory_bytes(&FieldValue::Text(most.into())).expect("a size");
    assert!(error(&format!("{} B", bytes + PAGE_BYTES)).is_some(), "{told}");
    let policy = Policy::parse("policy.toml", &rules("32 MiB")).expect("a right policy");
    let least: u64 = least.parse().expect("a number");
    assert!(within(&policy, least).is_ok() && within(&policy, least - 1).is_err(), "{told}");
    let small = within(&policy, 65_536).expect_err("nothing fits").to_string();
    assert!(
        small.starts_with("policy.toml: memory: found a budget of 65536 bytes (64 KiB); allowed: at least "),
        "{small}"
    );
}
