//! Text as words of eight octets, the first octet lowest: what hashes take.
//!
//! Knows no hash. Invariant: the whole words and the rest are the text, with zeros behind it; so of texts of one length no two are alike.

/// The whole words.
#[inline]
pub(crate) fn whole(octets: &[u8]) -> impl Iterator<Item = u64> {
    octets.chunks_exact(8).filter_map(|word| word.first_chunk()).map(|word| u64::from_le_bytes(*word))
}

/// The up to seven octets behind them, zeros on top. Read at once, not one by one: pieces may overlap.
#[inline]
pub(crate) fn rest(octets: &[u8]) -> u64 {
    let length = octets.len();
    if let Some(last) = octets.last_chunk() {
        return u64::from_le_bytes(*last).checked_shr(64 - 8 * (length as u32 % 8)).unwrap_or(0);
    }
    let half = |octets: &[u8; 4]| u64::from(u32::from_le_bytes(*octets));
    if let (Some(first), Some(last)) = (octets.first_chunk(), octets.last_chunk()) {
        return half(first) | half(last) << (8 * (length - 4));
    }
    let at = |place: usize| u64::from(octets[place]) << (8 * place);
    if length == 0 { 0 } else { at(0) | at(length / 2) | at(length - 1) }
}
