//! The state of the first processor when it starts, in no protocol's words.

use x86_defs::control::{CR0_ET, CR0_PE, CR0_PG, CR4_PAE, EFER_LMA, EFER_LME};
use x86_defs::segment::{AR_UNUSABLE, index};
use x86_defs::{Segment, TableRegister, gpr};

use super::BootError;
use super::plan::Plan;

/// The registers a guest starts with. All that are not here are as after a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitialState {
    /// General-purpose registers by their numbers ([`x86_defs::gpr`]).
    pub registers: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// Control register 0.
    pub cr0: u64,
    /// Control register 3.
    pub cr3: u64,
    /// Control register 4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// Segment registers by their numbers ([`x86_defs::segment::index`]).
    pub segments: [Segment; 6],
    /// Task register.
    pub tr: Segment,
    /// Local descriptor-table register.
    pub ldtr: Segment,
    /// Global descriptor-table register.
    pub gdtr: TableRegister,
    /// Interrupt descriptor-table register.
    pub idtr: TableRegister,
}

/// Bit 1 of RFLAGS is always 1.
const RFLAGS_FIXED: u64 = 2;

/// Selectors of the GDT that protected-mode guests start with; Linux asks for these two (__BOOT_CS, __BOOT_DS).
const CODE: u16 = 0x10;
const DATA: u16 = 0x18;
const TASK: u16 = 0x20;

// Access rights as `Segment` has them: present, ring 0, accessed.
const CODE32: u32 = 0xc09b;
const CODE64: u32 = 0xa09b;
const DATA32: u32 = 0xc093;
const BUSY_TASK: u32 = 0x008b;
/// Bytes of the smallest TSS of 32 and 64 bits, less one.
const TASK_LIMIT: u32 = 0x67;

/// A GDT of null, null, code, data, and a TSS at 0 in the 16 bytes of the 64-bit form.
fn gdt(code_access: u32) -> Vec<u8> {
    [
        0,
        0,
        descriptor(0xf_ffff, code_access),
        descriptor(0xf_ffff, DATA32),
        descriptor(TASK_LIMIT, BUSY_TASK),
        0,
    ]
    .into_iter()
    .flat_map(u64::to_le_bytes)
    .collect()
}

/// A descriptor with base 0 (SDM 3A 3.4.5).
const fn descriptor(limit: u32, access: u32) -> u64 {
    (access as u64) << 40 | (limit as u64 & 0xf_0000) << 32 | limit as u64 & 0xffff
}

const fn flat(code_access: u32) -> [Segment; 6] {
    let mut segments = [Segment::flat(DATA, DATA32); 6];
    segments[index::CS] = Segment::flat(CODE, code_access);
    segments
}

impl InitialState {
    fn protected(plan: &mut Plan<'_>, rip: u64, code_access: u32) -> Result<Self, BootError> {
        let gdt = gdt(code_access);
        let limit = gdt.len() as u16 - 1;
        let base = plan.put_low("the global descriptor table", gdt, 8)?;
        Ok(Self {
            registers: [0; 16],
            rip,
            rflags: RFLAGS_FIXED,
            cr0: CR0_PE | CR0_ET,
            cr3: 0,
            cr4: 0,
            efer: 0,
            segments: flat(code_access),
            tr: Segment { selector: TASK, base: 0, limit: TASK_LIMIT, access: BUSY_TASK },
            ldtr: Segment { access: AR_UNUSABLE, ..Segment::default() },
            gdtr: TableRegister { base, limit },
            idtr: TableRegister::default(),
        })
    }

    /// 32-bit protected mode without paging, all segments flat, interrupts off.
    pub(super) fn protected_32(plan: &mut Plan<'_>, entry: u32) -> Result<Self, BootError> {
        Self::protected(plan, u64::from(entry), CODE32)
    }

    /// 64-bit mode with the first 4 GiB mapped to themselves, interrupts off, and a page of stack.
    pub(super) fn long_64(plan: &mut Plan<'_>, entry: u64) -> Result<Self, BootError> {
        let mut state = Self::protected(plan, entry, CODE64)?;
        state.cr3 = identity_map(plan)?;
        state.cr0 |= CR0_PG;
        state.cr4 |= CR4_PAE;
        state.efer = EFER_LME | EFER_LMA;
        let stack = plan.place_low("the initial stack", 0x1000, 0x1000, 0, 1 << 32)?;
        state.registers[gpr::RSP] = stack + 0x1000;
        Ok(state)
    }

    /// Real mode at `selector:offset`; the other segments are 0, as after a reset.
    pub(super) fn real(selector: u16, offset: u16) -> Self {
        let mut segments = [Segment::real_mode(0); 6];
        segments[index::CS] = Segment::real_mode(selector);
        // SDM 3A table 10-1: what TR and LDTR hold after a reset.
        let system = |access| Segment { selector: 0, base: 0, limit: 0xffff, access };
        Self {
            registers: [0; 16],
            rip: u64::from(offset),
            rflags: RFLAGS_FIXED,
            cr0: CR0_ET,
            cr3: 0,
            cr4: 0,
            efer: 0,
            segments,
            tr: system(0x8b),
            ldtr: system(0x82),
            gdtr: TableRegister { base: 0, limit: 0xffff },
            idtr: TableRegister { base: 0, limit: 0x3ff },
        }
    }
}

/// Page tables that map the first 4 GiB to themselves with 2 MiB pages; returns the root (SDM 3A 4.5).
fn identity_map(plan: &mut Plan<'_>) -> Result<u64, BootError> {
    const TABLE: u64 = 0x1000;
    const PRESENT_WRITABLE: u64 = 0b11;
    const LARGE: u64 = 1 << 7;
    const GIBS: u64 = 4;
    let what = "the initial page tables";
    // The root, the table of GiBs, and four directories.
    let root = plan.place_low(what, (2 + GIBS) * TABLE, TABLE, 0, 1 << 32)?;
    let mut entries = vec![0_u64; ((2 + GIBS) * TABLE / 8) as usize];
    entries[0] = (root + TABLE) | PRESENT_WRITABLE;
    for gib in 0..GIBS {
        entries[(512 + gib) as usize] = (root + (2 + gib) * TABLE) | PRESENT_WRITABLE;
    }
    for (page, entry) in (0..).zip(&mut entries[1024..]) {
        *entry = (page << 21) | PRESENT_WRITABLE | LARGE;
    }
    let bytes: Vec<u8> = entries.into_iter().flat_map(u64::to_le_bytes).collect();
    plan.put(what, root, bytes);
    Ok(root)
}
