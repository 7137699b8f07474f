//! Guests that do what no guest should: the run ends in good order, with the architecture's event or by a limit.

use iced_x86::code_asm::*;
use machine::boot::{BootSource, Protocol};
use machine::{Config, End};
use tests::random::Random;
use tests::{fixtures, guest};

type Assembly = Result<(), iced_x86::IcedError>;

/// Where flat images of these tests are.
const BASE: u32 = 0x7c00;
/// Where their 32-bit code begins.
const CODE: u32 = BASE + 0x40;
/// Bytes that the 32-bit code may use.
const SCRATCH: u32 = 0x6000;

/// A flat image that goes to protected mode with flat segments, an empty IDT and a stack, and then runs `body`.
fn protected_mode(body: impl FnOnce(&mut CodeAssembler) -> Assembly) -> Vec<u8> {
    let mut image = vec![
        0xfa, // cli
        0x31, 0xc0, 0x8e, 0xd8, // xor ax, ax; mov ds, ax
        0x0f, 0x01, 0x16, 0x20, 0x7c, // lgdt [0x7c20]
        0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, // mov eax, cr0; or al, 1; mov cr0, eax
        0x66, 0xea, 0x40, 0x7c, 0x00, 0x00, 0x08, 0x00, // jmp 8:0x7c40
    ];
    image.resize(0x20, 0x90);
    // GDTR, then the GDT: null, code, data.
    image.extend([23, 0, 0x28, 0x7c, 0, 0, 0, 0]);
    for descriptor in [0_u64, 0x00cf_9a00_0000_ffff, 0x00cf_9200_0000_ffff] {
        image.extend(descriptor.to_le_bytes());
    }
    let mut assembler = CodeAssembler::new(32).expect("32 bits exist");
    let start = |a: &mut CodeAssembler| -> Assembly {
        a.mov(eax, 0x10)?;
        a.mov(ds, eax)?;
        a.mov(es, eax)?;
        a.mov(ss, eax)?;
        a.mov(esp, SCRATCH)?;
        load_idt(a, 0, 0)
    };
    start(&mut assembler).and_then(|()| body(&mut assembler)).expect("the program is valid");
    image.extend(assembler.assemble(CODE.into()).expect("the program fits"));
    image
}

fn load_idt(a: &mut CodeAssembler, base: u32, limit: u32) -> Assembly {
    a.mov(dword_ptr(SCRATCH + 0x800), limit << 16)?;
    a.mov(dword_ptr(SCRATCH + 0x804), base)?;
    a.lidt(ptr(SCRATCH + 0x802))
}

fn turn_paging_on(a: &mut CodeAssembler, tables: u32) -> Assembly {
    a.mov(eax, tables)?;
    a.mov(cr3, eax)?;
    a.mov(eax, cr0)?;
    a.or(eax, 1 << 31)?;
    a.mov(cr0, eax)?;
    a.nop()
}

fn expect(name: &str, image: &[u8], end: End) {
    let run = guest::run_flat(image, 5_000_000);
    assert_eq!(run.end, end, "{name}; registers: {:x?}", run.machine.vm().registers(0));
}

/// Tables in a device are not implemented, those that are nowhere are all ones: either has its own end.
fn expect_no_delivery(name: &str, image: &[u8]) {
    let run = guest::run_flat(image, 5_000_000);
    match run.end {
        TRIPLE_FAULT => {}
        End::Unsupported { what } => assert!(what.contains("in a device"), "{name}: {what}"),
        other => panic!("{name}: {other:?}"),
    }
}

const TRIPLE_FAULT: End = End::TripleFault { vcpu: 0 };

#[test]
fn ends_of_real_mode() {
    for (name, code, end) in [
        ("halted for ever", &[0xfa, 0xf4][..], End::Stuck),
        (
            // The timer in mode 2, all interrupts masked, STI, HLT.
            "a timer that nobody listens to",
            &[0xb0, 0x34, 0xe6, 0x43, 0xb0, 0xff, 0xe6, 0x40, 0xe6, 0x40, 0xb0, 0xff, 0xe6, 0x21, 0xfb, 0xf4],
            End::Stuck,
        ),
        ("a loop", &[0xeb, 0xfe], End::InstructionLimit),
        ("an IDT without entries", &[0x0f, 0x01, 0x1e, 0x00, 0x60, 0xcc], TRIPLE_FAULT),
        ("reset by the keyboard controller", &[0xb0, 0xfe, 0xe6, 0x64], End::Reset),
        ("reset by port 0xcf9", &[0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee], End::Reset),
        ("isa-debug-exit", &[0xb0, 0x2a, 0xe6, 0xf4], End::Exit { status: 0x55 }),
    ] {
        expect(name, code, end);
    }
}

