//! The loop that answers policy clients: one thread, which waits for all sockets at once.
//!
//! A request costs three system calls: the wait, `recv` and `send`. The events are edges: a socket is shown once when
//! something new comes, and not again because something is left. So a read that fills its buffer may have left
//! something, and its connection takes another turn; a shorter read has emptied the socket. A connection whose answers
//! are not read waits for room, and is not read meanwhile.
//!
//! A connection is known by its descriptor. The kernel gives the smallest that is free, so they are a short list. An
//! event of a closed connection may reach the next one of that descriptor: it reads nothing, and no harm is done.
//!
//! Invariants: no client takes more than two reads of a turn, so none delays the others for longer than its answers
//! take. After a failed `accept` nothing is accepted for [`ACCEPT_PAUSE`]; an interruption, or a client that has gone
//! already, is no failure. With as many connections as there may be, [`MOST_WAITING`] more are accepted and not read.
//! Each second one connection that says nothing is closed for each of them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::{SockAddr, Socket};
use throttle_core::delegation::{PolicyConnection, Wait};

use super::PolicyServer;
use super::dispatch::Dispatcher;

/// The token of the waker. No descriptor has this number.
pub(super) const WAKE: Token = Token(usize::MAX);

/// The most that is read at once: a few requests of Postfix. A client that sends more takes another turn, so that its
/// answers delay the others little.
const READ_BYTES: usize = 1 << 12;

/// The most sockets that one poll reports.
const SHOWN_AT_ONCE: usize = 256;

/// The most connections that a listening socket accepts in one turn.
const ACCEPTED_AT_ONCE: usize = 64;

/// The most connections that wait for a place. Others wait in the kernel's queue.
const MOST_WAITING: usize = 32;

/// How long nothing is accepted after `accept` has failed, as it does with too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How often the loop looks for connections that have waited too long.
const LATE_CHECK: Duration = Duration::from_secs(1);

/// How long the end waits for answers to be sent.
const END: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Client {
    socket: Socket,
    connection: PolicyConnection,
    /// Whether it waits for room to send its answers. Otherwise it waits for requests.
    is_sending: bool,
    /// Whether the client has said that it sends nothing more. What it has sent may still have to be read.
    is_shut: bool,
    /// Whether it is among those that take another turn.
    is_queued: bool,
}

#[derive(Debug)]
pub(super) struct EventLoop<'a> {
    server: &'a PolicyServer,
    dispatcher: Dispatcher<'a>,
    poll: Poll,
    /// Wakes the main thread of Python.
    main_wake: Socket,
    listeners: Vec<Socket>,
    /// When to accept again.
    accept_at: Option<Instant>,
    /// The connections that wait for a place. Nothing is read from them.
    waiting: VecDeque<(Socket, SockAddr)>,
    /// By descriptor.
    clients: Vec<Option<Client>>,
    open: u64,
    /// The sockets that may have more to read, by descriptor.
    unfinished: Vec<usize>,
    buffer: Box<[u8]>,
    began: Instant,
    /// The seconds from the beginning to this turn.
    at_s: u64,
}

impl<'a> EventLoop<'a> {
    pub(super) fn new(
        server: &'a PolicyServer, poll: Poll, listeners: Vec<Socket>, main_wake: Socket,
    ) -> io::Result<Self> {
        for listener in &listeners {
            listener.set_nonblocking(true)?;
            register(&poll, listener, Interest::READABLE)?;
        }
        Ok(Self {
            server,
            dispatcher: Dispatcher::new(server),
            poll,
            main_wake,
            listeners,
            accept_at: None,
            waiting: VecDeque::new(),
            clients: Vec::new(),
            open: 0,
            unfinished: Vec::new(),
            buffer: vec![0; READ_BYTES].into(),
            began: Instant::now(),
            at_s: 0,
        })
    }

