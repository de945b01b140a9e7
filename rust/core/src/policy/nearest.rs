//! The name that was probably meant.

/// Longer than any name of ours by far: not worth the quadratic comparison.
const LONGEST: usize = 64;

/// The name of `names` nearest to `word`, when `word` looks like a misspelling of it: at most a third of it differs.
pub(super) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.trim().to_ascii_lowercase();
    let edits = |name: &str| strsim::damerau_levenshtein(&word, &name.to_ascii_lowercase());
    let candidates = names.into_iter().map(|name| (edits(name), name));
    candidates
        .filter(|(edits, name)| *edits <= name.len().div_ceil(3).min(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// `"a", "b" or "c"`
pub(super) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
