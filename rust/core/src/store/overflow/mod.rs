//! A sketch beside a limit's table, for the keys that find no slot in it (`when_full = "sketch"`): no key ever gets
//! more than its limit.
//!
//! **Idea.** A Count-Min with conservative update in a part of the limit's own share of the memory. It never counts
//! too low, so a key that it judges never gets more than its limit, whatever others send (P4). It counts too high
//! when cells are crowded, so such a key may be refused early: "no collateral" (P3) holds for keys with a slot only.
//! A key with a slot is judged by its slot alone.
//!
//! ```text
//!  consult:  the key has a slot → that;   else → the lowest of its cells, one a row
//!  charge:   a slot of its own          → there
//!            else estimate ← sketch;  weight ← estimate + price
//!              a free slot              → the key takes it, with estimate and price: nothing that it sent is forgotten
//!              weight > lightest slot   → the sketch takes over what that slot holds (each cell ← max)
//!                                         and the key takes the slot
//!              else                     → each of its cells ← max(cell, weight)
//! ```
//!
//! **Slots pass to the heavy.** A slot is worth most to a key that is near its limit, because a crowded cell would
//! refuse it there. So the lightest slot of the key's lines passes to a key that weighs more, and keys that are seen
//! once share the sketch, where each has the whole limit as margin. A slot knows its key by page and fingerprint
//! only, so the cells are found from these.
//!
//! **Never too low.** The estimate of a key is at least what it sent: a slot begins with the estimate, and a slot that
//! passes on leaves all that it held in the sketch. A slot that has expired held only what no longer counts, and what
//! its key sent without a slot since is in the sketch.
//!
//! **Time.** The wait of a refused key ends when its estimate has room, if nothing else is charged to its cells. A
//! window's sketch has wider panes than its table, so a key that moves may wait for up to one of those more.
//!
//! **Cells.** Narrow ones behind the stamp of a line, as many as fit: `arrivals` draws those of buckets, `panes`
//! those of windows, `grid` says where they are. The first line of the sketch says until when anything counts; before
//! a table first overflows, a look-up reads no cell.
//!
//! **Cost.** Two lines of the table; for a key without a slot one line more for each row, and as many again when a slot
//! passes on. **Size.** [`Split`].
//!
//! **Bound.** What a key sent ≤ its estimate. The estimate is higher by at most e · N / width for all but e^(−depth) of
//! the keys, N being what has no slot and still counts; with conservative update by far less. It is never above the
//! limit, because no cell is raised above it.
//!
//! **Source.** Cormode and Muthukrishnan 2005; Estan and Varghese 2002 (conservative update); Roy, Khan, Alonso 2016
//! (exact slots before a sketch).
//!
//! **Figures.** Messages refused of senders that send at most half of their limit, in per cent, under a flood of 10
//! or 30 million unique keys a minute to a mebibyte (`BENCH=short cargo run --release -p throttle-core --example
//! flood -- splits`, an eighth of everything). At 3 million every variant refuses none; buckets refuse none at 10
//! million either.
//!
//! ```text
//!                 sketch, 16ths of the share:       4        8       12       14
//!  windows, 10 M   2 rows, 4 panes              44.40    25.79     5.50     0.011
//!                  3 rows, 4 panes              47.36    34.43    19.14    10.81
//!  buckets, 30 M   2 rows, cells of 24 bits     31.20    25.85    17.65     9.12
//!                  3 rows, cells of 24 bits     37.18    32.71    30.39    26.76
//!
//!  windows, 10 M, 8/16, 2 rows:   2 panes 4.4   3 panes 14.4   4 panes 25.8   6 panes 32.7
//!                                 slots never pass 32.6        only to twice, four times the weight 31.3, 30.6
//!  buckets, 30 M, 8/16, 2 rows:   cells of 24 bits 25.8, of 20 18.4
//!                                 slots never pass 49.7        only to four times the weight 49.3
//!
//!  as built:   windows 14/16, 2 rows, 3 panes: 0 at 10 M, 48 at 30 M
//!              buckets 14/16, 2 rows, 17 bits: 0 at 30 M, 36 at 60 M
//! ```
//!
//! Three panes and not two: a sender without a slot then passes at 3/4 of its limit, not at 2/3.
//!
//! **Dropped.** A third row: its cells are missing in the other two, and the heavy keys that it would help are in the
//! table already. Cells of 64 bits: 8 a line, where 26 fit. As many slots as cells: a slot takes the room of eight to
//! thirty cells.

pub mod arrivals;
mod grid;
pub mod panes;

pub use grid::Split;
