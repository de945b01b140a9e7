//! The keyed 64-bit hash of (identity kind, value), joined with its class. Text ends here: no table of a limit stores
//! any.
//!
//! SipHash-1-3 under a secret, so that nobody outside can aim at a slot, over an encoding in which different things
//! differ:
//!
//! ```text
//!  0       1     2 3          4   5      6      7
//!  domain  kind  parameters   0   shape  part   part      eight bytes, whatever the value
//!  [length of the first part, eight bytes]                  two parts only
//!  [bytes of the first part, zeros up to a whole word]      likewise
//!  bytes of the only part, or of the second
//! ```
//!
//! `domain` says what the key is for: a value, a part of a name, plain text. So a part never equals the like-named
//! whole host. `part` says text, raw bytes or which tag: no text equals a tag.
//!
//! Knows no tables. Invariant: equal keys of different things are chance only, 2⁻⁶⁴ a pair.

use std::fmt;
use std::net::IpAddr;

use crate::identity::{Identity, Part, Trust, Value};
use crate::sip::Sip;

/// What is left of an identity: uniform, and secret from those who choose the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

/// What keys are made with: sixteen bytes drawn at start, or given, for a cluster.
#[derive(Clone)]
pub struct Secret {
    sip: Sip,
    left: u64,
    right: u64,
    classes: [Key; 2],
}

/// What a key is for.
#[derive(Clone, Copy)]
enum Domain {
    Value = 1,
    Part,
    Text,
    Join,
}

/// The eight bytes before the value, as one word of the hash: that of an identity and the value's own are disjoint.
#[derive(Clone, Copy, Debug)]
pub struct Head(u64);

impl Secret {
    /// From sixteen secret bytes.
    pub fn new(octets: [u8; 16]) -> Self {
        let sip = Sip::new(octets);
        let constant = |side| sip.hash(&[Domain::Join as u8, side]) | 1;
        let classes = [2, 3].map(|class| Key(sip.hash(&[Domain::Join as u8, class])));
        Self { sip, left: constant(0), right: constant(1), classes }
    }

    /// The key of a value, of no class yet: as a memory of elements knows it, whatever its class was.
    pub fn key(&self, identity: Identity, value: &Value<'_>) -> Key {
        self.key_behind(Head::of(identity), value)
    }

    /// The key of a part of a host's name, on the ladder; `host` is the identity of the whole host.
    pub fn part(&self, host: Identity, part: &str) -> Key {
        Key(self.sip.then(head(Domain::Part, host)).hash(part.as_bytes()))
    }

    /// The key that counts for one class: classes never share a counter.
    #[inline]
    pub fn with_trust(&self, key: Key, class: Trust) -> Key {
        self.join(key, self.classes[usize::from(class == Trust::Proven)])
    }

    /// The key of plain text, for a limiter that knows no mail.
    pub fn text(&self, text: &[u8]) -> Key {
        Key(self.sip.then(Domain::Text as u64).hash(text))
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

    /// [`Secret::key`] after the head of its identity, for hot callers.
    #[inline(always)]
    pub fn key_behind(&self, Head(head): Head, value: &Value<'_>) -> Key {
        let (v4, v6);
        let (shape, octets) = match value {
            Value::Global => (shape(0, 0, 0), &[][..]),
            Value::Network(IpAddr::V4(address), prefix) => {
                v4 = address.octets();
                (shape(1, *prefix, 0), &v4[..])
            }
            Value::Network(IpAddr::V6(address), prefix) => {
                v6 = address.octets();
                (shape(2, *prefix, 0), &v6[..])
            }
            Value::Name(name) => {
                let (code, octets) = encoded(name);
                (shape(3, code, 0), octets)
            }
            Value::Address(local, host) => {
                let ((local_code, local), (host_code, host)) = (encoded(local), encoded(host));
                let sip = self.sip.then(head | shape(4, local_code, host_code)).then(local.len() as u64);
                return Key(sip.then_padded(local).hash(host));
            }
        };
        Key(self.sip.then(head | shape).hash(octets))
    }
}

impl fmt::Debug for Secret {
    /// Says nothing: a secret in a log is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Head {
    /// Of the values of `identity`.
    pub fn of(identity: Identity) -> Self {
        Self(head(Domain::Value, identity))
    }
}

/// The domain in the first byte, then the three bytes of the identity's code.
fn head(domain: Domain, identity: Identity) -> u64 {
    domain as u64 | u64::from(identity.code()) << 8
}

/// What the value adds to the head: its shape and its parts'.
#[inline]
fn shape(shape: u8, first: u8, second: u8) -> u64 {
    u64::from(shape) << 40 | u64::from(first) << 48 | u64::from(second) << 56
}

#[inline]
fn encoded<'b>(part: &'b Part<'_>) -> (u8, &'b [u8]) {
    match part {
        Part::Text(text) => (0, text.as_bytes()),
        Part::Raw(bytes) => (1, bytes),
        Part::Tag(tag) => (2 + *tag as u8, &[]),
    }
}
