//! The Linux boot protocol.

use super::files::{BZIMAGE_KERNEL, BZIMAGE_SETUP};
use super::*;

#[test]
fn a_kernel_is_entered_in_64_bit_mode() {
    let memory = memory(8 * MIB);
    let kernel = bzimage();
    let initrd = vec![7; 0x2345];
    let source = BootSource {
        command_line: "console=ttyS0 quiet",
        initrd: Some(&initrd),
        ..BootSource::new(&kernel, "vmlinuz")
    };
    let (protocol, state) = load(&memory, &source).expect("loads");
    assert_eq!(protocol, Protocol::Linux, "recognized");
    assert_eq!(state.rip, 0x10_0200, "the 64-bit entry");
    let loaded = read(&memory, 0x10_0000, BZIMAGE_KERNEL as u64);
    assert_eq!(loaded, kernel[BZIMAGE_SETUP..], "the protected-mode kernel");

    assert_eq!(state.cr0, 0x8000_0011, "PG, ET, PE");
    assert_eq!((state.cr4, state.efer), (0x20, 0x500), "PAE; LMA and LME");
    let [_, code, stack, data, ..] = state.segments;
    assert_eq!((code.selector, code.access), (0x10, 0xa09b), "__BOOT_CS, 64-bit");
    assert_eq!((data.selector, data.access), (0x18, 0xc093), "__BOOT_DS");
    assert_eq!(stack, data, "SS too");
    check_gdt(&memory, &state, "Linux");

    let zero_page = state.registers[gpr::RSI];
    assert_eq!(read(&memory, zero_page + 0x202, 4), b"HdrS", "the header is copied");
    assert_eq!(read(&memory, zero_page + 0x260, 4), kernel[0x260..0x264], "to its end");
    assert_eq!(read(&memory, zero_page, 0x70), [0; 0x70], "no screen");
    assert_eq!(read(&memory, zero_page + 0x210, 1), [0xff], "type_of_loader");
    assert_eq!(u64_at(&memory, zero_page + 0x70), 0, "no ACPI tables were given");
    let command_line = u64::from(u32_at(&memory, zero_page + 0x228));
    assert_eq!(string_at(&memory, command_line), "console=ttyS0 quiet", "the command line");
    let ramdisk = u64::from(u32_at(&memory, zero_page + 0x218));
    assert_eq!(u32_at(&memory, zero_page + 0x21c), 0x2345, "the length of the RAM disk");
    assert_eq!(ramdisk, 8 * MIB - 0x3000, "as high as it goes, at a page");
    assert_eq!(read(&memory, ramdisk, 0x2345), initrd, "the RAM disk");

    let count = read(&memory, zero_page + 0x1e8, 1)[0];
    let map = memory_map(&memory, None);
    assert_eq!(usize::from(count), map.len(), "entries of e820");
    for (at, entry) in (zero_page + 0x2d0..).step_by(20).zip(map) {
        let told = (u64_at(&memory, at), u64_at(&memory, at + 8), u32_at(&memory, at + 16));
        assert_eq!(told, (entry.start, entry.len(), entry.kind as u32), "e820 at {at:#x}");
    }

    let low = [zero_page, command_line, state.cr3, state.gdtr.base, state.registers[gpr::RSP] - 0x1000];
    assert!(
        low.iter().all(|&address| (0x1000..LOW_MEMORY_END).contains(&address)),
        "all of it is low: {low:x?}"
    );
}

#[test]
fn the_first_four_gib_are_mapped_to_themselves() {
    let memory = memory(4 * MIB);
    let kernel = bzimage();
    let (_, state) = load(&memory, &BootSource::new(&kernel, "vmlinuz")).expect("loads");
    for address in [0, 0x10_0200, 0x3fff_ffff, 0x4000_0000, 0xfee0_0000, 0xffff_ffff_u64] {
        let entry = |table: u64, shift: u32| u64_at(&memory, table + (address >> shift & 0x1ff) * 8);
        let (root, gib) = (entry(state.cr3, 39), entry(entry(state.cr3, 39) & !0xfff, 30));
        let leaf = entry(gib & !0xfff, 21);
        assert_eq!(
            (root & 0xfff, gib & 0xfff, leaf & 0xfff),
            (3, 3, 0x83),
            "{address:#x}: present, writable"
        );
        assert_eq!(leaf & !0xfff, address & !0x1f_ffff, "{address:#x}: itself");
    }
    assert_eq!(u64_at(&memory, state.cr3 + 8), 0, "nothing more");
}

