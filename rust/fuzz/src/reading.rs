//! The suffix list of the core's tests, and short ways to ask. What is common to the targets that read mail.

use std::sync::LazyLock;

use throttle_core::envelope::Envelope;
use throttle_core::identity::{Identities, Identity, Part, Sources, SuffixList, Value};
use throttle_core::key::{Key, Secret};

/// The list as text, for the oracle too.
pub(crate) const LIST: &str = include_str!("../../core/tests/data/suffixes.dat");

/// The list, compiled.
pub(crate) static SUFFIXES: LazyLock<SuffixList> =
    LazyLock::new(|| SuffixList::parse(LIST, &[]).expect("the list of the tests is sound"));

/// Everything that an envelope holds.
pub(crate) fn read<'a>(envelope: &Envelope<'a>) -> Identities<'a> {
    Identities::read(envelope, &SUFFIXES, Sources::ALL)
}

/// The identities of a sender.
pub(crate) fn sender(path: &[u8]) -> Identities<'_> {
    read(&Envelope { mail_from: Some(path), ..Envelope::default() })
}

/// The identities of a HELO.
pub(crate) fn helo(name: &[u8]) -> Identities<'_> {
    read(&Envelope { helo: Some(name), ..Envelope::default() })
}

/// The key of a value, under a secret that stays the same so that a finding can be repeated.
pub(crate) fn key(identity: Identity, value: &Value<'_>) -> Key {
    Secret::new(*b"sixteen octets!!").key(identity, value)
}

/// The text of a name, when it is one and not a tag.
pub(crate) fn text<'v>(value: Option<Value<'v>>) -> Option<&'v str> {
    match value {
        Some(Value::Name(Part::Text(text))) => Some(text),
        _ => None,
    }
}

/// Every value and element has a key; values never hold raw bytes.
pub(crate) fn every_value_has_a_key(identities: &Identities<'_>) {
    let more = (1..=5).map(Identity::SenderOrg);
    for identity in Identity::PLAIN.iter().copied().chain(more) {
        let (values, elements) = (identities.values(identity), identities.elements(identity));
        assert_eq!(values.is_empty(), elements.is_empty(), "{identity}");
        if values.len() != elements.len() {
            // Of several, those without a normal form are one value and as many elements as they are.
            assert!(identity.has_many() && values.len() < elements.len(), "{identity}");
            continue;
        }
        for (value, element) in values.iter().zip(&elements) {
            assert!(!is_raw(value), "{identity} is {value:?}");
            // Only what has no normal form differs as an element.
            assert_eq!(value == element, key(identity, value) == key(identity, element), "{identity}");
            assert!(value == element || is_raw(element), "{identity}: {value:?} and {element:?}");
        }
    }
}

/// Whether a part of a value has no normal form, so that it counts by its raw bytes.
fn is_raw(value: &Value<'_>) -> bool {
    match value {
        Value::Global | Value::Network(..) => false,
        Value::Name(part) => matches!(part, Part::Raw(_)),
        Value::Address(local, host) => matches!(local, Part::Raw(_)) || matches!(host, Part::Raw(_)),
    }
}
