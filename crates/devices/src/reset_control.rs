//! The reset control register of PCI chipsets, port 0xcf9. It is the reset register that ACPI names.
//!
//! Source: 82371SB (PIIX3) datasheet 2.4.1. Bit 2 going from 0 to 1 resets; bit 1 chooses a hard reset and bit 3 (of later chipsets) a power cycle,
//! which are all the same here.
//!
//! The port lies among the PCI configuration ports: one-byte accesses to it are this register's, all others are PCI's.

pub use saved_state::ResetControlStateV1;

const RESET: u8 = 1 << 2;
/// Bits that read back.
const KEPT: u8 = 0x0e;

/// The register.
#[derive(Debug, Clone, Default)]
pub struct ResetControl {
    value: u8,
    requested: bool,
}

impl ResetControl {
    /// Its port, for one-byte accesses.
    pub const PORT: u16 = 0xcf9;
    /// What ACPI is told to write there: every kind of reset, and the reset bit.
    pub const ACPI_RESET_VALUE: u8 = 0x0f;

    /// At power-on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a reset has been asked for since the last call.
    pub fn take_reset(&mut self) -> bool {
        std::mem::take(&mut self.requested)
    }

    /// Reads the register.
    pub fn read(&mut self, _port: u16, _size: u8, _now: u64) -> u32 {
        self.value.into()
    }

    /// Writes the register.
    pub fn write(&mut self, _port: u16, _size: u8, value: u32, _now: u64) {
        let value = value as u8 & KEPT;
        self.requested |= value & !self.value & RESET != 0;
        self.value = value;
    }
}

mod saved_state {
    use ::saved_state::{Restore, RestoreError, Save, SavedState};
    use serde::{Deserialize, Serialize};

    use super::{KEPT, ResetControl};

    /// The saved state of [`ResetControl`].
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ResetControlStateV1 {
        pub(super) value: u8,
        pub(super) requested: bool,
    }

    impl SavedState for ResetControlStateV1 {
        const KIND: &'static str = "reset_control";
        const VERSION: u16 = 1;
    }

    impl Save for ResetControl {
        type State = ResetControlStateV1;

        fn save(&self) -> ResetControlStateV1 {
            let &Self { value, requested } = self;
            ResetControlStateV1 { value, requested }
        }
    }

    impl Restore for ResetControl {
        fn restore(&mut self, state: ResetControlStateV1) -> Result<(), RestoreError> {
            let ResetControlStateV1 { value, requested } = state;
            if value & !KEPT != 0 {
                return Err(RestoreError::invalid::<ResetControlStateV1>("value", "has reserved bits set"));
            }
            *self = Self { value, requested };
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use ::saved_state::{Restore, Save};

    use super::saved_state::ResetControlStateV1;
    use super::*;

    #[test]
    fn the_rising_reset_bit_resets() {
        for (writes, resets) in [
            (&[0x02, 0x06][..], true),
            (&[0x0f], true),
            (&[0x0e], true),
            (&[0x02, 0x0a], false),
            (&[0x00], false),
        ] {
            let mut register = ResetControl::new();
            for write in writes {
                register.write(0xcf9, 1, *write, 0);
            }
            assert_eq!(register.take_reset(), resets, "{writes:x?}");
            assert!(!register.take_reset());
            assert_eq!(register.read(0xcf9, 1, 0), writes.last().unwrap() & 0x0e);
        }
    }

    #[test]
    fn it_does_not_reset_while_the_bit_stays() {
        let mut register = ResetControl::new();
        register.write(0xcf9, 1, 6, 0);
        register.take_reset();
        register.write(0xcf9, 1, 6, 0);
        assert!(!register.take_reset());
    }

    #[test]
    fn every_field_is_saved() {
        for (value, requested) in [(0x0a, false), (0x06, true)] {
            let state = ResetControlStateV1 { value, requested };
            let mut register = ResetControl::new();
            register.restore(state.clone()).unwrap();
            assert_eq!(register.save(), state);
        }
        ResetControl::new().restore(ResetControlStateV1 { value: 1, requested: false }).unwrap_err();
    }
}
