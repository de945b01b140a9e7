//! Reads a policy file, with the base that it may extend, and makes the policy; writes a policy as a file.
//!
//! A file is held as two lists of fields: the fields outside the limits, and the limits, each as a table under the
//! limit's name. So one rule is enough to lay a whole file over another.
//!
//! A policy that `extends` another one, its base, states only its differences. The caller finds the text of a base
//! ([`Bases`]), since this crate does no I/O. A base is validated by itself first, so an error in the two together is
//! an error of the file that extends.
//!
//! **One rule.** A field that is written replaces the same field of the base, and every other field stays. Tables are
//! merged field by field: limits, a `share`, a `quota` and each of its values. A list is one value. So a changed `rate`
//! keeps the `burst` of the base, and a changed `burst` keeps its `rate`: the reader of two files need not know which
//! fields belong together. A field cannot be removed. A limit can, by `without`, and it can then be written again.

use std::collections::HashMap;
use std::fmt;

use super::entries::entries;
use super::field::{Field, FieldValue, Place, Wrong, listed, read_toml};
use super::limit::{Fields, NO_FILE, stated_name, text, unless_default, validate};
use super::model::{LISTS, Limit, MAX_LIMITS, Mode, Policy};
use super::quota_file::{self, QuotaRow};
use super::reply_template::help_url;
use super::rows::{EACH_LIMIT, POLICY};
use super::value::{MILLION, choice, csv_path, list, max_recipients, message_size, multiply, scale, suffixes};
use super::value::{write_scale, write_size};
use crate::decision::Template;
use crate::error::{PolicyError, nearest};

/// The fields outside the limits that Python may state.
const OUTSIDE_LIMITS: [&str; 6] = ["mode", "scale", "suffixes", "max_recipients", "largest_message", "help_url"];

/// The most files in a row that extend one another.
const MAX_FILES: usize = 8;

