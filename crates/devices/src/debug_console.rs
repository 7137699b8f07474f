//! The debug console at port 0xe9, as Bochs and QEMU have it: what is written is text, and reading gives 0xe9, which shows that it is there.
//!
//! It has no state: what was written has left the machine.

use crate::isa::write_bytes;

/// The port.
#[derive(Debug, Clone, Default)]
pub struct DebugConsole {
    output: Vec<u8>,
}

impl DebugConsole {
    /// Its port.
    pub const PORT: u16 = 0xe9;

    /// A console nothing was written to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is something for [`take_output`](Self::take_output).
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Appends what was written since the last call to `sink`. The machine does so after every write.
    pub fn take_output(&mut self, sink: &mut Vec<u8>) {
        sink.append(&mut self.output);
    }

    /// Reads 0xe9; the ports after it are not its own.
    pub fn read(&mut self, _port: u16, size: u8, _now: u64) -> u32 {
        crate::open_bus(size) & !0xff | u32::from(Self::PORT)
    }

    /// Writes one character; what a wider access writes to the ports after it is lost.
    pub fn write(&mut self, port: u16, size: u8, value: u32, _now: u64) {
        write_bytes(port, size, value, |port, byte| {
            if port == Self::PORT {
                self.output.push(byte);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_out() {
        let mut console = DebugConsole::new();
        for (size, value) in [(1, 0x41), (2, 0x4342), (4, 0x4746_4544)] {
            console.write(0xe9, size, value, 0);
        }
        assert!(console.has_output());
        let mut out = b">".to_vec();
        console.take_output(&mut out);
        assert_eq!(out, b">ABD");
        assert!(!console.has_output());
    }

    #[test]
    fn reading_shows_that_it_is_there() {
        for (size, expected) in [(1, 0xe9), (2, 0xffe9), (4, 0xffff_ffe9)] {
            assert_eq!(DebugConsole::new().read(0xe9, size, 0), expected);
        }
    }
}
