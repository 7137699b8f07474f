//! Fast system calls, SWAPGS, FS and GS bases, and who may run what.

use x86_defs::control::{CR4_FSGSBASE, CR4_TSD};
use x86_defs::gpr::{R11, RAX, RBX, RCX, RDX, RSP};
use x86_defs::rflags::{CF, DF, IF, RF, TF};
use x86_defs::segment::index::{CS, GS, SS};

use super::*;

const GP: Option<(u64, u32)> = Some((13, 0));
const UD: Option<(u64, u32)> = Some((6, 0));

fn with_star(cpl: u8) -> Guest {
    let mut guest = Guest::long(cpl);
    guest.cpu.msrs.star = 0x0023_0010_0000_0000;
    guest.cpu.msrs.lstar = 0x2_1000;
    guest.cpu.msrs.fmask = IF | TF | DF;
    guest
}

#[test]
fn syscall_and_sysret() {
    let mut guest = with_star(3);
    guest.cpu.load_rflags(IF | TF | CF);
    guest.execute(&[0x0f, 0x05]);
    assert_eq!((guest.cpu.cpl, guest.cpu.rip, guest.cpu.regs[RCX]), (0, 0x2_1000, CODE + 2));
    assert_eq!(guest.cpu.regs[R11], IF | TF | CF | 2);
    assert_eq!(guest.cpu.rflags(), CF | 2);
    assert_eq!(guest.cpu.debug_pending, 0, "TF was masked");
    assert_eq!((guest.cpu.segs[CS].selector, guest.cpu.segs[SS].selector), (0x10, 0x18));
    assert_eq!((guest.cpu.segs[CS].access, guest.cpu.segs[SS].access), (0xa09b, 0xc093));
    guest.cpu.regs[R11] = IF | RF | rflags::VM;
    guest.execute(&[0x48, 0x0f, 0x07]); // SYSRETQ
    assert_eq!((guest.cpu.cpl, guest.cpu.rip), (3, CODE + 2));
    assert_eq!(guest.cpu.rflags(), IF | 2);
    assert_eq!((guest.cpu.segs[CS].selector, guest.cpu.segs[SS].selector), (0x33, 0x2b));
    assert_eq!(guest.cpu.segs[CS].access, 0xa0fb);
    let mut guest = with_star(0);
    guest.cpu.regs[RCX] = 0xffff_0002_1000;
    guest.execute(&[0x0f, 0x07]); // SYSRETL
    assert_eq!((guest.cpu.mode.bits(), guest.cpu.rip, guest.cpu.segs[CS].selector), (32, 0x2_1000, 0x23));
}

#[test]
fn syscall_and_sysret_refuse() {
    assert_eq!(Guest::protected(3).fault_of(&[0x0f, 0x05]), UD);
    let mut guest = with_star(3);
    guest.cpu.efer &= !EFER_SCE;
    assert_eq!(guest.fault_of(&[0x0f, 0x05]), UD);
    assert_eq!(with_star(3).fault_of(&[0x48, 0x0f, 0x07]), GP);
    let mut guest = with_star(0);
    guest.cpu.regs[RCX] = 0x8000_0000_0000;
    assert_eq!(guest.fault_of(&[0x48, 0x0f, 0x07]), GP, "before the level changes");
    assert_eq!(guest.cpu.segs[SS].selector, DATA0);
}

#[test]
fn sysenter_and_sysexit() {
    for long in [false, true] {
        let mut guest = if long { Guest::long(3) } else { Guest::protected(3) };
        guest.cpu.msrs.sysenter_cs = 0x10b;
        guest.cpu.msrs.sysenter_esp = 0x4_4000;
        guest.cpu.msrs.sysenter_eip = 0x2_1000;
        guest.cpu.load_rflags(IF | CF);
        guest.execute(&[0x0f, 0x34]);
        assert_eq!((guest.cpu.cpl, guest.cpu.rip, guest.cpu.regs[RSP]), (0, 0x2_1000, 0x4_4000));
        assert_eq!(guest.cpu.rflags(), CF | 2);
        assert_eq!((guest.cpu.segs[CS].selector, guest.cpu.segs[SS].selector), (0x108, 0x110));
        assert_eq!(guest.cpu.mode.is_64(), long);
        (guest.cpu.regs[RCX], guest.cpu.regs[RDX]) = (0x4_5000, 0x2_2000);
        let bytes: &[u8] = if long { &[0x48, 0x0f, 0x35] } else { &[0x0f, 0x35] };
        guest.execute(bytes);
        assert_eq!((guest.cpu.cpl, guest.cpu.rip, guest.cpu.regs[RSP]), (3, 0x2_2000, 0x4_5000));
        let (code, stack) = if long { (0x12b, 0x133) } else { (0x11b, 0x123) };
        assert_eq!((guest.cpu.segs[CS].selector, guest.cpu.segs[SS].selector), (code, stack));
    }
    assert_eq!(Guest::protected(3).fault_of(&[0x0f, 0x34]), GP, "SYSENTER_CS is null");
    let mut guest = Guest::protected(3);
    guest.cpu.msrs.sysenter_cs = 8;
    assert_eq!(guest.fault_of(&[0x0f, 0x35]), GP, "SYSEXIT at level 3");
}

