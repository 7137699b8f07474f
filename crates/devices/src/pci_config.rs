//! PCI configuration by ports (mechanism 1), over a bus with nothing but a host bridge.
//!
//! Source: PCI Local Bus Specification 3.0, 3.2.2.3.2 and chapter 6.
//!
//! | port | what |
//! |---|---|
//! | 0xcf8 | address: enable (bit 31), bus, device, function, register; four bytes at once only |
//! | 0xcfc..=0xcff | data: one, two or four bytes of the register |
//!
//! The bridge says it is a 440FX (8086:1237), as QEMU's does, so that guests find what they know. It forwards nothing and has nothing to set.

use std::ops::RangeInclusive;

use crate::isa::{open_bus, part_of};

pub use saved_state::PciConfigStateV1;

const ENABLE: u32 = 1 << 31;
/// Bits of the address that are kept.
const ADDRESS: u32 = 0x80ff_fffc;

/// The registers of the bridge that are not zero, by offset.
const HOST_BRIDGE: [(u32, u32); 4] = [
    // Device and vendor: 440FX, Intel.
    (0x00, 0x1237_8086),
    // Command: memory and bus master are on, and cannot be turned off.
    (0x04, 0x0000_0006),
    // Class: host bridge; revision 2.
    (0x08, 0x0600_0002),
    // Subsystem, as of virtual machines.
    (0x2c, 0x1100_1af4),
];

/// The ports and the bridge behind them.
#[derive(Debug, Clone, Default)]
pub struct PciConfig {
    address: u32,
}

impl PciConfig {
    /// Address and data. A one-byte access to 0xcf9 is not PCI's but the [reset control](crate::ResetControl)'s.
    pub const PORTS: RangeInclusive<u16> = 0xcf8..=0xcff;

    /// At power-on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `size` bytes at `port`.
    pub fn read(&mut self, port: u16, size: u8, _now: u64) -> u32 {
        match (port, size) {
            (0xcf8, 4) => self.address,
            (0xcfc..=0xcff, _) => part_of(self.register(), port & 3, size),
            _ => open_bus(size),
        }
    }

    /// Writes `size` bytes at `port`.
    pub fn write(&mut self, port: u16, size: u8, value: u32, _now: u64) {
        // What goes to the data port changes nothing: the bridge has nothing to set.
        if (port, size) == (0xcf8, 4) {
            self.address = value & ADDRESS;
        }
    }

    /// The register that the address names.
    fn register(&self) -> u32 {
        // Bus 0, device 0, function 0.
        if self.address & !0xff != ENABLE {
            return u32::MAX;
        }
        let offset = self.address & 0xff;
        HOST_BRIDGE.iter().find(|(at, _)| *at == offset).map_or(0, |(_, value)| *value)
    }
}

mod saved_state {
    use ::saved_state::{Restore, RestoreError, Save, SavedState};
    use serde::{Deserialize, Serialize};

    use super::{ADDRESS, PciConfig};

    /// The saved state of [`PciConfig`].
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct PciConfigStateV1 {
        pub(super) address: u32,
    }

    impl SavedState for PciConfigStateV1 {
        const KIND: &'static str = "pci_config";
        const VERSION: u16 = 1;
    }

    impl Save for PciConfig {
        type State = PciConfigStateV1;

        fn save(&self) -> PciConfigStateV1 {
            let &Self { address } = self;
            PciConfigStateV1 { address }
        }
    }

    impl Restore for PciConfig {
        fn restore(&mut self, state: PciConfigStateV1) -> Result<(), RestoreError> {
            let PciConfigStateV1 { address } = state;
            if address & !ADDRESS != 0 {
                return Err(RestoreError::invalid::<PciConfigStateV1>("address", "has reserved bits set"));
            }
            *self = Self { address };
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use ::saved_state::{Restore, Save};

    use super::saved_state::PciConfigStateV1;
    use super::*;

    #[test]
    fn registers() {
        // Address, data port, size, value.
        for (address, port, size, expected) in [
            (0x8000_0000, 0xcfc, 4, 0x1237_8086),
            (0x8000_0000, 0xcfc, 2, 0x8086),
            (0x8000_0000, 0xcfe, 2, 0x1237),
            (0x8000_0008, 0xcff, 1, 0x06),
            (0x8000_000c, 0xcfe, 1, 0x00), // one function, header type 0
            (0x8000_0010, 0xcfc, 4, 0),
            (0x8000_0100, 0xcfc, 4, 0xffff_ffff), // function 1
            (0x8000_0800, 0xcfc, 2, 0xffff),      // device 1
            (0x8001_0000, 0xcfc, 4, 0xffff_ffff), // bus 1
            (0x0000_0000, 0xcfc, 4, 0xffff_ffff), // not enabled
        ] {
            let mut pci = PciConfig::new();
            pci.write(0xcf8, 4, address, 0);
            assert_eq!(pci.read(0xcf8, 4, 0), address);
            assert_eq!(pci.read(port, size, 0), expected, "{address:#x} {port:#x}");
            pci.write(0xcfc, 4, 0, 0);
            assert_eq!(pci.read(port, size, 0), expected, "nothing can be set");
        }
    }

    #[test]
    fn the_address_is_four_bytes_or_nothing() {
        let mut pci = PciConfig::new();
        pci.write(0xcf8, 4, 0xffff_ffff, 0);
        assert_eq!(pci.read(0xcf8, 4, 0), 0x80ff_fffc);
        for (port, size) in [(0xcf8, 1), (0xcf8, 2), (0xcfa, 2), (0xcfb, 1)] {
            pci.write(port, size, 0, 0);
            assert_eq!(pci.read(port, size, 0), open_bus(size));
        }
        assert_eq!(pci.read(0xcf8, 4, 0), 0x80ff_fffc);
    }

    #[test]
    fn every_field_is_saved() {
        let state = PciConfigStateV1 { address: 0x8012_3454 };
        let mut pci = PciConfig::new();
        pci.restore(state.clone()).unwrap();
        assert_eq!(pci.save(), state);
        pci.restore(PciConfigStateV1 { address: 1 }).unwrap_err();
    }
}
