//! Recognises text that is in its normal form already, in one pass. Nearly all text is.
//!
//! It recognises a mailbox and a host, and accepts no text that `address` or `host` would change. Invariant: plain text
//! is lower-case ASCII without quotes, tags, brackets, blanks, colons, empty labels and `--`, so without `xn--` too.
//!
//! **Idea.** Sixteen bytes at a time, each byte is compared with every class at once, and a class of the whole text
//! becomes a word with one bit a byte. All further questions about the text (are two dots side by side, where is the
//! last `@`, where do labels begin) are operations on words.
//!
//! **Cost.** 30 instructions for 16 bytes, where a table look-up a byte took 110. Text of more than 64 bytes is not
//! recognised and goes the general way.

/// The most bytes of text that is recognised: a bit each in a word.
const LONGEST_TEXT: usize = 64;

/// Bytes of one label (RFC 1035 §2.3.4): in a plain host no longer than that, no label is too long.
const LONGEST: usize = 63;

/// A host in its normal form, and its dots as bits by their place in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlainHost<'a> {
    pub(super) name: &'a str,
    pub(super) dots: u64,
}

/// The classes of a text's bytes, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Classes {
    /// Letters, digits, `_`, and the three below.
    plain: u64,
    dots: u64,
    hyphens: u64,
    ats: u64,
}

/// A path that is a mailbox in its normal form: local part, host.
#[inline]
pub(super) fn mailbox(path: &[u8]) -> Option<(&str, PlainHost<'_>)> {
    let (text, classes) = text(path)?;
    // An `@` before all is a source route's.
    if classes.ats & 1 != 0 {
        return None;
    }
    let at = classes.ats.checked_ilog2()? as usize;
    let host = host_of(&text[at + 1..], classes.dots.checked_shr(at as u32 + 1).unwrap_or(0))?;
    Some((&text[..at], host))
}

/// A host in its normal form.
#[inline]
pub(super) fn host(name: &[u8]) -> Option<PlainHost<'_>> {
    let (name, classes) = text(name)?;
    if classes.ats == 0 { host_of(name, classes.dots) } else { None }
}

/// Plain text without `@`, when it is a name and not an address, and short enough to have no label that is too long.
#[inline]
fn host_of(name: &str, dots: u64) -> Option<PlainHost<'_>> {
    let last = *name.as_bytes().last()?;
    let is_host = name.len() <= LONGEST && dots & 1 == 0 && last != b'.' && !last.is_ascii_digit();
    is_host.then_some(PlainHost { name, dots })
}

#[inline]
fn text(bytes: &[u8]) -> Option<(&str, Classes)> {
    if !(1..=LONGEST_TEXT).contains(&bytes.len()) {
        return None;
    }
    let classes = classes(bytes);
    let is_plain = classes.plain == u64::MAX >> (LONGEST_TEXT - bytes.len());
    // Two of them side by side are not plain.
    let twice = classes.dots & classes.dots << 1 | classes.hyphens & classes.hyphens << 1;
    if !is_plain || twice != 0 {
        return None;
    }
    // SAFETY: plain text is ASCII. Looking at every byte once more took 2 % of a check (`make instructions`).
    Some((unsafe { std::str::from_utf8_unchecked(bytes) }, classes))
}

/// The classes of 1 to 64 bytes.
#[cfg(target_arch = "x86_64")]
#[inline]
fn classes(bytes: &[u8]) -> Classes {
    let blocks = bytes.chunks_exact(16);
    let rest = blocks.remainder();
    let mut all = Classes::default();
    for (place, block) in blocks.filter_map(<[u8]>::first_chunk).enumerate() {
        all.add(sixteen(block), 16 * place as u32);
    }
    if rest.is_empty() {
        return all;
    }
    if let Some(block) = bytes.last_chunk::<16>() {
        // The last sixteen bytes, less those that were looked at already.
        let known = 16 - rest.len();
        let Classes { plain, dots, hyphens, ats } = sixteen(block);
        let last = Classes { plain: plain >> known, dots: dots >> known, hyphens: hyphens >> known, ats: ats >> known };
        all.add(last, (bytes.len() - rest.len()) as u32);
        return all;
    }
    let mut padded = [0; 16];
    padded[..rest.len()].copy_from_slice(rest);
    sixteen(&padded)
}

/// The classes of 1 to 64 bytes, one after the other.
#[cfg(not(target_arch = "x86_64"))]
fn classes(bytes: &[u8]) -> Classes {
    let mut all = Classes::default();
    for (place, byte) in bytes.iter().enumerate() {
        let bit = |is: bool| u64::from(is) << place;
        all.dots |= bit(*byte == b'.');
        all.hyphens |= bit(*byte == b'-');
        all.ats |= bit(*byte == b'@');
        all.plain |= bit(matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'@'));
    }
    all
}

impl Classes {
    #[inline]
    fn add(&mut self, block: Self, place: u32) {
        self.plain |= block.plain << place;
        self.dots |= block.dots << place;
        self.hyphens |= block.hyphens << place;
        self.ats |= block.ats << place;
    }
}

/// The classes of sixteen bytes.
#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unused_unsafe, reason = "newer compilers know that these intrinsics are safe here")]
fn sixteen(block: &[u8; 16]) -> Classes {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8, _mm_sub_epi8,
    };
    let block: __m128i = bytemuck::cast(*block);
    // SAFETY: SSE2 is part of x86-64; no memory is touched.
    unsafe {
        let is = |byte: u8| _mm_cmpeq_epi8(block, _mm_set1_epi8(byte as i8));
        let within = |first: u8, last: u8| {
            let above = _mm_sub_epi8(block, _mm_set1_epi8(first as i8));
            _mm_cmpeq_epi8(_mm_min_epu8(above, _mm_set1_epi8((last - first) as i8)), above)
        };
        let bits = |lanes| u64::from(_mm_movemask_epi8(lanes) as u16);
        let (dots, hyphens, ats) = (is(b'.'), is(b'-'), is(b'@'));
        let letters = _mm_or_si128(_mm_or_si128(within(b'a', b'z'), within(b'0', b'9')), is(b'_'));
        let plain = _mm_or_si128(_mm_or_si128(letters, dots), _mm_or_si128(hyphens, ats));
        Classes { plain: bits(plain), dots: bits(dots), hyphens: bits(hyphens), ats: bits(ats) }
    }
}
