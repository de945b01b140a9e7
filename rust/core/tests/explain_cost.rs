//! What an explanation of many recipients costs, in bytes allocated: the same in every run. And what it leaves out.

mod guard;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use guard::{MIB, engine, message};
use throttle_core::engine::{Engine, Explanation, LimitState};
use throttle_core::envelope::Envelope;
use throttle_core::region::Now;
use throttle_core::store::access_list::AccessAction;

const NOW: Now = Now::Stated(1_000_000_000);

const POLICY: &str = "
[[limit]]
name = 'mailboxes'
per = 'rcpt.address'
rate = '9/hour'
count = 'recipients'

[[limit]]
name = 'pairs'
per = ['client.net', 'rcpt.host']
rate = '1/hour'
count = 'recipients'
action = 'block 1 hour'

[[limit]]
name = 'senders'
per = 'rcpt.address'
distinct = 'sender.org'
rate = '5/hour'

[[limit]]
name = 'net'
per = 'client.net'
rate = '9/hour'
";

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: Every call goes to the allocator of the system; the count has no destructor and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that are allocated while `run` runs, of which none is freed.
fn allocated<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATED.get();
    let result = run();
    (ALLOCATED.get() - before, result)
}

fn with_recipients<T>(count: usize, run: impl FnOnce(&Envelope<'_>) -> T) -> T {
    let texts: Vec<String> = (0..count).map(|n| format!("u{n}@h{n}.example.com")).collect();
    let recipients: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    run(&Envelope { rcpt_to: &recipients, ..message("198.51.100.7", "joe@example.com") })
}

fn explain(engine: &Engine, count: usize) -> (usize, Explanation) {
    with_recipients(count, |envelope| allocated(|| engine.explain(envelope, None, NOW)))
}

#[test]
fn ten_times_the_recipients_cost_at_most_twelve_times_as_much_and_some_checks() {
    let engine = engine(POLICY, 4 * MIB);
    let [(few, _), (many, _)] = [1_000, 10_000].map(|count| explain(&engine, count));
    assert!(many <= 12 * few, "{many} of {few}");
    let (check, _) = with_recipients(10_000, |envelope| allocated(|| engine.peek(envelope, None, NOW)));
    assert!(many <= 6 * check, "{many} of {check}");
}

#[test]
fn a_hundred_keys_of_each_limit_are_listed_and_the_others_are_counted() {
    let engine = engine(POLICY, 4 * MIB);
    let (_, told) = explain(&engine, 10_000);
    for (name, listed) in [("mailboxes", 100), ("pairs", 100), ("senders", 100), ("net", 1)] {
        let rows: Vec<_> = told.limits.iter().filter(|row| row.limit == name).collect();
        assert_eq!(rows.len(), listed, "{name}");
        assert!(rows.iter().all(|row| matches!(row.found, LimitState::Key { .. })), "{name}");
    }
    assert_eq!(told.left_out, 3 * 9_900);
    let values = |name: &str| {
        let row = told.identities.iter().find(|row| row.identity.to_string() == name).expect("an identity");
        (row.values.len(), row.left_out)
    };
    assert_eq!((values("rcpt.address"), values("sender.org")), ((100, 9_900), (1, 0)));
    let (_, told) = explain(&engine, 100);
    assert_eq!((told.limits.len(), told.left_out), (301, 0));
}

#[test]
fn a_hundred_blocks_that_cover_the_message_are_listed() {
    let engine = engine(POLICY, 4 * MIB);
    for _ in 0..2 {
        with_recipients(500, |envelope| engine.check(envelope, None, NOW));
    }
    engine.say("client.net", "198.51.100.0/24", AccessAction::Block, None, NOW).expect("an entry");
    let (few, told) = explain(&engine, 500);
    assert_eq!(told.covering.len(), 100);
    assert_eq!(told.covering[0].by, None, "an operator's entry comes first");
    assert_eq!(told.left_out, 3 * 400 + 401);
    let (many, _) = explain(&engine, 5_000);
    assert!(many <= 12 * few, "{many} of {few}");
}
