//! System instructions and events, run as code on a small machine with tables of its own.

#![expect(clippy::type_complexity, reason = "the rows of tables of cases are tuples")]

mod control;
mod delivery;
mod garbage;
mod input_output;
mod interrupts;
mod privilege;
mod segments;
mod state_save;
mod stepping;
mod tables;
mod transfers;

use guest_memory::{GuestMemory, Slot};
use x86_defs::control::{CR0_ET, CR0_NE, CR0_PE, CR0_PG, CR4_OSFXSR, CR4_PAE, EFER_LMA, EFER_LME, EFER_SCE};
use x86_defs::gpr::RSP;
use x86_defs::rflags;
use x86_defs::segment::index::{CS, DS, ES, FS, GS, SS};
use x86_defs::segment::{Segment, TableRegister};

use crate::Cpu;
use crate::block::BlockCache;
use crate::event::Exit;

/// Where things are in the test machine's memory.
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const IDT: u64 = 0x3000;
const GDT: u64 = 0x5000;
const LDT: u64 = 0x5800;
const TSS: u64 = 0x6000;
/// Handler of vector n: `HANDLERS + 16 * n`.
const HANDLERS: u64 = 0x1_0000;
const CODE: u64 = 0x2_0000;
const DATA: u64 = 0x3_0000;
/// Tops of the stacks: of the running code, of levels 0 to 2, and IST1.
const STACK: u64 = 0x4_8000;
const STACK0: u64 = 0x5_0000;
const STACK1: u64 = 0x5_8000;
const IST1: u64 = 0x6_0000;

/// Selectors.
const CODE0: u16 = 0x08;
const DATA0: u16 = 0x10;
const CODE3: u16 = 0x1b;
const DATA3: u16 = 0x23;
const LONG0: u16 = 0x28;
const LONG3: u16 = 0x33;
const TSS_SELECTOR: u16 = 0x38;
const LDT_SELECTOR: u16 = 0x48;
const CONFORMING0: u16 = 0x58;
const ABSENT_DATA: u16 = 0x60;
const CODE16: u16 = 0x68;
const DATA16: u16 = 0x70;
const GATE: u16 = 0x78;
const READ_ONLY: u16 = 0x88;
const EXECUTE_ONLY: u16 = 0x90;
const ABSENT_CODE: u16 = 0x98;
const CODE1: u16 = 0xa1;
const DATA1: u16 = 0xa9;
/// The first selector behind the table.
const BEYOND: u16 = 0xb0;

/// Rights of segments: type, S, DPL, P, then AVL, L, D, G from bit 12.
const FLAT_CODE32: u32 = 0xc09a;
const FLAT_DATA32: u32 = 0xc092;
const FLAT_CODE64: u32 = 0xa09a;

/// A descriptor of 8 bytes.
fn descriptor(base: u32, limit: u32, access: u32) -> u64 {
    let (base, limit, access) = (u64::from(base), u64::from(limit), u64::from(access));
    (limit & 0xffff) | (base & 0xff_ffff) << 16 | access << 40 | (limit & 0xf_0000) << 32 | (base >> 24) << 56
}

/// A gate of 8 bytes.
fn gate(selector: u16, offset: u32, access: u32) -> u64 {
    let (selector, offset, access) = (u64::from(selector), u64::from(offset), u64::from(access));
    (offset & 0xffff) | selector << 16 | access << 40 | (offset >> 16) << 48
}

/// The machine.
struct Guest {
    cpu: Cpu,
    mem: GuestMemory,
    blocks: BlockCache,
}

impl Guest {
    /// Real mode at [`CODE`], with segments whose base is 0 except CS and SS, and an empty interrupt table.
    fn real() -> Self {
        let mem = GuestMemory::new(&[Slot { base: 0, len: 0x10_0000 }]).expect("a megabyte");
        let mut cpu = Cpu::new(0, 1);
        for index in [ES, DS, FS, GS] {
            cpu.segs[index] = Segment::real_mode(0);
        }
        cpu.segs[CS] = Segment { access: 0x9b, ..Segment::real_mode((CODE >> 4) as u16) };
        cpu.segs[SS] = Segment::real_mode(0x4000);
        cpu.idtr = TableRegister { base: 0, limit: 0x3ff };
        cpu.regs = [0; crate::cpu::REGISTERS];
        cpu.regs[RSP] = 0x8000;
        cpu.rip = 0;
        cpu.mode_changed();
        let mut guest = Self { cpu, mem, blocks: BlockCache::new() };
        for vector in 0..256 {
            // Handler n is at HANDLERS + 16 n, as segment and offset 0.
            guest.put::<u32>(vector * 4, ((HANDLERS >> 4) as u32 + vector as u32) << 16);
        }
        guest.fill_handlers();
        guest
    }

