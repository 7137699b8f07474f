//! The interpreter as an engine: the bytes of the case at CPL 3, at the same addresses as natively.

mod machine;

use guest_memory::GuestMemory;
use x86_cpu::{BlockCache, Cpu, Exit, FpuRegisters, Registers, SpecialRegisters};
use x86_defs::{Segment, TableRegister, control, msr};

use crate::case::{
    CODE, CODE_SIZE, Case, ENTRY, End, Engine, FpuState, LINE, MEMORY_SIZE, MOST_BYTES, Mode, Outcome, Patch,
    Prelude, State, selectors,
};
use crate::memory::{base_image, changed_lines};
use machine::physical;

/// INT3, which fills the code page as it does natively.
const INT3: u8 = 0xcc;
/// A no-operation of two bytes.
const NOP: [u8; 2] = [0x66, 0x90];
/// The status flags.
const STATUS: u64 = 0x8d5;
/// A conditional branch, which may be made one operation with the instruction before it, to the next instruction: a jump to itself.
/// The condition is in the low bits of the first byte.
const BRANCH_ON: [u8; 4] = [0x70, 0x00, 0xeb, 0xfe];
/// Bytes of the code page a case can take.
const CODE_BYTES: usize = MOST_BYTES + 8;
/// Offset in it of where the processor stands still.
const STANDSTILL: u64 = 2;
/// Calls of `run` a case may take: long REP instructions stop at a bounded count.
const MOST_RUNS: u32 = 10_000;

/// The interpreter in a machine of its own.
#[derive(Debug)]
pub struct Interpreter {
    cpu: Cpu,
    blocks: BlockCache,
    memory: GuestMemory,
    base: Vec<u8>,
    image: Vec<u8>,
    /// The mode the segments and control registers are set up for, unless the last case left them otherwise.
    set_up: Option<Mode>,
}

impl Default for Interpreter {
    fn default() -> Self {
        Self::new()
    }
}

impl Interpreter {
    /// A processor in 64-bit mode at CPL 3, set up as Linux does.
    pub fn new() -> Self {
        let memory = machine::memory();
        let base = base_image();
        machine::write(&memory, physical::MEMORY, &base);
        machine::write(&memory, physical::CODE, &[INT3; CODE_SIZE as usize]);
        Self {
            cpu: Cpu::new(0, 1),
            blocks: BlockCache::new(),
            memory,
            image: base.clone(),
            base,
            set_up: None,
        }
    }

    fn load(&mut self, case: &Case, rip: u64, rflags: u64) {
        let State { gpr, rip: _, rflags: _, selectors: _, fs_base, gs_base, fpu } = case.state;
        if self.set_up != Some(case.mode) {
            self.cpu.set_special_registers(&special_registers(case.mode)).expect("valid special registers");
            self.set_up = Some(case.mode);
        }
        for (register, base) in [(msr::FS_BASE, fs_base), (msr::GS_BASE, gs_base)] {
            self.cpu.write_msr(register, base).expect("canonical base");
        }
        self.cpu.set_registers(&Registers { general: gpr, rip, rflags });
        self.cpu.set_fpu_registers(&FpuRegisters {
            control: fpu.fcw,
            status: fpu.fsw,
            tags: fpu.ftw,
            stack: fpu.st.map(|st| {
                let mut bytes = [0; 10];
                bytes.copy_from_slice(&st.to_le_bytes()[..10]);
                bytes
            }),
            mxcsr: fpu.mxcsr,
            xmm: fpu.xmm,
        });
    }

    /// Runs until the instruction has retired or raised an exception.
    fn execute(&mut self, budget: u64) -> Exit {
        for _ in 0..MOST_RUNS {
            let exit = self.cpu.run(&self.memory, &mut self.blocks, budget);
            // A REP instruction that is not done stays where it is.
            if exit != Exit::Budget || self.cpu.registers().rip != ENTRY {
                return exit;
            }
        }
        Exit::Unsupported { what: "the instruction does not end" }
    }

    /// Takes what is in the processor, and undoes the delivery of an exception.
    fn outcome(&mut self, case: &Case, exit: Exit, in_block: bool) -> (End, State) {
        let Registers { general, rip, rflags } = self.cpu.registers();
        let special = self.cpu.special_registers();
        let fpu = self.cpu.fpu_registers();
        let mut state = State {
            gpr: general,
            rip,
            rflags,
            selectors: special.segments.map(|segment| segment.selector),
            fs_base: special.segments[4].base,
            gs_base: special.segments[5].base,
            fpu: FpuState {
                fcw: fpu.control,
                fsw: fpu.status,
                ftw: fpu.tags,
                mxcsr: fpu.mxcsr,
                st: fpu.stack.map(|bytes| {
                    let mut wide = [0; 16];
                    wide[..10].copy_from_slice(&bytes);
                    u128::from_le_bytes(wide)
                }),
                xmm: fpu.xmm,
            },
        };
        if state.selectors != case.mode.selectors() {
            self.set_up = None;
        }
        let end = match exit {
            Exit::Budget => {
                let handler = rip.wrapping_sub(machine::HANDLERS);
                if handler < machine::VECTORS * machine::HANDLER_STRIDE {
                    self.exception((handler / machine::HANDLER_STRIDE) as u8, special.cr2, &mut state)
                } else {
                    End::Retired
                }
            }
            Exit::Unsupported { what } => End::Unsupported(what),
            Exit::Shutdown => End::Unsupported("triple fault"),
            _ => End::Unsupported("an exit to L0"),
        };
        let end = match end {
            // The INT3 at the target of a branch.
            End::Exception { vector: 3, .. } if state.rip != ENTRY + 1 => {
                state.rip = state.rip.wrapping_sub(1);
                End::Retired
            }
            // A branch to where nothing is mapped: the fault is the next instruction's.
            End::Exception { vector: 14, address, .. } if state.rip != ENTRY && address == state.rip => {
                End::Retired
            }
            _ => end,
        };
        let behind = ENTRY + case.encoding.bytes().len() as u64;
        if in_block && end == End::Retired && state.rip == behind + STANDSTILL {
            state.rip = behind;
        }
        (end, state)
    }

