//! MOV to and from control registers, LMSW, SMSW, CLTS, XSETBV, XGETBV, INVLPG, INVPCID (SDM 2B MOV, SDM 3A 2.5, 4.1, 9.8.5).

use guest_memory::GuestMemory;
use x86_defs::control::{
    CR0_CD, CR0_DEFINED, CR0_EM, CR0_ET, CR0_MP, CR0_NW, CR0_PE, CR0_PG, CR0_TS, CR4_DE, CR4_FSGSBASE,
    CR4_MCE, CR4_OSFXSR, CR4_OSXMMEXCPT, CR4_OSXSAVE, CR4_PAE, CR4_PCE, CR4_PCIDE, CR4_PGE, CR4_PSE, CR4_PVI,
    CR4_SMAP, CR4_SMEP, CR4_TSD, CR4_UMIP, CR4_VME, EFER_LMA, EFER_LME, XCR0_SSE, XCR0_X87,
};
use x86_defs::gpr::{RAX, RCX, RDX};
use x86_defs::segment::index::CS;
use x86_defs::segment::{AR_L, AR_TYPE, system_type};
use x86_defs::{PHYSICAL_ADDRESS_BITS, is_canonical};

use crate::Cpu;
use crate::event::Exit;
use crate::memory::{Addressing, Segmented};
use crate::op::{Fault, Flow, Op};
use crate::system::{IN_MEMORY, Then, complete};
use crate::tlb::asid_of;

/// Bits of CR4 that the processor model has.
pub(crate) const CR4_DEFINED: u64 = CR4_VME
    | CR4_PVI
    | CR4_TSD
    | CR4_DE
    | CR4_PSE
    | CR4_PAE
    | CR4_MCE
    | CR4_PGE
    | CR4_PCE
    | CR4_OSFXSR
    | CR4_OSXMMEXCPT
    | CR4_UMIP
    | CR4_FSGSBASE
    | CR4_PCIDE
    | CR4_OSXSAVE
    | CR4_SMEP
    | CR4_SMAP;
/// Bits of XCR0 that the processor model has.
pub(crate) const XCR0_DEFINED: u64 = XCR0_X87 | XCR0_SSE;
/// Bit 63 of the operand of MOV to CR3: keep what is cached.
const CR3_KEEP: u64 = 1 << 63;

/// Whether CR0 may hold `value` (SDM 3A 2.5; SDM 2B MOV to CR).
pub(crate) const fn cr0_is_valid(value: u64) -> bool {
    value >> 32 == 0
        && !(value & CR0_PG != 0 && value & CR0_PE == 0)
        && !(value & CR0_NW != 0 && value & CR0_CD == 0)
}

/// Whether CR3 may hold `value`: nothing beyond the width of a physical address.
pub(crate) const fn cr3_is_valid(value: u64) -> bool {
    value >> PHYSICAL_ADDRESS_BITS == 0
}

impl Cpu {
    fn need_cpl0(&mut self) -> Result<(), Fault> {
        if self.cpl == 0 { Ok(()) } else { Err(self.gp0()) }
    }

    fn pae_paging(cr0: u64, cr4: u64, efer: u64) -> bool {
        cr0 & CR0_PG != 0 && cr4 & CR4_PAE != 0 && efer & EFER_LME == 0
    }

    /// MOV to CR0 and LMSW.
    fn write_cr0(&mut self, mem: &GuestMemory, value: u64) -> Result<(), Fault> {
        if !cr0_is_valid(value) {
            return Err(self.gp0());
        }
        let new = (value & CR0_DEFINED) | CR0_ET;
        let changed = self.cr0 ^ new;
        let mut efer = self.efer;
        if changed & CR0_PG != 0 {
            let long_code = self.segs[CS].access & AR_L != 0;
            if new & CR0_PG != 0 && efer & EFER_LME != 0 {
                // SDM 3A 9.8.5: into IA-32e mode.
                let tss16 = matches!(
                    self.tr.access & AR_TYPE,
                    system_type::TSS16_AVAILABLE | system_type::TSS16_BUSY
                );
                if self.cr4 & CR4_PAE == 0 || long_code || tss16 {
                    return Err(self.gp0());
                }
                efer |= EFER_LMA;
            } else if new & CR0_PG == 0 {
                if self.cr4 & CR4_PCIDE != 0 || self.mode.is_64() {
                    return Err(self.gp0());
                }
                efer &= !EFER_LMA;
            }
        }
        // SDM 3A 4.4.1: PAE paging loads its PDPTE registers when it starts, or caching bits change.
        if changed & (CR0_PG | CR0_CD | CR0_NW) != 0 && Self::pae_paging(new, self.cr4, self.efer) {
            self.pdptes = self.load_pdptes(mem, self.cr3)?;
        }
        let old = self.cr0;
        self.cr0 = new;
        self.efer = efer;
        self.tlb.cr0_changed(old, new);
        self.mode_changed();
        Ok(())
    }