/// What a policy takes from elsewhere: a policy that it extends, or its file of quotas.
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
    /// A file of quotas.
    Quotas {
        /// The path as it was written.
        path: &'a str,
        /// The file with the `quota_file`; the path is relative to it.
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
        Document::read(source, &mut Vec::new(), bases)?.policy(bases)
    }

    /// Makes a policy of Python's limits ([`Limit::from_fields`]) and the fields outside the limits,
    /// except those that only a file has.
    ///
    /// The limits are multiplied here: a limit that was taken from a policy is multiplied once more.
    ///
    /// # Errors
    /// The first thing that is wrong, without a line.
    pub fn from_fields(limits: Vec<Limit>, fields: &[(String, FieldValue)]) -> Result<Self, PolicyError> {
        let place = Place { file: NO_FILE.into(), ..Place::default() };
        let mut policy = Self::empty(NO_FILE);
        for (name, value) in fields {
            let is_known = OUTSIDE_LIMITS.contains(&name.as_str());
            let known = || [&["limits"][..], &OUTSIDE_LIMITS].concat();
            let set = if is_known { policy.set(name, value) } else { Err(Wrong::unknown(name, &known())) };
            set.map_err(|wrong| place.wrong(&Field::loose(name, value), wrong))?;
        }
        for mut limit in limits {
            // A limit of another policy may come with its line, which is a line of another file.
            limit.line = limit.line.filter(|_| limit.file.is_some());
            limit.quotas.iter_mut().for_each(|quota| quota.line = quota.line.filter(|_| quota.file.is_some()));
            policy.push(limit, None)?;
        }
        policy.complete("")
    }

    fn empty(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            scale_millionths: MILLION,
            mode: Mode::default(),
            extra_suffixes: vec![],
            max_recipients: None,
            largest_message: None,
            help_url: None,
            quota_file: None,
            entries: vec![],
            limits: vec![],
        }
    }

    /// Sets a field that is outside the limits.
    fn set(&mut self, name: &str, value: &FieldValue) -> Result<(), Wrong> {
        match (name, value) {
            ("scale", _) => self.scale_millionths = scale(value)?,
            ("mode", _) => self.mode = choice(value)?,
            ("max_recipients", _) => self.max_recipients = Some(max_recipients(value)?),
            ("largest_message", _) => self.largest_message = Some(message_size(value)?),
            ("help_url", _) => self.help_url = Some(help_url(value)?),
            // A file has a table with the one field `extra`, which may be missing; Python has its list.
            ("suffixes", FieldValue::Table(table)) => {
                table.iter().try_for_each(|extra| self.set("suffixes", &extra.value))?
            }
            ("suffixes", _) => self.extra_suffixes = suffixes(value)?,
            ("without", _) => return Err(Wrong::allowed("`without` only together with `extends`")),
            _ => {}
        }
        Ok(())
    }

    /// Whether the limit's reply names the page of `help_url`, and this policy has none.
    fn lacks_help_url(&self, limit: &Limit) -> bool {
        self.help_url.is_none() && limit.reply.as_ref().is_some_and(Template::names_help)
    }

    /// Multiplies a limit and adds it.
    fn push(&mut self, mut limit: Limit, scale_line: Option<usize>) -> Result<(), PolicyError> {
        // A base is valid by itself, so it is the scale of this file that is too large for a limit of the base.
        let line = if limit.file.is_some() { scale_line } else { limit.line };
        let place = Place { file: self.file.clone(), line, limit: Some(limit.name.clone()), ..Place::default() };
        if self.limits.len() == MAX_LIMITS {
            let found = format!("a limit after the first {MAX_LIMITS}");
            return Err(place.error(None, found, format!("at most {MAX_LIMITS} limits")));
        }
        // A file with two limits of one name is read no further, so these are limits from Python.
        if self.limits.iter().any(|first| first.name == limit.name) {
            let wrong = second_time(&format!("{:?}", limit.name), None);
            return Err(place.error(Some("name"), wrong.found.unwrap_or_default(), wrong.allowed));
        }
        if self.lacks_help_url(&limit) {
            let wrong = no_help_url();
            return Err(place.error(Some("reply"), wrong.found.unwrap_or_default(), wrong.allowed));
        }
        for (field, amount) in limit.amounts_mut() {
            *amount = multiply(*amount, self.scale_millionths).ok_or_else(|| {
                let found = format!("{amount} × scale {}", write_scale(self.scale_millionths));
                place.error(Some(field), found, "at most 2^50 after `scale`".into())
            })?;
        }
        self.limits.push(limit);
        Ok(())
    }

    /// The policy, unless it is empty. An empty policy, perhaps a file cut short, would silently admit everything. A
    /// limit that the largest message can never pass would refuse it for ever. `or` adds another way out to the error
    /// for an empty policy.
    fn complete(self, or: &str) -> Result<Self, PolicyError> {
        let largest = self.largest_message.unwrap_or_default();
        let passes = |limit: &&Limit| limit.largest_message().is_none_or(|most| largest <= most);
        if let Some(limit) = self.limits.iter().find(|limit| !passes(limit)) {
            let most = write_size(limit.largest_message().unwrap_or_default());
            let found = format!("{:?}, which {:?} can never let pass", write_size(largest), limit.name);
            let allowed = format!("at most {most:?}, since that limit lets no more pass when nothing is held");
            return Err(self.error(None, "largest_message", found, allowed));
        }
        if !self.limits.is_empty() {
            return Ok(self);
        }
        let allowed = format!("1 to {MAX_LIMITS} of them, each under `[[limit]]`{or}");
        Err(Place { file: self.file, ..Place::default() }.error(None, "no limit".into(), allowed))
    }

    /// Writes a policy file that reads as the same limits. It has no `scale`: the numbers are multiplied already.
    pub fn to_toml(&self) -> String {
        let scale = (self.scale_millionths != MILLION).then(|| write_scale(self.scale_millionths));
        let scale = scale.map(|scale| format!("# Every rate, burst and cap is multiplied by {scale} already.\n\n"));
        let mode = unless_default(self.mode, Mode::Enforce).map(|mode| format!("mode = {mode}\n\n"));
        let most = self.max_recipients.map(|most| format!("max_recipients = {most}\n\n"));
        let extra = FieldValue::List(self.extra_suffixes.iter().map(text).collect());
        let extra = (!self.extra_suffixes.is_empty()).then(|| format!("[suffixes]\nextra = {extra}\n\n"));
        let entries: String = self.entries.iter().map(|entry| entry.to_toml() + "\n").collect();
        let limits: Vec<String> = self.limits.iter().map(ToString::to_string).collect();
        let largest = self.largest_message.map(|bytes| format!("largest_message = {:?}\n\n", write_size(bytes)));
        let help = self.help_url.as_ref().map(|url| format!("help_url = {}\n\n", text(url)));
        let limits = Some(limits.join("\n"));
        [scale, mode, most, largest, help, extra, Some(entries), limits].into_iter().flatten().collect()
    }
}

