//! A name in a fixed number of octets: what remains of an offender's value as text.

use super::layout::TEXT;

/// Octets of text; one more says how many there are.
pub const NAME_BYTES: usize = 8 * TEXT - 1;

/// Text of at most [`NAME_BYTES`] octets; of a longer one the end, behind an ellipsis: the end of a host's name says whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name([u64; TEXT]);

const ELLIPSIS: &str = "…";

impl Name {
    /// Cut at a character's boundary where it is too long.
    pub fn of(text: &str) -> Self {
        let mut words = [0; TEXT];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        let over = text.len().saturating_sub(NAME_BYTES);
        let (mark, rest) = if over == 0 {
            ("", text)
        } else {
            let from = (over + ELLIPSIS.len()..text.len()).find(|&at| text.is_char_boundary(at));
            (ELLIPSIS, &text[from.unwrap_or(text.len())..])
        };
        let length = mark.len() + rest.len();
        bytes[0] = length as u8;
        bytes[1..=mark.len()].copy_from_slice(mark.as_bytes());
        bytes[1 + mark.len()..=length].copy_from_slice(rest.as_bytes());
        Self(words)
    }

    pub(super) fn words(&self) -> &[u64; TEXT] {
        &self.0
    }

    /// What [`Name::words`] gave, as text.
    pub(super) fn text(words: &[u64]) -> String {
        let bytes: &[u8] = bytemuck::cast_slice(words);
        let length = usize::from(bytes[0]).min(bytes.len() - 1);
        String::from_utf8_lossy(&bytes[1..=length]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_short_name_is_kept_and_of_a_long_one_the_end(text in "\\PC{0,80}") {
            let kept = Name::text(Name::of(&text).words());
            prop_assert!(kept.len() <= NAME_BYTES);
            match kept.strip_prefix(ELLIPSIS).filter(|_| text.len() > NAME_BYTES) {
                Some(end) => prop_assert!(text.ends_with(end) && end.len() + 3 + ELLIPSIS.len() >= NAME_BYTES - 3, "{kept}"),
                None => prop_assert_eq!(kept, text),
            }
        }
    }
}
