//! SipHash-1-3 (Aumasson, Bernstein, 2012) of a text whose pieces lie apart.
//!
//! ```text
//!  v ← key ⊕ constants      a word m: v₃ ⊕= m, one round, v₀ ⊕= m
//!  last word: rest of the text | length mod 256 in the top octet      v₂ ⊕= 255, three rounds, v₀ ⊕ v₁ ⊕ v₂ ⊕ v₃
//! ```
//!
//! Knows no keys of ours. The crate of that name computes the same (`tests/keys.rs`), but through a state in memory:
//! a key of an IPv4 network takes it 186 instructions instead of 129, of a name of 13 octets 216 instead of 187.

use crate::identity::words;

#[derive(Clone, Copy)]
pub(super) struct Sip {
    v: [u64; 4],
    length: usize,
}

impl Sip {
    pub(super) fn new(key: [u8; 16]) -> Self {
        let [low, high] = [0, 8].map(|at| words::rest(&key[at..at + 7]) | u64::from(key[at + 7]) << 56);
        let v = [
            low ^ 0x736F_6D65_7073_6575,
            high ^ 0x646F_7261_6E64_6F6D,
            low ^ 0x6C79_6765_6E65_7261,
            high ^ 0x7465_6462_7974_6573,
        ];
        Self { v, length: 0 }
    }

    /// The state behind one more word.
    #[inline]
    pub(super) fn word(mut self, word: u64) -> Self {
        self.length += 8;
        self.mix(word);
        self
    }

    /// The state behind a text, zeros filling up its last word.
    #[inline]
    pub(super) fn padded(mut self, octets: &[u8]) -> Self {
        self = words::whole(octets).fold(self, Self::word);
        if octets.len() % 8 == 0 { self } else { self.word(words::rest(octets)) }
    }

    /// The hash of everything so far and a last text.
    #[inline]
    pub(super) fn hash(mut self, octets: &[u8]) -> u64 {
        words::whole(octets).for_each(|word| self.mix(word));
        self.mix(words::rest(octets) | ((self.length + octets.len()) as u64) << 56);
        self.v[2] ^= 0xFF;
        (0..3).for_each(|_| self.round());
        self.v.iter().fold(0, |hash, v| hash ^ v)
    }

    #[inline]
    fn mix(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.v[0] ^= word;
    }

    #[inline]
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.v;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32).wrapping_add(d);
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        d = d.rotate_left(21) ^ a;
        self.v = [a, b, c.rotate_left(32), d];
    }
}
