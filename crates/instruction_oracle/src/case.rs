//! A case (one instruction, the registers and memory it starts from), what came of it, and who can run it.

use std::fmt;

use iced_x86::{Code, Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};

/// Where the operand memory starts: two writable pages, then a read-only one, between holes. It lies below 2 GiB so that 32-bit
/// addresses, absolute displacements and RIP-relative ones all reach it.
pub const DATA: u64 = 0x3000_0000;
/// The writable part of the operand memory.
pub const DATA_WRITABLE: u64 = 0x2000;
/// The operand memory including its read-only page.
pub const DATA_SIZE: u64 = 0x3000;
/// The page the stack pointer usually points into, between holes.
pub const STACK: u64 = 0x3001_0000;
/// Its size.
pub const STACK_SIZE: u64 = 0x1000;
/// The page the instruction lies in: readable, writable, executable, and full of INT3 around the instruction.
pub const CODE: u64 = 0x3002_0000;
/// Its size.
pub const CODE_SIZE: u64 = 0x1000;
/// The address of the instruction under test.
pub const ENTRY: u64 = CODE + 0x800;

/// Operand memory and stack one after the other: what an engine compares and restores.
pub const MEMORY_SIZE: usize = (DATA_SIZE + STACK_SIZE) as usize;
/// Granule in which changed memory is reported.
pub const LINE: usize = 64;

/// The mode the instruction runs in, always at CPL 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// 64-bit mode.
    Long,
    /// Compatibility mode with a 32-bit code segment: 32-bit protected mode as user programs see it.
    Compatibility,
}

impl Mode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Long, Self::Compatibility];

    /// The bitness decoders and encoders know it by.
    pub fn bits(self) -> u32 {
        match self {
            Self::Long => 64,
            Self::Compatibility => 32,
        }
    }

    /// ES, CS, SS, DS, FS and GS before a case.
    pub fn selectors(self) -> [u16; 6] {
        use selectors::{CODE, CODE32, DATA};
        match self {
            Self::Long => [0, CODE, DATA, 0, 0, 0],
            Self::Compatibility => [DATA, CODE32, DATA, DATA, DATA, DATA],
        }
    }
}

/// The selectors a 64-bit Linux process runs with; the interpreter's descriptor table has the same.
pub mod selectors {
    /// 64-bit user code.
    pub const CODE: u16 = 0x33;
    /// User data, also the stack segment.
    pub const DATA: u16 = 0x2b;
    /// 32-bit user code.
    pub const CODE32: u16 = 0x23;
}

/// Offset in the compared memory of an address in it.
pub fn memory_offset(address: u64) -> Option<usize> {
    if (DATA..DATA + DATA_SIZE).contains(&address) {
        Some((address - DATA) as usize)
    } else if (STACK..STACK + STACK_SIZE).contains(&address) {
        Some((address - STACK + DATA_SIZE) as usize)
    } else {
        None
    }
}

/// The address of an offset in the compared memory.
pub fn memory_address(offset: usize) -> u64 {
    let offset = offset as u64;
    if offset < DATA_SIZE { DATA + offset } else { STACK + (offset - DATA_SIZE) }
}

/// x87, MMX and SSE registers, as FXSAVE shows them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FpuState {
    /// Control word.
    pub fcw: u16,
    /// Status word, with the top of stack.
    pub fsw: u16,
    /// Abridged tag word: a set bit is a register in use, by physical register.
    pub ftw: u8,
    /// MXCSR.
    pub mxcsr: u32,
    /// ST(0) to ST(7): the low 80 bits of each.
    pub st: [u128; 8],
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
}

impl FpuState {
    /// The 512-byte image FXRSTOR64 loads.
    pub fn to_image(self) -> [u8; 512] {
        let mut image = [0; 512];
        image[0..2].copy_from_slice(&self.fcw.to_le_bytes());
        image[2..4].copy_from_slice(&self.fsw.to_le_bytes());
        image[4] = self.ftw;
        image[24..28].copy_from_slice(&self.mxcsr.to_le_bytes());
        for (i, st) in self.st.iter().enumerate() {
            image[32 + 16 * i..42 + 16 * i].copy_from_slice(&st.to_le_bytes()[..10]);
        }
        for (i, xmm) in self.xmm.iter().enumerate() {
            image[160 + 16 * i..176 + 16 * i].copy_from_slice(&xmm.to_le_bytes());
        }
        image
    }

