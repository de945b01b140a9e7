//! A set of bits against a `BTreeSet`, and fields of bits against a list.

use std::collections::BTreeSet;

use proptest::prelude::*;
use throttle_core::bitset::{Set, field, set_field};
use throttle_core::stage::{Stage, Stages};

fn set(members: &BTreeSet<u16>) -> Set<u16> {
    members.iter().fold(Set::EMPTY, |set, &member| set.with(member))
}

fn members(set: Set<u16>) -> BTreeSet<u16> {
    set.iter().collect()
}

proptest! {
    #[test]
    fn it_behaves_as_a_sorted_set(
        a in prop::collection::btree_set(0_u16..64, 0..20),
        b in prop::collection::btree_set(0_u16..64, 0..20),
        one in 0_u16..64,
    ) {
        let (left, right) = (set(&a), set(&b));
        prop_assert_eq!(members(left.union(right)), &a | &b);
        prop_assert_eq!(members(left.intersect(right)), &a & &b);
        prop_assert_eq!(members(left.minus(right)), &a - &b);
        prop_assert_eq!(left.intersects(right), !a.is_disjoint(&b));
        prop_assert_eq!((left.len(), left.is_empty()), (a.len(), a.is_empty()));
        prop_assert_eq!(left.contains(one), a.contains(&one));
        prop_assert_eq!(members(left.with(one)), &a | &BTreeSet::from([one]));
        prop_assert_eq!(members(left.without(one)), &a - &BTreeSet::from([one]));
        prop_assert!(left.iter().eq(a.iter().copied()));
    }
}

#[test]
fn all_holds_every_member_and_no_bit_more() {
    assert!(Stages::ALL.iter().eq(Stage::ALL));
    assert_eq!((Set::<u16>::ALL.len(), Stages::ALL.minus(Stages::ALL)), (64, Stages::EMPTY));
    assert_eq!(format!("{:?}", Stages::EMPTY.with(Stage::Mail).with(Stage::Connect)), "{Connect, Mail}");
}

proptest! {
    #[test]
    fn fields_hold_what_was_put_and_leave_the_others(
        bits in 1u32..=63, puts in prop::collection::vec((any::<u32>(), any::<u64>()), 1..80),
    ) {
        let count = 7 * 64 / bits;
        let (mut words, mut list) = ([0; 7], vec![0; count as usize]);
        for (at, value) in puts {
            let (at, value) = (at % count, value & ((1 << bits) - 1));
            set_field(&mut words, (at * bits) as usize, bits, value);
            list[at as usize] = value;
            let read: Vec<u64> = (0..count).map(|at| field(&words, (at * bits) as usize, bits)).collect();
            prop_assert_eq!(&read, &list);
        }
    }
}