impl fmt::Display for Limit {
    /// Writes the limit as a table of a policy file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[[limit]]")?;
        self.to_fields().iter().try_for_each(|(name, value)| writeln!(f, "{name} = {value}"))
    }
}

/// The error for a name that another limit has.
fn second_time(name: &str, first_line: Option<usize>) -> Wrong {
    let first = first_line.map(|line| format!(", first in line {line}")).unwrap_or_default();
    Wrong::allowed("every name once").found(format!("{name} a second time{first}"))
}

/// The error for a reply that names a page, in a policy without one.
fn no_help_url() -> Wrong {
    Wrong::allowed("{help} only together with `help_url`, the address that it inserts").found("{help}")
}

/// A policy file, perhaps over the files that it extends.
#[derive(Clone, Debug)]
struct Document {
    file: String,
    /// The fields outside the limits.
    fields: Vec<Field>,
    /// The limits. The name of the field is the name of the limit, or `limit 3` if it has no valid name.
    limits: Vec<Field>,
    /// The names of the limits of the base.
    base_names: Vec<String>,
    /// The names of the limits that were left out.
    left_out: Vec<String>,
    /// This file, and then those that it extends.
    files: Vec<String>,
    /// The errors so far. The first in the order of the file is reported.
    errors: Vec<PolicyError>,
}

impl Document {
    /// Reads a file over all its bases. `above` are the files that extend it.
    ///
    /// # Errors
    /// A text is not TOML, or something is wrong with a base. Other errors are kept for [`Document::policy`], which
    /// reports the first one.
    fn read(source: Source, above: &mut Vec<String>, bases: &mut Bases<'_>) -> Result<Self, PolicyError> {
        let Source { file, text } = source;
        let fields = read_toml(&file, &text)?.into_iter();
        let (fields, limits): (Vec<Field>, _) = fields.partition(|field| field.name != "limit");
        let (files, limits_read) = (vec![file.clone()], vec![]);
        let mut document =
            Self { file, fields, limits: limits_read, base_names: vec![], left_out: vec![], files, errors: vec![] };
        for field in limits {
            let limits = document.read_limits(field);
            document.errors.extend(limits.err());
        }
        let Some(field) = document.fields.iter().find(|field| field.name == "extends") else { return Ok(document) };
        above.push(document.file.clone());
        let base = base(field, above, bases).map_err(|wrong| document.place().wrong(field, wrong))?;
        let base = Self::read(base, above, bases)?;
        base.clone().policy(bases)?;
        Ok(document.over(base))
    }

    fn place(&self) -> Place {
        Place { file: self.file.clone(), ..Place::default() }
    }

    /// Adds the limits, up to the first entry that cannot be a limit.
    fn read_limits(&mut self, field: Field) -> Result<(), PolicyError> {
        let each = || Wrong::allowed(EACH_LIMIT);
        let items = match field.value {
            FieldValue::List(items) if !items.is_empty() => items,
            _ => return Err(self.place().wrong(&field, each())),
        };
        for (index, (value, line)) in items.into_iter().zip(field.item_lines).enumerate() {
            let unnamed = Field { line: Some(line), file: field.file.clone(), ..Field::loose("limit", &value) };
            let FieldValue::Table(fields) = value else { return Err(self.place().wrong(&unnamed, each())) };
            let name = stated_name(&fields).map_or_else(|| format!("limit {}", index + 1), str::to_owned);
            // Only one file is checked here: a limit with the name of a limit of the base changes that limit.
            let same = self.limits.iter().find(|first| first.name == name);
            if let (Some(first), Some(second)) = (same, named(&fields)) {
                let place = Place { limit: Some(name), ..self.place() };
                let first_line = named(first.value.entries()).and_then(|first| first.line);
                return Err(place.wrong(second, second_time(&second.value.shown(), first_line)));
            }
            self.limits.push(Field { name, ..unnamed });
        }
        Ok(())
    }

