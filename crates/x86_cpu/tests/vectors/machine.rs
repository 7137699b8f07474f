//! The machine a case begins with: memory, tables and registers of its mode, then what its lines change.
//!
//! The layout is told in fixtures/instructions/README.md.

use guest_memory::{GuestMemory, Slot};
use saved_state::Save;
use x86_cpu::{Answer, Cpu, CpuStateV1, SegmentStateV1};

use crate::descriptor::{self, DefaultTarget, Descriptor};
use crate::text::{Case, Line};
use crate::values::{self, SEGMENTS, number};

pub(crate) const RAM: u64 = 0x10_0000;
pub(crate) const IDT: u64 = 0x3000;
const GDT: u64 = 0x5000;
const GDT_LIMIT: u16 = 0xff;
const LDT: u64 = 0x5800;
const TSS: u64 = 0x6000;
pub(crate) const HANDLERS: u64 = 0x1_0000;
pub(crate) const CODE: u64 = 0x2_0000;
pub(crate) const DATA: u64 = 0x3_0000;
pub(crate) const DATA_LEN: u64 = 0x1_0000;
pub(crate) const ROOT: u64 = 0x8_0000;
pub(crate) const LEVEL2: u64 = 0x8_2000;
/// Code segment of 16-bit handlers: its base is [`HANDLERS`].
const HANDLERS16: u16 = 0x98;
const CODE32: u16 = 0x08;
const CODE64: u16 = 0x28;

/// How addresses are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paging {
    Off,
    Bits32,
    Pae,
    Long,
}

/// What a `mode` line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) kind: Kind,
    pub(crate) cpl: u8,
    pub(crate) paging: Paging,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Real16,
    V86,
    Prot16,
    Prot32,
    Compat,
    Long64,
}

impl Mode {
    fn parse(line: &Line) -> Result<Self, String> {
        let mut words = line.words();
        let kind = match words.next().unwrap_or_default() {
            "real16" => Kind::Real16,
            "v86" => Kind::V86,
            "prot16" => Kind::Prot16,
            "prot32" => Kind::Prot32,
            "compat" => Kind::Compat,
            "long64" => Kind::Long64,
            other => return Err(line.error(format!("there is no mode {other:?}"))),
        };
        let long = matches!(kind, Kind::Compat | Kind::Long64);
        let mut mode = Self {
            kind,
            cpl: if kind == Kind::V86 { 3 } else { 0 },
            paging: if long { Paging::Long } else { Paging::Off },
        };
        for word in words {
            match word.split_once('=') {
                Some(("cpl", level)) => mode.cpl = number(level).map_err(|error| line.error(error))? as u8,
                Some(("paging", "32")) if !long => mode.paging = Paging::Bits32,
                Some(("paging", "pae")) if !long => mode.paging = Paging::Pae,
                _ => return Err(line.error(format!("{word:?} is no property of this mode"))),
            }
        }
        Ok(mode)
    }

    pub(crate) fn long(self) -> bool {
        self.paging == Paging::Long
    }

    /// Bits that its code is decoded with.
    pub(crate) fn bits(self) -> u32 {
        match self.kind {
            Kind::Real16 | Kind::V86 | Kind::Prot16 => 16,
            Kind::Prot32 | Kind::Compat => 32,
            Kind::Long64 => 64,
        }
    }

    fn code_base(self) -> u64 {
        if self.bits() == 16 { CODE } else { 0 }
    }
}

/// An instruction of a case, where it lies.
#[derive(Clone, Debug)]
pub(crate) struct CodeLine {
    pub(crate) line: Line,
    pub(crate) bits: u32,
    /// Offset in the code segment of the mode.
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) comment: String,
}

/// The machine.
pub(crate) struct Machine {
    pub(crate) mode: Mode,
    pub(crate) state: CpuStateV1,
    pub(crate) mem: GuestMemory,
    pub(crate) code: Vec<CodeLine>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) interrupts: Vec<u8>,
}

impl Machine {
    /// The machine of `case` before its first instruction.
    ///
    /// # Errors
    /// A line that says nothing.
    pub(crate) fn new(case: &Case) -> Result<Self, String> {
        let mode_line = case.lines(&["mode"]).next().ok_or("no mode")?;
        let mode = Mode::parse(mode_line)?;
        let mem = GuestMemory::new(&[Slot { base: 0, len: RAM }]).map_err(|error| error.to_string())?;
        let state = Cpu::new(0, 1).save();
        let mut machine =
            Self { mode, state, mem, code: Vec::new(), answers: Vec::new(), interrupts: Vec::new() };
        machine.write_memory();
        machine.set_registers();
        let mut offset = CODE - mode.code_base();
        for line in &case.lines {
            let keyword = line.keyword.split(['@', ':']).next().unwrap_or_default();
            match keyword {
                "given" => machine.given(line).map_err(|error| line.error(error))?,
                "gdt" | "ldt" | "idt" => machine.table_line(line).map_err(|error| line.error(error))?,
                "page" | "pde" | "pdpte" | "pml4e" => {
                    machine.entry_line(line).map_err(|error| line.error(error))?;
                }
                "code" => {
                    machine.code_line(line, &mut offset).map_err(|error| line.error(error))?;
                }
                _ => {}
            }
        }
        Ok(machine)
    }

