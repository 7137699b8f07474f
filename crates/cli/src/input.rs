//! Where the guest's input comes from.
//!
//! | standard input | how |
//! |---|---|
//! | a terminal | a thread reads keys; a guest that does not listen never keeps Ctrl-A X from being seen |
//! | a file | read when the guest has room, so that runs with the same file are the same |
//! | a pipe, a device | a thread reads, and waits while the guest has no room |

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, stdin};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use rustix::fs::{FileType, fstat};

use crate::escape::{Escapes, HELP, Request};
use crate::message::say_raw;
use crate::signals::StopFlag;

/// Bytes read at a time.
const CHUNK: usize = 4096;
/// Chunks that may wait for the guest. A key is a chunk of its own.
const CHUNKS: usize = 1024;
/// How long a sleeping machine may take to see that it is to stop.
const NOTICE: Duration = Duration::from_millis(50);
/// What a terminal rings with.
const BELL: &str = "\x07";

/// The guest's input.
#[derive(Debug)]
pub(crate) struct Input {
    source: Source,
    /// What came and was not passed on yet.
    waiting: VecDeque<u8>,
    /// The guest has asked since it slept last.
    asked: bool,
}

#[derive(Debug)]
enum Source {
    /// There is no more input.
    Ended,
    /// A file, read in step with the guest.
    File {
        /// Virtual time is the host's, so a pause in the machine is one here.
        in_real_time: bool,
    },
    /// What a thread reads.
    Thread(Receiver<Vec<u8>>),
}

impl Input {
    /// No input at all.
    pub(crate) const fn none() -> Self {
        Self::from(Source::Ended)
    }

    const fn from(source: Source) -> Self {
        Self { source, waiting: VecDeque::new(), asked: false }
    }

    /// Standard input; `terminal` if it is a raw terminal, `in_real_time` if the machine follows the host's clock.
    pub(crate) fn standard(terminal: bool, in_real_time: bool, stop: &StopFlag) -> Result<Self> {
        let is_file = fstat(stdin().as_fd())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        if is_file {
            return Ok(Self::from(Source::File { in_real_time }));
        }
        let (sender, receiver) = bounded(CHUNKS);
        let stop = stop.clone();
        let read = move || {
            if terminal {
                read_keys(&sender, &stop);
            } else {
                read_pipe(&sender);
            }
        };
        std::thread::Builder::new().name("input".to_owned()).spawn(read).context("cannot start a thread")?;
        Ok(Self::from(Source::Thread(receiver)))
    }

    /// Appends at most `most` bytes of what has come.
    pub(crate) fn take(&mut self, most: usize, bytes: &mut Vec<u8>) {
        self.asked = true;
        while self.waiting.len() < most {
            match &self.source {
                Source::Ended => break,
                Source::File { .. } => self.read_file(most),
                Source::Thread(receiver) => match receiver.try_recv() {
                    Ok(chunk) => self.waiting.extend(chunk),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => self.source = Source::Ended,
                },
            }
        }
        let len = most.min(self.waiting.len());
        bytes.extend(self.waiting.drain(..len));
    }

    /// Whether more may ever come.
    pub(crate) fn may_come(&self) -> bool {
        !self.waiting.is_empty() || !matches!(self.source, Source::Ended)
    }

    /// Sleeps for `time`, or until there is input or a request to stop.
    pub(crate) fn sleep(&mut self, time: Duration, stop: &StopFlag) {
        let start = Instant::now();
        let asked = std::mem::take(&mut self.asked);
        loop {
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() || !self.waiting.is_empty() || stop.is_raised() {
                return;
            }
            let nap = left.min(NOTICE);
            match &self.source {
                // There is more at once, or it has ended; only a guest that has no room waits.
                Source::File { in_real_time: false } if asked => return,
                Source::Ended | Source::File { .. } => std::thread::sleep(nap),
                Source::Thread(receiver) => match receiver.recv_timeout(nap) {
                    Ok(chunk) => self.waiting.extend(chunk),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => self.source = Source::Ended,
                },
            }
        }
    }

    fn read_file(&mut self, most: usize) {
        let mut buffer = vec![0; most.min(CHUNK)];
        match read(&mut stdin().lock(), &mut buffer) {
            0 => self.source = Source::Ended,
            len => self.waiting.extend(&buffer[..len]),
        }
    }
}

/// Reads something; 0 at the end, which an error is as well: there is nobody to tell but the guest, and it sees silence.
fn read(source: &mut impl Read, buffer: &mut [u8]) -> usize {
    loop {
        match source.read(buffer) {
            Ok(len) => return len,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return 0,
        }
    }
}

fn read_pipe(sender: &Sender<Vec<u8>>) {
    let mut buffer = [0; CHUNK];
    loop {
        let len = read(&mut stdin().lock(), &mut buffer);
        if len == 0 || sender.send(buffer[..len].to_vec()).is_err() {
            return;
        }
    }
}

fn read_keys(sender: &Sender<Vec<u8>>, stop: &StopFlag) {
    let (mut buffer, mut escapes) = ([0; CHUNK], Escapes::default());
    loop {
        let len = read(&mut stdin().lock(), &mut buffer);
        if len == 0 {
            // The terminal is gone.
            stop.raise();
            return;
        }
        let mut keys = Vec::with_capacity(len);
        for &byte in &buffer[..len] {
            match escapes.take(byte, &mut keys) {
                Some(Request::Stop) => {
                    stop.raise();
                    return;
                }
                Some(Request::Help) => say_raw(HELP),
                None => {}
            }
        }
        if !keys.is_empty() && sender.try_send(keys).is_err() {
            // The guest does not listen: as on a real serial line, the keys are lost.
            say_raw(BELL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_thread() -> (Sender<Vec<u8>>, Input) {
        let (sender, receiver) = bounded(4);
        (sender, Input::from(Source::Thread(receiver)))
    }

    #[test]
    fn no_more_than_there_is_room_for() {
        let (sender, mut input) = from_thread();
        sender.send(b"hello".to_vec()).unwrap();
        sender.send(b", guest".to_vec()).unwrap();
        drop(sender);
        let mut bytes = Vec::new();
        input.take(3, &mut bytes);
        assert_eq!(bytes, b"hel");
        assert!(input.may_come());
        input.take(100, &mut bytes);
        assert_eq!(bytes, b"hello, guest");
        assert!(!input.may_come(), "the thread has ended");
    }

    #[test]
    fn sleep_ends_with_input_or_a_stop() {
        let (sender, mut input) = from_thread();
        let stop = StopFlag::default();
        let start = Instant::now();
        input.sleep(Duration::from_millis(5), &stop);
        assert!(start.elapsed() >= Duration::from_millis(5));
        assert!(input.may_come());
        sender.send(vec![1]).unwrap();
        input.sleep(Duration::from_secs(1000), &stop);
        assert_eq!(input.waiting, [1]);
        input.waiting.clear();
        assert!(!stop.raise());
        assert!(stop.raise());
        input.sleep(Duration::from_secs(1000), &stop);
        assert!(start.elapsed() < Duration::from_secs(100));
    }

    #[test]
    fn none_never_comes() {
        let mut bytes = Vec::new();
        let mut input = Input::none();
        input.take(10, &mut bytes);
        assert!(bytes.is_empty() && !input.may_come());
    }
}
