//! What limits have blocked, and what operators have listed: both tables against a map, and a limit that blocks against
//! three lines of arithmetic.

mod guard;

use std::collections::BTreeMap;

use guard::{MIB, check, engine, message};
use proptest::prelude::*;
use throttle_core::engine::BlockError;
use throttle_core::key::Key;
use throttle_core::region::{LINES, Now, Region};
use throttle_core::store::access_list::{AccessAction, AccessEntry, EntryKind, EntryKinds};
use throttle_core::store::access_list::{AccessList, TEXT_BYTES, pack_text, unpack_text};
use throttle_core::store::blocks::{Block, Blocks};

/// Spread over the lines of a page as a hash is, and few enough to meet again.
fn key(number: u64) -> Key {
    Key(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
}

proptest! {
    #[test]
    fn a_block_holds_to_the_end_and_is_never_evicted(
        steps in prop::collection::vec((0u64..600, 0u64..50, 0u64..400, any::<bool>()), 1..600),
    ) {
        let (mut region, tables) = Region::new(&[1]).expect("a page");
        let blocks = Blocks::new(tables[0]);
        let mut live: BTreeMap<Key, u64> = BTreeMap::new();
        let mut now_us = 0;
        for (number, pause_us, length_us, lifts) in steps {
            now_us += pause_us;
            live.retain(|_, until_us| *until_us > now_us);
            let (key, at) = (key(number), blocks.table.candidates(key(number)));
            if lifts {
                prop_assert_eq!(blocks.lift(&mut region, key, now_us), live.remove(&key).is_some());
            } else {
                let by = number as u32;
                let until_us = now_us + length_us;
                let had_room = blocks.set(&mut region, &at, Block { key, until_us, by }, now_us);
                let in_its_lines =
                    |other: &&Key| blocks.table.candidates(**other).lines.iter().any(|line| at.lines.contains(line));
                if let Some(held) = live.get(&key) {
                    prop_assert!(had_room, "a refusal finds its own block");
                    prop_assert_eq!(blocks.until_us(&region, &at, key, now_us), Some(*held), "and does not extend it");
                } else if had_room && length_us > 0 {
                    live.insert(key, until_us);
                } else {
                    prop_assert!(
                        had_room || live.keys().filter(in_its_lines).count() >= 6, "no room in lines that have some",
                    );
                }
            }
            for (key, until_us) in &live {
                let at = blocks.table.candidates(*key);
                prop_assert_eq!(blocks.until_us(&region, &at, *key, now_us), Some(*until_us));
            }
            let mut told: Vec<_> = blocks.live(&region, 0, now_us).map(|block| (block.key, block.until_us)).collect();
            told.sort_unstable();
            prop_assert_eq!(told, live.iter().map(|(key, until_us)| (*key, *until_us)).collect::<Vec<_>>());
            let own = blocks.live(&region, 0, now_us).all(|block| self::key(block.by.into()) == block.key);
            prop_assert!(own, "who blocked is told of another key");
        }
    }

    #[test]
    fn a_list_holds_what_was_put_and_is_full_only_when_all_of_it_holds(
        steps in prop::collection::vec(
            (0u64..40, 0u64..30, prop::option::of(1u64..200), prop_oneof![4 => Just(0), 2 => Just(1), 1 => Just(2)]),
            1..300,
        ),
    ) {
        let (mut region, tables) = Region::new(&[1]).expect("a page");
        let list = AccessList::new(tables[0]);
        // By key and origin: what is made at run time comes first.
        let mut model: BTreeMap<(Key, bool), (u64, String)> = BTreeMap::new();
        let mut now_us = 0;
        for (number, pause_us, length_us, act) in steps {
            now_us += pause_us;
            let until_us = length_us.map_or(u64::MAX, |length_us| now_us + length_us);
            let made = |number: u64, is_of_policy| {
                let key = key(number);
                let kind = if number % 2 == 0 {
                    EntryKind::V4(number as u8 % 33)
                } else {
                    EntryKind::Labels(number as u8 % 4, number as u8)
                };
                let (action, identity) = (AccessAction::Block, number as u32);
                let text = format!("host-{number}-until-{until_us}.example");
                let packed = pack_text(&text).expect("short");
                (AccessEntry { key, until_us, action, kind, identity, is_of_policy }, packed, text)
            };
            if act == 1 {
                let held = [false, true].map(|origin| model.remove(&(key(number), origin)));
                let held = held.iter().flatten().map(|(until_us, _)| *until_us > now_us).max();
                prop_assert_eq!(list.take(&mut region, key(number), now_us) == Some(true), held == Some(true));
            } else if act == 2 {
                let next: Vec<_> = (number..number + pause_us / 4).map(|number| made(number, true)).collect();
                let entries: Vec<_> = next.iter().map(|(entry, packed, _)| (*entry, *packed)).collect();
                let at_run_time = |(key, (until_us, _)): (&(Key, bool), &(u64, String))| !key.1 && *until_us > now_us;
                let room = list.most - model.iter().filter(|row| at_run_time(*row)).count();
                let had = model.iter().any(|((_, is_of_policy), (until_us, _))| *is_of_policy && *until_us > now_us);
                let is_changed = had || !entries.is_empty();
                let expected = if entries.len() > room { Err(room) } else { Ok(is_changed) };
                prop_assert_eq!(list.replace_policy(&mut region, &entries, now_us), expected);
                if expected.is_ok() {
                    model.retain(|(_, is_of_policy), _| !is_of_policy);
                    let next = next.into_iter().map(|(entry, _, text)| ((entry.key, true), (entry.until_us, text)));
                    model.extend(next);
                }
            } else {
                let (entry, packed, text) = made(number, false);
                let holding = model.values().filter(|(until_us, _)| *until_us > now_us).count();
                let has_room = list.put(&mut region, entry, &packed, now_us);
                let own = model.get(&(entry.key, false)).is_some_and(|(until_us, _)| *until_us > now_us);
                prop_assert_eq!(has_room, own || holding < list.most);
                if has_room {
                    prop_assert_eq!(list.get(&region, entry.key, now_us), Some(entry));
                    model.insert((entry.key, false), (until_us, text));
                }
            }
            model.retain(|_, (until_us, _)| *until_us > now_us);
            let mut told = BTreeMap::new();
            let mut kinds = EntryKinds::default();
            list.each(&region, |entry, text| {
                if entry.holds(now_us) {
                    told.insert((entry.key, entry.is_of_policy), (entry.until_us, unpack_text(text)));
                    kinds = list.head(&region).kinds;
                    assert!(kinds.has(entry.kind), "{entry:?} would not be looked for");
                }
            });
            prop_assert_eq!(&told, &model);
            for number in 0..50 {
                let own = model.range((key(number), false)..=(key(number), true)).next();
                let in_force = list.get(&region, key(number), now_us).map(|entry| (entry.is_of_policy, entry.until_us));
                prop_assert_eq!(in_force, own.map(|((_, is_of_policy), (until_us, _))| (*is_of_policy, *until_us)));
            }
            let head = list.head(&region);
            let is_over = head.listed_until_us.max(head.blocked_until_us) <= now_us;
            prop_assert_eq!(is_over, model.is_empty());
        }
    }

    /// The whole rule: a refusal blocks for ten seconds from then on, and what is refused meanwhile blocks no longer.
    #[test]
    fn a_key_is_refused_from_its_first_refusal_on_for_as_long_as_the_limit_says(
        steps in prop::collection::vec((0u64..4_000_000, 0u8..3, any::<bool>()), 1..200),
    ) {
        let engine = engine(BLOCKING, MIB);
        let (mut now_us, mut free_us, mut until_us) = (0, [0u64; 3], [0u64; 3]);
        for (pause_us, net, peeks) in steps {
            now_us += pause_us;
            let (ip, net) = (format!("192.0.{net}.1"), usize::from(net));
            let envelope = message(&ip, "a@ex.com");
            let now = i64::try_from(now_us).expect("a time of this age");
            let decision =
                if peeks { engine.peek(&envelope, None, Now::Stated(now)) } else { check(&engine, &envelope, now_us) };
            let expected = if now_us < until_us[net] {
                Some(until_us[net])
            } else {
                (now_us < free_us[net]).then_some(now_us + 10_000_000)
            };
            prop_assert_eq!(
                decision.refusal.as_ref().map(|refusal| refusal.wait_us),
                expected.map(|until_us| Some(until_us - now_us)),
            );
            match expected {
                _ if peeks => {}
                Some(until) => until_us[net] = until,
                None => free_us[net] = now_us + 5_000_000,
            }
        }
    }
}

const BLOCKING: &str = r#"
[[limit]]
name = "net"
per = "client.net"
rate = "1/5 seconds"
action = "block 10 seconds"
"#;

#[test]
fn a_full_table_takes_no_block_and_says_so() {
    let (mut region, tables) = Region::new(&[1]).expect("a page");
    let blocks = Blocks::new(tables[0]);
    let (mut taken, mut first_refused) = (Vec::new(), None);
    for number in 0..4 * LINES as u64 {
        let block = Block { key: key(number), until_us: 100, by: 0 };
        if blocks.set(&mut region, &blocks.table.candidates(block.key), block, 0) {
            taken.push(block.key);
        } else {
            first_refused = first_refused.or(Some(taken.len() as u64));
        }
    }
    assert!(
        first_refused.is_some_and(|taken| taken > blocks.slots() * 7 / 10),
        "{first_refused:?} of {}",
        blocks.slots()
    );
    assert!((taken.len() as u64) < 4 * LINES as u64 && taken.len() as u64 > blocks.slots() / 2, "{}", taken.len());
    assert!(taken.iter().all(|&key| blocks.until_us(&region, &blocks.table.candidates(key), key, 99) == Some(100)));
    let fresh = Block { key: key(1_000_000), until_us: 200, by: 0 };
    assert!(blocks.set(&mut region, &blocks.table.candidates(fresh.key), fresh, 100), "those that are over make room");
}

#[test]
fn text_is_kept_whole_or_not_at_all() {
    for length in [0, 1, 7, 8, TEXT_BYTES] {
        let text = "x".repeat(length);
        assert_eq!(pack_text(&text).map(|words| unpack_text(&words)), Some(text));
    }
    assert_eq!(pack_text(&"x".repeat(TEXT_BYTES + 1)), None);
}

#[test]
fn fullness_is_an_error_and_changes_nothing() {
    let engine = engine(BLOCKING, MIB);
    let now = Now::Stated(0);
    let mut said = 0;
    let full = loop {
        match engine.say("client.ip", &format!("10.1.{}.{}", said / 256, said % 256), AccessAction::Block, None, now) {
            Ok(()) => said += 1,
            Err(full) => break full,
        }
    };
    assert_eq!(full, BlockError::Full(said));
    assert_eq!(engine.blocked(now, &|| ()).len(), said);
    assert_eq!(engine.unblock("client.ip", "10.1.0.0", now), Ok(true));
    assert_eq!(engine.say("client.ip", "10.2.0.0", AccessAction::Block, None, now), Ok(()));
}

#[test]
fn sixteen_mebibytes_have_room_for_a_thousand_and_twenty_four() {
    let engine = engine(BLOCKING, 16 * MIB);
    for number in 0..1024 {
        let ip = format!("10.1.{}.{}", number / 256, number % 256);
        assert_eq!(engine.say("client.ip", &ip, AccessAction::Block, None, Now::Stated(0)), Ok(()));
    }
    let one_more = engine.say("client.ip", "10.2.0.0", AccessAction::Block, None, Now::Stated(0));
    assert_eq!(one_more, Err(BlockError::Full(1024)));
    assert!(check(&engine, &message("10.1.3.255", "a@ex.com"), 0).refusal.is_some());
    assert!(check(&engine, &message("10.2.0.0", "a@ex.com"), 0).refusal.is_none());
}

/// A check reads the keys of all entries before the lock. Removing some of them must not lose the others there.
#[test]
fn every_entry_holds_until_it_is_removed_whichever_others_come_and_go() {
    let engine = engine(BLOCKING, 16 * MIB);
    let ip = |number: usize| format!("10.1.{}.{}", number / 256, number % 256);
    for number in 0..300 {
        engine.say("client.ip", &ip(number), AccessAction::Block, None, Now::Stated(0)).expect("room");
    }
    for number in (0..300).step_by(3) {
        assert_eq!(engine.unblock("client.ip", &ip(number), Now::Stated(0)), Ok(true));
    }
    engine.say("client.ip", &ip(0), AccessAction::Block, None, Now::Stated(0)).expect("room");
    for number in 0..300 {
        let refusal = check(&engine, &message(&ip(number), "a@ex.com"), 0).refusal;
        // The limit of the policy refuses some of the others, under its own name.
        let is_blocked = refusal.is_some_and(|refusal| &*refusal.limit == "blocked");
        assert_eq!(is_blocked, number == 0 || number % 3 != 0, "{}", ip(number));
    }
}
