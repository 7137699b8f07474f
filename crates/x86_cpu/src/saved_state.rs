//! The saved state of a processor: everything an instruction can see or change, the TLB with it, and nothing the host could
//! rebuild unseen (decoded code, fast tags).

mod types;

use saved_state::{Restore, RestoreError, Save, SavedState};
use x86_defs::{PHYSICAL_ADDRESS_BITS, TableRegister};

use crate::Cpu;
use crate::cpu::REGISTERS;
use crate::event::{InterruptShadow, Pending, Replay};
use crate::float::{F80, LastInstruction};
use crate::msr::Msrs;
use crate::registers::check_control;

pub use types::{AnswerStateV1, CpuStateV1, MsrsStateV1, SegmentStateV1, X87StateV1};

impl SavedState for CpuStateV1 {
    const KIND: &'static str = "cpu";
    const VERSION: u16 = 1;
}

impl Msrs {
    fn save(&self) -> MsrsStateV1 {
        let Self {
            sysenter_cs,
            sysenter_esp,
            sysenter_eip,
            star,
            lstar,
            cstar,
            fmask,
            kernel_gs_base,
            tsc_aux,
            tsc_offset,
            tsc_adjust,
            pat,
            mtrr_def_type,
            mtrr_fixed,
            mtrr_base,
            mtrr_mask,
            misc_enable,
            spec_ctrl,
            xss,
            mcg_status,
            mc_ctl,
        } = *self;
        MsrsStateV1 {
            sysenter_cs,
            sysenter_esp,
            sysenter_eip,
            star,
            lstar,
            cstar,
            fmask,
            kernel_gs_base,
            tsc_aux,
            tsc_offset,
            tsc_adjust,
            pat,
            mtrr_def_type,
            mtrr_fixed: mtrr_fixed.to_vec(),
            mtrr_base: mtrr_base.to_vec(),
            mtrr_mask: mtrr_mask.to_vec(),
            misc_enable,
            spec_ctrl,
            xss,
            mcg_status,
            mc_ctl: mc_ctl.to_vec(),
        }
    }

    fn from_state(state: MsrsStateV1) -> Result<Self, RestoreError> {
        let MsrsStateV1 {
            sysenter_cs,
            sysenter_esp,
            sysenter_eip,
            star,
            lstar,
            cstar,
            fmask,
            kernel_gs_base,
            tsc_aux,
            tsc_offset,
            tsc_adjust,
            pat,
            mtrr_def_type,
            mtrr_fixed,
            mtrr_base,
            mtrr_mask,
            misc_enable,
            spec_ctrl,
            xss,
            mcg_status,
            mc_ctl,
        } = state;
        Ok(Self {
            sysenter_cs,
            sysenter_esp,
            sysenter_eip,
            star,
            lstar,
            cstar,
            fmask,
            kernel_gs_base,
            tsc_aux,
            tsc_offset,
            tsc_adjust,
            pat,
            mtrr_def_type,
            mtrr_fixed: exactly("msrs.mtrr_fixed", mtrr_fixed)?,
            mtrr_base: exactly("msrs.mtrr_base", mtrr_base)?,
            mtrr_mask: exactly("msrs.mtrr_mask", mtrr_mask)?,
            misc_enable,
            spec_ctrl,
            xss,
            mcg_status,
            mc_ctl: exactly("msrs.mc_ctl", mc_ctl)?,
        })
    }
}

/// A vector as an array of the one length it may have.
fn exactly<T, const N: usize>(field: &'static str, values: Vec<T>) -> Result<[T; N], RestoreError> {
    let found = values.len();
    values.try_into().map_err(|_| {
        RestoreError::invalid::<CpuStateV1>(field, format!("it has {found} values instead of {N}"))
    })
}

impl Save for Cpu {
    type State = CpuStateV1;

    fn save(&self) -> CpuStateV1 {
        let Self {
            regs,
            flags: _,        // in rflags
            system_flags: _, // in rflags
            rip,
            retired,
            limit: _,      // of one call
            stop_block: _, // within one instruction
            link: _,       // within one block
            attention: _,  // follows from the rest
            controls: _,   // set by L0, whose state they follow from
            mode: _,       // follows from the rest
            cpl,
            code_base: _, // follows from the rest
            segs,
            ldtr,
            tr,
            gdtr,
            idtr,
            cr0,
            cr2,
            cr3,
            cr4,
            efer,
            xcr0,
            dr,
            dr6,
            dr7,
            pdptes,
            msrs,
            xmm,
            mxcsr,
            x87,
            tlb,
            pending: _, // within one instruction
            replay,
            posted: _, // given to the machine before it saves
            shadow,
            nmi_blocked,
            nmi_pending,
            interrupt_line,
            debug_pending,
            clock: _, // the machine's time is the machine's state
            random,
            apic_id,
            processors,
        } = self;
        let mut general = [0; 16];
        general.copy_from_slice(&regs[..16]);
        let mut registers = [[0; 10]; 8];
        for (index, register) in (0..8).zip(&mut registers) {
            *register = x87.register(index).to_bytes();
        }
        let LastInstruction { ip, cs, dp, ds, opcode } = x87.last;
        CpuStateV1 {
            general,
            rip: *rip,
            rflags: self.rflags(),
            retired: *retired,
            cpl: *cpl,
            segments: segs[..6].iter().map(|&segment| segment.into()).collect(),
            ldtr: (*ldtr).into(),
            tr: (*tr).into(),
            gdtr: (gdtr.base, gdtr.limit),
            idtr: (idtr.base, idtr.limit),
            cr0: *cr0,
            cr2: *cr2,
            cr3: *cr3,
            cr4: *cr4,
            efer: *efer,
            xcr0: *xcr0,
            dr: *dr,
            dr6: *dr6,
            dr7: *dr7,
            pdptes: *pdptes,
            msrs: msrs.save(),
            xmm: xmm.iter().map(|&value| (value as u64, (value >> 64) as u64)).collect(),
            mxcsr: *mxcsr,
            x87: X87StateV1 {
                registers,
                tags: x87.tags(),
                control: x87.control(),
                status: x87.status(),
                last_ip: ip,
                last_cs: cs,
                last_dp: dp,
                last_ds: ds,
                last_opcode: opcode,
            },
            tlb: tlb.save(),
            shadow: match shadow {
                InterruptShadow::None => 0,
                InterruptShadow::Sti => 1,
                InterruptShadow::MovSs => 2,
            },
            nmi_blocked: *nmi_blocked,
            nmi_pending: *nmi_pending,
            interrupt_line: *interrupt_line,
            debug_pending: *debug_pending,
            random: random.state,
            answers: replay.answers.iter().copied().filter_map(AnswerStateV1::new).collect(),
            apic_id: *apic_id,
            processors: *processors,
        }
    }
}

