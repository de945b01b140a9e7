//! A host, and where in it its organisation begins.
//!
//! Knows neither who says the name nor how far that is proven. Invariant: whatever text it gives is a suffix of the
//! host's name, cut at a label; where there is none to give, it says which tag stands for it.

use smallvec::SmallVec;

use super::host::{Form, Host};
use super::kind::{Identity, View};
use super::plain::PlainHost;
use super::suffix::{Split, SuffixList, up};
use super::value::{Part, Tag};

/// Parts of a name on the ladder: the organisational domain and five labels below it.
pub(crate) const RUNGS: usize = 6;

#[derive(Debug)]
pub(crate) struct Domain<'a> {
    host: Host<'a>,
    split: Split,
}

impl<'a> Domain<'a> {
    pub(crate) fn new(host: Host<'a>, suffixes: &SuffixList) -> Self {
        let split = match host.form() {
            Form::Sound | Form::Unsound { .. } => suffixes.split_at_dots(host.name(), host.dots()),
            Form::Literal | Form::Missing => Split::default(),
        };
        Self { host, split }
    }

    /// The domain of a host in its normal form.
    #[inline]
    pub(super) fn plain(host: PlainHost<'a>, suffixes: &SuffixList) -> Self {
        Self { split: suffixes.split_at_dots(host.name, host.dots), host: Host::plain(host) }
    }

    pub(crate) fn host(&self) -> &Host<'a> {
        &self.host
    }

    /// The organisational domain, if somebody registered one: no tag, no bare suffix.
    pub(crate) fn owner(&self) -> Option<&str> {
        self.from(self.split.org?)
    }

    /// `*.org+N`: the organisational domain with `more` labels; the whole host when it has fewer, or no organisation.
    pub(crate) fn org(&self, more: u8) -> Part<'_> {
        let name = self.host.name();
        let start = (0..more).fold(self.split.org, |start, _| start.and_then(|start| up(name, start)));
        match start.and_then(|start| self.from(start)) {
            Some(text) => Part::Text(text),
            None if self.host.form() == Form::Literal => Part::Tag(Tag::Literal),
            None => self.host.part(),
        }
    }

    /// `*.registered`: by the ICANN section alone; names that share nothing share a tag.
    pub(crate) fn registered(&self) -> Part<'_> {
        if let Some(text) = self.split.registered.and_then(|start| self.from(start)) {
            return Part::Text(text);
        }
        let name = self.host.name();
        Part::Tag(match self.host.form() {
            Form::Literal => Tag::Literal,
            Form::Missing => Tag::Unqualified,
            Form::Sound if !name.contains('.') => Tag::Unqualified,
            _ if !self.split.listed && !name.is_empty() => Tag::Unlisted,
            Form::Unsound { tag, .. } => tag,
            Form::Sound => Tag::Unqualified,
        })
    }

    /// Where the value of an identity begins in a plain name, if it is a trailing part of it; the outer `None` when
    /// that takes a closer look.
    #[inline]
    pub(super) fn plain_start(&self, identity: Identity) -> Option<Option<usize>> {
        match (identity.view(), identity) {
            _ if self.host.dots() == 0 => None,
            (View::Host, _) => Some(Some(0)),
            (View::Registered, _) => Some(self.split.registered),
            (View::Org, Identity::SenderOrg(1..)) => None,
            (View::Org, _) => Some(Some(self.split.org.unwrap_or(0))),
            _ => None,
        }
    }

    /// Whether the host may have parts between its registered domain and itself: `false` only when it has none.
    #[inline]
    pub(crate) fn may_have_parts(&self) -> bool {
        let Some(org) = self.split.org.filter(|org| Some(*org) == self.split.registered && *org < 64) else {
            return true;
        };
        let below = self.host.dots() & ((1 << org) - 1);
        self.host.dots() == 0 || below.count_ones() > 1
    }

    /// The ladder: proper suffixes of the host from the organisational domain on, at most five labels deeper,
    /// longer than `above` octets; shallowest first.
    pub(crate) fn parts(&self, above: usize) -> SmallVec<[&str; RUNGS]> {
        let name = self.host.name();
        let rungs = std::iter::successors(self.split.org, |start| up(name, *start)).take(RUNGS);
        rungs
            .filter(|start| *start > 0 || matches!(self.host.form(), Form::Unsound { whole: false, .. }))
            .map(|start| &name[start..])
            .filter(|part| part.len() > above)
            .collect()
    }

    /// The name from an offset on; nothing when that is the whole of a host that is too long.
    fn from(&self, start: usize) -> Option<&str> {
        let too_long = start == 0 && matches!(self.host.form(), Form::Unsound { whole: true, .. });
        if too_long { None } else { self.host.name().get(start..) }
    }
}