    /// Reads the image FXSAVE64 stores. The pointers to the last x87 instruction and operand are left out: see
    /// [`crate::differences`].
    pub fn from_image(image: &[u8; 512]) -> Self {
        let at = |i: usize, n: usize| {
            let mut bytes = [0; 16];
            bytes[..n].copy_from_slice(&image[i..i + n]);
            u128::from_le_bytes(bytes)
        };
        Self {
            fcw: at(0, 2) as u16,
            fsw: at(2, 2) as u16,
            ftw: image[4],
            mxcsr: at(24, 4) as u32,
            st: std::array::from_fn(|i| at(32 + 16 * i, 10)),
            xmm: std::array::from_fn(|i| at(160 + 16 * i, 16)),
        }
    }

    /// The register number on top of the x87 stack.
    pub fn top(&self) -> u32 {
        u32::from(self.fsw >> 11) & 7
    }
}

/// Every register an instruction in 64-bit user mode can see, as far as it is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// ES, CS, SS, DS, FS, GS.
    pub selectors: [u16; 6],
    /// Base of FS.
    pub fs_base: u64,
    /// Base of GS.
    pub gs_base: u64,
    /// x87, MMX, SSE.
    pub fpu: FpuState,
}

/// Most bytes of a case.
pub const MOST_BYTES: usize = 128;

/// The encoded bytes of the instructions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    bytes: [u8; MOST_BYTES],
    len: u8,
}

impl Default for Encoding {
    fn default() -> Self {
        Self { bytes: [0; MOST_BYTES], len: 0 }
    }
}

impl Encoding {
    /// Takes bytes; `None` if there are more than [`MOST_BYTES`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut array = [0; MOST_BYTES];
        array.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { bytes: array, len: bytes.len() as u8 })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Bytes laid over the operand memory before the instruction runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Where; bytes outside the compared memory are dropped.
    pub address: u64,
    /// What.
    pub bytes: Vec<u8>,
}

impl Patch {
    /// The bytes of the patch that lie in the compared memory, each with its offset there.
    pub fn within_memory(&self) -> impl Iterator<Item = (usize, u8)> + '_ {
        self.bytes.iter().enumerate().filter_map(|(i, &byte)| {
            memory_offset(self.address.wrapping_add(i as u64)).map(|offset| (offset, byte))
        })
    }
}

/// An instruction that gives the status flags their values: an interpreter that computes flags late has not computed them when
/// the case starts. The case's state has the flags already; an engine may put the instruction before it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prelude {
    /// CMP AL, imm8.
    Compare(u8),
    /// TEST AL, imm8, with AF clear.
    Test(u8),
}

impl Prelude {
    /// Its bytes.
    pub fn bytes(self) -> [u8; 2] {
        match self {
            Self::Compare(immediate) => [0x3c, immediate],
            Self::Test(immediate) => [0xa8, immediate],
        }
    }

    /// The status flags it leaves in RFLAGS: CF, PF, AF, ZF, SF, OF.
    pub fn flags(self, al: u8) -> u64 {
        let (result, carry, adjust, overflow) = match self {
            Self::Compare(immediate) => {
                let (result, carry) = al.overflowing_sub(immediate);
                let overflow = (al ^ immediate) & (al ^ result) & 0x80 != 0;
                (result, carry, al & 0xf < immediate & 0xf, overflow)
            }
            Self::Test(immediate) => (al & immediate, false, false, false),
        };
        u64::from(carry)
            | u64::from(result.count_ones() % 2 == 0) << 2
            | u64::from(adjust) << 4
            | u64::from(result == 0) << 6
            | u64::from(result >> 7) << 7
            | u64::from(overflow) << 11
    }
}

/// What a case that is more than one instruction knows about them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// How many instructions there are.
    pub instructions: u64,
    /// Bits of RFLAGS that are undefined after the last.
    pub undefined_flags: u64,
}

/// One instruction, or a sequence of them, and everything it starts from. Memory starts as the engine's base image with the patches over it.
#[derive(Clone)]
pub struct Case {
    /// The mode it runs in.
    pub mode: Mode,
    /// What the bytes decode to: the last of a sequence.
    pub instruction: Instruction,
    /// What there is beside it, if it is not alone.
    pub sequence: Option<Sequence>,
    /// The bytes at [`ENTRY`].
    pub encoding: Encoding,
    /// Registers before.
    pub state: State,
    /// What may have given the flags their values.
    pub prelude: Option<Prelude>,
    /// Memory before, where it is not the base image.
    pub patches: Vec<Patch>,
}