    /// Answers until the server is stopped, and returns how many clients had not read their answers by then.
    /// It polls at least once in every `turn`.
    pub(super) fn run(mut self, turn: Duration) -> io::Result<u64> {
        let mut events = Events::with_capacity(SHOWN_AT_ONCE);
        let mut check_at = self.began + LATE_CHECK;
        let mut has_skipped = false;
        while !self.server.is_stopped.load(Ordering::Acquire) {
            let now = self.turn(&mut events, turn)?;
            if self.accept_at.is_some_and(|at| at <= now) {
                self.accept_at = None;
                self.unfinished.extend(self.listeners.iter().map(descriptor));
            }
            if check_at <= now {
                // A turn that is a second late or more comes after a stop: what clients have sent meanwhile is read
                // before any of them is closed for lateness. Not twice in a row: a busy machine would close none.
                has_skipped = !has_skipped && now >= check_at + LATE_CHECK;
                if !has_skipped {
                    self.close_late();
                }
                check_at = now + LATE_CHECK;
            }
            if !self.waiting.is_empty() && !self.is_full() {
                (0..self.listeners.len()).for_each(|place| self.accept(place));
            }
        }
        self.end(&mut events)
    }

    /// Polls for at most `most`, and serves each socket that is ready once.
    fn turn(&mut self, events: &mut Events, most: Duration) -> io::Result<Instant> {
        let most = if self.unfinished.is_empty() { most } else { Duration::ZERO };
        match self.poll.poll(events, Some(most)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.server.counts.turns.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        self.at_s = (now - self.began).as_secs();
        let unfinished = std::mem::take(&mut self.unfinished);
        for event in events.iter() {
            self.serve(event.token().0, event.is_read_closed());
        }
        for number in unfinished {
            if let Some(Some(client)) = self.clients.get_mut(number) {
                client.is_queued = false;
            }
            self.serve(number, false);
        }
        Ok(now)
    }

    fn serve(&mut self, number: usize, is_shut: bool) {
        if let Some(Some(client)) = self.clients.get_mut(number) {
            client.is_shut |= is_shut;
            if self.exchange(number).is_err() {
                self.close(number);
            }
        } else if let Some(place) = self.listeners.iter().position(|one| descriptor(one) == number) {
            self.accept(place);
        }
    }

    /// Reads once from a connection, answers, and closes it when nothing more is to be done.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    fn exchange(&mut self, number: usize) -> io::Result<()> {
        let Self { server, dispatcher, main_wake, clients, unfinished, buffer, at_s, .. } = self;
        let Some(Some(Client { socket, connection, is_sending, is_shut, is_queued })) = clients.get_mut(number) else {
            return Ok(());
        };
        let mut queue = || {
            if !std::mem::replace(is_queued, true) {
                unfinished.push(number);
            }
        };
        if connection.wait() == Wait::Read {
            match (&*socket).read(buffer) {
                Ok(0) => connection.end(),
                Ok(count) => {
                    if count == buffer.len() || *is_shut {
                        queue();
                    }
                    let (answered, done) = connection
                        .receive(&buffer[..count], *at_s, |request| dispatcher.take(request, *at_s, main_wake));
                    dispatcher.publish();
                    server.counts.requests.fetch_add(answered, Ordering::Relaxed);
                    if let Err(wrong) = done {
                        server.log_wrong(main_wake, &wrong);
                    }
                }
                // The shutdown was reported for an earlier connection with this descriptor.
                Err(error) if error.kind() == ErrorKind::WouldBlock => *is_shut = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => queue(),
                Err(error) => return Err(error),
            }
        }
        if !connection.unsent().is_empty() {
            match (&*socket).write(connection.unsent()) {
                Ok(count) => connection.sent(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => queue(),
                Err(error) => return Err(error),
            }
        }
        let wait = connection.wait();
        if wait == Wait::Close {
            self.close(number);
        } else if (wait == Wait::Write) != *is_sending {
            // Registering again reports at once what is ready already.
            *is_sending = wait == Wait::Write;
            let interest = if *is_sending { Interest::WRITABLE } else { Interest::READABLE };
            self.poll.registry().reregister(&mut SourceFd(&socket.as_raw_fd()), Token(number), interest)?;
        }
        Ok(())
    }

    /// Accepts connections that wait at one of the listening sockets. If there is no place, they wait for one.
    fn accept(&mut self, place: usize) {
        if self.accept_at.is_some() {
            return;
        }
        for _ in 0..ACCEPTED_AT_ONCE {
            if self.is_full() && self.waiting.len() == MOST_WAITING {
                return;
            }
            let first = if self.is_full() { None } else { self.waiting.pop_front() };
            let next = first.map_or_else(|| self.listeners[place].accept(), Ok);
            match next.and_then(|(socket, peer)| self.add_or_keep(socket, peer)) {
                Ok(()) => {}
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => {
                        self.accept_at = Some(Instant::now() + ACCEPT_PAUSE);
                        let message = format!("{error}; no connection is accepted for {} s", ACCEPT_PAUSE.as_secs());
                        return self.server.log_event(&self.main_wake, "fault", message);
                    }
                },
            }
        }
        self.unfinished.push(descriptor(&self.listeners[place]));
    }