#[test]
fn page_tables_that_are_no_ram() {
    for (name, tables) in [
        ("in a hole", 0xd000_0000),
        ("past RAM", 0x7fff_f000),
        ("at the I/O APIC", 0xfec0_0000),
        ("at the local APIC", 0xfee0_0000),
    ] {
        expect(name, &protected_mode(|a| turn_paging_on(a, tables)), TRIPLE_FAULT);
    }
}

#[test]
fn descriptor_tables_that_are_no_ram() {
    for base in [0xd000_0000, 0x7fff_f000, 0xfec0_0000, 0xffff_fff0] {
        let image = protected_mode(|a| {
            load_idt(a, base, 0xffff)?;
            a.ud2()
        });
        expect_no_delivery("an IDT that is no RAM", &image);
        let image = protected_mode(|a| {
            a.mov(dword_ptr(SCRATCH + 0x800), 0xffff_0000_u32)?;
            a.mov(dword_ptr(SCRATCH + 0x804), base)?;
            a.lgdt(ptr(SCRATCH + 0x802))?;
            // Loads the CS descriptor from there in the end.
            a.mov(eax, 0x38)?;
            a.mov(ds, eax)?;
            a.ud2()
        });
        expect_no_delivery("a GDT that is no RAM", &image);
    }
}

#[test]
fn code_and_stacks_that_are_no_ram() {
    for target in [0xd000_0000_u32, 0x7fff_f000, 0xffff_fff0] {
        let image = protected_mode(|a| {
            a.mov(eax, target)?;
            a.jmp(eax)
        });
        expect("code that is no RAM", &image, TRIPLE_FAULT);
        let image = protected_mode(|a| {
            a.mov(esp, target)?;
            a.push(0x1234)?;
            // What was pushed is gone: all ones are popped.
            a.ret()
        });
        expect("a stack that is no RAM", &image, TRIPLE_FAULT);
    }
}

#[test]
fn what_is_not_implemented_has_a_name() {
    let image = protected_mode(|a| {
        // Vector 3 is a task gate (SDM 3A figure 6-2).
        a.mov(dword_ptr(SCRATCH + 24), 0x0010_0000)?;
        a.mov(dword_ptr(SCRATCH + 28), 0x8500)?;
        load_idt(a, SCRATCH, 0x7ff)?;
        a.int3()
    });
    let run = guest::run_flat(&image, 1_000_000);
    let End::Unsupported { what } = run.end else { panic!("{:?}", run.end) };
    assert!(what.contains("task"), "{what}");
}

#[test]
fn garbage_in_real_mode() {
    let mut random = Random::new(0x6172_6261_6765);
    for _ in 0..400 {
        let code = random.bytes(2048);
        let run = guest::run_flat(&code, 100_000);
        assert!(run.machine.retired() <= 100_000, "the limit holds");
    }
}

/// Most instructions of a damaged guest: some of them do nothing but talk to devices that are not there.
const DAMAGED_LIMIT: u64 = 400_000;

/// Images of the guest with random damage: what goes wrong in 64-bit mode, with paging, interrupts and other processors.
#[test]
fn damaged_guests() {
    let mut random = Random::new(0x6461_6d61_6765);
    let mut booted = 0;
    for (file, address) in fixtures::HELLO {
        let intact = fixtures::read(file);
        for _ in 0..12 {
            let mut kernel = intact.clone();
            for _ in 0..=random.below(30) {
                let at = random.below(kernel.len() as u64) as usize;
                kernel[at] ^= 1 << random.below(8);
            }
            let source = BootSource { flat_address: address, ..BootSource::new(&kernel, file) };
            let config = Config { memory: 16 << 20, cpus: 2, ..Config::default() };
            let machine = machine::PoweredOff::new(config).expect("a small machine");
            // A header may be damaged, too.
            if let Ok((machine, _)) = machine.boot(&source) {
                booted += 1;
                let run = guest::go_on(machine, Some(DAMAGED_LIMIT));
                assert!(run.machine.retired() <= DAMAGED_LIMIT, "the limit holds");
            }
        }
    }
    assert!(booted > 24, "only {booted} were booted");
}

#[test]
fn files_of_another_kind_are_told() {
    for (kernel, message) in [
        (&b"\x1f\x8b\x08 compressed"[..], "compressed with gzip"),
        (b"#!/bin/sh\n", "neither a Linux bzImage"),
        (b"", "neither a Linux bzImage"),
    ] {
        let machine =
            machine::PoweredOff::new(Config { memory: 4 << 20, ..Config::default() }).expect("a machine");
        let error = machine.boot(&BootSource::new(kernel, "kernel")).expect_err("no kernel");
        assert!(error.to_string().contains(message), "{error}");
    }
    let kernel = fixtures::read("hello-pvh.elf");
    let (_, protocol) = guest::boot(Config::default(), &BootSource::new(&kernel, "kernel"));
    assert_eq!(protocol, Protocol::Pvh);
}
