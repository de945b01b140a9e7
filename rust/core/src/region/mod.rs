//! All mutable state, in one run of pages: allocated and touched at construction, never grown (P1).
//!
//! The pages are plain words at fixed offsets behind a versioned header, with no pointer inside, so that another
//! process can map them. A region knows no store: it hands out [`Table`]s and lines.
//!
//! * `memory`: the pages   * `shared`: the lock over them   * `header`: the first page   * `table`: a run of pages
//! * `line`: 64 bytes of a page   * `simd`: eight words compared at once

mod header;
mod line;
mod memory;
mod shared;
mod simd;
mod table;

pub use header::{COUNTERS, Epoch, NotARegion, Now, OpenPermits};
pub use line::{FoundSlot, LINES, Line, LineId, PAGE_BYTES, Page, SLOTS};
pub use memory::{KIND_WORDS, Region, prefetch, prefetch_word};
pub use shared::SharedRegion;
pub use table::{Candidates, Table};
