//! The i8042 keyboard controller with no keyboard and no mouse attached, and system control port A (0x92).
//!
//! Sources: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and auxiliary device controller"; 82371SB (PIIX3) 2.5.4 for port 0x92.
//!
//! | port | read | write |
//! |---|---|---|
//! | 0x60 | output buffer | to the keyboard, or the parameter of a command |
//! | 0x64 | status | command |
//! | 0x92 | A20 (bit 1) | A20; a rising bit 0 resets |
//!
//! It is the controller of an AT: there is no second port. A byte for a keyboard that is not there is answered as the chip does, with 0xfe and the
//! time-out bit. Every command is carried out at once. Interrupt line 1 is high while a byte for it waits, if the command byte allows it.

pub use saved_state::I8042StateV1;

const STATUS_OUTPUT_FULL: u8 = 1 << 0;
const STATUS_SYSTEM: u8 = 1 << 2;
const STATUS_COMMAND: u8 = 1 << 3;
const STATUS_UNLOCKED: u8 = 1 << 4;
const STATUS_TIME_OUT: u8 = 1 << 6;

/// Command byte: the keyboard interrupts.
const CTR_INTERRUPT: u8 = 1 << 0;
/// Command byte: the system flag, which status shows.
const CTR_SYSTEM: u8 = 1 << 2;
/// Command byte: the keyboard is disabled.
const CTR_DISABLED: u8 = 1 << 4;

/// Output port: low resets the processor.
const OUT_NO_RESET: u8 = 1 << 0;
const OUT_A20: u8 = 1 << 1;
/// Output port: a byte for interrupt line 1 waits.
const OUT_FULL: u8 = 1 << 4;

const PORT_92_RESET: u8 = 1 << 0;
const PORT_92_A20: u8 = 1 << 1;

/// What a keyboard that is not there answers.
const NO_ANSWER: u8 = 0xfe;

/// The controller.
#[derive(Debug, Clone)]
pub struct I8042 {
    /// Its memory; the first byte is the command byte.
    ram: [u8; 32],
    output_port: u8,
    /// A command that waits for its parameter.
    command: Option<u8>,
    /// The output buffer.
    output: u8,
    output_full: bool,
    time_out: bool,
    /// The last write was to the command port.
    last_was_command: bool,
    port_92: u8,
    reset: bool,
}

impl Default for I8042 {
    fn default() -> Self {
        Self::new()
    }
}

impl I8042 {
    /// Data.
    pub const DATA_PORT: u16 = 0x60;
    /// Status and command.
    pub const COMMAND_PORT: u16 = 0x64;
    /// System control port A.
    pub const PORT_92: u16 = 0x92;
    /// Its interrupt line.
    pub const IRQ: u8 = 1;

    /// As firmware leaves it: tested, keyboard disabled, A20 on.
    pub fn new() -> Self {
        let mut ram = [0; 32];
        // Translation is on (bit 6), the second port's clock is off (bit 5).
        ram[0] = 0x60 | CTR_DISABLED | CTR_SYSTEM;
        Self {
            ram,
            output_port: OUT_NO_RESET | OUT_A20,
            command: None,
            output: 0,
            output_full: false,
            time_out: false,
            last_was_command: false,
            port_92: 0,
            reset: false,
        }
    }

    /// Level of interrupt line 1.
    pub fn irq_level(&self) -> bool {
        self.output_full && self.ram[0] & CTR_INTERRUPT != 0
    }

    /// Whether address line 20 is let through: either way of opening it does.
    pub fn a20(&self) -> bool {
        self.output_port & OUT_A20 != 0 || self.port_92 & PORT_92_A20 != 0
    }

    /// Whether a reset of the processor has been asked for since the last call.
    pub fn take_reset(&mut self) -> bool {
        std::mem::take(&mut self.reset)
    }

    /// Reads `size` bytes at `port`.
    pub fn read(&mut self, port: u16, size: u8, _now: u64) -> u32 {
        crate::isa::read_bytes(port, size, |port| match port {
            Self::DATA_PORT => {
                self.output_full = false;
                self.time_out = false;
                self.output
            }
            Self::COMMAND_PORT => self.status(),
            Self::PORT_92 => self.port_92,
            _ => 0xff,
        })
    }

    /// Writes `size` bytes at `port`.
    pub fn write(&mut self, port: u16, size: u8, value: u32, _now: u64) {
        crate::isa::write_bytes(port, size, value, |port, byte| match port {
            Self::DATA_PORT => self.data(byte),
            Self::COMMAND_PORT => self.command(byte),
            Self::PORT_92 => {
                self.reset |= byte & !self.port_92 & PORT_92_RESET != 0;
                self.port_92 = byte & (PORT_92_RESET | PORT_92_A20);
            }
            _ => {}
        });
    }

    fn status(&self) -> u8 {
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        STATUS_UNLOCKED
            | bit(self.output_full, STATUS_OUTPUT_FULL)
            | bit(self.ram[0] & CTR_SYSTEM != 0, STATUS_SYSTEM)
            | bit(self.last_was_command, STATUS_COMMAND)
            | bit(self.time_out, STATUS_TIME_OUT)
    }