    pub(crate) fn put64(&self, address: u64, value: u64) {
        self.mem.write(address, value).expect("the layout is in RAM");
    }

    fn put_descriptor(&self, address: u64, descriptor: Descriptor) {
        self.put64(address, descriptor.low);
        if let Some(high) = descriptor.high {
            self.put64(address + 8, high);
        }
    }

    fn write_memory(&mut self) {
        let long = self.mode.long();
        // The interrupt table of real mode, then handlers: each is a HLT.
        for vector in 0..256_u64 {
            self.mem.write::<u32>(vector * 4, (((HANDLERS >> 4) + vector) as u32) << 16).expect("in RAM");
            self.mem.write::<u8>(HANDLERS + 16 * vector, 0xf4).expect("in RAM");
        }
        let standard: [(u16, &str); 19] = [
            (0x08, "code32"),
            (0x10, "data32"),
            (0x18, "code32 dpl=3"),
            (0x20, "data32 dpl=3"),
            (0x28, "code64"),
            (0x30, "code64 dpl=3"),
            (0x38, "tss32busy base=0x6000 limit=0x67"),
            (0x48, "ldt base=0x5800 limit=0x1f"),
            (0x58, "code32 dpl=1"),
            (0x60, "data32 dpl=1"),
            (0x68, "code16 base=0x20000 limit=0xffff"),
            (0x70, "data16 base=0x40000 limit=0xffff"),
            (0x78, "code16 dpl=3 base=0x20000 limit=0xffff"),
            (0x80, "data16 dpl=3 base=0x40000 limit=0xffff"),
            (0x88, "data16 base=0x30000 limit=0xffff"),
            (0x90, "data16 dpl=3 base=0x30000 limit=0xffff"),
            (HANDLERS16, "code16 base=0x10000 limit=0xffff"),
            (0xf0, "code64 dpl=1"),
            (0xf8, "code64 dpl=2"),
        ];
        let nowhere = DefaultTarget { selector: 0, offset: 0 };
        for (selector, words) in standard {
            let parsed =
                descriptor::parse(words.split(' '), long, nowhere).expect("the standard table is right");
            self.put_descriptor(GDT + u64::from(selector), parsed);
        }
        let data = descriptor::parse(["data32"].into_iter(), long, nowhere).expect("right too");
        self.put_descriptor(LDT + 8, data);
        for vector in 0..256_u64 {
            let dpl = if matches!(vector, 3 | 4 | 0x80) { "dpl=3" } else { "dpl=0" };
            let gate = descriptor::parse(["intgate", dpl].into_iter(), long, self.handler(vector, false));
            self.put_descriptor(self.gate_address(vector), gate.expect("right"));
        }
        let tss: &[(u64, u64)] = if long {
            &[(4, 0x5_0000), (12, 0x5_8000), (20, 0x5_c000), (0x24, 0x6_0000), (0x2c, 0x6_8000)]
        } else {
            // ESP and SS of levels 0 and 1; level 2 has a null SS.
            &[(4, 0x10_0005_0000), (12, 0x61_0005_8000), (20, 0x5_c000)]
        };
        for &(offset, value) in tss {
            self.put64(TSS + offset, value);
        }
        self.mem.write::<u16>(TSS + 0x66, 0x68).expect("in RAM");
        self.write_page_tables();
    }

    /// The handler of `vector`, as its gate names it.
    fn handler(&self, vector: u64, narrow: bool) -> DefaultTarget {
        match (narrow, self.mode.long()) {
            (true, _) => DefaultTarget { selector: HANDLERS16, offset: 16 * vector },
            (false, true) => DefaultTarget { selector: CODE64, offset: HANDLERS + 16 * vector },
            (false, false) => DefaultTarget { selector: CODE32, offset: HANDLERS + 16 * vector },
        }
    }

    /// Where the gate of `vector` is in the standard IDT.
    pub(crate) fn gate_address(&self, vector: u64) -> u64 {
        IDT + vector * if self.mode.long() { 16 } else { 8 }
    }