    fn write_cr3(&mut self, mem: &GuestMemory, value: u64) -> Result<(), Fault> {
        let keeps = self.cr4 & CR4_PCIDE != 0 && value & CR3_KEEP != 0;
        let new = if self.cr4 & CR4_PCIDE != 0 { value & !CR3_KEEP } else { value };
        if !cr3_is_valid(new) {
            return Err(self.gp0());
        }
        if Self::pae_paging(self.cr0, self.cr4, self.efer) {
            self.pdptes = self.load_pdptes(mem, new)?;
        }
        self.cr3 = new;
        self.tlb.cr3_loaded(new, self.cr4, keeps);
        self.mode_changed();
        Ok(())
    }

    fn write_cr4(&mut self, mem: &GuestMemory, value: u64) -> Result<(), Fault> {
        let changed = self.cr4 ^ value;
        let starts_pcid = changed & value & CR4_PCIDE != 0;
        let refused = value & !CR4_DEFINED != 0
            || (self.long_mode() && value & CR4_PAE == 0)
            || (starts_pcid && (!self.long_mode() || self.cr3 & 0xfff != 0));
        if refused {
            return Err(self.gp0());
        }
        if changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP) != 0
            && Self::pae_paging(self.cr0, value, self.efer)
        {
            self.pdptes = self.load_pdptes(mem, self.cr3)?;
        }
        let old = self.cr4;
        self.cr4 = value;
        self.tlb.cr4_changed(old, value, self.cr3);
        self.mode_changed();
        Ok(())
    }
}

/// MOV r, CRn.
pub(super) fn mov_from_control(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| {
        if !matches!(op.src, 0 | 2 | 3 | 4 | 8) {
            return Err(cpu.ud());
        }
        cpu.need_cpl0()?;
        let value = match op.src {
            0 => cpu.cr0,
            2 => cpu.cr2,
            3 => cpu.cr3,
            4 => cpu.cr4,
            _ => cpu.ask(Exit::Cr8Read)?,
        };
        let size = if cpu.mode.is_64() { 3 } else { 2 };
        cpu.write_gpr(op.dst, size, value);
        Ok(Then::Next)
    })
}

/// MOV CRn, r.
pub(super) fn mov_to_control(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        if !matches!(op.dst, 0 | 2 | 3 | 4 | 8) {
            return Err(cpu.ud());
        }
        cpu.need_cpl0()?;
        let mut value = cpu.regs[usize::from(op.src & 15)];
        if !cpu.mode.is_64() {
            value &= 0xffff_ffff;
        }
        match op.dst {
            0 => cpu.write_cr0(mem, value)?,
            2 => cpu.cr2 = value,
            3 => cpu.write_cr3(mem, value)?,
            4 => cpu.write_cr4(mem, value)?,
            _ => {
                if value > 15 {
                    return Err(cpu.gp0());
                }
                cpu.post(Exit::Cr8Write { value: value as u8 });
            }
        }
        Ok(Then::Stop)
    })
}

/// LMSW: PE can be set by it and not cleared.
pub(super) fn lmsw(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_cpl0()?;
        let value = u64::from(cpu.read_selector_operand(mem, op, op.dst)?);
        let changeable = CR0_MP | CR0_EM | CR0_TS;
        let new = (cpu.cr0 & !changeable) | (value & (changeable | CR0_PE));
        cpu.write_cr0(mem, new)?;
        Ok(Then::Stop)
    })
}

