//! The keyed 64-bit hash of (identity kind, value), joined with its class. Text ends here: no table of a limit stores any.
//!
//! SipHash-1-3 under a secret, so that nobody outside can aim at a slot, over an encoding in which different things differ:
//!
//! ```text
//!  0       1     2 3          4   5      6      7
//!  domain  kind  parameters   0   shape  part   part      eight octets, whatever the value
//!  [length of the first part, eight octets]                  two parts only
//!  octets of the first part, octets of the second
//! ```
//!
//! `domain` says what the key is for: a value, a part of a name, plain text. So a part never equals the like-named
//! whole host. `part` says text, raw bytes or which tag: no text equals a tag.
//!
//! Knows no tables. Invariant: equal keys of different things are chance only, 2⁻⁶⁴ a pair.

use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use crate::identity::{Class, Identity, Part, Prefixes, Value};

/// What is left of an identity: uniform, and secret from those who choose the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

/// What keys are made with: sixteen octets drawn at start, or given, for a cluster.
#[derive(Clone)]
pub struct Secret {
    keys: (u64, u64),
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

/// The eight octets before the value, as one word of the hash.
type Head = [u8; 8];

impl Secret {
    /// From sixteen secret octets.
    pub fn new(octets: [u8; 16]) -> Self {
        let hasher = SipHasher13::new_with_key(&octets);
        let constant = |side| hasher.hash(&[Domain::Join as u8, side]) | 1;
        let classes = [2, 3].map(|class| Key(hasher.hash(&[Domain::Join as u8, class])));
        Self { keys: hasher.keys(), left: constant(0), right: constant(1), classes }
    }

    /// The key of a value, of no class yet: as a memory of elements knows it, whatever its class was.
    pub fn key(&self, identity: Identity, value: &Value<'_>) -> Key {
        self.value(head(Domain::Value, identity), value)
    }

    /// The key of a part of a host's name, on the ladder; `host` is the identity of the whole host.
    pub fn part(&self, host: Identity, part: &str) -> Key {
        self.one(head(Domain::Part, host), part.as_bytes())
    }

    /// The key that counts for one class: classes never share a counter.
    #[inline]
    pub fn classed(&self, key: Key, class: Class) -> Key {
        self.join(key, self.classes[usize::from(class == Class::Proven)])
    }

    /// The key of plain text, for a limiter that knows no mail.
    pub fn text(&self, text: &[u8]) -> Key {
        self.one([Domain::Text as u8, 0, 0, 0, 0, 0, 0, 0], text)
    }

    /// The key of a pair. Order matters: `join(a, b)` is not `join(b, a)`.
    ///
    /// A folded multiplication of 64 × 64 bits. It would not withstand chosen inputs; these are never chosen: both are outputs
    /// of a keyed hash, uniform and unknown to whoever picks the text. For independent uniform inputs two pairs meet
    /// with a chance of about 2⁻⁶³. The odd constants, from the secret, keep the sides apart.
    #[inline]
    pub fn join(&self, a: Key, b: Key) -> Key {
        let product = u128::from(a.0 ^ self.left) * u128::from(b.0 ^ self.right);
        Key(product as u64 ^ (product >> 64) as u64)
    }

    fn value(&self, mut head: Head, value: &Value<'_>) -> Key {
        match value {
            Value::Global => self.one(shaped(head, 0), &[]),
            Value::Network(IpAddr::V4(address), prefix) => {
                head[6] = *prefix;
                self.one(shaped(head, 1), &address.octets())
            }
            Value::Network(IpAddr::V6(address), prefix) => {
                head[6] = *prefix;
                self.one(shaped(head, 2), &address.octets())
            }
            Value::Name(name) => {
                let (code, octets) = encoded(name);
                head[6] = code;
                self.one(shaped(head, 3), octets)
            }
            Value::Address(local, host) => {
                let ((local_code, local), (host_code, host)) = (encoded(local), encoded(host));
                head[6] = local_code;
                head[7] = host_code;
                let mut hasher = self.after(shaped(head, 4));
                hasher.write_u64((local.len() as u64).to_le());
                hasher.write(local);
                // Not `write` and `finish`: the last piece at once.
                Key(hasher.hash(host))
            }
        }
    }

    #[inline]
    fn one(&self, head: Head, octets: &[u8]) -> Key {
        Key(self.after(head).hash(octets))
    }

    /// The state behind the head.
    #[inline]
    fn after(&self, head: Head) -> SipHasher13 {
        // Made anew, not copied: then the compiler knows that no octet waits in it.
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        hasher.write_u64(u64::from_ne_bytes(head));
        hasher
    }
}

impl fmt::Debug for Secret {
    /// Says nothing: a secret in a log is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

fn head(domain: Domain, identity: Identity) -> Head {
    let (kind, first, second) = match identity {
        Identity::ClientIp => (1, 0, 0),
        Identity::ClientNet(Prefixes { v4, v6 }) => (2, v4, v6),
        Identity::ClientHost => (3, 0, 0),
        Identity::ClientOrg => (4, 0, 0),
        Identity::HeloHost => (5, 0, 0),
        Identity::HeloOrg => (6, 0, 0),
        Identity::AuthUser => (7, 0, 0),
        Identity::SenderAddress => (8, 0, 0),
        Identity::SenderHost => (9, 0, 0),
        Identity::SenderOrg(more) => (10, more, 0),
        Identity::SenderRegistered => (11, 0, 0),
        Identity::RcptAddress => (12, 0, 0),
        Identity::RcptHost => (13, 0, 0),
        Identity::Global => (14, 0, 0),
        Identity::FromAddress => (15, 0, 0),
        Identity::FromHost => (16, 0, 0),
        Identity::FromOrg => (17, 0, 0),
        Identity::ReplyToAddress => (18, 0, 0),
        Identity::ReplyToOrg => (19, 0, 0),
        Identity::ListId => (20, 0, 0),
        Identity::DkimOrg => (21, 0, 0),
    };
    [domain as u8, kind, first, second, 0, 0, 0, 0]
}

fn shaped(mut head: Head, shape: u8) -> Head {
    head[5] = shape;
    head
}

fn encoded<'b>(part: &'b Part<'_>) -> (u8, &'b [u8]) {
    match part {
        Part::Text(text) => (0, text.as_bytes()),
        Part::Raw(bytes) => (1, bytes),
        Part::Tag(tag) => (2 + *tag as u8, &[]),
    }
}
