//! The port by which a test in a guest ends the run with an exit code, as QEMU's `isa-debug-exit` has it.
//!
//! A write of `v` ends with the code `(v << 1) | 1`: never 0, so that it cannot be taken for a guest that powered off.

use std::ops::RangeInclusive;

pub use saved_state::DebugExitStateV1;

/// The port.
#[derive(Debug, Clone, Default)]
pub struct DebugExit {
    code: Option<u32>,
}

impl DebugExit {
    /// Four ports, all the same.
    pub const PORTS: RangeInclusive<u16> = 0xf4..=0xf7;

    /// A port nothing was written to.
    pub fn new() -> Self {
        Self::default()
    }

    /// The exit code that was asked for since the last call. A process shows the low eight bits of it.
    pub fn take_exit(&mut self) -> Option<u32> {
        self.code.take()
    }

    /// Reads as zero.
    pub fn read(&mut self, _port: u16, _size: u8, _now: u64) -> u32 {
        0
    }

    /// Asks for the end.
    pub fn write(&mut self, _port: u16, size: u8, value: u32, _now: u64) {
        self.code = Some((value & crate::open_bus(size)) << 1 | 1);
    }
}

mod saved_state {
    use ::saved_state::{Restore, RestoreError, Save, SavedState};
    use serde::{Deserialize, Serialize};

    use super::DebugExit;

    /// The saved state of [`DebugExit`].
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct DebugExitStateV1 {
        pub(super) code: Option<u32>,
    }

    impl SavedState for DebugExitStateV1 {
        const KIND: &'static str = "debug_exit";
        const VERSION: u16 = 1;
    }

    impl Save for DebugExit {
        type State = DebugExitStateV1;

        fn save(&self) -> DebugExitStateV1 {
            let &Self { code } = self;
            DebugExitStateV1 { code }
        }
    }

    impl Restore for DebugExit {
        fn restore(&mut self, state: DebugExitStateV1) -> Result<(), RestoreError> {
            let DebugExitStateV1 { code } = state;
            *self = Self { code };
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use ::saved_state::{Restore, Save};

    use super::saved_state::DebugExitStateV1;
    use super::*;

    #[test]
    fn codes() {
        for (size, value, code) in [
            (1, 0, 1),
            (1, 0x10, 0x21),
            (1, 0xfff, 0x1ff),
            (2, 0x1234, 0x2469),
            (4, 0xffff_ffff, 0xffff_ffff),
        ] {
            let mut exit = DebugExit::new();
            assert_eq!(exit.take_exit(), None);
            exit.write(0xf4, size, value, 0);
            assert_eq!(exit.take_exit(), Some(code), "{value:#x}");
            assert_eq!(exit.take_exit(), None);
            assert_eq!(exit.read(0xf4, 4, 0), 0);
        }
    }

    #[test]
    fn every_field_is_saved() {
        for state in [DebugExitStateV1 { code: Some(77) }, DebugExitStateV1 { code: None }] {
            let mut exit = DebugExit::new();
            exit.restore(state.clone()).unwrap();
            assert_eq!(exit.save(), state);
        }
    }
}