    fn put(&mut self, byte: u8) {
        self.output = byte;
        self.output_full = true;
        self.time_out = false;
    }

    fn data(&mut self, byte: u8) {
        self.last_was_command = false;
        match self.command.take() {
            None => {
                // Writing to the keyboard enables it, and then nobody answers.
                self.ram[0] &= !CTR_DISABLED;
                self.put(NO_ANSWER);
                self.time_out = true;
            }
            Some(command @ 0x60..=0x7f) => self.ram[usize::from(command & 0x1f)] = byte,
            Some(0xd1) => self.set_output_port(byte),
            // Without a second port, what 0xd3 echoes looks as if it came from the first.
            Some(0xd2 | 0xd3) => self.put(byte),
            Some(_) => {}
        }
    }

    fn command(&mut self, command: u8) {
        self.last_was_command = true;
        self.command = None;
        match command {
            0x20..=0x3f => self.put(self.ram[usize::from(command & 0x1f)]),
            // 0xd4 is for the second port: its parameter goes nowhere.
            0x60..=0x7f | 0xd1..=0xd4 => self.command = Some(command),
            // No password.
            0xa4 => self.put(0xf1),
            // The second port's clock line is stuck high: nothing drives it.
            0xa9 => self.put(0x02),
            0xaa => {
                self.ram[0] |= CTR_SYSTEM | CTR_DISABLED;
                self.put(0x55);
            }
            // The first port's lines are well.
            0xab => self.put(0x00),
            0xad => self.ram[0] |= CTR_DISABLED,
            0xae => self.ram[0] &= !CTR_DISABLED,
            // Input port: the key lock is open.
            0xc0 => self.put(0x80),
            0xd0 => {
                let full = if self.output_full { OUT_FULL } else { 0 };
                self.put(self.output_port | full);
            }
            0xdd => self.output_port &= !OUT_A20,
            0xdf => self.output_port |= OUT_A20,
            // Test inputs: both lines low.
            0xe0 => self.put(0x00),
            // A pulse on the bits that are zero; bit 0 is the reset.
            0xf0..=0xff => self.reset |= command & OUT_NO_RESET == 0,
            _ => {}
        }
    }

    fn set_output_port(&mut self, byte: u8) {
        self.reset |= byte & OUT_NO_RESET == 0;
        // The reset line does not stay low: the chip is reset with the processor.
        self.output_port = byte & !OUT_FULL | OUT_NO_RESET;
    }
}

mod saved_state {
    use ::saved_state::{Restore, RestoreError, Save, SavedState};
    use serde::{Deserialize, Serialize};

    use super::{I8042, OUT_FULL, OUT_NO_RESET, PORT_92_A20, PORT_92_RESET};

    /// The saved state of [`I8042`].
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct I8042StateV1 {
        pub(super) ram: [u8; 32],
        pub(super) output_port: u8,
        pub(super) command: Option<u8>,
        pub(super) output: u8,
        pub(super) output_full: bool,
        pub(super) time_out: bool,
        pub(super) last_was_command: bool,
        pub(super) port_92: u8,
        pub(super) reset: bool,
    }

    impl SavedState for I8042StateV1 {
        const KIND: &'static str = "i8042";
        const VERSION: u16 = 1;
    }

    impl Save for I8042 {
        type State = I8042StateV1;

        fn save(&self) -> I8042StateV1 {
            let &Self {
                ram,
                output_port,
                command,
                output,
                output_full,
                time_out,
                last_was_command,
                port_92,
                reset,
            } = self;
            I8042StateV1 {
                ram,
                output_port,
                command,
                output,
                output_full,
                time_out,
                last_was_command,
                port_92,
                reset,
            }
        }
    }

