//! Local parts and SASL users: text whose case and composition do not matter.
//!
//! Knows no hosts. Invariant: the result of [`fold`] folds to itself.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// NFC and lower case; nothing when the bytes are not UTF-8.
///
/// Composed again after lowering: `J̌` has no composed capital, but its small letter `ǰ` is one character.
pub(crate) fn fold(text: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    let text = match text {
        Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).ok()?),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).ok()?),
    };
    if text.is_ascii() {
        if !text.bytes().fold(false, |found, b| found | b.is_ascii_uppercase()) {
            return Some(text);
        }
        let mut text = text.into_owned();
        text.make_ascii_lowercase();
        return Some(Cow::Owned(text));
    }
    let composed = if is_nfc(&text) { text } else { Cow::Owned(text.nfc().collect()) };
    Some(Cow::Owned(composed.to_lowercase().nfc().collect()))
}
