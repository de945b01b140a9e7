//! How many different values an identity had in the last minute and the last hour: one HyperLogLog for each pane.
//!
//! **Idea.** Every check raises one register for each value, in the current pane, whether it is admitted or not. The
//! key is there already, because the limits need it. The panes of a window, merged, are the sketch that has seen all
//! keys of the window.
//!
//! ```text
//!  note(key):  (number, run) ← the key's bits;  register ← max(register, run)
//!              one byte a register, so that a pane is merged 16 at a time
//!  distinct:   the higher register of each, over the panes of the window;  Ertl's estimate of them, after the lock
//! ```
//!
//! **Cost.** One byte a value and check: 6 ns for five values (`cargo bench --bench stats`). **Size.** Ten bytes a
//! register: `panes` lists the rows. **Bound.** Relative standard error 1.04 / √m: 2.3 % at 2¹¹ registers, 13 % at the
//! smallest size, which only a memory of some ten pages gets. `panes` says what lies in a window.
//!
//! Keys carry no trust here: a name counts once, whether it is proven or claimed. An absent identity counts nothing.
//! All values without a normal form are one value, MALFORMED.
//!
//! **Source.** `sketch/hyperloglog.rs`. **Dropped.** The martingale estimator: a window is a merge, and merged sketches
//! have none.

use super::layout::Layout;
use super::panes::take_higher;

/// Merges an identity's registers of a row into `into`.
pub(super) fn gather(layout: &Layout, words: &[u64], row: usize, place: usize, into: &mut [u64]) {
    take_higher(into, &words[row + place * into.len()..][..layout.shape.registers() / 8]);
}

/// The estimate that registers of a byte each give.
pub(super) fn estimate(layout: &Layout, registers: &[u64]) -> f64 {
    let mut counts = [0u32; 64];
    for &register in bytemuck::cast_slice::<u64, u8>(registers) {
        counts[usize::from(register & 63)] += 1;
    }
    layout.shape.estimate_of(&counts)
}
