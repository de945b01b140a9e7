//! The keyed 64-bit hash of an identity and its value. Text ends here: no table of a limit stores any.
//!
//! The hash is SipHash-1-3 under a secret, so that nobody outside can aim at a slot. It is taken over an encoding of
//! the value. Different values have different encodings:
//!
//! ```text
//!  a name                bytes of the text
//!  any other value       0      1      2    3      4 … 7     one word; no text contains the byte FF
//!                        FF     shape  part second length    of the first part of a pair
//!                        [bytes of the first part, zeros up to a whole word]
//!                        bytes of the only part, or of the second
//! ```
//!
//! A part is text, raw bytes or a tag, so no text equals a tag. The hash of a value does not depend on its identity,
//! so it can serve several identities with the same value; the key is the hash with some bits flipped, and each
//! identity flips other ones. Two keys of one value under two identities therefore differ always, and whether two
//! identities have the same value can be read from their keys.
//!
//! Knows no tables. Invariant: keys of different things are equal only by chance: about 2⁻⁶⁴ for two keys of values,
//! and 2⁻⁶³ for two joined keys.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::identity::{Identity, Part, Trust, Value};

/// The key of a value: uniform, and secret from those who choose the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

/// The secret that keys are made with: sixteen bytes, drawn at start or given by the operator of a cluster.
#[derive(Clone)]
pub struct Secret {
    sip: Sip,
    left: u64,
    right: u64,
    trusts: [Key; Trust::ALL.len()],
    global: u64,
}

/// The mask of an identity: its keys are hashes with these bits flipped. A mask need not be secret.
pub const fn mask(identity: Identity) -> u64 {
    spread(identity.code() as u64)
}

/// The mask of the parts of a host's name, so that their keys differ from those of values; `host` is the identity of
/// the whole host.
pub const fn part_mask(host: Identity) -> u64 {
    spread(1 << 32 | host.code() as u64)
}

/// A number whose every bit depends on those of `code`.
const fn spread(code: u64) -> u64 {
    code.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Secret {
    /// Makes the secret from sixteen secret bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        let sip = Sip::new(bytes);
        let global = sip.then(head(Shape::Global, 0, 0)).hash(&[]);
        // Five constants derived from the secret. The word `u64::MAX` starts no encoded value, so no value is hashed
        // like them.
        let [left, right, claimed, proven, named] =
            [0, 1, 2, 3, 4].map(|number| sip.then(u64::MAX).then(number).hash(&[]));
        Self { sip, left: left | 1, right: right | 1, trusts: [Key(claimed), Key(named), Key(proven)], global }
    }

    /// The key of a value of an identity, without trust. It is never zero.
    pub fn key(&self, identity: Identity, value: &Value<'_>) -> Key {
        self.masked(mask(identity), value)
    }

    /// [`Secret::key`] of the identity with this [`mask`], for hot callers.
    #[inline(always)]
    pub fn masked(&self, mask: u64, value: &Value<'_>) -> Key {
        Key((self.hash(value) ^ mask).max(1))
    }

    /// [`Secret::masked`] of a name. This function and the next two are for the usual shapes of values.
    #[inline]
    pub fn name_key(&self, mask: u64, name: &str) -> Key {
        self.masked(mask, &Value::Name(Part::Text(name)))
    }

    /// [`Secret::masked`] of an IPv4 network.
    #[inline(never)]
    pub fn v4_key(&self, mask: u64, network: Ipv4Addr, prefix: u8) -> Key {
        self.masked(mask, &Value::Network(network.into(), prefix))
    }

    /// [`Secret::masked`] of a mail address.
    #[inline(never)]
    pub fn address_key(&self, mask: u64, local: &str, host: &str) -> Key {
        self.masked(mask, &Value::Address(Part::Text(local), Part::Text(host)))
    }

    /// The hash of a value, whatever its identity is.
    #[inline(always)]
    fn hash(&self, value: &Value<'_>) -> u64 {
        let (v4, v6);
        let (head, bytes) = match value {
            Value::Name(Part::Text(text)) => return self.hash_text(text.as_bytes()),
            Value::Global => return self.global,
            Value::Network(IpAddr::V4(address), prefix) => {
                v4 = address.octets();
                (head(Shape::V4, *prefix, 0), &v4[..])
            }
            Value::Network(IpAddr::V6(address), prefix) => {
                v6 = address.octets();
                (head(Shape::V6, *prefix, 0), &v6[..])
            }
            Value::Name(name) => {
                let (code, bytes) = encoded(name);
                (head(Shape::Name, code, 0), bytes)
            }
            Value::Address(local, host) => {
                let ((local_code, local), (host_code, host)) = (encoded(local), encoded(host));
                let head = head(Shape::Address, local_code, host_code) | (local.len() as u64) << 32;
                return self.sip.then(head).then_padded(local).hash(host);
            }
        };
        self.sip.then(head).hash(bytes)
    }

    /// The key of text, for a limiter that knows no mail.
    #[inline]
    pub fn text(&self, text: &[u8]) -> Key {
        Key(self.hash_text(text))
    }

    #[inline(never)]
    fn hash_text(&self, text: &[u8]) -> u64 {
        self.sip.hash(text)
    }

    /// The key of a part of a host's name, which never equals the like-named whole host; `host` is the identity of the
    /// whole host.
    pub fn part(&self, host: Identity, part: &str) -> Key {
        Key(self.sip.hash(part.as_bytes()) ^ part_mask(host))
    }

    /// The key that counts for one trust: keys of different trust never share a counter.
    #[inline]
    pub fn with_trust(&self, key: Key, trust: Trust) -> Key {
        self.join(key, self.trusts[trust as usize])
    }

    /// The key of a pair. Order matters: `join(a, b)` is not `join(b, a)`.
    ///
    /// A folded multiplication of 64 × 64 bits. It would not withstand chosen inputs; these are never chosen: both are
    /// outputs of a keyed hash, uniform and unknown to the sender, who picks the text. For independent uniform inputs
    /// two pairs meet with a chance of about 2⁻⁶³. The odd constants, from the secret, keep the sides apart.
    #[inline]
    pub fn join(&self, a: Key, b: Key) -> Key {
        let product = u128::from(a.0 ^ self.left) * u128::from(b.0 ^ self.right);
        Key(product as u64 ^ (product >> 64) as u64)
    }
}

