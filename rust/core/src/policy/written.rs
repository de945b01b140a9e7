//! A policy file as it was written: fields in their places, of which only the outermost are understood.
//!
//! Knows no TOML. Here a file and its base (`extends`) become one; what that means is found out as if one file had said it.

use super::assemble::{Assembly, suffixes};
use super::extends::{lay_over, without};
use super::field::{Field, Place, Wrong};
use super::limit::{Limit, Policy};
use super::scale::Scale;
use super::validate::{stated_name, validated};
use super::value::choice;
use super::words::Mode;
use crate::error::PolicyError;

/// A file.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) place: Place,
    /// What stands outside the limits; the entries of a table by their whole way: `suffixes.extra`.
    pub(super) fields: Vec<Field>,
    pub(super) limits: Vec<WrittenLimit>,
    pub(super) first: FirstError,
}

/// A limit.
#[derive(Clone, Debug)]
pub(super) struct WrittenLimit {
    pub(super) place: Place,
    pub(super) fields: Vec<Field>,
    /// Of a limit that stands in no base, the name there that it may have meant.
    pub(super) meant: Option<String>,
}

/// The error that stands first in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstError(Option<PolicyError>);

impl FirstError {
    pub(super) fn keep<T>(&mut self, result: Result<T, PolicyError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                if self.0.as_ref().is_none_or(|first| error.line < first.line) {
                    self.0 = Some(error);
                }
                None
            }
        }
    }
}

impl WrittenLimit {
    pub(super) fn name(&self) -> Option<&str> {
        stated_name(&self.fields)
    }

    fn validated(&self) -> Result<Limit, PolicyError> {
        validated(&self.place, &self.fields).map_err(|error| match &self.meant {
            Some(meant) if error.found == "nothing" && matches!(error.field.as_deref(), Some("per" | "rate")) => {
                PolicyError { suggestion: Some(meant.clone()), ..error }
            }
            _ => error,
        })
    }
}

impl Written {
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The file with `base` beneath it.
    pub(super) fn over(mut self, base: Self) -> Self {
        let left_out = self.field("without").map(|field| without(&self.place, field, &base.limits));
        let left_out = left_out.and_then(|names| self.first.keep(names)).unwrap_or_default();
        let limits = base
            .limits
            .into_iter()
            .filter(|limit| !limit.name().is_some_and(|name| left_out.iter().any(|left| left == name)));
        let own = std::mem::take(&mut self.limits);
        self.limits = lay_over(&base.place.file, limits.collect(), own);
        let inherited = base.fields.into_iter().filter(|field| !matches!(field.name.as_str(), "extends" | "without"));
        for mut field in inherited {
            if self.field(&field.name).is_none() {
                field.file.get_or_insert_with(|| base.place.file.clone());
                self.fields.push(field);
            }
        }
        self.fields.retain(|field| !matches!(field.name.as_str(), "extends" | "without"));
        self
    }

    /// # Errors
    /// The first thing wrong with it, in the order of the file.
    pub(super) fn policy(self) -> Result<Policy, PolicyError> {
        let Self { place, fields, limits, mut first } = self;
        let mut assembly = Assembly::default();
        for field in &fields {
            let wrong = |wrong| place.wrong(field, wrong);
            match field.name.as_str() {
                "scale" => {
                    assembly.scale = first.keep(Scale::read(&field.value).map_err(wrong)).unwrap_or(Scale::ONE);
                    assembly.scale_line = field.line;
                }
                "mode" => {
                    let mode = choice(&field.value, &Mode::NAMED);
                    assembly.mode = first.keep(mode.map_err(wrong)).unwrap_or_default();
                }
                "suffixes.extra" => {
                    assembly.extra_suffixes = first.keep(suffixes(&field.value).map_err(wrong)).unwrap_or_default();
                }
                "without" => {
                    let alone = Wrong::allowed("`without` only beside `extends`");
                    first.keep::<()>(Err(wrong(alone)));
                }
                _ => {}
            }
        }
        for written in &limits {
            let limit = written.validated().and_then(|mut limit| {
                limit.file = Some(&written.place.file).filter(|file| **file != place.file).cloned();
                let name_line = written.fields.iter().find(|field| field.name == "name").and_then(|field| field.line);
                assembly.push(&place, limit, name_line)
            });
            // What comes after a wrong limit may be wrong because of it.
            if first.keep(limit).is_none() {
                break;
            }
        }
        match first.0 {
            Some(error) => Err(error),
            None => assembly.finish(&place),
        }
    }
}