#[test]
fn the_kernel_says_where_things_may_be() {
    let mut kernel = bzimage();
    patch(&mut kernel, 0x258, &0x18_0000_u64.to_le_bytes());
    let place = |kernel: &[u8], initrd: Option<&[u8]>| {
        let memory = memory(8 * MIB);
        let source = BootSource { initrd, ..BootSource::new(kernel, "vmlinuz") };
        let (_, state) = load(&memory, &source).expect("loads");
        (state.rip, u32_at(&memory, state.registers[gpr::RSI] + 0x218))
    };
    assert_eq!(place(&kernel, None).0, 0x20_0200, "a relocatable kernel goes to a multiple of its alignment");
    patch(&mut kernel, 0x234, &[0]);
    assert_eq!(place(&kernel, None).0, 0x18_0200, "one that is not goes where it says");
    patch(&mut kernel, 0x22c, &0x3f_ffff_u32.to_le_bytes());
    assert_eq!(place(&kernel, Some(&[1; 0x1001])).1, 0x3f_e000, "the RAM disk stays below initrd_addr_max");
    let mut longer = kernel.clone();
    longer.extend([0xee; 1000]);
    assert_eq!(place(&longer, None), place(&kernel, None), "a signature behind the kernel is left out");
}

#[test]
fn what_is_wrong_with_a_kernel_is_said() {
    type Change = fn(&mut Vec<u8>);
    let cases: [(&str, Change); 14] = [
        ("protocol 2.11", |k| patch(k, 0x206, &0x20b_u16.to_le_bytes())),
        ("it ends at 0x252", |k| patch(k, 0x201, &[0x50])),
        ("zImage", |k| patch(k, 0x211, &[0])),
        ("its 32-bit entry", |k| patch(k, 0x236, &[0x3e, 0])),
        ("cut off: it needs 5136 bytes and has 5120", |k| patch(k, 0x1f4, &0x101_u32.to_le_bytes())),
        ("cut off: it needs 68719477744", |k| patch(k, 0x1f4, &[0xff; 4])),
        ("has no 64-bit entry", |k| patch(k, 0x1f4, &0x20_u32.to_le_bytes())),
        ("cut off: it needs 6656", |k| patch(k, 0x1f1, &[0])),
        ("not a power of two", |k| patch(k, 0x230, &0_u32.to_le_bytes())),
        ("not from 1 MiB to 4 GiB", |k| patch(k, 0x258, &[0; 8])),
        ("not from 1 MiB to 4 GiB", |k| patch(k, 0x258, &[0xff; 8])),
        ("0x100000..0xff100000, which is not all free RAM", |k| patch(k, 0x260, &[0, 0, 0, 0xff])),
        ("give the machine more memory", |k| patch(k, 0x260, &0x40_0000_u32.to_le_bytes())),
        ("this kernel takes 3; shorten it", |k| patch(k, 0x238, &3_u32.to_le_bytes())),
    ];
    let memory = memory(4 * MIB);
    for (part, change) in cases {
        let mut kernel = bzimage();
        change(&mut kernel);
        let source = BootSource { command_line: "quiet", ..BootSource::new(&kernel, "vmlinuz") };
        let error = refused(&memory, &source, part).to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn what_is_wrong_beside_the_kernel_is_said() {
    let memory = memory(4 * MIB);
    let kernel = bzimage();
    let big = vec![1; 3 << 20];
    let modules = [Module { bytes: &[1], command_line: "" }];
    let good = BootSource::new(&kernel, "vmlinuz");
    for (source, part) in [
        (BootSource { initrd: Some(&[]), ..good }, "RAM disk is empty"),
        (BootSource { initrd: Some(&big), ..good }, "for the initial RAM disk; give the machine more memory"),
        (BootSource { modules: &modules, ..good }, "a module cannot be given to a Linux guest"),
        (BootSource { command_line: "a\0b", ..good }, "has a NUL"),
    ] {
        let error = refused(&memory, &source, part).to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    let tiny = super::memory(0x8000);
    let error = refused(&tiny, &good, "32 KiB").to_string();
    assert!(error.contains("give the machine more memory (it has 32768 bytes)"), "{error}");
}
