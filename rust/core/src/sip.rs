//! SipHash-1-3 of words and then bytes, all at hand at once.
//!
//! ```text
//!  each word m of eight bytes:  v3 ^= m;  round;  v0 ^= m
//!  last word: the bytes that are left, and above them the length of it all, mod 256
//!  v2 ^= 255;  three rounds;  v0 ^ v1 ^ v2 ^ v3
//! ```
//!
//! A check hashes a head of one word and about twenty bytes of text at a time. A streaming hasher buffers incomplete
//! words, and asks about the buffer at every step: a third of such a hash. This one has no buffer. With the crate
//! `siphasher` in its place a whole check from Python takes 3 to 5 % longer.
//!
//! Invariant: it returns what any other SipHash-1-3 returns for the same bytes.
//!
//! **Source.** Aumasson, Bernstein, SipHash: a fast short-input PRF (2012), §2; one round a word and three at the end,
//! as in Rust's own maps.

/// The state behind some words.
#[derive(Clone, Copy)]
pub(crate) struct Sip {
    v: [u64; 4],
    /// Bytes so far.
    length: usize,
}

impl Sip {
    /// Before anything, under these sixteen bytes.
    pub(crate) fn new(octets: [u8; 16]) -> Self {
        let [first, second] = [0, 8].map(|at| word(&octets[at..at + 8]));
        let v = [
            first ^ u64::from_le_bytes(*b"uespemos"),
            second ^ u64::from_le_bytes(*b"modnarod"),
            first ^ u64::from_le_bytes(*b"arenegyl"),
            second ^ u64::from_le_bytes(*b"setybdet"),
        ];
        Self { v, length: 0 }
    }

    /// Behind one more word.
    #[inline]
    #[must_use]
    pub(crate) fn then(mut self, word: u64) -> Self {
        self.take(word);
        self
    }

    /// Behind more bytes, with zeros up to a whole word.
    #[inline]
    #[must_use]
    pub(crate) fn then_padded(mut self, octets: &[u8]) -> Self {
        octets.chunks_exact(8).for_each(|eight| self.take(word(eight)));
        if octets.len() % 8 > 0 {
            self.take(rest(octets));
        }
        self
    }

    /// The hash, with these bytes at the end.
    #[inline]
    pub(crate) fn hash(mut self, octets: &[u8]) -> u64 {
        let length = self.length + octets.len();
        octets.chunks_exact(8).for_each(|eight| self.take(word(eight)));
        self.take((length as u64) << 56 | rest(octets));
        self.v[2] ^= 0xFF;
        (0..3).for_each(|_| self.round());
        let [a, b, c, d] = self.v;
        a ^ b ^ c ^ d
    }

    #[inline]
    fn take(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.v[0] ^= word;
        self.length += 8;
    }

    #[inline]
    fn round(&mut self) {
        let [a, b, c, d] = &mut self.v;
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*d);
        *d = d.rotate_left(16) ^ *c;
        *a = a.wrapping_add(*d);
        *d = d.rotate_left(21) ^ *a;
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }
}

/// Eight bytes.
#[inline]
fn word(eight: &[u8]) -> u64 {
    eight.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// The bytes behind the last whole word, zeros above them: cut out of the last eight, where there are so many.
#[inline]
fn rest(octets: &[u8]) -> u64 {
    let bits = 8 * (octets.len() % 8) as u32;
    match octets.last_chunk() {
        // In two steps: none left would be a shift by all 64.
        Some(last) => u64::from_le_bytes(*last) >> 1 >> (63 - bits),
        None => few(octets),
    }
}

/// Fewer than eight bytes, zeros above them.
#[inline]
fn few(octets: &[u8]) -> u64 {
    match (octets.first_chunk(), octets.last_chunk()) {
        (Some(first), Some(last)) => {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            u64::from(first) | u64::from(last) << (8 * (octets.len() - 4))
        }
        _ => octets.iter().rev().fold(0, |word, &octet| word << 8 | u64::from(octet)),
    }
}
