//! What one check asks: filled in before the lock, and only read under it.
//!
//! Knows no text: the keys of the envelope's identities, what the stores are asked, and what the access list is asked.
//! A thread keeps the room of its last check for the next one, so that the common check allocates nothing.

use std::cell::Cell;

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
    /// Whether the limits were consulted: not when an operator's entry lets the check through.
    pub(super) is_consulted: bool,
    /// Whether any entry is near its limit, or above it.
    pub(super) is_any_near_limit: bool,
    /// Entries of limits that block their key when the check is refused: places in the request.
    pub(super) blocking: Vec<u32>,
    /// Entries near their limit, or above it, of which a value has no name yet: places in the request.
    pub(super) unnamed: Vec<u32>,
}

/// The room of one check: its request and what is found out.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) request: Request,
    pub(super) found: Found,
}

/// Entries that a kept room has space for, at most: a check with more recipients frees its room (P1).
const MOST_KEPT: usize = 256;

thread_local! {
    static KEPT: Cell<Option<Box<Room>>> = const { Cell::new(None) };
}

/// A room that goes back to its thread when it is dropped.
#[derive(Debug)]
pub(super) struct KeptRoom(Option<Box<Room>>);

impl Default for KeptRoom {
    #[inline]
    fn default() -> Self {
        Self(Some(KEPT.take().unwrap_or_default()))
    }
}

impl KeptRoom {
    #[inline]
    pub(super) fn get(&self) -> &Room {
        self.0.as_ref().expect("a room until it is dropped")
    }

    #[inline]
    pub(super) fn get_mut(&mut self) -> &mut Room {
        self.0.as_mut().expect("a room until it is dropped")
    }
}

impl Drop for KeptRoom {
    #[inline]
    fn drop(&mut self) {
        if let Some(mut room) = self.0.take() {
            if room.request.stores.entries.capacity() <= MOST_KEPT && room.request.keys.values().len() <= MOST_KEPT {
                room.clear();
                KEPT.set(Some(room));
            }
        }
    }
}

impl Room {
    #[inline]
    fn clear(&mut self) {
        let Self { request, found } = self;
        request.keys.clear();
        request.stores.clear();
        request.counted = None;
        request.access = None;
        found.stores.clear();
        found.access = AccessAnswer::default();
        (found.held, found.is_any_near_limit) = (0, false);
        found.blocking.clear();
        found.unnamed.clear();
    }
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
