//! Text that is its own normal form already, told in one pass: nearly all there is.
//!
//! Knows what neither local parts nor hosts are; it only never says yes to what either would change. Invariant: plain text is
//! lower-case ASCII without quotes, tags, brackets, blanks, colons, empty labels and `--`, so without `xn--` too.

/// What an octet is; the bits of a text's octets are put together.
type Class = u8;

const NAME: Class = 0;
/// Two of them side by side are not plain.
const DOT: Class = 1;
const HYPHEN: Class = 2;
const AT: Class = 4;
const OTHER: Class = 8;

const CLASSES: [Class; 256] = {
    let mut classes = [OTHER; 256];
    let mut octet = 0;
    while octet < 128 {
        classes[octet] = match octet as u8 {
            b'a'..=b'z' | b'0'..=b'9' | b'_' => NAME,
            b'.' => DOT,
            b'-' => HYPHEN,
            b'@' => AT,
            _ => OTHER,
        };
        octet += 1;
    }
    classes
};

/// Octets of one label (RFC 1035 §2.3.4): in a plain host no longer than that, no label is too long.
const LONGEST: usize = 63;

/// A path that is a mailbox in its normal form: local part, host.
pub(super) fn mailbox(path: &[u8]) -> Option<(&str, &str)> {
    let (local, host) = text(path)?.rsplit_once('@')?;
    // An `@` before all is a source route's.
    (!local.starts_with('@') && !local.is_empty() && is_host(host.as_bytes())).then_some((local, host))
}

/// A host in its normal form.
pub(super) fn host(name: &[u8]) -> Option<&str> {
    text(name).filter(|name| !name.contains('@') && is_host(name.as_bytes()))
}

fn text(octets: &[u8]) -> Option<&str> {
    let (mut all, mut twice, mut before) = (0, 0, 0);
    for octet in octets {
        let class = CLASSES[usize::from(*octet)];
        all |= class;
        twice |= class & before;
        before = class;
    }
    if all & OTHER != 0 || twice & (DOT | HYPHEN) != 0 {
        return None;
    }
    std::str::from_utf8(octets).ok()
}

/// Of plain text without `@`: whether it is a name, not an address, and short enough to have no label that is too long.
fn is_host(name: &[u8]) -> bool {
    match name {
        [b'.', ..] | [.., b'.' | b'0'..=b'9'] | [] => false,
        _ => name.len() <= LONGEST,
    }
}