impl fmt::Debug for Secret {
    /// Prints no secret, because logs are read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How a value is encoded.
#[derive(Clone, Copy)]
enum Shape {
    Global,
    V4,
    V6,
    Name,
    Address,
}

/// The word before the bytes of a value that is no text.
#[inline]
fn head(shape: Shape, first: u8, second: u8) -> u64 {
    u64::from(u32::from_le_bytes([0xFF, shape as u8, first, second]))
}

#[inline]
fn encoded<'b>(part: &'b Part<'_>) -> (u8, &'b [u8]) {
    match part {
        Part::Text(text) => (0, text.as_bytes()),
        Part::Raw(bytes) => (1, bytes),
        Part::Tag(tag) => (2 + *tag as u8, &[]),
    }
}

/// SipHash-1-3 of words and then bytes, all at hand at once. Invariant: it returns what any other SipHash-1-3 returns
/// for the same bytes.
///
/// ```text
///  each word m of eight bytes:  v3 ^= m;  round;  v0 ^= m
///  last word: the bytes that are left, and above them the length of it all, mod 256
///  v2 ^= 255;  three rounds;  v0 ^ v1 ^ v2 ^ v3
/// ```
///
/// A check hashes a head of one word and about twenty bytes of text at a time. A streaming hasher buffers incomplete
/// words, and looks at the buffer at every step, which takes a third of such a hash. This one has no buffer. With the
/// crate `siphasher` in its place a whole check from Python takes 3 to 5 % longer.
///
/// **Source.** Aumasson, Bernstein, SipHash: a fast short-input PRF (2012), §2; one round a word and three at the end,
/// as in Rust's own maps.
#[derive(Clone, Copy)]
struct Sip {
    v: [u64; 4],
    /// Bytes so far.
    length: usize,
}

impl Sip {
    /// The state before any word, under these sixteen bytes.
    fn new(bytes: [u8; 16]) -> Self {
        let [first, second] = [0, 8].map(|at| word(&bytes[at..at + 8]));
        let v = [
            first ^ u64::from_le_bytes(*b"uespemos"),
            second ^ u64::from_le_bytes(*b"modnarod"),
            first ^ u64::from_le_bytes(*b"arenegyl"),
            second ^ u64::from_le_bytes(*b"setybdet"),
        ];
        Self { v, length: 0 }
    }

    /// The state behind one more word.
    #[inline]
    fn then(mut self, word: u64) -> Self {
        self.take(word);
        self
    }

    /// The state behind more bytes, with zeros up to a whole word.
    #[inline]
    fn then_padded(mut self, bytes: &[u8]) -> Self {
        bytes.chunks_exact(8).for_each(|eight| self.take(word(eight)));
        if bytes.len() % 8 > 0 {
            self.take(rest(bytes));
        }
        self
    }

    /// The hash, with these bytes at the end.
    #[inline(always)]
    fn hash(mut self, bytes: &[u8]) -> u64 {
        let length = self.length + bytes.len();
        bytes.chunks_exact(8).for_each(|eight| self.take(word(eight)));
        self.take((length as u64) << 56 | rest(bytes));
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

/// The bytes behind the last whole word, with zeros above them. They are cut out of the last eight bytes, if there are
/// so many.
#[inline]
fn rest(bytes: &[u8]) -> u64 {
    let bits = 8 * (bytes.len() % 8) as u32;
    match bytes.last_chunk() {
        // In two steps, because a shift by all 64 bits, when none are left, is not allowed.
        Some(last) => u64::from_le_bytes(*last) >> 1 >> (63 - bits),
        None => few(bytes),
    }
}

/// Fewer than eight bytes, zeros above them.
#[inline]
fn few(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            u64::from(first) | u64::from(last) << (8 * (bytes.len() - 4))
        }
        _ => bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}
