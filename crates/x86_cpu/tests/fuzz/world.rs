//! Random machines: memory, tables, registers and code, most of it right and some of it wrong, so that runs get far before they
//! go astray.

use guest_memory::{GuestMemory, Slot};
use saved_state::Save;
use x86_cpu::{Cpu, CpuStateV1, SegmentStateV1};
use x86_defs::Segment;

use crate::code::{self, Flavour};
use crate::random::Random;

/// RAM from 0.
pub(crate) const LOW: u64 = 0x4_0000;
/// RAM above a hole.
pub(crate) const HIGH_BASE: u64 = 0x10_0000;
const HIGH: u64 = 0x4000;

const GDT: u64 = 0x2000;
const LDT: u64 = 0x2400;
const TSS: u64 = 0x2800;
const IDT: u64 = 0x3000;
const ROOT: u64 = 0x4000;
const LEVEL3: u64 = 0x5000;
const LEVEL2: u64 = 0x6000;
const LEVEL1: u64 = 0x7000;
const CODE: u64 = 0x8000;
const CODE_LEN: u64 = 0x2000;
const HANDLERS: u64 = 0xc000;
const STACK: u64 = 0x2_8000;
const STACK0: u64 = 0x3_0000;

/// The modes of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Real,
    V86,
    Prot16,
    Prot32,
    Compat,
    Long,
}

/// RAM as [`World`]s need it.
pub(crate) fn memory() -> GuestMemory {
    GuestMemory::new(&[Slot { base: 0, len: LOW }, Slot { base: HIGH_BASE, len: HIGH }])
        .expect("a quarter of a megabyte")
}

/// A processor about to run, and what is in RAM.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) state: CpuStateV1,
    low: Vec<u8>,
    high: Vec<u8>,
}

impl World {
    /// Puts this world's bytes into RAM.
    pub(crate) fn fill(&self, mem: &GuestMemory) {
        mem.write_bytes(0, &self.low).expect("RAM");
        mem.write_bytes(HIGH_BASE, &self.high).expect("RAM");
    }

    /// A random world.
    pub(crate) fn random(random: &mut Random) -> Self {
        let mode = random.pick(&[
            Mode::Real,
            Mode::V86,
            Mode::Prot16,
            Mode::Prot32,
            Mode::Prot32,
            Mode::Compat,
            Mode::Long,
            Mode::Long,
            Mode::Long,
        ]);
        let long = matches!(mode, Mode::Compat | Mode::Long);
        let cpl = match mode {
            Mode::Real => 0,
            Mode::V86 => 3,
            _ => random.pick(&[0, 0, 3]),
        };
        let mut world =
            Self { state: Cpu::new(0, 2).save(), low: vec![0; LOW as usize], high: vec![0; HIGH as usize] };
        world.fill_data(random);
        world.write_tables(random, long);
        world.write_code(random, mode);
        let paging = match mode {
            Mode::Real => 0,
            _ if long => 4,
            _ => random.pick(&[0, 2, 3]),
        };
        world.write_pages(random, paging);
        world.set_registers(random, mode, cpl, paging);
        if random.chance(15) {
            for _ in 0..=random.below(3) {
                world.spoil(random);
            }
        }
        world
    }

