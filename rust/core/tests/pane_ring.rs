//! Pane rings against a list of counts for each slot.

use proptest::prelude::*;
use throttle_core::region::Line;
use throttle_core::store::pane_ring::{LARGEST, PaneRing, Shape};

fn counts(shape: &Shape, ring: PaneRing) -> Vec<u64> {
    (0..shape.panes).map(|pane| shape.count(ring, pane)).collect()
}

#[test]
fn a_slot_is_narrow_while_five_panes_fit_into_96_bits() {
    let shape = |most| {
        let shape = Shape::new(most);
        (shape.slots(), shape.panes)
    };
    assert_eq!([shape(1), shape(63), shape(100), shape(65_535)], [(3, 16), (3, 16), (3, 13), (3, 6)]);
    assert_eq!([shape((1 << 19) - 1), shape(1 << 19), shape(LARGEST)], [(3, 5), (2, 9), (2, 5)]);
}

proptest! {
    #[test]
    fn slots_hold_what_was_put_and_shift_like_a_list(
        bits in 1u32..=38,
        fills in prop::collection::vec((0usize..3, prop_oneof![0u64..4, 0u64..1 << 38], 0u64..18), 1..60),
    ) {
        let most = (1 << bits) - 1;
        let shape = Shape::new(most);
        let mut line = Line::default();
        let mut lists = vec![vec![0u64; shape.panes as usize]; shape.slots()];
        for (slot, count, by) in fills {
            let slot = slot % shape.slots();
            let (by, list) = (by % u64::from(shape.panes), &mut lists[slot]);
            list.splice(0..0, vec![0; by as usize]);
            list.truncate(shape.panes as usize);
            list[0] = list[0].saturating_add(count).min(most);
            let ring = shape.with(shape.later(shape.ring(&line, slot), by), count);
            shape.put(&mut line, slot, slot as u32 + 1, ring);
            for (slot, list) in lists.iter().enumerate() {
                let ring = shape.ring(&line, slot);
                prop_assert_eq!(&counts(&shape, ring), list);
                for (pane, &count) in list.iter().enumerate() {
                    for taken in [0, count / 2, count, u64::MAX] {
                        let mut less = list.clone();
                        less[pane] = count.saturating_sub(taken);
                        prop_assert_eq!(counts(&shape, shape.without(ring, pane as u32, taken)), less);
                    }
                }
                let used = list.iter().any(|&count| count > 0);
                prop_assert!(!used || shape.fingerprint(&line, slot) == slot as u32 + 1);
                let room = list.iter().sum::<u64>() / 2;
                let sums = list.iter().scan(0, |sum, count| { *sum += count; Some(*sum) });
                prop_assert_eq!(shape.within(ring, room) as usize, sums.take_while(|&sum| sum <= room).count());
                for panes in 0..=shape.panes {
                    let counted = list[..panes as usize].iter().any(|&count| count > 0);
                    prop_assert_eq!(ring.counts_below(shape.bits_of(panes.into())), counted);
                }
            }
        }
    }
}