    /// Makes the policy.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of the file.
    fn policy(self, bases: &mut Bases<'_>) -> Result<Policy, PolicyError> {
        let place = self.place();
        let Self { file, fields, mut limits, base_names, left_out, files, mut errors } = self;
        let mut policy = Policy::empty(&file);
        let quotas = fields.iter().find(|field| field.name == "quota_file");
        let rows = quotas.and_then(|field| {
            let rows = quota_source(&place, field, bases);
            let rows = rows.and_then(|source| {
                let names: Vec<&str> = limits.iter().map(|limit| limit.name.as_str()).collect();
                Ok((quota_file::rows(&source.file, &source.text, &names, &left_out)?, source.file))
            });
            rows.map_err(|error| errors.push(error)).ok()
        });
        let table = Field::loose("", &FieldValue::Table(fields.clone()));
        let check = Fields { place: &place, table: &table, rows: POLICY, path: String::new() };
        for field in &fields {
            if LISTS.contains(&field.name.as_str()) {
                match entries(&place, field) {
                    Ok(entries) => policy.entries.extend(entries),
                    Err(error) => errors.push(error),
                }
                continue;
            }
            let mut set = || policy.set(&field.name, &field.value).map_err(|wrong| place.wrong(field, wrong));
            errors.extend(check.check_value(field).and_then(|()| set()).err());
        }
        let quota_file = rows.as_ref().map(|(_, file)| file.clone());
        if let Some((rows, file)) = rows {
            policy.quota_file = Some((file, rows.len()));
            add_quotas(&mut limits, rows);
        }
        let or = if files.len() == 1 { "; or extends = \"inbound\"" } else { "" };
        let scale_line = fields.iter().find(|field| field.name == "scale").and_then(|field| field.line);
        for field in &limits {
            let limit = Some(field.name.clone());
            let place = Place { line: field.line, limit, quota_file: quota_file.clone(), ..place.clone() };
            let limit = validate(&place, field).map_err(|error| meant(error, &field.name, &base_names));
            let push = |mut limit: Limit| {
                for quota in &mut limit.quotas {
                    let csv =
                        || quotas.filter(|_| policy.quota_file.as_ref().map(|(file, _)| file) == quota.file.as_ref());
                    let stated_in = csv().map_or(&quota.file, |field| &field.file);
                    let depth = stated_in.as_ref().and_then(|file| files.iter().position(|known| known == file));
                    quota.depth = depth.unwrap_or_default() as u8;
                }
                let reply = field.value.entries().iter().find(|field| field.name == "reply");
                if let (Some(reply), true) = (reply, policy.lacks_help_url(&limit)) {
                    return Err(place.wrong(reply, no_help_url()));
                }
                policy.push(limit, scale_line)
            };
            if let Err(error) = limit.and_then(push) {
                errors.push(error);
                // A later limit may be wrong only because of this one.
                break;
            }
        }
        errors.into_iter().min_by_key(|error| error.line).map_or_else(|| policy.complete(or), Err)
    }

    /// Lays this file over `base`.
    fn over(mut self, mut base: Self) -> Self {
        if let Some(field) = self.fields.iter().find(|field| field.name == "without") {
            match without(field, &base.names()) {
                Ok(left_out) => {
                    base.limits.retain(|limit| !left_out.contains(&limit.name));
                    base.left_out.extend(left_out);
                }
                Err(wrong) => self.errors.push(self.place().wrong(field, wrong)),
            }
        }
        self.fields.retain(|field| !matches!(field.name.as_str(), "extends" | "without"));
        self.base_names = base.names();
        lay_over(&mut base.fields, self.fields);
        lay_over(&mut base.limits, self.limits);
        self.files.append(&mut base.files);
        Self { fields: base.fields, limits: base.limits, left_out: base.left_out, ..self }
    }

    fn names(&self) -> Vec<String> {
        self.limits.iter().map(|limit| limit.name.clone()).collect()
    }
}

/// Suggests a limit of the base, if a new limit lacks a field that only a new limit needs: its name may be misspelt.
fn meant(error: PolicyError, name: &str, base_names: &[String]) -> PolicyError {
    let lacks_rule = error.found == "nothing" && matches!(error.field.as_deref(), Some("per" | "rate"));
    let near = nearest(name, base_names).filter(|near| lacks_rule && *near != name);
    PolicyError { suggestion: near.cloned().or(error.suggestion), ..error }
}

