//! Runs of small programs: budgets, interruptions, code that is written while it runs, answers of L0. The theme of most: how a
//! run is cut into pieces must never show.

use guest_memory::{GuestMemory, Slot};
use iced_x86::code_asm::*;
use saved_state::{Restore, Save};
use x86_defs::Segment;
use x86_defs::control::{
    CR0_ET, CR0_NE, CR0_PE, CR0_PG, CR0_WP, CR4_OSFXSR, CR4_PAE, CR4_PGE, EFER_LMA, EFER_LME,
};

use crate::{Answer, BlockCache, Cpu, Exit};

const CODE: u64 = 0x10_0000;
const STACK: u64 = 0x20_0000;
const DATA: u64 = 0x30_0000;
const RAM: u64 = 0x40_0000;

/// A machine in 64-bit mode whose RAM is mapped to itself with 2 MiB pages, about to run `code` at [`CODE`].
struct Bench {
    cpu: Cpu,
    mem: GuestMemory,
    blocks: BlockCache,
}

impl Bench {
    fn new(code: &[u8]) -> Self {
        let mem = GuestMemory::new(&[Slot { base: 0, len: RAM }]).expect("a small slot");
        mem.write::<u64>(0x1000, 0x2003).expect("in RAM");
        mem.write::<u64>(0x2000, 0x3003).expect("in RAM");
        // One page more than there is RAM: devices.
        for page in 0..4 {
            mem.write::<u64>(0x3000 + page * 8, (page << 21) | 0x83).expect("in RAM");
        }
        mem.write_bytes(CODE, code).expect("in RAM");
        let mut cpu = Cpu::new(0, 1);
        cpu.cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_NE | CR0_ET;
        cpu.cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR;
        cpu.cr3 = 0x1000;
        cpu.efer = EFER_LME | EFER_LMA;
        cpu.segs = [Segment::flat(0x10, 0xc093); 8];
        cpu.segs[1] = Segment::flat(8, 0xa09b);
        cpu.rip = CODE;
        cpu.regs[x86_defs::gpr::RSP] = STACK;
        cpu.regs[x86_defs::gpr::RDX] = 0;
        cpu.tlb.flush_all();
        cpu.mode_changed();
        Self { cpu, mem, blocks: BlockCache::new() }
    }

    fn assemble(program: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Self {
        let mut assembler = CodeAssembler::new(64).expect("64 bits exist");
        program(&mut assembler).expect("the program is valid");
        Self::new(&assembler.assemble(CODE).expect("the program fits"))
    }

    fn run(&mut self, budget: u64) -> Exit {
        self.cpu.run(&self.mem, &mut self.blocks, budget)
    }

    /// Runs to HLT in pieces of the lengths `next` gives.
    fn run_in_pieces(&mut self, mut next: impl FnMut() -> u64) {
        for _ in 0..1_000_000 {
            let before = self.cpu.retired();
            let budget = next();
            match self.run(budget) {
                Exit::Budget => assert_eq!(self.cpu.retired() - before, budget, "a budget is exact"),
                Exit::Halt => return,
                other => panic!("unexpected {other:?} at {:#x}", self.cpu.rip),
            }
        }
        panic!("the program did not end");
    }
}

type IcedError = iced_x86::IcedError;

/// A program with loops, calls, fused compares, memory, strings and flags that ends in HLT.
fn mixed(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut outer, mut function, mut skip, mut start) =
        (a.create_label(), a.create_label(), a.create_label(), a.create_label());
    a.jmp(start)?;
    a.set_label(&mut function)?;
    a.push(rbx)?;
    a.lea(rbx, qword_ptr(rdi + rdi * 4 + 7))?;
    a.imul_2(rax, rbx)?;
    a.ror(rax, 7)?;
    a.pop(rbx)?;
    a.ret()?;
    a.set_label(&mut start)?;
    a.mov(ecx, 50)?;
    a.mov(rax, 0x1234_5678_9abc_def0_u64)?;
    a.set_label(&mut outer)?;
    a.mov(rdi, rcx)?;
    a.call(function)?;
    a.test(al, 0x10)?;
    a.jne(skip)?;
    a.push(rcx)?;
    a.cld()?;
    a.mov(rsi, CODE)?;
    a.mov(rdi, DATA)?;
    a.mov(ecx, 300)?;
    a.rep().movsb()?;
    a.pop(rcx)?;
    a.set_label(&mut skip)?;
    a.mov(rdx, DATA)?;
    a.add(qword_ptr(rdx + rcx * 8 + 512), rax)?;
    a.adc(rax, 3)?;
    a.cmp(rax, qword_ptr(rdx + 512))?;
    a.setb(byte_ptr(rdx + rcx + 1024))?;
    a.dec(ecx)?;
    a.jnz(outer)?;
    a.hlt()
}

fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

#[test]
fn pieces_of_any_length_make_the_same_run() {
    let mut whole = Bench::assemble(mixed);
    whole.run_in_pieces(|| u64::MAX / 2);
    let expected = whole.cpu.save();
    for seed in 0..40 {
        let mut pieces = Bench::assemble(mixed);
        let mut random = random(seed);
        pieces.run_in_pieces(|| 1 + random() % if seed % 2 == 0 { 3 } else { 100 });
        assert_eq!(pieces.cpu.save(), expected, "seed {seed}");
        let mut memory = (vec![0; RAM as usize], vec![0; RAM as usize]);
        whole.mem.read_bytes(0, &mut memory.0).expect("all of RAM");
        pieces.mem.read_bytes(0, &mut memory.1).expect("all of RAM");
        assert!(memory.0 == memory.1, "memory differs with seed {seed}");
    }
}

#[test]
fn a_restored_processor_goes_on_as_the_saved_one() {
    let mut whole = Bench::assemble(mixed);
    whole.run_in_pieces(|| u64::MAX / 2);
    for at in [1, 2, 17, 100, 333, 700] {
        let mut bench = Bench::assemble(mixed);
        assert_eq!(bench.run(at), Exit::Budget);
        let state = bench.cpu.save();
        bench.cpu = Cpu::new(0, 1);
        bench.cpu.restore(state.clone()).expect("a state that was saved");
        assert_eq!(bench.cpu.save(), state, "restored after {at} instructions");
        bench.blocks = BlockCache::new();
        bench.run_in_pieces(|| 1000);
        assert_eq!(bench.cpu.save(), whole.cpu.save(), "gone on after {at} instructions");
    }
}

#[test]
fn an_instruction_that_is_overwritten_by_the_one_before_runs_as_written() {
    // MOV BYTE [rip+...], imm8 changes the immediate of the instruction right behind it.
    let mut bench = Bench::assemble(|a| {
        let mut target = a.create_label();
        a.mov(ecx, 3)?;
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.lea(rbx, qword_ptr(target))?;
        a.mov(byte_ptr(rbx + 1), cl)?;
        a.set_label(&mut target)?;
        a.mov(al, 0x7f)?;
        a.add(edx, eax)?;
        a.dec(ecx)?;
        a.jnz(again)?;
        a.hlt()
    });
    bench.run_in_pieces(|| 1_000_000);
    assert_eq!(bench.cpu.regs[x86_defs::gpr::RDX], 3 + 2 + 1);
}

#[test]
fn code_written_from_outside_is_decoded_again() {
    let mut bench = Bench::assemble(|a| {
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.mov(al, 1)?;
        a.add(edx, eax)?;
        a.jmp(again)
    });
    assert_eq!(bench.run(6), Exit::Budget);
    bench.mem.write::<u8>(CODE + 1, 5).expect("in RAM");
    assert_eq!(bench.run(6), Exit::Budget);
    assert_eq!(bench.cpu.regs[x86_defs::gpr::RDX], 1 + 1 + 5 + 5);
}

#[test]
fn an_instruction_across_pages_follows_both_translations() {
    // MOV EAX, imm32 whose immediate lies in the next page, which is then changed.
    let mut bench = Bench::new(&[]);
    let at = CODE + 0x1000 - 3;
    bench.mem.write_bytes(at, &[0xb8, 1, 0, 0, 0, 0xf4]).expect("in RAM");
    for value in [0, 7] {
        bench.mem.write::<u8>(at + 3, value).expect("in RAM");
        bench.cpu.rip = at;
        assert_eq!(bench.run(100), Exit::Halt);
        assert_eq!(bench.cpu.regs[0], 1 | u64::from(value) << 16);
    }
}

