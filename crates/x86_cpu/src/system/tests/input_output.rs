//! Ports, their permissions, HLT.

use x86_defs::gpr::{RAX, RCX, RDI, RDX, RSI};
use x86_defs::rflags::{DF, IOPL};

use super::*;
use crate::event::Answer;

#[test]
fn in_asks_and_out_tells() {
    let mut guest = Guest::long(0);
    guest.cpu.regs[RAX] = 0x1122_3344_5566_7788;
    guest.cpu.regs[RDX] = 0x1_03f8;
    for (bytes, port, size, value) in [
        (&[0xe6, 0x70][..], 0x70, 1, 0x88),
        (&[0x66, 0xe7, 0x70], 0x70, 2, 0x7788),
        (&[0xe7, 0x70], 0x70, 4, 0x5566_7788),
        (&[0xee], 0x3f8, 1, 0x88),
        (&[0xef], 0x3f8, 4, 0x5566_7788),
    ] {
        guest.code(bytes);
        assert_eq!(guest.step(), Exit::IoWrite { port, size, value }, "{bytes:02x?}");
    }
    let retired = guest.cpu.retired();
    for (bytes, port, size, after) in [
        (&[0xe4, 0x71][..], 0x71, 1, 0x1122_3344_5566_77dd_u64),
        (&[0x66, 0xed], 0x3f8, 2, 0x1122_3344_5566_ccdd),
        (&[0xed], 0x3f8, 4, 0xaabb_ccdd),
    ] {
        guest.code(bytes);
        let exit = Exit::IoRead { port, size };
        assert_eq!(guest.step(), exit, "{bytes:02x?}");
        let before = guest.cpu.rip;
        guest.cpu.answer(exit, Answer::Value(0xaabb_ccdd));
        assert_eq!(guest.step(), Exit::Budget);
        assert_eq!(guest.cpu.regs[RAX], after, "{bytes:02x?}");
        assert_eq!(guest.cpu.rip, before + bytes.len() as u64);
    }
    assert_eq!(guest.cpu.retired(), retired + 3);
}

#[test]
fn the_permission_bitmap_decides_above_iopl() {
    // (IOPL, TSS limit, map base, byte of ports 0x78.., byte after, size, allowed), port 0x7f
    let table: &[(u64, u32, u16, u8, u8, u8, bool)] = &[
        (3, 0x67, 0, 0xff, 0xff, 1, true),
        (0, 0x2fff, 0x68, 0x7f, 0xff, 1, true),
        (0, 0x2fff, 0x68, 0x80, 0, 1, false),
        (0, 0x2fff, 0x68, 0x7f, 0x01, 2, false),
        (0, 0x2fff, 0x68, 0x7f, 0xfe, 2, true),
        (0, 0x2fff, 0x68, 0x7f, 0xf8, 4, true),
        (0, 0x2fff, 0x68, 0x7f, 0x04, 4, false),
        (0, 0x68 + 0xf, 0x68, 0, 0, 1, false), // the byte behind is outside
        (0, 0x68 + 0x10, 0x68, 0, 0, 1, true),
        (0, 0x66, 0x68, 0, 0, 1, false),
        (0, 0x2fff, 0xffff, 0, 0, 1, false),
    ];
    for &(iopl, limit, base, first, second, size, allowed) in table {
        let mut guest = Guest::protected(3);
        guest.cpu.load_rflags(iopl << rflags::IOPL_SHIFT);
        guest.cpu.tr.limit = limit;
        guest.put(TSS + 102, base);
        guest.put(TSS + 0x68 + 0xf, first);
        guest.put(TSS + 0x68 + 0x10, second);
        guest.cpu.regs[RDX] = 0x7f;
        let bytes: &[u8] = match size {
            1 => &[0xee],
            2 => &[0x66, 0xef],
            _ => &[0xef],
        };
        guest.code(bytes);
        let told = matches!(guest.step(), Exit::IoWrite { .. });
        let case = (iopl, limit, base, first, second, size);
        assert_eq!(told, allowed, "{case:x?}");
        assert_eq!(guest.vector(), if allowed { None } else { Some(13) }, "{case:x?}");
    }
    // Virtual-8086 mode looks at the map whatever IOPL is; a 16-bit TSS has none.
    let mut guest = Guest::v86(3);
    guest.put::<u16>(TSS + 102, 0x68);
    guest.put::<u8>(TSS + 0x68, 1);
    guest.execute(&[0xee]);
    assert_eq!(guest.vector(), Some(13));
    let mut guest = Guest::protected(3);
    guest.cpu.tr.access = 0x83;
    guest.put::<u16>(TSS + 2, 0x8000);
    guest.put(TSS + 4, DATA0);
    assert_eq!(guest.fault_of(&[0xee]), Some((13, 0)));
}