    fn set_registers(&mut self) {
        let Mode { kind, cpl, paging } = self.mode;
        let long = self.mode.long();
        for (index, register) in self.state.general.iter_mut().enumerate() {
            let pattern = 0x1111_1111_1111_1111 * (index as u64 % 15 + 1);
            *register = if kind == Kind::Long64 { pattern } else { pattern & 0xffff_ffff };
        }
        let state = &mut self.state;
        state.rip = CODE - self.mode.code_base();
        state.general[4] = if self.mode.bits() == 16 { 0x8000 } else { 0x4_8000 };
        state.rflags = if kind == Kind::V86 { 0x2_0002 } else { 2 };
        state.cpl = cpl;
        state.cr0 = if kind == Kind::Real16 { 0x30 } else { 0x31 };
        state.cr4 = 0x600;
        if paging != Paging::Off {
            state.cr0 |= 1 << 31;
            state.cr3 = ROOT;
        }
        if matches!(paging, Paging::Pae | Paging::Long) {
            state.cr4 |= 0x20;
        }
        if paging == Paging::Pae {
            state.pdptes = [LEVEL2 | 1, 0, 0, 0];
        }
        state.efer = if long { 0x501 } else { 0 };
        state.gdtr = (GDT, GDT_LIMIT);
        state.idtr = match kind {
            Kind::Real16 => (0, 0x3ff),
            _ => (IDT, if long { 0xfff } else { 0x7ff }),
        };
        state.x87.control = 0x37f;
        state.mxcsr = 0x1f80;
        let selectors = match (kind, cpl) {
            // CS, SS, and all the others.
            (Kind::Real16 | Kind::V86, _) => (0x2000, 0x4000, 0x3000),
            (Kind::Prot16, 0) => (0x68, 0x70, 0x88),
            (Kind::Prot16, _) => (0x7b, 0x83, 0x93),
            (Kind::Prot32 | Kind::Compat, 0) => (0x08, 0x10, 0x10),
            (Kind::Prot32 | Kind::Compat, 1) => (0x59, 0x61, 0x61),
            (Kind::Prot32 | Kind::Compat, _) => (0x1b, 0x23, 0x23),
            (Kind::Long64, 0) => (0x28, 0x10, 0x10),
            (Kind::Long64, 1) => (0xf1, 0x61, 0x61),
            (Kind::Long64, _) => (0x33, 0x23, 0x23),
        };
        for (index, name) in SEGMENTS.iter().enumerate() {
            let selector = match index {
                1 => selectors.0,
                2 => selectors.1,
                _ => selectors.2,
            };
            self.load_segment(name, selector).expect("the standard selectors are in the table");
        }
        if kind == Kind::Real16 {
            self.state.segments[1].access = 0x9b;
        } else {
            self.load_segment("ldtr", 0x48).expect("in the table");
            self.load_segment("tr", 0x38).expect("in the table");
        }
    }

    /// Gives the segment register `name` what a load of `selector` gives it.
    pub(crate) fn load_segment(&mut self, name: &str, selector: u16) -> Result<(), String> {
        let loaded = self.loaded_segment(&self.state, name, selector)?;
        if let Some(segment) = values::segment_mut(&mut self.state, name) {
            *segment = loaded;
        }
        Ok(())
    }

    /// The segment register `name` after a load of `selector` in `state`.
    pub(crate) fn loaded_segment(
        &self,
        state: &CpuStateV1,
        name: &str,
        selector: u16,
    ) -> Result<SegmentStateV1, String> {
        let base = u64::from(selector) << 4;
        if state.cr0 & 1 == 0 {
            let mut old = state.clone();
            let old = values::segment_mut(&mut old, name).ok_or_else(|| format!("there is no {name}"))?;
            let access = if old.access == 0 { 0x93 } else { old.access };
            return Ok(SegmentStateV1 { selector, base, limit: old.limit.max(0xffff), access });
        }
        if state.rflags & 0x2_0000 != 0 && !matches!(name, "ldtr" | "tr") {
            return Ok(SegmentStateV1 { selector, base, limit: 0xffff, access: 0xf3 });
        }
        if selector & !3 == 0 {
            return Ok(SegmentStateV1 { selector, base: 0, limit: 0, access: 1 << 16 });
        }
        let table = if selector & 4 == 0 { state.gdtr.0 } else { state.ldtr.base };
        let address = table + u64::from(selector & !7);
        let raw = self.mem.read::<u64>(address).map_err(|_| format!("{selector:#x} is not in RAM"))?;
        let twice = self.mode.long() && matches!(name, "ldtr" | "tr");
        let upper = if twice { self.mem.read::<u64>(address + 8).unwrap_or(0) } else { 0 };
        Ok(descriptor::loaded(selector, raw, upper))
    }