#[test]
fn a_repeated_instruction_is_bounded_and_consistent() {
    let mut bench = Bench::assemble(|a| {
        a.mov(rdi, DATA)?;
        a.mov(rcx, 10_000_u64)?;
        a.mov(al, 0x5a)?;
        a.rep().stosb()?;
        a.hlt()
    });
    assert_eq!(bench.run(4), Exit::Budget);
    assert_eq!(bench.cpu.regs[x86_defs::gpr::RCX], 10_000 - 4096, "one bounded piece");
    assert_eq!(bench.cpu.regs[x86_defs::gpr::RDI], DATA + 4096);
    assert_eq!(bench.run(100), Exit::Halt);
    assert_eq!(bench.cpu.regs[x86_defs::gpr::RCX], 0);
    for offset in [0, 4095, 4096, 9999] {
        assert_eq!(bench.mem.read::<u8>(DATA + offset), Ok(0x5a), "byte {offset}");
    }
    assert_eq!(bench.mem.read::<u8>(DATA + 10_000), Ok(0));
}

#[test]
fn where_code_was_decoded_never_shows() {
    // A page that code ran from is filled: with and without the decoded code, the instruction is one and ends at the same time.
    let program = |a: &mut CodeAssembler| {
        a.call(DATA + 0x240)?;
        a.mov(rdi, DATA)?;
        a.mov(ecx, 512)?;
        a.xor(eax, eax)?;
        a.rep().stosq()?;
        a.hlt()
    };
    let mut results = [false, true].map(|forget| {
        let mut bench = Bench::assemble(program);
        bench.mem.write::<u8>(DATA + 0x240, 0xc3).expect("in RAM");
        assert_eq!(bench.run(5), Exit::Budget);
        if forget {
            bench.blocks = BlockCache::new();
            bench.mem.forget_code();
        }
        assert_eq!(bench.run(1), Exit::Budget);
        assert_eq!(bench.cpu.regs[x86_defs::gpr::RCX], 0, "all of it is one instruction");
        assert_eq!(bench.run(100), Exit::Halt);
        Some(bench.cpu.save())
    });
    assert_eq!(results[0].take(), results[1].take());
}

#[test]
fn overlapping_moves_replicate() {
    let mut bench = Bench::assemble(|a| {
        a.mov(rsi, DATA)?;
        a.mov(rdi, DATA + 1)?;
        a.mov(ecx, 100)?;
        a.rep().movsb()?;
        a.hlt()
    });
    bench.mem.write::<u8>(DATA, 9).expect("in RAM");
    bench.run_in_pieces(|| 1000);
    assert_eq!(bench.mem.read::<u8>(DATA + 100), Ok(9));
}

#[test]
fn devices_answer_and_hear_in_order() {
    let mut bench = Bench::assemble(|a| {
        a.mov(rbx, RAM)?;
        a.mov(eax, dword_ptr(rbx))?;
        a.mov(word_ptr(rbx + 8), ax)?;
        a.add(dword_ptr(rbx + 16), eax)?;
        a.hlt()
    });
    let read = |address, size| Exit::MmioRead { address, size };
    assert_eq!(bench.run(100), read(RAM, 4));
    bench.cpu.answer(read(RAM, 4), Answer::Value(0x1111_2222));
    assert_eq!(bench.run(100), Exit::MmioWrite { address: RAM + 8, size: 2, value: 0x2222 });
    assert_eq!(bench.run(100), read(RAM + 16, 4));
    bench.cpu.answer(read(RAM + 16, 4), Answer::Value(1));
    assert_eq!(bench.run(100), Exit::MmioWrite { address: RAM + 16, size: 4, value: 0x1111_2223 });
    assert_eq!(bench.run(100), Exit::Halt);
    assert_eq!(bench.cpu.retired(), 5, "instructions that asked are counted once");
}

#[test]
fn garbage_ends_in_a_shutdown_and_never_in_a_panic() {
    let mut random = random(42);
    for _ in 0..300 {
        let code: Vec<u8> = (0..4096).map(|_| random() as u8).collect();
        let mut bench = Bench::new(&code);
        for register in 0..16 {
            bench.cpu.regs[register] = random() % (2 * RAM);
        }
        for _ in 0..200 {
            match bench.run(1000) {
                Exit::Shutdown | Exit::Halt | Exit::Unsupported { .. } => break,
                exit @ (Exit::IoRead { .. }
                | Exit::MmioRead { .. }
                | Exit::MsrRead { .. }
                | Exit::MsrWrite { .. }
                | Exit::Cr8Read) => {
                    bench.cpu.answer(exit, Answer::Value(random()));
                }
                _ => {}
            }
        }
    }
}
