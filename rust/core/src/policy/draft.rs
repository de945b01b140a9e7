//! One limit's fields, each read by itself, in the order in which they were written.
//!
//! Which fields there are is in `fields`, what each may hold in `value`, how they go together in `validate`.
//! Invariant: nothing is lost, each value stands beside the field that it was read from, so that an error can name its place.

use super::Action;
use super::field::{Field, FieldValue, Place, Wrong};
use super::fields::{LIMIT, SHARE, known};
use super::quantity::memory;
use super::quota::{Numbers, quotas};
use super::value::{Burst, burst, choice, distinct, duration, in_flight, name, of_free, per, rate};
use super::words::{Count, Mode, Refuse, Verified};
use crate::error::PolicyError;
use crate::identity::Identity;
use crate::reply::Template;
use crate::store::params::{Algorithm, Fraction, Rate, WhenFull};

/// A value and the field that it was read from.
#[derive(Debug)]
pub(super) struct Given<'a, T> {
    pub(super) value: T,
    pub(super) field: &'a Field,
}

/// A `share` whose entries make sense one by one.
#[derive(Debug, Default)]
pub(super) struct DraftShare {
    pub(super) per: Option<Vec<Identity>>,
    pub(super) of_free: Option<Fraction>,
}

/// A limit whose fields make sense one by one.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    pub(super) name: Option<Given<'a, String>>,
    pub(super) per: Option<Given<'a, Vec<Identity>>>,
    pub(super) rate: Option<Given<'a, Rate>>,
    pub(super) burst: Option<Given<'a, Burst>>,
    pub(super) count: Option<Given<'a, Count>>,
    pub(super) distinct: Option<Given<'a, Identity>>,
    pub(super) refuse: Option<Given<'a, Refuse>>,
    pub(super) remember_us: Option<Given<'a, u64>>,
    pub(super) settle_us: Option<Given<'a, u64>>,
    pub(super) in_flight: Option<Given<'a, Burst>>,
    pub(super) share: Option<Given<'a, DraftShare>>,
    pub(super) verified: Option<Given<'a, Verified>>,
    pub(super) when_full: Option<Given<'a, WhenFull>>,
    pub(super) memory: Option<Given<'a, u64>>,
    pub(super) algorithm: Option<Given<'a, Algorithm>>,
    pub(super) action: Option<Given<'a, Action>>,
    pub(super) reply: Option<Given<'a, Template>>,
    pub(super) mode: Option<Given<'a, Mode>>,
    pub(super) quotas: Option<Given<'a, Vec<Numbers<'a>>>>,
}

impl<'a> Draft<'a> {
    /// # Errors
    /// The first field that cannot be read.
    pub(super) fn read(place: &Place, fields: &'a [Field]) -> Result<Self, PolicyError> {
        let mut draft = Self::default();
        for field in fields {
            let reader = Reader { place, field };
            match known(LIMIT, &field.name).map_err(|wrong| place.wrong(field, wrong))?.name {
                "name" => draft.name = reader.read(name)?,
                "per" => draft.per = reader.read(per)?,
                "rate" => draft.rate = reader.read(rate)?,
                "burst" => draft.burst = reader.read(burst)?,
                "count" => draft.count = reader.read(|value| choice(value, &Count::NAMED))?,
                "distinct" => draft.distinct = reader.read(distinct)?,
                "refuse" => draft.refuse = reader.read(|value| choice(value, &Refuse::NAMED))?,
                "remember" => draft.remember_us = reader.read(duration)?,
                "settle" => draft.settle_us = reader.read(duration)?,
                "in_flight" => draft.in_flight = reader.read(in_flight)?,
                "share" => draft.share = Some(Given { value: share(place, field)?, field }),
                "verified" => draft.verified = reader.read(|value| choice(value, &Verified::NAMED))?,
                "when_full" => draft.when_full = reader.read(|value| choice(value, &WhenFull::NAMED))?,
                "memory" => draft.memory = reader.read(memory)?,
                "algorithm" => draft.algorithm = reader.read(|value| choice(value, &Algorithm::NAMED))?,
                "action" => draft.action = reader.read(Action::read)?,
                "reply" => draft.reply = reader.read(Template::read)?,
                "mode" => draft.mode = reader.read(|value| choice(value, &Mode::NAMED))?,
                "quota" => draft.quotas = Some(Given { value: quotas(place, field)?, field }),
                _ => {}
            }
        }
        Ok(draft)
    }
}

pub(super) struct Reader<'p, 'a> {
    pub(super) place: &'p Place,
    pub(super) field: &'a Field,
}

impl<'a> Reader<'_, 'a> {
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&FieldValue) -> Result<T, Wrong>,
    ) -> Result<Option<Given<'a, T>>, PolicyError> {
        match read(&self.field.value) {
            Ok(value) => Ok(Some(Given { value, field: self.field })),
            Err(wrong) => Err(self.place.wrong(self.field, wrong)),
        }
    }
}

/// Its entries are told as fields: `share.per`.
fn share(place: &Place, field: &Field) -> Result<DraftShare, PolicyError> {
    let FieldValue::Table(entries) = &field.value else {
        let allowed = "a table, as { per = \"client.net/24/48\", of_free = \"1/10\" }";
        return Err(place.wrong(field, Wrong::allowed(allowed)));
    };
    let mut draft = DraftShare::default();
    for entry in entries {
        let told = Field { name: format!("share.{}", entry.name), line: entry.line.or(field.line), ..entry.clone() };
        let wrong = |wrong| place.wrong(&told, wrong);
        match known(SHARE, &entry.name).map_err(wrong)?.name {
            "per" => draft.per = Some(per(&entry.value).map_err(wrong)?),
            "of_free" => draft.of_free = Some(of_free(&entry.value).map_err(wrong)?),
            _ => {}
        }
    }
    Ok(draft)
}
