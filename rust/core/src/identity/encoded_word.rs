//! What a quoted string of a header says, and an encoded word: text without what only protects it.
//!
//! Knows no fields. Invariant: any bytes say something.

/// Appends a quoted string without its backslashes and the line ends of its folding (RFC 5322 §3.2.4, §2.2.3).
pub(super) fn unquote(inside: &[u8], text: &mut Vec<u8>) {
    let mut rest = inside;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match (byte, behind) {
            (b'\\', [escaped, behind @ ..]) => {
                text.push(*escaped);
                rest = behind;
            }
            (b'\r', [b'\n', ..]) | (b'\n', _) => {}
            _ => text.push(*byte),
        }
    }
}

/// Appends what an encoded word says (RFC 2047 §4). Of a character set only this is known: UTF-8 stays as it is, of
/// ISO 8859-1 and its kin each byte is a character, and any other set is taken for UTF-8.
pub(super) fn decode(word: &[u8], text: &mut Vec<u8>) {
    let mut parts = word.splitn(4, |byte| *byte == b'?').skip(1);
    let (Some(charset), Some(encoding), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else { return };
    let encoded = encoded.strip_suffix(b"?=").unwrap_or(encoded);
    let begin = text.len();
    if encoding.eq_ignore_ascii_case(b"q") {
        decode_q(encoded, text)
    } else {
        decode_b(encoded, text)
    }
    let is_latin = |name: &[u8]| charset.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    if (is_latin(b"iso-8859-1") || is_latin(b"windows-1252")) && !text[begin..].is_ascii() {
        let latin: String = text.drain(begin..).map(char::from).collect();
        text.extend_from_slice(latin.as_bytes());
    }
}

/// Quoted-printable with `_` for a blank. What is no code stays.
fn decode_q(mut encoded: &[u8], text: &mut Vec<u8>) {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    while let [byte, behind @ ..] = encoded {
        encoded = behind;
        let code = match behind {
            [high, low, ..] if *byte == b'=' => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        if code.is_some() {
            encoded = &behind[2..];
        }
        text.push(code.unwrap_or(if *byte == b'_' { b' ' } else { *byte }));
    }
}

/// Base64. What is no letter of it is skipped.
fn decode_b(encoded: &[u8], text: &mut Vec<u8>) {
    let (mut bits, mut count) = (0u32, 0);
    for byte in encoded {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            text.push((bits >> count) as u8);
        }
    }
}