    /// Reads the frame an exception pushed (SDM 3A 6.14.2) back into the state.
    fn exception(&mut self, vector: u8, cr2: u64, state: &mut State) -> End {
        let offset = state.gpr[4].wrapping_sub(machine::KERNEL_STACK);
        let has_error_code = matches!(vector, 8 | 10..=14 | 17);
        let words = if has_error_code { 6 } else { 5 };
        if offset != machine::KERNEL_STACK_END - machine::KERNEL_STACK - 8 * words {
            return End::Unsupported("an exception frame of another size");
        }
        let mut frame = [0; 48];
        machine::read(&self.memory, physical::KERNEL_STACK + offset, &mut frame[..8 * words as usize]);
        let word = |i: usize| u64::from_le_bytes(std::array::from_fn(|byte| frame[8 * i + byte]));
        let (error_code, first) = if has_error_code { (word(0), 1) } else { (0, 0) };
        state.rip = word(first);
        state.selectors[1] = word(first + 1) as u16;
        state.rflags = word(first + 2);
        state.gpr[4] = word(first + 3);
        state.selectors[2] = word(first + 4) as u16;
        End::Exception { vector, error_code, address: if vector == 14 { cr2 } else { 0 } }
    }
}

impl Engine for Interpreter {
    fn run(&mut self, case: &Case) -> Outcome {
        for (offset, byte) in case.patches.iter().flat_map(Patch::within_memory) {
            self.image[offset] = byte;
        }
        for line in changed_lines(&self.base, &self.image) {
            machine::write(&self.memory, physical::MEMORY + line.offset as u64, &line.bytes);
        }
        // Half of the cases run alone, half in the middle of a block: behind what sets the flags, before a branch.
        let in_block = case.state.gpr[0].count_ones().is_multiple_of(2);
        let mut code = [INT3; CODE_BYTES];
        let bytes = case.encoding.bytes();
        let before = case.prelude.map_or(NOP, Prelude::bytes);
        let instructions = case.instructions();
        // In a block, the prelude, the branch behind and its jump to itself count too.
        let (rip, budget) =
            if in_block { (ENTRY - before.len() as u64, instructions + 3) } else { (ENTRY, instructions) };
        let mut rflags = case.state.rflags;
        if in_block {
            if case.prelude.is_some() {
                // Wrong until the prelude has run.
                rflags ^= STATUS;
            }
            code[..before.len()].copy_from_slice(&before);
            let behind = &mut code[before.len() + bytes.len()..][..BRANCH_ON.len()];
            behind.copy_from_slice(&BRANCH_ON);
            behind[0] |= (case.state.gpr[1] & 0xf) as u8;
        }
        code[before.len()..][..bytes.len()].copy_from_slice(bytes);
        let at = physical::CODE + (ENTRY - before.len() as u64 - CODE);
        machine::write(&self.memory, at, &code);
        self.load(case, rip, rflags);
        let exit = self.execute(budget);
        let (end, state) = self.outcome(case, exit, in_block);
        machine::write(&self.memory, at, &[INT3; CODE_BYTES]);
        machine::read(&self.memory, physical::MEMORY, &mut self.image);
        let changed = changed_lines(&self.base, &self.image);
        for line in &changed {
            let base = &self.base[line.offset..line.offset + LINE];
            machine::write(&self.memory, physical::MEMORY + line.offset as u64, base);
        }
        self.image.copy_from_slice(&self.base);
        debug_assert_eq!(self.image.len(), MEMORY_SIZE);
        Outcome { end, state, changed }
    }
}

fn special_registers(mode: Mode) -> SpecialRegisters {
    let null = Segment { access: x86_defs::segment::AR_UNUSABLE, ..Segment::default() };
    let code = Segment::flat(selectors::CODE, 0xa0fb);
    let code32 = Segment::flat(selectors::CODE32, 0xc0fb);
    let data = Segment::flat(selectors::DATA, 0xc0f3);
    SpecialRegisters {
        segments: match mode {
            Mode::Long => [null, code, data, null, null, null],
            Mode::Compatibility => [data, code32, data, data, data, data],
        },
        ldtr: null,
        tr: Segment {
            selector: machine::TASK,
            base: machine::TSS,
            limit: u32::from(machine::TSS_LIMIT),
            access: 0x8b,
        },
        gdtr: TableRegister { base: machine::GDT, limit: machine::GDT_LIMIT },
        idtr: TableRegister { base: machine::IDT, limit: machine::IDT_LIMIT },
        cr0: control::CR0_PE
            | control::CR0_MP
            | control::CR0_ET
            | control::CR0_NE
            | control::CR0_WP
            | control::CR0_AM
            | control::CR0_PG,
        cr2: 0,
        cr3: machine::CR3,
        cr4: control::CR4_PAE
            | control::CR4_OSFXSR
            | control::CR4_OSXMMEXCPT
            | control::CR4_FSGSBASE
            | control::CR4_OSXSAVE,
        efer: control::EFER_SCE | control::EFER_LME | control::EFER_LMA | control::EFER_NXE,
    }
}
