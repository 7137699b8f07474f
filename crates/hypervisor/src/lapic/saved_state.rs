//! The saved state of a local APIC.

use saved_state::{Restore, RestoreError, Save, SavedState};
use serde::{Deserialize, Serialize};

use super::base::{RESERVED, mode_of};
use super::registers::*;
use super::timer::{Countdown, Timer};
use super::{ApicMode, Lapic};

/// A local APIC. Registers are as a guest reads them; what follows from others (PPR, and the fixed ones) is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LapicStateV1 {
    /// The ID it was built with.
    pub id: u32,
    /// IA32_APIC_BASE.
    pub apic_base: u64,
    /// TPR.
    pub tpr: u32,
    /// LDR.
    pub ldr: u32,
    /// DFR.
    pub dfr: u32,
    /// SVR.
    pub svr: u32,
    /// ISR.
    pub isr: [u32; 8],
    /// TMR.
    pub tmr: [u32; 8],
    /// IRR.
    pub irr: [u32; 8],
    /// ESR as it reads.
    pub esr: u32,
    /// Errors since the last write to ESR.
    pub pending_errors: u32,
    /// ICR bits 31:0.
    pub icr_low: u32,
    /// ICR bits 63:32.
    pub icr_high: u32,
    /// LVT timer, thermal sensor, performance counters, LINT0, LINT1, error.
    pub lvt: [u32; 6],
    /// Initial count of the timer.
    pub initial_count: u32,
    /// Divide configuration of the timer.
    pub divide: u32,
    /// When the armed countdown began, in virtual nanoseconds; 0 without one.
    pub countdown_start_ns: u64,
    /// What it began with; 0 without one.
    pub countdown_count: u32,
    /// IA32_TSC_DEADLINE.
    pub tsc_deadline: u64,
    /// Whether LINT0 and LINT1 are asserted.
    pub pins: [bool; 2],
}

impl SavedState for LapicStateV1 {
    const KIND: &'static str = "lapic";
    const VERSION: u16 = 1;
}

impl Save for Lapic {
    type State = LapicStateV1;

    /// [`Lapic::advance`] to the moment of saving first: then the state does not depend on when the timer was last looked at.
    fn save(&self) -> LapicStateV1 {
        let Self {
            registers,
            base,
            id,
            pending_errors,
            timer: Timer { countdown, deadline },
            pins,
            // Follows from the registers.
            deliverable: _,
        } = self;
        let (countdown_start_ns, countdown_count) = match countdown {
            Some(Countdown { start_ns, count }) => (*start_ns, *count),
            None => (0, 0),
        };
        LapicStateV1 {
            id: *id,
            apic_base: *base,
            tpr: registers.get(TPR),
            ldr: registers.get(LDR),
            dfr: registers.get(DFR),
            svr: registers.get(SVR),
            isr: registers.bank(ISR),
            tmr: registers.bank(TMR),
            irr: registers.bank(IRR),
            esr: registers.get(ESR),
            pending_errors: *pending_errors,
            icr_low: registers.get(ICR_LOW),
            icr_high: registers.get(ICR_HIGH),
            lvt: LVT.map(|offset| registers.get(offset)),
            initial_count: registers.get(INITIAL_COUNT),
            divide: registers.get(DIVIDE),
            countdown_start_ns,
            countdown_count,
            tsc_deadline: *deadline,
            pins: *pins,
        }
    }
}

