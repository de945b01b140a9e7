//! The one error of this crate: an operator's mistake.

use thiserror::Error;

/// A policy that cannot be obeyed: where, what was found, what is allowed.
#[derive(Clone, Debug, Default, Error, PartialEq, Eq)]
#[error("{}", self.sentence())]
pub struct PolicyError {
    /// The policy's file, or `<policy>` when it came as text or from Python.
    pub file: String,
    /// Line, counted from one; absent when the policy came from Python.
    pub line: Option<usize>,
    /// Name of the limit, or `limit 3` while it has none; absent outside limits.
    pub limit: Option<String>,
    /// The field.
    pub field: Option<String>,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub allowed: String,
    /// The nearest allowed name, when `found` looks like a misspelling.
    pub suggestion: Option<String>,
}

impl PolicyError {
    /// `policy.toml:12: limit "pair-pace", rate: found "600 a minute"; allowed: …; did you mean …?`
    fn sentence(&self) -> String {
        let mut text = self.file.clone();
        if let Some(line) = self.line {
            text += &format!(":{line}");
        }
        if let Some(limit) = &self.limit {
            text += &format!(": limit {limit:?}");
        }
        if let Some(field) = &self.field {
            text += &format!("{} {field}", if self.limit.is_some() { "," } else { ":" });
        }
        text += &format!(": found {}; allowed: {}", self.found, self.allowed);
        if let Some(suggestion) = &self.suggestion {
            text += &format!("; did you mean {suggestion:?}?");
        }
        text
    }
}
