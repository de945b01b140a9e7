//! The one error of this crate: an operator's mistake.

use thiserror::Error;

/// An error in a policy or an argument: where it is, what was found, what is allowed.
#[derive(Clone, Debug, Default, Error, PartialEq, Eq)]
#[error("{}", self.sentence())]
pub struct PolicyError {
    /// The policy's file, or `<policy>` when it came as text or from Python; empty for an argument outside a policy.
    pub file: String,
    /// Line, counted from one; absent when the policy came from Python.
    pub line: Option<usize>,
    /// Column, counted in characters from one; only where the text is not TOML, so that there is no field to name.
    pub column: Option<usize>,
    /// Name of the limit, or `limit 3` while it has none; absent outside limits.
    pub limit: Option<String>,
    /// The field.
    pub field: Option<String>,
    /// The value that was found.
    pub found: String,
    /// The values that are allowed.
    pub allowed: String,
    /// The value that was probably meant, when `found` looks like a misspelling.
    pub suggestion: Option<String>,
}

impl PolicyError {
    /// `policy.toml:12: limit "pair-pace", rate: found "600 a minute"; allowed: …; did you mean "600/minute"?`
    fn sentence(&self) -> String {
        let mut text = self.file.clone();
        for number in [self.line, self.column].into_iter().flatten() {
            text += &format!(":{number}");
        }
        match &self.limit {
            // A name has no blank, so this is a place such as `limit 3`.
            Some(limit) if limit.contains(' ') => text += &format!(": {limit}"),
            Some(limit) => text += &format!(": limit {limit:?}"),
            None => {}
        }
        if let Some(field) = &self.field {
            let comma = if self.limit.is_some() { "," } else { ":" };
            text += &format!("{comma} {}", in_one_line(field));
        }
        text += &format!(": found {}; allowed: {}", self.found, self.allowed);
        // An argument of a function is in no file.
        let mut text = text.trim_start_matches(": ").to_owned();
        // Only words are misspelt, so such a long suggestion is wrong.
        if let Some(suggestion) = self.suggestion.as_ref().filter(|meant| meant.chars().nth(SHOWN_CHARS).is_none()) {
            text += &format!("; did you mean {suggestion:?}?");
        }
        text
    }
}

/// The sentence cuts a longer field and omits a longer suggestion. The fields of the error keep both in full.
const SHOWN_CHARS: usize = 80;

/// Writes a field in one line. A quoted key may be any text, with line ends, and the sentence is one line of a log.
fn in_one_line(field: &str) -> String {
    let mut text = String::new();
    for character in field.chars().take(SHOWN_CHARS) {
        match character {
            // The characters that quote the name of a quota are escaped already.
            '"' | '\'' | '\\' => text.push(character),
            _ => text.extend(character.escape_debug()),
        }
    }
    if field.chars().nth(SHOWN_CHARS).is_some() {
        text.push('…');
    }
    text
}

/// The nearest of `names`, if `word` looks like a misspelling of it: at most a third of its characters differ, and at
/// most three.
pub(crate) fn nearest<N: AsRef<str>>(word: &str, names: impl IntoIterator<Item = N>) -> Option<N> {
    // No name is longer than 64 characters, and comparing long texts costs time.
    if word.len() > 64 {
        return None;
    }
    let word = word.trim().to_ascii_lowercase();
    let edits = |name: &str| strsim::damerau_levenshtein(&word, &name.to_ascii_lowercase());
    let candidates = names.into_iter().map(|name| (edits(name.as_ref()), name));
    let near = candidates.filter(|(edits, name)| *edits <= name.as_ref().len().div_ceil(3).min(3));
    near.min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}