impl Restore for Lapic {
    fn restore(&mut self, state: LapicStateV1) -> Result<(), RestoreError> {
        let LapicStateV1 {
            id,
            apic_base,
            tpr,
            ldr,
            dfr,
            svr,
            isr,
            tmr,
            irr,
            esr,
            pending_errors,
            icr_low,
            icr_high,
            lvt,
            initial_count,
            divide,
            countdown_start_ns,
            countdown_count,
            tsc_deadline,
            pins,
        } = state;

        if id != self.id {
            return Err(invalid("id", format!("is {id}, this processor's is {}", self.id)));
        }
        check("apic_base", apic_base & RESERVED, "has reserved bits set")?;
        let mode = mode_of(apic_base)
            .ok_or_else(|| invalid("apic_base", "has EXTD without EN, which is no mode".to_owned()))?;
        let icr_high_allowed = if mode == ApicMode::X2Apic { u32::MAX } else { ICR_HIGH_WRITABLE };
        let errors = ESR_SEND_ILLEGAL_VECTOR | ESR_RECEIVE_ILLEGAL_VECTOR | ESR_ILLEGAL_REGISTER;
        for (field, bits) in [
            ("tpr", tpr & !0xff),
            ("dfr", !dfr & DFR_ONES),
            ("svr", svr & !SVR_WRITABLE),
            ("esr", esr & !errors),
            ("pending_errors", pending_errors & !errors),
            ("icr_low", icr_low & !ICR_LOW_WRITABLE),
            ("icr_high", icr_high & !icr_high_allowed),
            ("divide", divide & !0xb),
            // Vectors below 16 are never requested, and so never in service.
            ("isr", isr[0] & 0xffff),
            ("tmr", tmr[0] & 0xffff),
            ("irr", irr[0] & 0xffff),
        ] {
            check(field, u64::from(bits), "has bits that no write sets")?;
        }
        for (offset, entry) in LVT.into_iter().zip(lvt) {
            let remote_irr = if offset == LVT_LINT0 { LVT_REMOTE_IRR } else { 0 };
            let allowed = lvt_writable(offset) | remote_irr;
            check("lvt", u64::from(entry & !allowed), "has bits that no write sets")?;
            if svr & SVR_ENABLE == 0 && entry & LVT_MASKED == 0 {
                return Err(invalid("lvt", "is not masked in an APIC that is software-disabled".to_owned()));
            }
        }
        // Armed is what the mode can arm; `advance` divides by the initial count of an armed countdown.
        let mode_bits = lvt[0] >> TIMER_MODE_SHIFT & 3;
        if countdown_count != 0 && (mode_bits > 1 || countdown_count > initial_count) {
            return Err(invalid(
                "countdown_count",
                format!("is {countdown_count}, with initial count {initial_count} in timer mode {mode_bits}"),
            ));
        }
        if countdown_count == 0 && countdown_start_ns != 0 {
            return Err(invalid("countdown_start_ns", "is not 0 without a countdown".to_owned()));
        }
        if tsc_deadline != 0 && mode_bits != 2 {
            return Err(invalid("tsc_deadline", format!("is armed in timer mode {mode_bits}")));
        }

        let mut registers = RegisterPage::new();
        for (offset, value) in [
            (VERSION, VERSION_VALUE),
            (TPR, tpr),
            (LDR, ldr),
            (DFR, dfr),
            (SVR, svr),
            (ESR, esr),
            (ICR_LOW, icr_low),
            (ICR_HIGH, icr_high),
            (INITIAL_COUNT, initial_count),
            (DIVIDE, divide),
        ] {
            registers.set(offset, value);
        }
        registers.set_bank(ISR, isr);
        registers.set_bank(TMR, tmr);
        registers.set_bank(IRR, irr);
        for (offset, entry) in LVT.into_iter().zip(lvt) {
            registers.set(offset, entry);
        }
        let mut restored = Self {
            registers,
            base: apic_base,
            id,
            pending_errors,
            timer: Timer {
                countdown: (countdown_count != 0)
                    .then_some(Countdown { start_ns: countdown_start_ns, count: countdown_count }),
                deadline: tsc_deadline,
            },
            pins,
            deliverable: false,
        };
        restored.derive_ids();
        let derived = restored.registers.get(LDR);
        let ldr_allowed = if mode == ApicMode::X2Apic { ldr == derived } else { ldr & 0xff_ffff == 0 };
        if !ldr_allowed {
            return Err(invalid("ldr", format!("is {ldr:#x}, which this APIC never shows in its mode")));
        }
        restored.update_priority();
        *self = restored;
        Ok(())
    }
}

fn invalid(field: &'static str, reason: String) -> RestoreError {
    RestoreError::invalid::<LapicStateV1>(field, reason)
}

fn check(field: &'static str, bits: u64, reason: &str) -> Result<(), RestoreError> {
    if bits == 0 { Ok(()) } else { Err(invalid(field, format!("{reason} ({bits:#x})"))) }
}
