//! Hostile guests: random code, registers, tables. Whatever happens is an exit, and no panic.

use x86_defs::segment::TableRegister;

use super::*;
use crate::event::Answer;
use crate::random::Generator;

/// First bytes that lead to this module more often than chance would.
const OPCODES: [&[u8]; 24] = [
    &[0x0f, 0x00],
    &[0x0f, 0x01],
    &[0x0f, 0x02],
    &[0x0f, 0x03],
    &[0x0f, 0x20],
    &[0x0f, 0x22],
    &[0x0f, 0x23],
    &[0x0f, 0xae],
    &[0x0f, 0xc7],
    &[0x0f, 0xb2],
    &[0x0f, 0x30],
    &[0x0f, 0x32],
    &[0x8e],
    &[0x9a],
    &[0xca],
    &[0xcb],
    &[0xcd],
    &[0xcf],
    &[0x48, 0xcf],
    &[0xea],
    &[0xff],
    &[0xf3, 0x6d],
    &[0x9d],
    &[0x66, 0x0f, 0x38, 0x82],
];

fn scramble(guest: &mut Guest, random: &mut Generator) {
    for register in 0..16 {
        guest.cpu.regs[register] = match random.next() % 4 {
            0 => random.next(),
            1 => DATA + random.next() % 0x1000,
            2 => random.next() % 0x100,
            _ => GDT + random.next() % 0xb0,
        };
    }
    // A descriptor, a gate and a word of the TSS of any kind.
    let (gdt, idt, tss) = (random.next() % 22, random.next() % 256, random.next() % 13);
    guest.put(GDT + 8 * gdt, random.next());
    guest.put(IDT + 8 * idt, random.next());
    guest.put(TSS + 8 * tss, random.next());
    guest.put(DATA + 8 * (random.next() % 0x80), random.next());
    match random.next() % 16 {
        0 => guest.cpu.gdtr = TableRegister { base: random.next(), limit: random.next() as u16 },
        1 => guest.cpu.idtr = TableRegister { base: random.next(), limit: random.next() as u16 },
        2 => guest.cpu.tr.base = random.next(),
        3 => guest.cpu.tr.limit = random.next() as u32,
        4 => guest.cpu.dr7 = random.next() & 0xffff_23ff,
        5 => guest.cpu.dr[0] = guest.cpu.rip,
        6 => guest.cpu.load_rflags(random.next() & !rflags::VM),
        7 => guest.cpu.cr4 ^= 1 << (random.next() % 12) & !CR4_PAE,
        _ => {}
    }
    guest.cpu.mode_changed();
}

#[test]
fn random_code_in_every_mode_ends_in_exits() {
    let mut random = Generator::new(1);
    let starts: [fn() -> Guest; 8] = [
        Guest::real,
        || Guest::protected(0),
        || Guest::protected(1),
        || Guest::protected(3),
        || Guest::long(0),
        || Guest::long(3),
        || Guest::v86(0),
        || Guest::v86(3),
    ];
    let mut exits = 0_u32;
    for round in 0..2000 {
        let mut guest = starts[round % starts.len()]();
        for _ in 0..8 {
            let opcode = OPCODES[random.next() as usize % OPCODES.len()];
            let mut bytes = opcode.to_vec();
            bytes.extend(random.next().to_le_bytes());
            let at = guest.cpu.wrap_linear(guest.cpu.code_base.wrapping_add(guest.cpu.rip));
            if let Some(at) = guest.cpu.probe(&guest.mem, at) {
                // Code that is elsewhere than in memory reads as ones.
                let _ = guest.mem.write_bytes(at, &bytes);
            }
            scramble(&mut guest, &mut random);
            for _ in 0..4 {
                let exit = guest.cpu.run(&guest.mem, &mut guest.blocks, 3);
                exits += u32::from(exit != Exit::Budget);
                match exit {
                    Exit::Shutdown | Exit::Unsupported { .. } | Exit::Budget => break,
                    Exit::IoRead { .. }
                    | Exit::MmioRead { .. }
                    | Exit::MsrRead { .. }
                    | Exit::MsrWrite { .. }
                    | Exit::Cr8Read => guest.cpu.answer(exit, Answer::Value(random.next())),
                    Exit::InterruptWindow => {
                        let _ = guest.cpu.interrupt(&guest.mem, random.next() as u8);
                    }
                    _ => {}
                }
            }
            if random.next().is_multiple_of(8) {
                guest.cpu.set_interrupt_line(true);
                guest.cpu.set_nmi_pending();
            }
        }
    }
    assert!(exits > 1000, "only {exits} exits: the code does not reach what it should");
}