/// Finds the base that the field `extends` names. `above` are the files down to the one with the field.
fn base(field: &Field, above: &[String], bases: &mut Bases<'_>) -> Result<Source, Wrong> {
    let allowed = || Wrong::allowed("the name of a built-in policy, as \"inbound\", or the path of a `.toml` file");
    let name = field.value.text().ok_or_else(allowed)?;
    // A base that ends like a file is a file, and not a built-in policy.
    let base = match above.last() {
        Some(from) if name.ends_with(".toml") => Base::File { path: name, from },
        _ => Base::BuiltIn(name),
    };
    let shown = field.value.shown();
    let source = bases(base).map_err(|none| match none {
        NoBase::Unknown(names) => {
            let allowed = format!("{}, or the path of a `.toml` file", listed(&names));
            Wrong::allowed(allowed).suggest(nearest(name, names))
        }
        NoBase::Unreadable(why) => allowed().found(format!("{shown}, which cannot be read ({why})")),
        NoBase::Nowhere => Wrong::allowed("no `extends` here, where no other policy can be read"),
    })?;
    if let Some(first) = above.iter().position(|file| *file == source.file) {
        let found = format!("{shown}, which comes back to itself ({}, {})", above[first..].join(", "), source.file);
        return Err(Wrong::allowed("a policy that does not extend this one").found(found));
    }
    if above.len() == MAX_FILES {
        let allowed = format!("at most {MAX_FILES} files that extend one another");
        return Err(Wrong::allowed(allowed).found(format!("{shown}, the {}th file in a row", MAX_FILES + 1)));
    }
    Ok(source)
}

/// Reads the file that the field `quota_file` names.
fn quota_source(place: &Place, field: &Field, bases: &mut Bases<'_>) -> Result<Source, PolicyError> {
    let path = csv_path(&field.value).map_err(|wrong| place.wrong(field, wrong))?;
    let from = field.file.as_deref().unwrap_or(&place.file);
    bases(Base::Quotas { path: &path, from }).map_err(|none| {
        let wrong = match none {
            NoBase::Unreadable(why) => {
                let found = format!("{}, which cannot be read ({why})", field.value.shown());
                Wrong::allowed("the path of a CSV file, relative to this file").found(found)
            }
            NoBase::Unknown(_) | NoBase::Nowhere => {
                Wrong::allowed("no `quota_file` here, where no other file can be read")
            }
        };
        place.wrong(field, wrong)
    })
}

/// Adds the rows of a file of quotas to the quotas that the limits state themselves.
fn add_quotas(limits: &mut [Field], rows: Vec<QuotaRow>) {
    let mut by_limit: HashMap<String, Vec<Field>> = HashMap::new();
    for row in rows {
        by_limit.entry(row.limit).or_default().push(row.quota);
    }
    for limit in limits {
        let (Some(quotas), FieldValue::Table(fields)) = (by_limit.remove(&limit.name), &mut limit.value) else {
            continue;
        };
        let quota = fields.iter_mut().find(|field| field.name == "quota");
        match quota.map(|quota| &mut quota.value) {
            Some(FieldValue::Table(own)) => own.extend(quotas),
            // It is no table, and that is reported.
            Some(_) => {}
            None => {
                // What is wrong with this table is wrong with its first row.
                let first = quotas.first().map(|first| (first.file.clone(), first.line));
                let (file, line) = first.unwrap_or_default();
                fields.push(Field { file, line, ..Field::loose("quota", &FieldValue::Table(quotas)) });
            }
        }
    }
}

/// Reads the field `without`: the names of limits of the base, which has the limits `names`.
fn without(field: &Field, names: &[String]) -> Result<Vec<String>, Wrong> {
    list(&field.value, "a list of limits, as [\"auth-pace\"]", |name| {
        let meant = nearest(name, names);
        let wrong = || Wrong::allowed(format!("limits of what it extends: {}", names.join(", "))).suggest(meant);
        names.iter().find(|known| *known == name).cloned().ok_or_else(wrong)
    })
}

/// The name among the fields of a limit, valid or not.
fn named(fields: &[Field]) -> Option<&Field> {
    fields.iter().find(|field| field.name == "name")
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
                // The entries of the base come first.
                (FieldValue::List(entries), FieldValue::List(own)) if LISTS.contains(&field.name.as_str()) => {
                    entries.extend(own);
                    below.item_lines.extend(field.item_lines);
                    (below.line, below.file) = (field.line, field.file);
                }
                (_, value) => *below = Field { value, ..field },
            },
            None => base.push(field),
        }
    }
}
