//! Registers as L0 and tools get and set them, in the shape of KVM's calls.

use x86_defs::control::{
    CR0_CD, CR0_DEFINED, CR0_NW, CR0_PE, CR0_PG, CR4_PAE, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE,
};
use x86_defs::segment::index::{CS, SS};
use x86_defs::{PHYSICAL_ADDRESS_BITS, Segment, TableRegister, is_canonical};

use crate::Cpu;

/// General registers, instruction pointer, flags (KVM_GET_REGS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub general: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
}

/// Segments, descriptor tables, control registers (KVM_GET_SREGS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialRegisters {
    /// ES, CS, SS, DS, FS, GS.
    pub segments: [Segment; 6],
    /// Local descriptor table.
    pub ldtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table.
    pub gdtr: TableRegister,
    /// Interrupt descriptor table.
    pub idtr: TableRegister,
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER.
    pub efer: u64,
}

/// Debug registers (KVM_GET_DEBUGREGS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugRegisters {
    /// DR0 to DR3.
    pub addresses: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
}

/// A register cannot hold what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{register} cannot be {value:#x}: {reason}")]
pub struct InvalidRegister {
    /// Which register.
    pub register: &'static str,
    /// What it was given.
    pub value: u64,
    /// Why that cannot be.
    pub reason: &'static str,
}

impl Cpu {
    /// General registers, instruction pointer, flags.
    #[must_use]
    pub fn registers(&self) -> Registers {
        let mut general = [0; 16];
        general.copy_from_slice(&self.regs[..16]);
        Registers { general, rip: self.rip, rflags: self.rflags() }
    }

    /// Sets general registers, instruction pointer, flags.
    pub fn set_registers(&mut self, registers: &Registers) {
        let Registers { general, rip, rflags } = registers;
        self.regs[..16].copy_from_slice(general);
        self.rip = *rip;
        self.load_rflags(*rflags);
        self.mode_changed();
    }

    /// Segments, descriptor tables, control registers.
    #[must_use]
    pub fn special_registers(&self) -> SpecialRegisters {
        let mut segments = [Segment::default(); 6];
        segments.copy_from_slice(&self.segs[..6]);
        SpecialRegisters {
            segments,
            ldtr: self.ldtr,
            tr: self.tr,
            gdtr: self.gdtr,
            idtr: self.idtr,
            cr0: self.cr0,
            cr2: self.cr2,
            cr3: self.cr3,
            cr4: self.cr4,
            efer: self.efer,
        }
    }

    /// Sets segments, descriptor tables, control registers; every cached translation goes. The privilege level becomes the
    /// DPL of SS, as KVM has it. PDPTE registers are not loaded: the guest does that, or a saved state brings them.
    ///
    /// # Errors
    /// Which register no processor could hold; nothing is changed then.
    pub fn set_special_registers(&mut self, registers: &SpecialRegisters) -> Result<(), InvalidRegister> {
        let SpecialRegisters { segments, ldtr, tr, gdtr, idtr, cr0, cr2, cr3, cr4, efer } = *registers;
        check_control(cr0, cr3, cr4, efer)?;
        for (register, base) in [("GDTR.base", gdtr.base), ("IDTR.base", idtr.base), ("TR.base", tr.base)] {
            if !is_canonical(base) {
                return Err(InvalidRegister { register, value: base, reason: "it is not canonical" });
            }
        }
        self.segs[..6].copy_from_slice(&segments);
        self.ldtr = ldtr;
        self.tr = tr;
        self.gdtr = gdtr;
        self.idtr = idtr;
        self.cr0 = cr0;
        self.cr2 = cr2;
        self.cr3 = cr3;
        self.cr4 = cr4;
        self.efer = efer;
        self.cpl = if cr0 & CR0_PE == 0 {
            0
        } else if self.v86() {
            3
        } else {
            segments[SS].dpl()
        };
        debug_assert!(CS < segments.len());
        self.tlb.flush_all();
        self.mode_changed();
        Ok(())
    }

    /// Debug registers.
    #[must_use]
    pub fn debug_registers(&self) -> DebugRegisters {
        DebugRegisters { addresses: self.dr, dr6: self.dr6, dr7: self.dr7 }
    }

    /// Sets the debug registers; reserved bits are forced to what they are.
    pub fn set_debug_registers(&mut self, registers: &DebugRegisters) {
        let DebugRegisters { addresses, dr6, dr7 } = *registers;
        self.dr = addresses;
        self.dr6 = crate::system::dr6_written(dr6);
        self.dr7 = crate::system::dr7_written(dr7);
        self.mode_changed();
    }
}

/// Whether control registers fit together as MOV to them would allow (SDM 3A 2.5, 4.1.1).
pub(crate) fn check_control(cr0: u64, cr3: u64, cr4: u64, efer: u64) -> Result<(), InvalidRegister> {
    let refuse = |register, value, reason| Err(InvalidRegister { register, value, reason });
    if cr0 & !CR0_DEFINED != 0 {
        return refuse("CR0", cr0, "a reserved bit is set");
    }
    if cr0 & CR0_PG != 0 && cr0 & CR0_PE == 0 {
        return refuse("CR0", cr0, "paging needs protected mode");
    }
    if cr0 & CR0_NW != 0 && cr0 & CR0_CD == 0 {
        return refuse("CR0", cr0, "NW needs CD");
    }
    if cr3 >> PHYSICAL_ADDRESS_BITS != 0 {
        return refuse("CR3", cr3, "it is wider than a physical address");
    }
    if efer & !(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE) != 0 {
        return refuse("EFER", efer, "a reserved bit is set");
    }
    let active = efer & EFER_LMA != 0;
    if active != (cr0 & CR0_PG != 0 && efer & EFER_LME != 0) {
        return refuse("EFER", efer, "LMA is set exactly when paging and LME are");
    }
    if active && cr4 & CR4_PAE == 0 {
        return refuse("CR4", cr4, "IA-32e mode needs PAE");
    }
    Ok(())
}