#[test]
fn rep_ins_moves_one_element_at_a_time() {
    let mut guest = Guest::long(0);
    guest.cpu.regs[RDX] = 0x1f0;
    guest.cpu.regs[RCX] = 3;
    guest.cpu.regs[RDI] = DATA;
    guest.code(&[0x66, 0xf3, 0x6d]); // REP INSW
    let exit = Exit::IoRead { port: 0x1f0, size: 2 };
    for value in [0x1111, 0x2222, 0x3333_u64] {
        assert_eq!(guest.cpu.run(&guest.mem, &mut guest.blocks, 100), exit);
        guest.cpu.answer(exit, Answer::Value(value));
        if value != 0x3333 {
            assert_eq!(guest.cpu.rip, CODE);
        }
    }
    assert_eq!(guest.step(), Exit::Budget);
    assert_eq!((guest.cpu.rip, guest.cpu.regs[RCX], guest.cpu.regs[RDI]), (CODE + 3, 0, DATA + 6));
    assert_eq!(guest.get::<u64>(DATA), 0x3333_2222_1111);
}

#[test]
fn ins_checks_its_destination_before_it_reads() {
    let mut guest = Guest::long(0);
    guest.cpu.regs[RDI] = 0x1_0000_0000;
    assert_eq!(guest.fault_of(&[0x6c]), Some((14, 2)));
}

#[test]
fn rep_outs_tells_each_element_and_follows_df() {
    let mut guest = Guest::long(0);
    guest.cpu.regs[RDX] = 0x80;
    guest.cpu.regs[RCX] = 2;
    guest.cpu.regs[RSI] = DATA + 1;
    guest.put::<u16>(DATA, 0xbbaa);
    guest.cpu.load_rflags(DF);
    guest.code(&[0xf3, 0x6e]);
    for value in [0xbb, 0xaa] {
        let exit = guest.cpu.run(&guest.mem, &mut guest.blocks, 100);
        assert_eq!(exit, Exit::IoWrite { port: 0x80, size: 1, value });
    }
    assert_eq!((guest.cpu.rip, guest.cpu.regs[RCX], guest.cpu.regs[RSI]), (CODE + 2, 0, DATA - 1));
    // A count of zero does nothing.
    guest.execute(&[0xf3, 0x6e]);
    assert_eq!(guest.cpu.rip, CODE + 4);
}

#[test]
fn hlt_completes_and_tells() {
    let mut guest = Guest::long(0);
    guest.code(&[0xf4]);
    assert_eq!(guest.step(), Exit::Halt);
    assert_eq!((guest.cpu.rip, guest.cpu.retired()), (CODE + 1, 1));
    let mut guest = Guest::protected(3);
    guest.cpu.load_rflags(IOPL);
    assert_eq!(guest.fault_of(&[0xf4]), Some((13, 0)));
}

#[test]
fn an_endless_rep_outs_lets_time_pass() {
    let mut guest = Guest::long(0);
    guest.cpu.regs[RCX] = u64::MAX;
    guest.code(&[0xf3, 0x6e]);
    guest.cpu.regs[RSI] = DATA;
    let before = guest.cpu.retired();
    for _ in 0..10 {
        guest.cpu.run(&guest.mem, &mut guest.blocks, 100);
    }
    assert!(guest.cpu.retired() >= before + 9);
}
