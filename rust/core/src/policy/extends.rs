//! `extends`: a policy that states only its differences from another one, its base.
//!
//! The caller finds the text of a base ([`Bases`]), since this crate does no I/O. A base is validated by itself first,
//! so an error in the two together is an error of the file that extends.
//!
//! **One rule.** A field that is written replaces the same field of the base, and every other field stays. Tables are
//! merged field by field: limits, a `share`, a `quota` and each of its values. A list is one value. So a changed `rate`
//! keeps the `burst` of the base, and a changed `burst` keeps its `rate`: the reader of two files need not know which
//! fields belong together. A field cannot be removed. A limit can, by `without`, and it can then be written again.

use super::document::Document;
use super::field::{Field, FieldValue, Wrong, listed, nearest};
use super::model::Policy;
use crate::error::PolicyError;

/// The most files in a row that extend one another.
const MAX_FILES: usize = 8;

/// A policy that another one extends.
#[derive(Clone, Copy, Debug)]
pub enum Base<'a> {
    /// A policy that comes with the library.
    BuiltIn(&'a str),
    /// A file.
    File {
        /// The path as it was written.
        path: &'a str,
        /// The file with the `extends`; the path is relative to it.
        from: &'a str,
    },
}

/// The text of a policy.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name of the file in messages. Different files have different names.
    pub file: String,
    /// The TOML.
    pub text: String,
}

/// Why there is no text.
#[derive(Clone, Debug)]
pub enum NoBase {
    /// There is no built-in policy of this name, only these.
    Unknown(Vec<String>),
    /// The file cannot be read, for this reason.
    Unreadable(String),
    /// No other policy can be read here.
    Nowhere,
}

/// Finds the text of a base.
pub type Bases<'b> = dyn FnMut(Base<'_>) -> Result<Source, NoBase> + 'b;

impl Policy {
    /// Reads a policy that extends no other one. `file` is its name in messages.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of the file.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        Self::parse_with(file, text, &mut |_| Err(NoBase::Nowhere))
    }

    /// Reads a policy that may extend another one.
    ///
    /// # Errors
    /// The first thing that is wrong with the base, then with the file, in the order of the file.
    pub fn parse_with(file: &str, text: &str, bases: &mut Bases<'_>) -> Result<Self, PolicyError> {
        let source = Source { file: file.to_owned(), text: text.to_owned() };
        read(source, &mut Vec::new(), bases)?.policy()
    }
}

/// Reads a file over all its bases. `above` are the files that extend it.
fn read(source: Source, above: &mut Vec<String>, bases: &mut Bases<'_>) -> Result<Document, PolicyError> {
    let document = Document::read(&source.file, &source.text)?;
    let Some(field) = document.fields.iter().find(|field| field.name == "extends") else { return Ok(document) };
    above.push(source.file);
    let base = base(field, above, bases).map_err(|wrong| document.place().wrong(field, wrong))?;
    let base = read(base, above, bases)?;
    base.clone().policy()?;
    Ok(document.over(base))
}

fn base(field: &Field, above: &[String], bases: &mut Bases<'_>) -> Result<Source, Wrong> {
    let allowed = || Wrong::allowed("the name of a built-in policy, as \"inbound\", or the path of a `.toml` file");
    let name = field.value.text().ok_or_else(allowed)?;
    // A base that ends like a file is a file, and not a built-in policy.
    let base = match (name.ends_with(".toml"), above.last()) {
        (true, Some(from)) => Base::File { path: name, from },
        _ => Base::BuiltIn(name),
    };
    let shown = field.value.shown();
    let source = bases(base).map_err(|none| match none {
        NoBase::Unknown(names) => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let wrong = Wrong::allowed(format!("{}, or the path of a `.toml` file", listed(&names)));
            wrong.suggest(nearest(name, names))
        }
        NoBase::Unreadable(why) => allowed().found(format!("{shown}, which cannot be read ({why})")),
        NoBase::Nowhere => Wrong::allowed("no `extends` here, where no other policy can be read"),
    })?;
    if let Some(first) = above.iter().position(|file| *file == source.file) {
        let circle: Vec<&str> = above[first..].iter().chain([&source.file]).map(String::as_str).collect();
        let found = format!("{shown}, which comes back to itself ({})", circle.join(", "));
        return Err(Wrong::allowed("a policy that does not extend this one").found(found));
    }
    if above.len() == MAX_FILES {
        let allowed = format!("at most {MAX_FILES} files that extend one another");
        return Err(Wrong::allowed(allowed).found(format!("{shown}, the {}th file in a row", MAX_FILES + 1)));
    }
    Ok(source)
}

impl Document {
    /// Lays this file over `base`.
    fn over(mut self, mut base: Self) -> Self {
        let names: Vec<String> = base.limits.iter().map(|limit| limit.name.clone()).collect();
        if let Some(field) = self.fields.iter().find(|field| field.name == "without") {
            match without(field, &names) {
                Ok(left_out) => base.limits.retain(|limit| !left_out.contains(&limit.name)),
                Err(wrong) => self.errors.push(self.place().wrong(field, wrong)),
            }
        }
        let is_inherited = |field: &Field| !matches!(field.name.as_str(), "extends" | "without");
        base.fields.retain(is_inherited);
        self.fields.retain(is_inherited);
        base.fields.iter_mut().chain(&mut base.limits).for_each(|field| mark(field, &base.file));
        let base_names = base.limits.iter().map(|limit| limit.name.clone()).collect();
        lay_over(&mut base.fields, self.fields);
        lay_over(&mut base.limits, self.limits);
        Self { file: self.file, fields: base.fields, limits: base.limits, base_names, errors: self.errors }
    }
}

/// Reads the field `without`: the names of limits of the base, which has the limits `names`.
fn without(field: &Field, names: &[String]) -> Result<Vec<String>, Wrong> {
    let FieldValue::List(items) = &field.value else {
        return Err(Wrong::allowed("a list of limits, as [\"auth-pace\"]"));
    };
    let read = |(index, item): (usize, &FieldValue)| {
        let known = item.text().filter(|name| names.iter().any(|known| known == name)).map(str::to_owned);
        let meant = item.text().and_then(|name| nearest(name, names.iter().map(String::as_str)));
        let allowed = || format!("limits of what it extends: {}", names.join(", "));
        known.ok_or_else(|| Wrong::allowed(allowed()).found(item.shown()).suggest(meant).item(index))
    };
    items.iter().enumerate().map(read).collect()
}

/// Notes the file of a field and of everything in it.
fn mark(field: &mut Field, file: &str) {
    field.file.get_or_insert_with(|| file.to_owned());
    if let FieldValue::Table(entries) = &mut field.value {
        entries.iter_mut().for_each(|entry| mark(entry, file));
    }
}

/// Lays the fields `own` over `base`. Case does not matter in the values of a quota, as it does not in a sender's name.
fn lay_over(base: &mut Vec<Field>, own: Vec<Field>) {
    for field in own {
        match base.iter_mut().find(|below| below.name.eq_ignore_ascii_case(&field.name)) {
            Some(below) => match (&mut below.value, field.value) {
                // An empty `share` or `quota` is an error, and must stay one.
                (FieldValue::Table(entries), FieldValue::Table(own)) if !own.is_empty() || field.name == "suffixes" => {
                    lay_over(entries, own);
                    (below.name, below.line, below.file) = (field.name, field.line, field.file);
                }
                (_, value) => *below = Field { value, ..field },
            },
            None => base.push(field),
        }
    }
}