    impl Restore for I8042 {
        fn restore(&mut self, state: I8042StateV1) -> Result<(), RestoreError> {
            let I8042StateV1 {
                ram,
                output_port,
                command,
                output,
                output_full,
                time_out,
                last_was_command,
                port_92,
                reset,
            } = state;
            let invalid = |field, reason: &str| Err(RestoreError::invalid::<I8042StateV1>(field, reason));
            if output_port & (OUT_FULL | OUT_NO_RESET) != OUT_NO_RESET {
                return invalid("output_port", "has bits that do not stay");
            }
            if command.is_some_and(|command| !matches!(command, 0x60..=0x7f | 0xd1..=0xd4)) {
                return invalid("command", "takes no parameter");
            }
            if port_92 & !(PORT_92_A20 | PORT_92_RESET) != 0 {
                return invalid("port_92", "has reserved bits set");
            }
            *self = Self {
                ram,
                output_port,
                command,
                output,
                output_full,
                time_out,
                last_was_command,
                port_92,
                reset,
            };
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use ::saved_state::{Restore, Save};

    use super::saved_state::I8042StateV1;
    use super::*;

    fn run(accesses: &[(u16, u32)]) -> I8042 {
        let mut chip = I8042::new();
        for (port, value) in accesses {
            chip.write(*port, 1, *value, 0);
        }
        chip
    }

    #[test]
    fn commands_and_their_answers() {
        // Writes, status, answer.
        for (writes, status, answer) in [
            (&[(0x64, 0xaa)][..], 0x1d, 0x55),
            (&[(0x64, 0xab)], 0x1d, 0x00),
            (&[(0x64, 0xa9)], 0x1d, 0x02),
            (&[(0x64, 0xa4)], 0x1d, 0xf1),
            (&[(0x64, 0xc0)], 0x1d, 0x80),
            (&[(0x64, 0xd0)], 0x1d, 0x03),
            (&[(0x64, 0xe0)], 0x1d, 0x00),
            (&[(0x64, 0x20)], 0x1d, 0x74),
            (&[(0x64, 0xae), (0x64, 0x20)], 0x1d, 0x64),
            (&[(0x64, 0xad), (0x64, 0x20)], 0x1d, 0x74),
            (&[(0x64, 0x60), (0x60, 0x40), (0x64, 0x20)], 0x19, 0x40),
            (&[(0x64, 0x7f), (0x60, 0x99), (0x64, 0x3f)], 0x1d, 0x99),
            (&[(0x64, 0xd2), (0x60, 0x5a)], 0x15, 0x5a),
            (&[(0x64, 0xd3), (0x60, 0x5a)], 0x15, 0x5a), // not from a second port: bit 5 is clear
            (&[(0x60, 0xff)], 0x55, 0xfe),               // no keyboard
        ] {
            let mut chip = run(writes);
            assert_eq!(chip.read(0x64, 1, 0), status, "{writes:x?}");
            assert_eq!(chip.read(0x60, 1, 0), answer, "{writes:x?}");
            assert_eq!(chip.read(0x64, 1, 0) & 0x41, 0, "{writes:x?}");
        }
    }

    #[test]
    fn commands_without_an_answer() {
        for command in [0x00, 0xa7, 0xa8, 0xad, 0xae, 0xd4, 0xdd, 0xdf, 0xf1, 0xff] {
            assert_eq!(run(&[(0x64, command)]).read(0x64, 1, 0), 0x1c, "{command:#x}");
        }
        assert_eq!(run(&[(0x64, 0xd4), (0x60, 0xf4)]).read(0x64, 1, 0), 0x14, "there is no mouse");
    }

    #[test]
    fn resets() {
        for (writes, resets) in [
            (&[(0x64, 0xfe)][..], true),
            (&[(0x64, 0xf0)], true),
            (&[(0x64, 0xff)], false),
            (&[(0x64, 0xd1), (0x60, 0x02)], true),
            (&[(0x64, 0xd1), (0x60, 0x03)], false),
            (&[(0x92, 0x01)], true),
            (&[(0x92, 0x02)], false),
        ] {
            let mut chip = run(writes);
            assert_eq!(chip.take_reset(), resets, "{writes:x?}");
            assert!(!chip.take_reset(), "once");
        }
    }

    #[test]
    fn a20() {
        for (writes, open) in [
            (&[][..], true),
            (&[(0x64, 0xdd)], false),
            (&[(0x64, 0xdd), (0x64, 0xdf)], true),
            (&[(0x64, 0xd1), (0x60, 0x01)], false),
            (&[(0x64, 0xd1), (0x60, 0x01), (0x92, 0x02)], true),
        ] {
            assert_eq!(run(writes).a20(), open, "{writes:x?}");
        }
        assert_eq!(run(&[(0x92, 0xfe)]).read(0x92, 1, 0), 0x02);
        assert_eq!(run(&[]).read(0x92, 2, 0), 0xff00);
    }

    #[test]
    fn the_interrupt_follows_the_output_buffer() {
        let mut chip = run(&[(0x60, 0xff)]);
        assert!(!chip.irq_level(), "not allowed");
        chip.write(0x64, 1, 0x60, 0);
        chip.write(0x60, 1, 0x01, 0);
        assert!(chip.irq_level());
        chip.read(0x60, 1, 0);
        assert!(!chip.irq_level());
    }

    #[test]
    fn every_field_is_saved() {
        for on in [false, true] {
            let state = I8042StateV1 {
                ram: std::array::from_fn(|n| 0x21 + n as u8),
                output_port: 0xc9,
                command: Some(0x65),
                output: 0x44,
                output_full: on,
                time_out: !on,
                last_was_command: on,
                port_92: 2,
                reset: !on,
            };
            let mut chip = I8042::new();
            chip.restore(state.clone()).unwrap();
            assert_eq!(chip.save(), state);
        }
    }

    #[test]
    fn impossible_states_are_refused() {
        let spoil: [fn(&mut I8042StateV1); 3] =
            [|state| state.output_port = 0, |state| state.command = Some(0xaa), |state| state.port_92 = 4];
        for spoil in spoil {
            let mut chip = I8042::new();
            let mut state = chip.save();
            spoil(&mut state);
            chip.restore(state).unwrap_err();
            assert_eq!(chip.save(), I8042::new().save());
        }
    }
}
