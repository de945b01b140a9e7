//! The suffix list of the identity tests, and short ways to ask.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::LazyLock;

use throttle_core::envelope::Envelope;
use throttle_core::identity::{Identities, Identity, Sources, SuffixList};

/// The hand-written list, and a suffix of the operator's own.
pub(crate) static SUFFIXES: LazyLock<SuffixList> = LazyLock::new(|| {
    let text = include_str!("../data/suffixes.dat");
    SuffixList::parse(text, &["onmicrosoft.com".to_owned()]).expect("the list of the tests is sound")
});

/// Everything that an envelope holds.
pub(crate) fn read<'a>(envelope: &Envelope<'a>) -> Identities<'a> {
    Identities::read(envelope, &SUFFIXES, Sources::ALL)
}

/// The identities of a sender.
pub(crate) fn sender(path: &[u8]) -> Identities<'_> {
    read(&Envelope { mail_from: Some(path), ..Envelope::default() })
}

/// An identity by its name in a policy.
pub(crate) fn named(name: &str) -> Identity {
    name.parse().unwrap_or_else(|_| panic!("{name} is no identity"))
}

/// The values of an identity as text, joined by blanks; empty when it is absent.
pub(crate) fn shown(identities: &Identities<'_>, name: &str) -> String {
    identities.values(named(name)).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// One identity of a sender, as text.
pub(crate) fn of_sender(path: impl AsRef<[u8]>, name: &str) -> String {
    shown(&sender(path.as_ref()), name)
}