    /// `gdt 0xa0 code32 dpl=1`, `ldt 0x14 ...`, `idt 13 intgate ist=1`.
    fn table_line(&mut self, line: &Line) -> Result<(), String> {
        let mut words = line.words();
        let index = number(words.next().ok_or("an index is missing")?)? as u64;
        let (address, default) = match line.keyword.as_str() {
            "gdt" => (GDT + (index & !7), DefaultTarget { selector: 0, offset: 0 }),
            "ldt" => (LDT + (index & !7), DefaultTarget { selector: 0, offset: 0 }),
            _ => (self.gate_address(index), self.handler(index, line.rest.contains("gate16"))),
        };
        let descriptor = descriptor::parse(words, self.mode.long(), default)?;
        self.put_descriptor(address, descriptor);
        Ok(())
    }

    /// `code 0f 20 c0 ; mov eax,cr0`; `code@0x21000` goes on there, `code:32` is decoded with 32 bits.
    fn code_line(&mut self, line: &Line, offset: &mut u64) -> Result<(), String> {
        let mut bits = self.mode.bits();
        let keyword = match line.keyword.split_once(':') {
            Some((keyword, width)) => {
                bits = number(width)? as u32;
                keyword
            }
            None => &line.keyword,
        };
        if let Some((_, address)) = keyword.split_once('@') {
            *offset = number(address)? as u64;
        }
        let (hex, comment) = line.rest.split_once(';').ok_or("the instruction behind ; is missing")?;
        let bytes = hex_bytes(hex)?;
        let address = *offset + self.mode.code_base();
        self.mem.write_bytes(address, &bytes).map_err(|_| "the code is not in RAM".to_owned())?;
        let comment = comment.trim().to_owned();
        let len = bytes.len() as u64;
        self.code.push(CodeLine { line: line.clone(), bits, offset: *offset, bytes, comment });
        *offset += len;
        Ok(())
    }

    /// Registers, memory, answers and interrupts.
    fn given(&mut self, line: &Line) -> Result<(), String> {
        for word in line.words() {
            let (name, text) = word.split_once('=').ok_or_else(|| format!("{word:?} gives nothing"))?;
            if let Some((address, bytes)) = memory_word(name, text)? {
                self.mem.write_bytes(address, &bytes).map_err(|_| format!("{address:#x} is not in RAM"))?;
            } else if values::segment_mut(&mut self.state, name).is_some() {
                self.load_segment(name, number(text)? as u16)?;
            } else {
                match name {
                    "answer" if text == "gp" => self.answers.push(Answer::GeneralProtection),
                    "answer" => self.answers.push(Answer::Value(number(text)? as u64)),
                    "interrupt" => {
                        self.interrupts.push(number(text)? as u8);
                        self.state.interrupt_line = true;
                    }
                    _ => {
                        let old = old_value(&self.state, name);
                        values::set(&mut self.state, name, values::value(name, text, old)?)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// What `name` holds, for words that change single bits of it.
pub(crate) fn old_value(state: &CpuStateV1, name: &str) -> u128 {
    let held = match name {
        "flags" => state.rflags,
        "cr0" => state.cr0,
        "cr4" => state.cr4,
        "efer" => state.efer,
        _ => 0,
    };
    held.into()
}

/// `m16[0x30000]=0x1234` or `mem[0x30000]=3412`: the address and its bytes.
pub(crate) fn memory_word(name: &str, text: &str) -> Result<Option<(u64, Vec<u8>)>, String> {
    let Some((width, address)) = name.strip_suffix(']').and_then(|name| name.split_once('[')) else {
        return Ok(None);
    };
    let address = number(address)? as u64;
    let len = match width {
        "mem" => return Ok(Some((address, hex_bytes(text)?))),
        "m8" => 1,
        "m16" => 2,
        "m32" => 4,
        "m64" => 8,
        "m80" => 10,
        "m128" => 16,
        _ => return Err(format!("there is no {width:?} in memory")),
    };
    let bytes = number(text)?.to_le_bytes();
    if bytes[len..].iter().any(|&byte| byte != 0) {
        return Err(format!("{text} is wider than {width}"));
    }
    Ok(Some((address, bytes[..len].to_vec())))
}

fn hex_bytes(text: &str) -> Result<Vec<u8>, String> {
    let digits: String = text.split_whitespace().collect();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return Err(format!("{text:?} is not a number of bytes"));
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| {
            digits
                .get(at..at + 2)
                .and_then(|byte| u8::from_str_radix(byte, 16).ok())
                .ok_or_else(|| format!("{text:?} is not hexadecimal"))
        })
        .collect()
}
