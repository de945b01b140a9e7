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
    // An `@` before all is a source route's.
    let at = path.iter().rposition(|octet| *octet == b'@').filter(|_| path[0] != b'@')?;
    let text = text(path)?;
    Some((&text[..at], &text[at + 1..])).filter(|(_, host)| is_host(host.as_bytes()))
}

/// A host in its normal form.
pub(super) fn host(name: &[u8]) -> Option<&str> {
    text(name).filter(|name| !name.contains('@') && is_host(name.as_bytes()))
}

fn text(octets: &[u8]) -> Option<&str> {
    let mut seen = Seen::default();
    let mut eights = octets.chunks_exact(8);
    // Eight at a time without a branch: most texts are three or four of them.
    for eight in &mut eights {
        eight.iter().for_each(|octet| seen.take(*octet));
    }
    eights.remainder().iter().for_each(|octet| seen.take(*octet));
    let Seen { all, twice, .. } = seen;
    if all & OTHER != 0 || twice & (DOT | HYPHEN) != 0 {
        return None;
    }
    // SAFETY: what is not `OTHER` is ASCII. Looking at every octet once more took 2 % of a check (`make instructions`).
    Some(unsafe { std::str::from_utf8_unchecked(octets) })
}

/// The classes of a text so far.
#[derive(Default)]
struct Seen {
    all: Class,
    /// Of octets whose neighbour is of the same.
    twice: Class,
    last: Class,
}

impl Seen {
    #[inline(always)]
    fn take(&mut self, octet: u8) {
        let class = CLASSES[usize::from(octet)];
        self.all |= class;
        self.twice |= class & self.last;
        self.last = class;
    }
}

/// Of plain text without `@`: whether it is a name, not an address, and short enough to have no label that is too long.
fn is_host(name: &[u8]) -> bool {
    match name {
        [b'.', ..] | [.., b'.' | b'0'..=b'9'] | [] => false,
        _ => name.len() <= LONGEST,
    }
}
