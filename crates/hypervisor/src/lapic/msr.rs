//! The MSRs of the APIC: IA32_APIC_BASE, IA32_TSC_DEADLINE, and in x2APIC mode the registers (SDM 3A 12.12.1.2, table 12-6).

use x86_defs::msr::{APIC_BASE, TSC_DEADLINE, X2APIC_FIRST, X2APIC_LAST};

use super::registers::*;
use super::{ApicMode, Effects, GeneralProtection, Lapic, Message, Now, Shorthand, TriggerMode};
use super::{DeliveryMode, DestinationMode};

/// Where in the page the register of an MSR of the range is; past the page for those beyond 0x83f.
const fn offset(index: u32) -> u16 {
    ((index - X2APIC_FIRST) << 4) as u16
}

impl Lapic {
    /// Whether an MSR is one of this APIC's; [`Lapic::msr_read`] and [`Lapic::msr_write`] answer #GP for all others.
    pub const fn owns_msr(index: u32) -> bool {
        matches!(index, APIC_BASE | TSC_DEADLINE | X2APIC_FIRST..=X2APIC_LAST)
    }

    /// RDMSR.
    pub fn msr_read(&mut self, index: u32, now: Now) -> Result<u64, GeneralProtection> {
        match index {
            APIC_BASE => Ok(self.apic_base()),
            TSC_DEADLINE => Ok(self.tsc_deadline(now)),
            X2APIC_FIRST..=X2APIC_LAST if self.mode() == ApicMode::X2Apic => {
                self.x2apic_read(offset(index), now)
            }
            _ => Err(GeneralProtection),
        }
    }

    /// WRMSR.
    pub fn msr_write(&mut self, index: u32, value: u64, now: Now) -> Result<Effects, GeneralProtection> {
        match index {
            APIC_BASE => self.set_apic_base(value),
            TSC_DEADLINE => Ok(self.set_tsc_deadline(value, now)),
            X2APIC_FIRST..=X2APIC_LAST if self.mode() == ApicMode::X2Apic => {
                self.x2apic_write(offset(index), value, now)
            }
            _ => Err(GeneralProtection),
        }
    }

    fn x2apic_read(&mut self, offset: u16, now: Now) -> Result<u64, GeneralProtection> {
        match offset {
            ICR_LOW => {
                let high = u64::from(self.registers.get(ICR_HIGH));
                Ok(high << 32 | u64::from(self.registers.get(ICR_LOW)))
            }
            ID
            | VERSION
            | TPR
            | PPR
            | LDR
            | SVR
            | ISR..=IRR_LAST
            | ESR
            | LVT_TIMER..=LVT_ERROR
            | INITIAL_COUNT
            | CURRENT_COUNT
            | DIVIDE => Ok(u64::from(self.read(offset, now))),
            // Write-only: EOI and SELF IPI. All else is reserved: DFR, APR, RRD and the high half of ICR among it.
            _ => Err(GeneralProtection),
        }
    }

    fn x2apic_write(&mut self, offset: u16, value: u64, now: Now) -> Result<Effects, GeneralProtection> {
        let low = value as u32;
        // Bits that may be set; for registers that cannot be written there is no such set.
        let allowed = match offset {
            TPR | SELF_IPI => 0xff,
            EOI | ESR => 0,
            SVR => SVR_WRITABLE,
            LVT_TIMER..=LVT_ERROR => lvt_writable(offset) | lvt_read_only(offset),
            INITIAL_COUNT => u32::MAX,
            DIVIDE => 0xb,
            ICR_LOW => !ICR_LOW_MUST_BE_ZERO,
            _ => return Err(GeneralProtection),
        };
        // SDM 3A 12.12.1.2: bits 63:32 are reserved in all of them but ICR.
        if low & !allowed != 0 || offset != ICR_LOW && value >> 32 != 0 {
            return Err(GeneralProtection);
        }
        match offset {
            ICR_LOW => {
                let destination = (value >> 32) as u32;
                self.registers.set(ICR_HIGH, destination);
                Ok(self.command(low, destination))
            }
            SELF_IPI => {
                // SDM 3A 12.12.11: as an ICR write with the shorthand self, edge, fixed; ICR does not change.
                self.send(Some(Message {
                    destination: 0,
                    destination_mode: DestinationMode::Physical,
                    shorthand: Shorthand::Itself,
                    delivery_mode: DeliveryMode::Fixed,
                    vector: low as u8,
                    trigger: TriggerMode::Edge,
                }));
                Ok(Effects::NONE)
            }
            _ => Ok(self.write(offset, low, now)),
        }
    }

    /// Sends a message. One to this processor alone arrives here and now; others are for the outside to carry. An illegal vector is an error of the sender,
    /// and the message goes out all the same, so that it becomes one of the receiver too (SDM 3A 12.5.3).
    pub(super) fn send(&mut self, message: Option<Message>) -> Option<Message> {
        let message = message?;
        let by_vector = matches!(message.delivery_mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
        if by_vector && message.vector < 16 {
            self.log_error(ESR_SEND_ILLEGAL_VECTOR);
        }
        if message.shorthand == Shorthand::Itself {
            // `from_icr` lets this shorthand through for Fixed alone.
            self.accept(message.vector, message.trigger);
            return None;
        }
        Some(message)
    }
}