    fn add_or_keep(&mut self, socket: Socket, peer: SockAddr) -> io::Result<()> {
        if !self.is_full() {
            return self.add(socket, &peer);
        }
        if self.waiting.is_empty() {
            let message = format!("{} are connected, the most there may be; the next one waits", self.open);
            self.server.log_event(&self.main_wake, "too many clients", message);
        }
        self.waiting.push_back((socket, peer));
        Ok(())
    }

    fn add(&mut self, socket: Socket, peer: &SockAddr) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        if !peer.is_unix() {
            socket.set_tcp_nodelay(true)?;
        }
        register(&self.poll, &socket, Interest::READABLE)?;
        let number = descriptor(&socket);
        if self.clients.len() <= number {
            self.clients.resize_with(number + 1, || None);
        }
        let connection = PolicyConnection::new(self.at_s);
        self.clients[number] = Some(Client { socket, connection, is_sending: false, is_shut: false, is_queued: false });
        self.set_open(self.open + 1);
        Ok(())
    }

    fn close(&mut self, number: usize) {
        if self.clients[number].take().is_some() {
            self.set_open(self.open - 1);
        }
    }

    fn is_full(&self) -> bool {
        self.open >= self.server.most_connections
    }

    fn set_open(&mut self, open: u64) {
        self.open = open;
        self.server.counts.connections.store(open, Ordering::Relaxed);
    }

    /// Closes connections that have waited too long, and one for each client that waits for a place: those first that
    /// have said nothing for the longest time. Forgets idle SMTP connections.
    fn close_late(&mut self) {
        self.dispatcher.end_idle(self.at_s);
        let late = |is_crowded| {
            let connections = self.clients.iter().enumerate().filter_map(|(number, client)| {
                let connection = &client.as_ref()?.connection;
                connection.is_late(self.at_s, is_crowded).then_some((connection.heard_at_s(), number))
            });
            connections.collect::<Vec<_>>()
        };
        let too_late = late(false);
        let mut silent = if self.waiting.is_empty() { Vec::new() } else { late(true) };
        silent.sort_unstable();
        silent.truncate(self.waiting.len());
        too_late.into_iter().for_each(|(_, number)| self.close_if_late(number, false));
        silent.into_iter().for_each(|(_, number)| self.close_if_late(number, true));
    }

    /// Closes a connection if it is still late after it was read once more: a poll shows only some of many sockets that
    /// are ready, so the client may have sent a request that nobody has read yet.
    fn close_if_late(&mut self, number: usize, is_crowded: bool) {
        self.serve(number, false);
        let Some(Some(client)) = self.clients.get_mut(number) else { return };
        let is_late = client.connection.end_if_late(self.at_s, is_crowded);
        if let Err(wrong) = &is_late {
            self.server.log_wrong(&self.main_wake, wrong);
        }
        if is_late.unwrap_or(true) {
            self.close(number);
        }
    }

    /// Accepts and reads nothing more, closes each connection once its answers are sent, and returns how many are left.
    fn end(mut self, events: &mut Events) -> io::Result<u64> {
        self.listeners.clear();
        for number in 0..self.clients.len() {
            let Some(client) = &mut self.clients[number] else { continue };
            client.connection.end();
            if client.connection.wait() == Wait::Close {
                self.close(number);
            }
        }
        let until = Instant::now() + END;
        let mut left = END;
        while self.open > 0 && !left.is_zero() {
            left = until.saturating_duration_since(self.turn(events, left)?);
        }
        Ok(self.open)
    }
}

fn descriptor(socket: &Socket) -> usize {
    socket.as_raw_fd() as usize
}

fn register(poll: &Poll, socket: &Socket, interest: Interest) -> io::Result<()> {
    let descriptor = socket.as_raw_fd();
    poll.registry().register(&mut SourceFd(&descriptor), Token(descriptor as usize), interest)
}