impl Restore for Cpu {
    fn restore(&mut self, state: CpuStateV1) -> Result<(), RestoreError> {
        let CpuStateV1 {
            general,
            rip,
            rflags,
            retired,
            cpl,
            segments,
            ldtr,
            tr,
            gdtr,
            idtr,
            cr0,
            cr2,
            cr3,
            cr4,
            efer,
            xcr0,
            dr,
            dr6,
            dr7,
            pdptes,
            msrs,
            xmm,
            mxcsr,
            x87,
            tlb,
            shadow,
            nmi_blocked,
            nmi_pending,
            interrupt_line,
            debug_pending,
            random,
            answers,
            apic_id,
            processors,
        } = state;
        let invalid = |field, reason: String| RestoreError::invalid::<CpuStateV1>(field, reason);
        check_control(cr0, cr3, cr4, efer).map_err(|error| invalid("cr0", error.to_string()))?;
        if cpl > 3 {
            return Err(invalid("cpl", format!("{cpl} is not a privilege level")));
        }
        if shadow > 2 {
            return Err(invalid("shadow", format!("{shadow} is not an interrupt shadow")));
        }
        if mxcsr >> 16 != 0 {
            return Err(invalid("mxcsr", format!("{mxcsr:#x} has reserved bits set")));
        }
        if xcr0 & !3 != 0 || xcr0 & 1 == 0 {
            return Err(invalid("xcr0", format!("{xcr0:#x} is not a set of states this processor has")));
        }
        if pdptes.iter().any(|entry| (entry & ((1 << 52) - 1)) >> PHYSICAL_ADDRESS_BITS != 0) {
            return Err(invalid("pdptes", "an entry points beyond physical memory".into()));
        }
        if (apic_id, processors) != (self.apic_id, self.processors) {
            return Err(invalid(
                "apic_id",
                format!(
                    "it is processor {apic_id} of {processors}, this is {} of {}",
                    self.apic_id, self.processors
                ),
            ));
        }
        let segments: [SegmentStateV1; 6] = exactly("segments", segments)?;
        let xmm: [(u64, u64); 16] = exactly("xmm", xmm)?;
        if answers.len() > Replay::MOST {
            return Err(invalid("answers", format!("no instruction needs {} answers", answers.len())));
        }
        let answers = answers.into_iter().map(AnswerStateV1::into_answer).collect::<Result<Vec<_>, _>>()?;
        let msrs = Msrs::from_state(msrs)?;
        let mut new_tlb = crate::tlb::Tlb::new();
        new_tlb.restore(tlb)?;

        self.regs = [0; REGISTERS];
        self.regs[..16].copy_from_slice(&general);
        self.rip = rip;
        self.retired = retired;
        self.cpl = cpl;
        for (place, segment) in self.segs.iter_mut().zip(segments) {
            *place = segment.into();
        }
        self.ldtr = ldtr.into();
        self.tr = tr.into();
        self.gdtr = TableRegister { base: gdtr.0, limit: gdtr.1 };
        self.idtr = TableRegister { base: idtr.0, limit: idtr.1 };
        (self.cr0, self.cr2, self.cr3, self.cr4) = (cr0, cr2, cr3, cr4);
        (self.efer, self.xcr0) = (efer, xcr0);
        (self.dr, self.dr6, self.dr7) = (dr, dr6, dr7);
        self.pdptes = pdptes;
        self.msrs = msrs;
        for (place, (low, high)) in self.xmm.iter_mut().zip(xmm) {
            *place = u128::from(high) << 64 | u128::from(low);
        }
        self.mxcsr = mxcsr;
        let X87StateV1 { registers, tags, control, status, last_ip, last_cs, last_dp, last_ds, last_opcode } =
            x87;
        for (index, bytes) in (0..8).zip(registers) {
            self.x87.set_register(index, F80::from_bytes(bytes));
        }
        self.x87.set_tags(tags);
        self.x87.set_control(control);
        self.x87.set_status(status);
        self.x87.last =
            LastInstruction { ip: last_ip, cs: last_cs, dp: last_dp, ds: last_ds, opcode: last_opcode };
        self.tlb = new_tlb;
        self.shadow = match shadow {
            0 => InterruptShadow::None,
            1 => InterruptShadow::Sti,
            _ => InterruptShadow::MovSs,
        };
        self.nmi_blocked = nmi_blocked;
        self.nmi_pending = nmi_pending;
        self.interrupt_line = interrupt_line;
        self.debug_pending = debug_pending;
        self.random.state = random;
        self.pending = Pending::None;
        self.replay = Replay { answers, cursor: 0 };
        self.posted.clear();
        self.stop_block = false;
        self.load_rflags(rflags);
        self.mode_changed();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