#[test]
fn swapgs_and_the_base_instructions() {
    let mut guest = Guest::long(0);
    guest.cpu.segs[GS].base = 0x1111;
    guest.cpu.msrs.kernel_gs_base = 0x2222;
    guest.execute(&[0x0f, 0x01, 0xf8]);
    assert_eq!((guest.cpu.segs[GS].base, guest.cpu.msrs.kernel_gs_base), (0x2222, 0x1111));
    assert_eq!(Guest::long(3).fault_of(&[0x0f, 0x01, 0xf8]), GP);
    assert_eq!(Guest::protected(0).fault_of(&[0x0f, 0x01, 0xf8]), UD);

    let mut guest = Guest::long(3);
    assert_eq!(guest.fault_of(&[0xf3, 0x48, 0x0f, 0xae, 0xc0]), UD, "without CR4.FSGSBASE");
    let mut guest = Guest::long(3);
    guest.cpu.cr4 |= CR4_FSGSBASE;
    guest.cpu.regs[RBX] = 0x7fff_1234_5678;
    guest.execute(&[0xf3, 0x48, 0x0f, 0xae, 0xdb]); // WRGSBASE RBX
    assert_eq!(guest.cpu.segs[GS].base, 0x7fff_1234_5678);
    guest.execute(&[0xf3, 0x0f, 0xae, 0xc8]); // RDGSBASE EAX
    assert_eq!(guest.cpu.regs[RAX], 0x1234_5678);
    guest.execute(&[0xf3, 0x0f, 0xae, 0xdb]); // WRGSBASE EBX
    assert_eq!(guest.cpu.segs[GS].base, 0x1234_5678);
    guest.cpu.regs[RBX] = 0x8000_0000_0000;
    assert_eq!(guest.fault_of(&[0xf3, 0x48, 0x0f, 0xae, 0xdb]), GP);
}

#[test]
fn privileged_instructions_fault_at_level_3() {
    let table: &[&[u8]] = &[
        &[0xf4],                               // HLT
        &[0xfa],                               // CLI
        &[0xfb],                               // STI
        &[0xec],                               // IN AL, DX
        &[0x0f, 0x08],                         // INVD
        &[0x0f, 0x09],                         // WBINVD
        &[0x0f, 0x33],                         // RDPMC
        &[0x0f, 0x01, 0x14, 0x25, 0, 0, 3, 0], // LGDT
        &[0x0f, 0x00, 0xd0],                   // LLDT AX
        &[0x0f, 0x00, 0xd8],                   // LTR AX
    ];
    for bytes in table {
        assert_eq!(Guest::long(3).fault_of(bytes), GP, "{bytes:02x?}");
    }
    for bytes in [&[0x0f, 0x01, 0xca][..], &[0x0f, 0x01, 0xcb], &[0x0f, 0x01, 0xc8], &[0x0f, 0x01, 0xc9]] {
        assert_eq!(Guest::long(3).fault_of(bytes), UD, "CLAC, STAC, MONITOR, MWAIT: {bytes:02x?}");
    }
}

#[test]
fn rdtsc_counts_instructions_and_obeys_tsd() {
    let mut guest = Guest::long(3);
    guest.cpu.msrs.tsc_aux = 0x77;
    guest.execute(&[0x90]);
    guest.execute(&[0x0f, 0x31]);
    assert_eq!((guest.cpu.regs[RAX], guest.cpu.regs[RDX]), (1, 0));
    guest.execute(&[0x0f, 0x01, 0xf9]); // RDTSCP
    assert_eq!((guest.cpu.regs[RAX], guest.cpu.regs[RCX]), (2, 0x77));
    guest.execute(&[0xf3, 0x0f, 0xc7, 0xfb]); // RDPID RBX
    assert_eq!(guest.cpu.regs[RBX], 0x77);
    guest.cpu.cr4 |= CR4_TSD;
    assert_eq!(guest.fault_of(&[0x0f, 0x31]), GP);
}

#[test]
fn random_numbers_follow_the_seed_alone() {
    let draw = || {
        let mut guest = Guest::long(3);
        guest.execute(&[0x48, 0x0f, 0xc7, 0xf0]); // RDRAND RAX
        guest.execute(&[0x48, 0x0f, 0xc7, 0xfb]); // RDSEED RBX
        assert_eq!(guest.cpu.rflags(), CF | 2);
        (guest.cpu.regs[RAX], guest.cpu.regs[RBX])
    };
    assert_eq!(draw(), draw());
    assert_ne!(draw().0, draw().1);
}