    /// Changes something of the processor's state that no guest would: only what [`Cpu`] refuses to restore is excluded.
    fn spoil(&mut self, random: &mut Random) {
        let state = &mut self.state;
        match random.below(18) {
            0 => state.cr0 ^= 1 << random.pick(&[0, 1, 2, 3, 5, 16, 18, 29, 30, 31]),
            1 => state.cr4 ^= 1 << random.below(22),
            2 => state.efer ^= 1 << random.pick(&[0, 8, 10, 11]),
            3 => state.cpl = random.below(4) as u8,
            4 => state.rflags ^= 1 << random.below(22),
            5 => state.cr3 = value(random) & 0x3fff_ffff_ffff,
            6 => state.gdtr = (value(random), random.next() as u16),
            7 => state.idtr = (value(random), random.next() as u16),
            8 => state.debug_pending = random.next() & 0xe00f,
            9 => state.rip = value(random),
            10 => state.pdptes = [value(random), random.next(), 0, LEVEL2 | 1],
            11 => state.dr7 = random.next() & 0xffff_ffff,
            12 => state.xcr0 = random.pick(&[1, 3]),
            13 => state.random = random.next(),
            _ => {
                let index = random.below(8) as usize;
                let segment = match index {
                    6 => &mut state.tr,
                    7 => &mut state.ldtr,
                    _ => &mut state.segments[index],
                };
                match random.below(4) {
                    0 => segment.access ^= 1 << random.below(17),
                    1 => segment.limit = random.next() as u32 >> random.below(32),
                    2 => segment.base = value(random),
                    _ => segment.selector = random.next() as u16,
                }
            }
        }
    }

