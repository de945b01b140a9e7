//! The halves of a line's eight words, all compared at once. Bit i of an answer is word i; the stamp is word 0.
//!
//! Eight words are four registers of SSE2, which every x86-64 has. Elsewhere a plain loop does the same.
//! Seven slots compared one by one take 35 instructions, or 60 where a time is compared, and the compiler makes no
//! vectors of them; compared at once they take 15, or 25.
//!
//! It knows no store: only that an upper half is a fingerprint, and a lower half a time as a distance from the stamp.

/// A line as words.
pub(super) type Words = [u64; 8];

#[cfg(target_arch = "x86_64")]
pub(super) use at_once::{keep_later, later, upper_equal};
#[cfg(not(target_arch = "x86_64"))]
pub(super) use one_by_one::{keep_later, later, upper_equal};

#[cfg(target_arch = "x86_64")]
mod at_once {
    // Newer compilers know that these intrinsics are safe here.
    #![allow(unused_unsafe)]

    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_and_si128, _mm_andnot_si128, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi32,
        _mm_cmpgt_epi32, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32, _mm_set1_epi32, _mm_setzero_si128,
        _mm_shuffle_ps, _mm_unpackhi_epi32, _mm_unpacklo_epi32,
    };

    use crate::region::simd::Words;

    const LOWER: i32 = 0b10_00_10_00;
    const UPPER: i32 = 0b11_01_11_01;

    /// One half of four words.
    #[inline]
    fn half<const WHICH: i32>(first: __m128i, second: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of x86-64; no memory is touched.
        unsafe { _mm_castps_si128(_mm_shuffle_ps::<WHICH>(_mm_castsi128_ps(first), _mm_castsi128_ps(second))) }
    }

    /// A bit for each lane that is all ones.
    #[inline]
    fn bits(low: __m128i, high: __m128i) -> u32 {
        // SAFETY: as above.
        unsafe {
            let lanes = _mm_packs_epi32(low, high);
            _mm_movemask_epi8(_mm_packs_epi16(lanes, lanes)) as u32 & 0xFF
        }
    }

    /// Lanes whose lower half, less `since`, is above `gap`.
    #[inline]
    fn four(from: [__m128i; 2], since: u32, gap: u32) -> __m128i {
        // Unsigned numbers, moved so that they compare as signed ones.
        let (moved, bound) = (since.wrapping_neg() ^ 1 << 31, (gap ^ 1 << 31) as i32);
        let lower = half::<LOWER>(from[0], from[1]);
        // SAFETY: as above.
        unsafe { _mm_cmpgt_epi32(_mm_add_epi32(lower, _mm_set1_epi32(moved as i32)), _mm_set1_epi32(bound)) }
    }

    /// Words whose upper half is `wanted`.
    #[inline]
    pub(in crate::region) fn upper_equal(words: &Words, wanted: u32) -> u32 {
        let [a, b, c, d]: [__m128i; 4] = bytemuck::cast(*words);
        // SAFETY: as above.
        unsafe {
            let wanted = _mm_set1_epi32(wanted as i32);
            bits(_mm_cmpeq_epi32(half::<UPPER>(a, b), wanted), _mm_cmpeq_epi32(half::<UPPER>(c, d), wanted))
        }
    }

    /// Words whose lower half, less `since`, is above `gap`, and whose upper half is not zero.
    #[inline]
    pub(in crate::region) fn later(words: &Words, since: u32, gap: u32) -> u32 {
        let [a, b, c, d]: [__m128i; 4] = bytemuck::cast(*words);
        let used = |first, second| {
            // SAFETY: as above.
            unsafe {
                let empty = _mm_cmpeq_epi32(half::<UPPER>(first, second), _mm_setzero_si128());
                _mm_andnot_si128(empty, four([first, second], since, gap))
            }
        };
        bits(used(a, b), used(c, d))
    }

    /// Zeroes all words whose lower half, less `since`, is not above `gap`.
    #[inline]
    pub(in crate::region) fn keep_later(words: &mut Words, since: u32, gap: u32) {
        let [a, b, c, d]: [__m128i; 4] = bytemuck::cast(*words);
        let (first, second) = (four([a, b], since, gap), four([c, d], since, gap));
        // SAFETY: as above.
        let kept = unsafe {
            [
                _mm_and_si128(a, _mm_unpacklo_epi32(first, first)),
                _mm_and_si128(b, _mm_unpackhi_epi32(first, first)),
                _mm_and_si128(c, _mm_unpacklo_epi32(second, second)),
                _mm_and_si128(d, _mm_unpackhi_epi32(second, second)),
            ]
        };
        *words = bytemuck::cast(kept);
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod one_by_one {
    use crate::region::simd::Words;

    fn bits(words: &Words, is: impl Fn(u64) -> bool) -> u32 {
        words.iter().enumerate().fold(0, |bits, (place, &word)| bits | u32::from(is(word)) << place)
    }

    fn is_later(word: u64, since: u32, gap: u32) -> bool {
        (word as u32).wrapping_sub(since) > gap
    }

    pub(in crate::region) fn upper_equal(words: &Words, wanted: u32) -> u32 {
        bits(words, |word| (word >> 32) as u32 == wanted)
    }

    pub(in crate::region) fn later(words: &Words, since: u32, gap: u32) -> u32 {
        bits(words, |word| word >> 32 != 0 && is_later(word, since, gap))
    }

    pub(in crate::region) fn keep_later(words: &mut Words, since: u32, gap: u32) {
        for word in words {
            *word = if is_later(*word, since, gap) { *word } else { 0 };
        }
    }
}