    /// Protected mode without paging, at level `cpl` (0, 1 or 3), flat segments.
    fn protected(cpl: u8) -> Self {
        let mut guest = Self::real();
        guest.write_tables(false);
        let (code, data) = match cpl {
            0 => (CODE0, DATA0),
            1 => (CODE1, DATA1),
            _ => (CODE3, DATA3),
        };
        guest.cpu.cr0 = CR0_PE | CR0_ET | CR0_NE;
        guest.enter(cpl, code, FLAT_CODE32, data);
        guest
    }

    /// 64-bit mode at level 0 or 3, one gigabyte mapped to itself for everybody.
    fn long(cpl: u8) -> Self {
        let mut guest = Self::real();
        guest.write_tables(true);
        guest.put::<u64>(PML4, PDPT | 7);
        guest.put::<u64>(PDPT, 0x87);
        guest.cpu.cr3 = PML4;
        guest.cpu.cr4 = CR4_PAE | CR4_OSFXSR;
        guest.cpu.cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_NE;
        guest.cpu.efer = EFER_LME | EFER_LMA | EFER_SCE;
        let (code, data) = if cpl == 0 { (LONG0, DATA0) } else { (LONG3, DATA3) };
        guest.enter(cpl, code, FLAT_CODE64, data);
        guest
    }

    /// Virtual-8086 mode; CS and SS as in real mode.
    fn v86(iopl: u64) -> Self {
        let mut guest = Self::protected(3);
        for (index, selector) in [(CS, CODE >> 4), (SS, 0x4000), (DS, 0), (ES, 0), (FS, 0), (GS, 0)] {
            guest.cpu.segs[index] =
                Segment { selector: selector as u16, base: selector << 4, limit: 0xffff, access: 0xf3 };
        }
        guest.cpu.regs[RSP] = 0x8000;
        guest.cpu.rip = 0;
        guest.cpu.load_rflags(rflags::VM | rflags::IF | iopl << rflags::IOPL_SHIFT);
        guest.cpu.mode_changed();
        guest
    }

    fn enter(&mut self, cpl: u8, code: u16, code_access: u32, data: u16) {
        let dpl = u32::from(cpl) << 5;
        self.cpu.segs[CS] = Segment::flat(code, code_access | dpl | 1);
        for index in [SS, DS, ES, FS, GS] {
            self.cpu.segs[index] = Segment::flat(data, FLAT_DATA32 | dpl | 1);
        }
        self.cpu.cpl = cpl;
        self.cpu.regs[RSP] = STACK;
        self.cpu.rip = CODE;
        self.cpu.mode_changed();
    }