    fn put(&mut self, address: u64, bytes: &[u8]) {
        let at = address as usize;
        if let Some(place) = self.low.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn put64(&mut self, address: u64, value: u64) {
        self.put(address, &value.to_le_bytes());
    }

    fn put32(&mut self, address: u64, value: u32) {
        self.put(address, &value.to_le_bytes());
    }

    /// Words that make sense as operands, pointers and selectors.
    fn fill_data(&mut self, random: &mut Random) {
        for at in (0xd000..LOW).step_by(8) {
            let value = if random.chance(70) { value(random) } else { selector(random).into() };
            self.put64(at, value);
        }
        for chunk in self.high.chunks_exact_mut(8) {
            chunk.copy_from_slice(&random.next().to_le_bytes());
        }
    }

    fn write_tables(&mut self, random: &mut Random, long: bool) {
        let flat = 0x000f_0000_0000_ffff_u64;
        let with = |rights: u64| flat | rights << 40;
        let small = |base: u64, limit: u64, rights: u64| limit & 0xffff | base << 16 | rights << 40;
        let standard = [
            (0x08, with(0xc09b)),
            (0x10, with(0xc093)),
            (0x18, with(0xc0fb)),
            (0x20, with(0xc0f3)),
            (0x28, with(0xa09b)),
            (0x30, with(0xa0fb)),
            (0x38, small(TSS, 0x20ff, 0x8b)),
            (0x40, 0),
            (0x48, small(LDT, 0xff, 0x82)),
            (0x50, 0),
            (0x58, small(CODE, 0xffff, 0x9b)),
            (0x60, small(0x2_0000, 0xffff, 0x93)),
            (0x68, small(CODE, 0xffff, 0xfb)),
            (0x70, small(0x2_0000, 0xffff, 0xf3)),
            (0x78, with(0xc09f)),
            (0x80, with(0xc0bb)),
            (0x88, with(0xc0b3)),
        ];
        for (offset, descriptor) in standard {
            self.put64(GDT + offset, descriptor);
        }
        for table in [GDT + 0x90, LDT] {
            for offset in (0..0x80).step_by(8) {
                let descriptor = if random.chance(50) {
                    // Call gates to everywhere, and segments of any type, close to RAM.
                    let kind = random.pick(&[0x8c, 0xec, 0x84, 0xe4, 0x85, 0x89, 0x8e]);
                    (code_address(random) & 0xffff) | u64::from(selector(random)) << 16 | kind << 40
                } else {
                    let rights = 0x10
                        | random.below(16)
                        | random.below(4) << 5
                        | random.below(2) << 7
                        | random.below(16) << 12;
                    random.below(0x1_0000) | random.below(LOW) << 16 | rights << 40
                };
                self.put64(table + offset, descriptor);
            }
        }
        for vector in 0..256_u64 {
            let handler = HANDLERS + 16 * vector;
            self.put32(4 * vector, ((handler >> 4) << 16) as u32);
            let mut kind = random.pick(&[0x8e, 0x8f, 0xee, 0xef]);
            if random.chance(2) {
                kind = random.below(256);
            }
            let code = if long { 0x28 } else { 0x08 };
            let ist = if long && random.chance(10) { random.below(8) << 32 } else { 0 };
            let gate = handler & 0xffff | code << 16 | ist | kind << 40 | (handler >> 16) << 48;
            if long {
                self.put64(IDT + 16 * vector, gate);
                self.put64(IDT + 16 * vector + 8, 0);
            } else {
                self.put64(IDT + 8 * vector, gate);
            }
        }
        if long {
            for offset in [4, 12, 20, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54] {
                let stack = if random.chance(95) { STACK0 + 8 * random.below(0x100) } else { value(random) };
                self.put64(TSS + offset, stack);
            }
        } else {
            for (offset, ss) in [(4, 0x10), (12, 0x89), (20, 0x10)] {
                self.put64(TSS + offset, (STACK0 + 4 * random.below(0x100)) | (ss << 32));
            }
        }
        self.put(TSS + 0x66, &[random.pick(&[0x68, 0x88, 0xf0, 0x00]), random.pick(&[0, 0, 0, 0x20])]);
        for at in 0x68..0x200 {
            self.put(TSS + at, &[random.pick(&[0, 0, 0xff, 0x0f])]);
        }
    }

    fn write_code(&mut self, random: &mut Random, mode: Mode) {
        let flavour = match mode {
            Mode::Real | Mode::V86 | Mode::Prot16 => Flavour::Bits16,
            Mode::Prot32 | Mode::Compat => Flavour::Bits32,
            Mode::Long => Flavour::Bits64,
        };
        let bytes = code::program(random, flavour, CODE_LEN as usize);
        self.put(CODE, &bytes);
        let handlers = match mode {
            Mode::Real => Flavour::Bits16,
            Mode::V86 | Mode::Prot16 | Mode::Prot32 => Flavour::Bits32,
            Mode::Compat | Mode::Long => Flavour::Bits64,
        };
        for vector in 0..256_u64 {
            let has_code = matches!(vector, 8 | 10..=14 | 17);
            let bytes = code::handler(random, handlers, has_code);
            self.put(HANDLERS + 16 * vector, &bytes);
        }
    }

    /// Tables that map the first two megabytes to themselves, but for a few entries. `levels` 0 is no paging, 2 is 32-bit paging.
    fn write_pages(&mut self, random: &mut Random, levels: u32) {
        for at in (ROOT..LEVEL1 + 0x1000).step_by(8) {
            self.put64(at, 0);
        }
        if levels == 0 {
            return;
        }
        let wild = random.chance(50);
        if levels == 2 {
            self.put32(ROOT, (LEVEL1 | 7) as u32);
            for page in 0..1024_u64 {
                let strange = wild && random.chance(3);
                let entry = entry(random, page, strange);
                self.put32(LEVEL1 + 4 * page, entry as u32);
            }
        } else {
            let top = if levels == 3 { LEVEL2 | 1 } else { LEVEL3 | 7 };
            self.put64(ROOT, top);
            if levels == 4 {
                self.put64(LEVEL3, LEVEL2 | 7);
                // The upper half is the same memory once more.
                self.put64(ROOT + 8 * 256, LEVEL3 | 7);
            }
            self.put64(LEVEL2, LEVEL1 | 7);
            self.put64(LEVEL2 + 8, random.pick(&[0, 0x87, LEVEL1 | 7, 0x8000_0000_0000_0087, 0x2087]));
            for page in 0..512_u64 {
                let strange = wild && random.chance(3);
                let entry = entry(random, page, strange);
                self.put64(LEVEL1 + 8 * page, entry);
            }
        }
    }

    fn set_registers(&mut self, random: &mut Random, mode: Mode, cpl: u8, paging: u32) {
        let long = paging == 4;
        let state = &mut self.state;
        for register in &mut state.general {
            *register = value(random);
        }
        let flat_code = CODE + random.below(CODE_LEN / 2);
        let by_segments = matches!(mode, Mode::Real | Mode::V86 | Mode::Prot16);
        state.rip = if by_segments { flat_code - CODE } else { flat_code };
        state.general[4] =
            if by_segments { 0x8000 } else { STACK } - random.below(16) * random.pick(&[8, 8, 8, 1]);
        state.cpl = cpl;
        state.rflags = 2 | random.next() & 0xcd5;
        let mut flag = |bit: u64, percent| {
            if random.chance(percent) {
                state.rflags |= bit;
            }
        };
        flag(0x200, 50);
        flag(0x100, 3);
        flag(0x4_0000, 10);
        flag(0x20_0000, 10);
        flag(0x4000, 3);
        flag(0x3000, 40);
        flag(0x1_0000, 3);
        flag(0x8_0000, 10);
        if mode == Mode::V86 {
            state.rflags |= 0x2_0000;
        }
        state.cr0 = if mode == Mode::Real { 0x30 } else { 0x31 };
        for (bit, percent) in [(1 << 16, 50), (1 << 18, 20), (8, 5), (4, 3), (2, 10)] {
            if random.chance(percent) {
                state.cr0 |= bit;
            }
        }
        if paging != 0 {
            state.cr0 |= 1 << 31;
            state.cr3 = ROOT;
        }
        state.cr4 = if random.chance(90) { 0x600 } else { 0 };
        for bit in [1, 2, 4, 8, 0x10, 0x40, 0x80, 0x100, 0x800, 1 << 16, 1 << 18] {
            if random.chance(30) {
                state.cr4 |= bit;
            }
        }
        if random.chance(5) {
            state.cr4 |= 1 << 20;
        }
        if random.chance(5) {
            state.cr4 |= 1 << 21;
        }
        if paging >= 3 {
            state.cr4 |= 0x20;
        }
        if long && random.chance(30) {
            state.cr4 |= 1 << 17;
        }
        if paging == 3 {
            state.pdptes = [LEVEL2 | 1, random.pick(&[0, LEVEL2 | 1]), 0, 0];
        }
        state.efer = if long { 0x501 } else { random.pick(&[0, 1]) };
        if random.chance(60) {
            state.efer |= 1 << 11;
        }
        state.xcr0 = random.pick(&[1, 3, 3]);
        state.gdtr = (GDT, random.pick(&[0x1ff, 0x1ff, 0x1ff, 0x8f, 0x3ff]));
        state.idtr = match mode {
            Mode::Real => (0, 0x3ff),
            _ => (IDT, if long { 0xfff } else { 0x7ff }),
        };
        if random.chance(2) {
            state.gdtr.0 = wild_table(random, long);
        }
        if random.chance(2) {
            state.idtr.0 = wild_table(random, long);
        }
        let (cs, ss, ds) = match (mode, cpl) {
            (Mode::Prot16, 0) => (0x58, 0x60, 0x60),
            (Mode::Prot16, _) => (0x6b, 0x73, 0x73),
            (Mode::Long, 0) => (0x28, 0x10, 0x10),
            (Mode::Long, _) => (0x33, 0x23, 0x23),
            (_, 0) => (0x08, 0x10, 0x10),
            (_, _) => (0x1b, 0x23, 0x23),
        };
        let gdt: Vec<u64> = self.low[GDT as usize..GDT as usize + 0x90]
            .chunks_exact(8)
            .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight")))
            .collect();
        let loaded = |selector: u16| -> SegmentStateV1 {
            Segment::from_descriptor(selector, gdt[usize::from(selector >> 3)]).into()
        };
        for (index, segment) in self.state.segments.iter_mut().enumerate() {
            *segment = if matches!(mode, Mode::Real | Mode::V86) {
                let selector: u16 = if index == 1 { (CODE >> 4) as u16 } else { 0x2000 };
                let access = if mode == Mode::V86 { 0xf3 } else { 0x93 };
                SegmentStateV1 { selector, base: u64::from(selector) << 4, limit: 0xffff, access }
            } else {
                loaded(match index {
                    1 => cs,
                    2 => ss,
                    _ => ds,
                })
            };
            // Odd limits and bases, and segments that nothing may be read from.
            if !matches!(index, 1 | 2) && random.chance(8) {
                segment.base = random.below(LOW);
                segment.limit = random.below(0x2_0000) as u32;
                segment.access = (segment.access & 0xffff_fff0) | random.below(16) as u32;
            } else if !matches!(index, 1 | 2) && random.chance(3) {
                *segment = SegmentStateV1 { selector: 0, base: 0, limit: 0, access: 1 << 16 };
            }
        }
        if mode != Mode::Real {
            self.state.tr = loaded(0x38);
            self.state.ldtr = loaded(0x48);
        }
        self.set_others(random);
    }

    fn set_others(&mut self, random: &mut Random) {
        let state = &mut self.state;
        state.msrs.star = 0x0013_0028_0000_0000;
        state.msrs.lstar = code_address(random);
        state.msrs.cstar = code_address(random);
        state.msrs.fmask = random.below(0x4_0000);
        state.msrs.sysenter_cs = random.pick(&[0, 0x08, 0x28]);
        state.msrs.sysenter_eip = code_address(random);
        state.msrs.sysenter_esp = STACK0;
        state.msrs.kernel_gs_base = value(random) >> 17;
        for register in &mut state.xmm {
            *register = (random.next(), value(random));
        }
        state.mxcsr = if random.chance(80) { 0x1f80 } else { random.next() as u32 & 0xffff };
        state.x87.control = if random.chance(80) { 0x37f } else { random.next() as u16 & 0x1f3f };
        state.x87.tags = random.next() as u8;
        for register in &mut state.x87.registers {
            let bytes = random.next().to_le_bytes();
            register[..8].copy_from_slice(&bytes);
            register[8..].copy_from_slice(&(random.below(0x8000) as u16).to_le_bytes());
        }
        if random.chance(8) {
            for address in &mut state.dr {
                *address = random.pick(&[CODE, STACK - 8, 0xd000, 0x1_0000]) + random.below(0x40);
            }
            state.dr7 = 0x400 | random.next() & 0xffff_23ff;
        }
        state.nmi_pending = random.chance(2);
        state.shadow = random.pick(&[0, 0, 0, 0, 0, 0, 1, 2]);
    }
}

/// A number that instructions find useful: close to something.
fn value(random: &mut Random) -> u64 {
    match random.below(16) {
        0..=4 => 0xd000 + random.below(LOW - 0xd000),
        5 => (1 + random.below(0x40)) * 0x1000 - random.below(16),
        6 => LOW - random.below(32),
        7 => HIGH_BASE + random.below(HIGH + 16),
        8 => 0x18_0000 + random.below(64),
        9 | 10 => random.below(64),
        11 => random.below(64).wrapping_neg(),
        12 => 1 << random.below(64),
        13 => 0xffff_8000_0000_d000 + random.below(0x1000),
        14 => random.next() & 0xffff_ffff,
        _ => random.next(),
    }
}

fn selector(random: &mut Random) -> u16 {
    ((random.below(0x24) * 8) | random.below(8)) as u16
}

fn code_address(random: &mut Random) -> u64 {
    CODE + random.below(CODE_LEN)
}

fn wild_table(random: &mut Random, long: bool) -> u64 {
    let bases = [LOW - 0x100, 0x18_0000, 0xf000, HIGH_BASE + HIGH - 0x80, 0x1f_ff00];
    let base = random.pick(&bases);
    if long && random.chance(20) { 0x7fff_ffff_ff00 } else { base }
}

/// A page-table entry of page `page`.
fn entry(random: &mut Random, page: u64, wild: bool) -> u64 {
    let identity = page << 12 | 7;
    if !wild || page < 0x10 {
        return identity;
    }
    match random.below(6) {
        0 => identity & !1,
        1 => identity & !2,
        2 => identity & !4,
        3 => random.below(0x200) << 12 | 7,
        4 => identity | 1 << random.below(64),
        _ => identity | 0x100,
    }
}