/// SMSW.
pub(super) fn smsw(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.check_umip()?;
        if op.aux == IN_MEMORY {
            let linear = Segmented::linear(cpu, op, 2, true)?;
            cpu.write(mem, linear, cpu.cr0 as u16, op.seg)?;
        } else {
            cpu.write_gpr(op.dst, op.size, cpu.cr0);
        }
        Ok(Then::Next)
    })
}

/// CLTS.
pub(super) fn clts(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, _op| {
        cpu.need_cpl0()?;
        cpu.cr0 &= !CR0_TS;
        cpu.mode_changed();
        Ok(Then::Stop)
    })
}

impl Cpu {
    /// SDM 2A SGDT, SIDT, SLDT, STR, SMSW: with CR4.UMIP only at level 0.
    pub(super) fn check_umip(&mut self) -> Result<(), Fault> {
        if self.cr4 & CR4_UMIP != 0 && self.cpl != 0 { Err(self.gp0()) } else { Ok(()) }
    }
}

/// XSETBV.
pub(super) fn xsetbv(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, _op| {
        if cpu.cr4 & CR4_OSXSAVE == 0 {
            return Err(cpu.ud());
        }
        cpu.need_cpl0()?;
        let value = (cpu.regs[RDX] << 32) | (cpu.regs[RAX] & 0xffff_ffff);
        if cpu.regs[RCX] as u32 != 0 || value & XCR0_X87 == 0 || value & !XCR0_DEFINED != 0 {
            return Err(cpu.gp0());
        }
        cpu.xcr0 = value;
        Ok(Then::Stop)
    })
}

/// XGETBV: XCR0, or with ECX = 1 the components that are also in use.
pub(super) fn xgetbv(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, _op| {
        if cpu.cr4 & CR4_OSXSAVE == 0 {
            return Err(cpu.ud());
        }
        let value = match cpu.regs[RCX] as u32 {
            0 => cpu.xcr0,
            1 => cpu.xcr0 & cpu.components_in_use(),
            _ => return Err(cpu.gp0()),
        };
        cpu.regs[RAX] = value & 0xffff_ffff;
        cpu.regs[RDX] = value >> 32;
        Ok(Then::Next)
    })
}

/// INVLPG.
pub(super) fn invlpg(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, op| {
        cpu.need_cpl0()?;
        // The address is only computed: limits and rights do not count, and a non-canonical one does nothing.
        let offset = cpu.effective_address(op);
        let linear = if cpu.mode.is_64() {
            let base = if op.seg >= 4 { cpu.segs[usize::from(op.seg & 7)].base } else { 0 };
            base.wrapping_add(offset)
        } else {
            cpu.segs[usize::from(op.seg & 7)].base.wrapping_add(offset) & 0xffff_ffff
        };
        if is_canonical(linear) {
            cpu.tlb.invalidate_page(linear, asid_of(cpu.cr3, cpu.cr4), true);
        }
        Ok(Then::Stop)
    })
}

/// INVPCID: the type is in the register operand `op.dst`.
pub(super) fn invpcid(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        cpu.need_cpl0()?;
        let mut kind = cpu.regs[usize::from(op.dst & 15)];
        if !cpu.mode.is_64() {
            kind &= 0xffff_ffff;
        }
        let at = Segmented::linear(cpu, op, 16, false)?;
        let descriptor: u128 = cpu.read(mem, at, op.seg)?;
        let (low, linear) = (descriptor as u64, (descriptor >> 64) as u64);
        let pcid = low as u16 & 0xfff;
        let names_pcid = kind <= 1;
        let refused = kind > 3
            || low >> 12 != 0
            || (names_pcid && pcid != 0 && cpu.cr4 & CR4_PCIDE == 0)
            || (kind == 0 && !is_canonical(linear));
        if refused {
            return Err(cpu.gp0());
        }
        match kind {
            0 => cpu.tlb.invalidate_page(linear, pcid, false),
            1 => cpu.tlb.flush_asid(pcid),
            2 => cpu.tlb.flush_all(),
            _ => cpu.tlb.flush_all_but_global(),
        }
        Ok(Then::Stop)
    })
}
