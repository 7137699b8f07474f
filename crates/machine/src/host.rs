//! What a running machine needs of the program around it.

use std::time::Duration;

/// A serial port of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// COM1.
    Com1,
    /// COM2.
    Com2,
    /// The debug console at 0xe9.
    Debug,
}

/// The program around a machine: where its output goes and its input comes from.
pub trait Host {
    /// The guest sent bytes.
    ///
    /// # Errors
    /// When the bytes cannot be kept; the machine stops then.
    fn output(&mut self, port: Port, bytes: &[u8]) -> std::io::Result<()>;

    /// Bytes for COM1, at most `most`, if any came since the last call; appended to `bytes`.
    fn input(&mut self, most: usize, bytes: &mut Vec<u8>);

    /// Whether more input may ever come. A halted machine without any other event waits for it, or has ended.
    fn may_have_input(&self) -> bool;

    /// Whether somebody asked the machine to stop.
    fn stop_requested(&mut self) -> bool;

    /// So many instructions have retired and it is `now` nanoseconds since power-on; for people who watch.
    fn progress(&mut self, retired: u64, now: u64);

    /// Nothing happens in the machine for `time` at least: the host may sleep as long, and should wake for input.
    fn idle(&mut self, time: Duration);
}

/// A host that keeps all output in memory and has no input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Output of COM1.
    pub com1: Vec<u8>,
    /// Output of COM2.
    pub com2: Vec<u8>,
    /// Output of the debug console.
    pub debug: Vec<u8>,
}

impl Host for Captured {
    fn output(&mut self, port: Port, bytes: &[u8]) -> std::io::Result<()> {
        match port {
            Port::Com1 => self.com1.extend_from_slice(bytes),
            Port::Com2 => self.com2.extend_from_slice(bytes),
            Port::Debug => self.debug.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn input(&mut self, _most: usize, _bytes: &mut Vec<u8>) {}

    fn may_have_input(&self) -> bool {
        false
    }

    fn stop_requested(&mut self) -> bool {
        false
    }

    fn progress(&mut self, _retired: u64, _now: u64) {}

    fn idle(&mut self, _time: Duration) {}
}
