//! IA32_APIC_BASE: address, modes, and the legal ways between them (SDM 3A 12.4.4, 12.12.1, 12.12.5); and which destinations mean this APIC.

use x86_defs::PHYSICAL_ADDRESS_BITS;

use super::message::DestinationMode;
use super::registers::*;
use super::{Effects, GeneralProtection, Lapic, Message};

/// Where the registers are after power-up.
pub const DEFAULT_BASE: u64 = 0xfee0_0000;

const BSP: u64 = 1 << 8;
const EXTD: u64 = 1 << 10;
const EN: u64 = 1 << 11;

/// Bits 7:0, 9 and those from MAXPHYADDR up.
pub(super) const RESERVED: u64 = !(u64::MAX >> (64 - PHYSICAL_ADDRESS_BITS)) | 0x2ff;

/// The three legal combinations of EN and EXTD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApicMode {
    /// Globally disabled: there is no APIC. LINT0 and LINT1 are the processor's INTR and NMI.
    Disabled,
    /// Registers in a page of physical memory, 8-bit IDs.
    XApic,
    /// Registers in MSRs, 32-bit IDs.
    X2Apic,
}

/// IA32_APIC_BASE after power-up.
pub(super) const fn power_up(bootstrap: bool) -> u64 {
    DEFAULT_BASE | EN | if bootstrap { BSP } else { 0 }
}

/// The mode that a value asks for; EXTD without EN is invalid.
pub(super) const fn mode_of(base: u64) -> Option<ApicMode> {
    match (base & EN != 0, base & EXTD != 0) {
        (false, false) => Some(ApicMode::Disabled),
        (true, false) => Some(ApicMode::XApic),
        (true, true) => Some(ApicMode::X2Apic),
        (false, true) => None,
    }
}

impl Lapic {
    /// IA32_APIC_BASE.
    pub const fn apic_base(&self) -> u64 {
        self.base
    }

    /// The mode it is in.
    pub const fn mode(&self) -> ApicMode {
        // The fourth combination is refused wherever a value comes in.
        if self.base & EN == 0 {
            ApicMode::Disabled
        } else if self.base & EXTD == 0 {
            ApicMode::XApic
        } else {
            ApicMode::X2Apic
        }
    }

    /// Bit EN: there is an APIC, and CPUID.1:EDX\[9\] says so.
    #[inline]
    pub const fn hardware_enabled(&self) -> bool {
        self.base & EN != 0
    }

    /// Bit BSP.
    pub const fn is_bootstrap(&self) -> bool {
        self.base & BSP != 0
    }

    /// The physical page that the registers are in: in xAPIC mode alone.
    pub fn mmio_base(&self) -> Option<u64> {
        (self.mode() == ApicMode::XApic).then_some(self.base & !0xfff)
    }

    /// A write to IA32_APIC_BASE.
    pub fn set_apic_base(&mut self, value: u64) -> Result<Effects, GeneralProtection> {
        if value & RESERVED != 0 {
            return Err(GeneralProtection);
        }
        // SDM 3A 12.12.5, figure 12-27: x2APIC mode is entered from xAPIC mode and left to disabled.
        let new = mode_of(value).ok_or(GeneralProtection)?;
        match (self.mode(), new) {
            (ApicMode::X2Apic, ApicMode::XApic) | (ApicMode::Disabled, ApicMode::X2Apic) => {
                return Err(GeneralProtection);
            }
            _ => {}
        }
        let changed = self.base != value;
        let disabled = self.hardware_enabled() && new == ApicMode::Disabled;
        self.base = value;
        if disabled {
            self.reset_registers();
        }
        self.derive_ids();
        Ok(Effects { base_changed: changed, timer_changed: disabled, ..Effects::NONE })
    }

    /// ID and LDR registers as the mode shows them. In x2APIC mode the logical ID follows from the ID (SDM 3A 12.12.10.2); the LDR of xAPIC mode is
    /// lost on the way.
    pub(super) fn derive_ids(&mut self) {
        if self.mode() == ApicMode::X2Apic {
            self.registers.set(ID, self.id);
            self.registers.set(LDR, (self.id >> 4) << 16 | 1 << (self.id & 0xf));
        } else {
            self.registers.set(ID, self.id << 24);
        }
    }

    /// Whether a destination means this APIC (SDM 3A 12.6.2 and 12.12.10).
    pub fn is_addressed(&self, destination: u32, mode: DestinationMode) -> bool {
        if destination == Message::BROADCAST {
            return self.hardware_enabled();
        }
        match (self.mode(), mode) {
            (ApicMode::Disabled, _) => false,
            // A 32-bit destination of 0xff can only come from another APIC in x2APIC mode; to one in xAPIC mode it is a broadcast.
            (ApicMode::XApic, DestinationMode::Physical) => destination == self.id || destination == 0xff,
            (ApicMode::XApic, DestinationMode::Logical) => {
                let logical_id = self.registers.get(LDR) >> 24;
                match self.registers.get(DFR) >> 28 {
                    // The flat model: a bit for each.
                    0xf => destination & logical_id & 0xff != 0 && destination <= 0xff,
                    // The cluster model: four bits of cluster, then a bit for each in it.
                    0x0 => destination >> 4 == logical_id >> 4 && destination & logical_id & 0xf != 0,
                    // Other models are reserved.
                    _ => false,
                }
            }
            (ApicMode::X2Apic, DestinationMode::Physical) => destination == self.id,
            (ApicMode::X2Apic, DestinationMode::Logical) => {
                let logical_id = self.registers.get(LDR);
                destination >> 16 == logical_id >> 16 && destination & logical_id & 0xffff != 0
            }
        }
    }
}
