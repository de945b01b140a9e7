//! `extends`: a policy that says only what is different from another.
//!
//! Where the other's text comes from is the caller's business ([`Bases`]): this crate does no I/O. The other is a right policy by itself, and is read first;
//! so whatever is wrong with the two together is told of the file that extends.
//!
//! **One rule.** What is written replaces what the base says of the same field, what is not written stays. Tables are gone into (`share`, `quota` and each of
//! its values); a list is one value. A changed `rate` thus keeps a `burst` that the base states, as a changed `burst` keeps the rate: one who reads the two files
//! need not know which fields belong together. A field cannot be taken away; a limit can, by `without`, and be written anew below.

use super::field::{Field, FieldValue, Place, Wrong};
use super::limit::Policy;
use super::nearest::{listed, nearest};
use super::validate::stated_name;
use super::written::{Written, WrittenLimit};
use crate::error::PolicyError;

/// Files in a row that extend one another.
const DEEPEST: usize = 8;

/// What says that a base is a file, and not one of the built-in policies.
const FILE_ENDING: &str = ".toml";

/// A policy that another extends.
#[derive(Clone, Copy, Debug)]
pub enum Base<'a> {
    /// One that comes with the library.
    BuiltIn(&'a str),
    /// The path of a file.
    File {
        /// As it was written.
        path: &'a str,
        /// The file that wrote it, to which the path is relative.
        from: &'a str,
    },
}

/// The text of a policy.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its file, for messages; different files have different ones.
    pub file: String,
    /// TOML.
    pub text: String,
}

/// Why there is no text.
#[derive(Clone, Debug)]
pub enum NoBase {
    /// No built-in policy is called so; those that there are.
    Unknown(Vec<String>),
    /// The file cannot be read: why.
    Unreadable(String),
    /// Nothing can be read here.
    Nowhere,
}

/// Finds the text of a base.
pub type Bases<'b> = dyn FnMut(Base<'_>) -> Result<Source, NoBase> + 'b;

impl Policy {
    /// As [`Policy::parse`], of a policy that may extend another.
    ///
    /// # Errors
    /// The first thing wrong with the base, then with the file, in the order of the file.
    pub fn parse_with(file: &str, text: &str, bases: &mut Bases<'_>) -> Result<Self, PolicyError> {
        let source = Source { file: file.to_owned(), text: text.to_owned() };
        read(source, &mut Vec::new(), bases)?.policy()
    }
}

/// A file over all its bases; `above` are the files that extend it.
fn read(source: Source, above: &mut Vec<String>, bases: &mut Bases<'_>) -> Result<Written, PolicyError> {
    let written = Written::parse(&source.file, &source.text)?;
    let Some(field) = written.field("extends") else { return Ok(written) };
    above.push(source.file);
    let base = base(field, above, bases).map_err(|wrong| written.place.wrong(field, wrong))?;
    let base = read(base, above, bases)?;
    base.clone().policy()?;
    Ok(written.over(base))
}

fn base(field: &Field, above: &[String], bases: &mut Bases<'_>) -> Result<Source, Wrong> {
    let allowed = || Wrong::allowed("the name of a built-in policy, as \"inbound\", or the path of a `.toml` file");
    let FieldValue::Text(name) = &field.value else { return Err(allowed()) };
    let base = match (name.ends_with(FILE_ENDING), above.last()) {
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
        let round: Vec<&str> = above[first..].iter().chain([&source.file]).map(String::as_str).collect();
        let found = format!("{shown}, which comes back to itself ({})", round.join(", "));
        return Err(Wrong::allowed("a policy that does not extend this one").found(found));
    }
    if above.len() == DEEPEST {
        let allowed = format!("at most {DEEPEST} files that extend one another");
        return Err(Wrong::allowed(allowed).found(format!("{shown}, the {}th file in a row", DEEPEST + 1)));
    }
    Ok(source)
}

/// The limits of `base`, in their order and with what `own` says of them, then those of `own` that are new.
pub(super) fn lay_over(file: &str, mut base: Vec<WrittenLimit>, own: Vec<WrittenLimit>) -> Vec<WrittenLimit> {
    for field in base.iter_mut().flat_map(|limit| &mut limit.fields) {
        mark(field, file);
    }
    let names: Vec<String> = base.iter().filter_map(|limit| limit.name().map(str::to_owned)).collect();
    for limit in own {
        let under = base.iter_mut().find(|under| under.name().is_some() && under.name() == limit.name());
        match under {
            Some(under) => {
                merge(&mut under.fields, limit.fields);
                under.place = limit.place;
            }
            None => {
                let meant = limit.name().and_then(|name| nearest(name, names.iter().map(String::as_str)));
                base.push(WrittenLimit { meant: meant.map(str::to_owned), ..limit });
            }
        }
    }
    base
}

/// Names of limits of the base that are left out.
pub(super) fn without(place: &Place, field: &Field, base: &[WrittenLimit]) -> Result<Vec<String>, PolicyError> {
    let names: Vec<&str> = base.iter().filter_map(|limit| stated_name(&limit.fields)).collect();
    let FieldValue::List(items) = &field.value else {
        return Err(place.wrong(field, Wrong::allowed("a list of limits, as [\"auth-pace\"]")));
    };
    let read = |(index, item): (usize, &FieldValue)| match item {
        FieldValue::Text(name) if names.contains(&name.as_str()) => Ok(name.clone()),
        _ => {
            let wrong = Wrong::allowed(format!("limits of what it extends: {}", names.join(", "))).found(item.shown());
            let meant = if let FieldValue::Text(name) = item { nearest(name, names.iter().copied()) } else { None };
            Err(place.wrong(field, wrong.suggest(meant).item(index)))
        }
    };
    items.iter().enumerate().map(read).collect()
}

/// Says of a field and all in it which file it stands in.
fn mark(field: &mut Field, file: &str) {
    field.file.get_or_insert_with(|| file.to_owned());
    if let FieldValue::Table(entries) = &mut field.value {
        entries.iter_mut().for_each(|entry| mark(entry, file));
    }
}

/// Lays `own` over `base`. Values of quotas match whatever their case, as they do for a sender.
fn merge(base: &mut Vec<Field>, own: Vec<Field>) {
    for field in own {
        match base.iter_mut().find(|under| under.name.eq_ignore_ascii_case(&field.name)) {
            Some(under) => match (&mut under.value, field.value) {
                (FieldValue::Table(entries), FieldValue::Table(own)) if !own.is_empty() => {
                    merge(entries, own);
                    (under.name, under.line, under.file) = (field.name, field.line, field.file);
                }
                (_, value) => *under = Field { value, ..field },
            },
            None => base.push(field),
        }
    }
}