    fn write_tables(&mut self, long: bool) {
        let gdt = [
            (CODE0, descriptor(0, 0xf_ffff, FLAT_CODE32)),
            (DATA0, descriptor(0, 0xf_ffff, FLAT_DATA32)),
            (CODE3, descriptor(0, 0xf_ffff, FLAT_CODE32 | 0x60)),
            (DATA3, descriptor(0, 0xf_ffff, FLAT_DATA32 | 0x60)),
            (LONG0, descriptor(0, 0xf_ffff, FLAT_CODE64)),
            (LONG3, descriptor(0, 0xf_ffff, FLAT_CODE64 | 0x60)),
            (TSS_SELECTOR, descriptor(TSS as u32, 0x2fff, 0x89)),
            (LDT_SELECTOR, descriptor(LDT as u32, 0x1f, 0x82)),
            (CONFORMING0, descriptor(0, 0xf_ffff, FLAT_CODE32 | 4)),
            (ABSENT_DATA, descriptor(0, 0xf_ffff, FLAT_DATA32 & !0x80)),
            (CODE16, descriptor(CODE as u32, 0xffff, 0x9a)),
            (DATA16, descriptor(0x4_0000, 0xffff, 0x92)),
            (READ_ONLY, descriptor(0, 0xf_ffff, 0xc090)),
            (EXECUTE_ONLY, descriptor(0, 0xf_ffff, 0xc098)),
            (ABSENT_CODE, descriptor(0, 0xf_ffff, FLAT_CODE32 & !0x80)),
            (CODE1, descriptor(0, 0xf_ffff, FLAT_CODE32 | 0x20)),
            (DATA1, descriptor(0, 0xf_ffff, FLAT_DATA32 | 0x20)),
        ];
        for (selector, raw) in gdt {
            self.put(GDT + u64::from(selector & !7), raw);
        }
        self.put(LDT + 8, descriptor(0x1234, 0xfff, 0x92));
        let code = if long { LONG0 } else { CODE0 };
        for vector in 0..256 {
            let handler = gate(code, (HANDLERS + 16 * vector) as u32, 0x8e);
            if long {
                self.put(IDT + 16 * vector, handler);
                self.put::<u64>(IDT + 16 * vector + 8, 0);
            } else {
                self.put(IDT + 8 * vector, handler);
            }
        }
        if long {
            self.put(TSS + 4, STACK0);
            self.put(TSS + 12, STACK1);
            self.put(TSS + 0x24, IST1);
        } else {
            self.put(TSS + 4, STACK0 as u32);
            self.put(TSS + 8, DATA0);
            self.put(TSS + 12, STACK1 as u32);
            self.put(TSS + 16, DATA1);
        }
        // No I/O permission bitmap.
        self.put::<u16>(TSS + 102, 0xffff);
        self.cpu.gdtr = TableRegister { base: GDT, limit: BEYOND - 1 };
        self.cpu.idtr = TableRegister { base: IDT, limit: if long { 0xfff } else { 0x7ff } };
        self.cpu.ldtr = Segment { selector: LDT_SELECTOR, base: LDT, limit: 0x1f, access: 0x82 };
        self.cpu.tr = Segment { selector: TSS_SELECTOR, base: TSS, limit: 0x2fff, access: 0x8b };
        self.fill_handlers();
    }

    /// Every handler is a HLT.
    fn fill_handlers(&mut self) {
        for vector in 0..256 {
            self.put::<u8>(HANDLERS + 16 * vector, 0xf4);
        }
    }

    fn put<T: guest_memory::Word>(&mut self, address: u64, value: T) {
        self.mem.write(address, value).expect("inside the megabyte");
    }

    fn get<T: guest_memory::Word>(&self, address: u64) -> T {
        self.mem.read(address).expect("inside the megabyte")
    }

    /// Puts code where the processor is.
    fn code(&mut self, bytes: &[u8]) -> &mut Self {
        let at = self.cpu.code_base + self.cpu.rip;
        self.mem.write_bytes(at, bytes).expect("inside the megabyte");
        self
    }

    /// Runs one instruction, or the delivery that takes its place.
    fn step(&mut self) -> Exit {
        self.cpu.run(&self.mem, &mut self.blocks, 1)
    }

    /// Runs `bytes`, one instruction, which must not exit.
    fn execute(&mut self, bytes: &[u8]) -> &mut Self {
        self.code(bytes);
        assert_eq!(self.step(), Exit::Budget, "running {bytes:02x?}");
        self
    }

    /// The vector whose handler is about to run.
    fn vector(&self) -> Option<u64> {
        let at = self.cpu.code_base + self.cpu.rip;
        (HANDLERS..HANDLERS + 0x1000).contains(&at).then(|| (at - HANDLERS) / 16)
    }

    /// What is on the stack `slot` places of `T` above its pointer.
    fn stacked<T: guest_memory::Word>(&self, slot: u64) -> T {
        let base = if self.cpu.mode.is_64() { 0 } else { self.cpu.segs[SS].base };
        self.get(base + self.cpu.regs[RSP] + slot * T::SIZE)
    }

    /// Vector and error code of the fault that `bytes` raise (the error code of vectors that push one), in protected mode
    /// at level 0 or 3.
    fn fault_of(&mut self, bytes: &[u8]) -> Option<(u64, u32)> {
        self.execute(bytes);
        let vector = self.vector()?;
        let has_code = x86_defs::Vector(vector as u8).has_error_code();
        let code = match (has_code, self.cpu.mode.is_64()) {
            (false, _) => 0,
            (true, false) => self.stacked::<u32>(0),
            (true, true) => self.stacked::<u64>(0) as u32,
        };
        Some((vector, code))
    }
}