impl Case {
    /// Decodes `bytes` as code at [`ENTRY`].
    pub fn decode(bytes: &[u8], mode: Mode) -> Instruction {
        Self::decode_at(bytes, mode, ENTRY)
    }

    /// Decodes `bytes` as code at `address`.
    pub fn decode_at(bytes: &[u8], mode: Mode, address: u64) -> Instruction {
        Decoder::with_ip(mode.bits(), bytes, address, DecoderOptions::NONE).decode()
    }

    /// Number of instructions.
    pub fn instructions(&self) -> u64 {
        self.sequence.map_or(1, |sequence| sequence.instructions)
    }

    /// The iced-x86 code of the instruction.
    pub fn code(&self) -> Code {
        self.instruction.code()
    }

    /// Bytes and disassembly of the instruction.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for byte in self.encoding.bytes() {
            text += &format!("{byte:02x} ");
        }
        let mut formatter = IntelFormatter::new();
        let mut decoder =
            Decoder::with_ip(self.mode.bits(), self.encoding.bytes(), ENTRY, DecoderOptions::NONE);
        for instruction in &mut decoder {
            text += if instruction.ip() == ENTRY { " " } else { "; " };
            formatter.format(&instruction, &mut text);
        }
        text
    }
}

/// How an instruction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It retired.
    Retired,
    /// It raised an exception.
    Exception {
        /// The vector.
        vector: u8,
        /// The error code; zero where the vector has none.
        error_code: u64,
        /// CR2, for a page fault.
        address: u64,
    },
    /// The engine stopped in a way the architecture does not have.
    Unsupported(&'static str),
}

/// A granule of memory whose content changed.
#[derive(Clone, PartialEq, Eq)]
pub struct ChangedLine {
    /// Offset in the compared memory.
    pub offset: usize,
    /// The bytes after.
    pub bytes: [u8; LINE],
}

/// What an engine saw.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Registers after.
    pub state: State,
    /// Memory that is no longer the base image, in ascending order.
    pub changed: Vec<ChangedLine>,
}

/// Something that can execute a case: the host's processor or the interpreter.
pub trait Engine {
    /// Runs one case from its state and memory. The next case finds the engine as if nothing had run.
    fn run(&mut self, case: &Case) -> Outcome;
}

const GPR_NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// The name of the general-purpose register with this number.
pub fn gpr_name(number: usize) -> &'static str {
    GPR_NAMES[number]
}

impl fmt::Debug for FpuState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "fcw={:04x} fsw={:04x} ftw={:02x} mxcsr={:08x}",
            self.fcw, self.fsw, self.ftw, self.mxcsr
        )?;
        for (i, st) in self.st.iter().enumerate() {
            writeln!(f, "  st{i}={st:020x}")?;
        }
        for (i, xmm) in self.xmm.iter().enumerate() {
            write!(f, "  xmm{i:<2}={xmm:032x}{}", if i % 2 == 1 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, value) in self.gpr.iter().enumerate() {
            write!(f, "  {:>3}={value:016x}{}", gpr_name(i), if i % 4 == 3 { "\n" } else { "" })?;
        }
        write!(f, "  rip={:x} rflags={:x} selectors={:x?} ", self.rip, self.rflags, self.selectors)?;
        write!(f, "fs_base={:x} gs_base={:x} ", self.fs_base, self.gs_base)?;
        self.fpu.fmt(f)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} ({} bits): {}", self.code(), self.mode.bits(), self.text())?;
        self.state.fmt(f)?;
        for patch in &self.patches {
            write!(f, "  [{:x}]=", patch.address)?;
            for byte in &patch.bytes {
                write!(f, "{byte:02x}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x?}", self.bytes())
    }
}

impl fmt::Debug for ChangedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:x}]={:02x?}", memory_address(self.offset), self.bytes)
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:x?}\n{:?}{:?}", self.end, self.state, self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prelude_leaves_the_flags_it_says() {
        assert_eq!(Prelude::Compare(1).flags(1), 0x44); // ZF PF
        assert_eq!(Prelude::Compare(1).flags(0), 0x95); // CF PF AF SF
        assert_eq!(Prelude::Compare(1).flags(0x80), 0x810); // OF AF
        assert_eq!(Prelude::Test(0x80).flags(0xff), 0x80); // SF
    }
}
