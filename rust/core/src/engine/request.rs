//! What one check asks: filled in before the lock, and only read under it.
//!
//! Knows no text: the keys of the envelope's identities, what the stores are asked, and what the access list is asked.

use smallvec::SmallVec;

use super::access::{AccessAnswer, AccessQuery};
use super::keys::Keys;
use crate::stats::IdentityKey;
use crate::store::request::{Answers, Request as Stores};

/// All that one check asks.
#[derive(Debug, Default)]
pub struct Request {
    pub(super) keys: Keys,
    /// What the stores are asked.
    pub(super) stores: Stores,
    /// What statistics count, where a step of a session counts less than all of `keys`.
    pub(super) counted: Option<Vec<IdentityKey>>,
    /// What operators' entries and limits' blocks are asked, while there are any.
    pub(super) access: Option<Box<AccessQuery>>,
}

impl Request {
    /// Every value that statistics count.
    #[inline]
    pub(super) fn counted(&self) -> &[IdentityKey] {
        match &self.counted {
            None => self.keys.values(),
            Some(counted) => counted,
        }
    }
}

/// Room for all that is found out under the lock, taken before it.
#[derive(Debug, Default)]
pub struct Found {
    /// What the stores answer.
    pub(super) stores: Answers,
    /// What the access list answers.
    pub(super) access: AccessAnswer,
    /// The in-flight limits that a permit will be held under, as bits.
    pub(super) held: u64,
    /// Whether any entry is near its limit, or above it.
    pub(super) is_any_near_limit: bool,
    /// Entries of limits that block their key when the check is refused: places in the request.
    pub(super) blocking: SmallVec<[u32; 8]>,
    /// Entries near their limit, or above it, of which a value has no name yet: places in the request.
    pub(super) unnamed: SmallVec<[u32; 8]>,
}

impl Found {
    /// Takes all the room that `request` needs.
    #[inline]
    pub(super) fn take_room_for(&mut self, request: &Request) {
        self.stores.take_room_for(&request.stores);
        self.blocking.reserve(request.stores.entries.len());
        self.unnamed.reserve(request.stores.entries.len());
        if let Some(access) = &request.access {
            self.access.take_room_for(access);
        }
    }
}
