//! PVH, and what all ELF files have in common.

use super::*;

const ENTRY: u64 = 0x10_0010;

fn kernel() -> Vec<u8> {
    let mut data = segment(0x10_2000, &[2; 0x100]);
    data.memory_len = 0x3000;
    let text = segment(0x10_0000, &[1; 0x800]);
    elf64(0xffff_ffff_8000_0000, &[text, data, note(18, &ENTRY.to_le_bytes())])
}

#[test]
fn a_kernel_is_entered_in_protected_mode() {
    let memory = memory(8 * MIB);
    // Whatever was there before.
    memory.write_bytes(0x10_0000, &[0xee; 0x8000]).expect("is RAM");
    let kernel = kernel();
    let modules = [Module { bytes: &[9; 5000], command_line: "second arg" }];
    let source = BootSource {
        command_line: "hello world",
        initrd: Some(&[8; 100]),
        modules: &modules,
        ..BootSource::new(&kernel, "vmlinux")
    };
    let (protocol, state) = load(&memory, &source).expect("loads");
    assert_eq!(protocol, Protocol::Pvh, "recognized");
    assert_eq!(state.rip, ENTRY, "the entry of the note, not of the header");
    check_flat_32(&state, "PVH");
    check_gdt(&memory, &state, "PVH");
    assert_eq!(read(&memory, 0x10_0000, 0x800), [1; 0x800], "the first segment");
    assert_eq!(read(&memory, 0x10_2000, 0x100), [2; 0x100], "the second");
    assert_eq!(read(&memory, 0x10_2100, 0x2f00), [0; 0x2f00], "its bss is cleared");
    assert_eq!(read(&memory, 0x10_0800, 1), [0xee], "between them nothing is touched");
    assert_eq!(read(&memory, 0x10_5000, 1), [0xee], "nor behind them");

    let info = state.registers[gpr::RBX];
    assert_eq!(u32_at(&memory, info), 0x336e_c578, "magic");
    assert_eq!(u32_at(&memory, info + 4), 1, "version");
    assert_eq!(u32_at(&memory, info + 8), 0, "flags");
    assert_eq!(u32_at(&memory, info + 12), 2, "modules");
    assert_eq!(string_at(&memory, u64_at(&memory, info + 24)), "hello world", "the command line");
    assert_eq!(u64_at(&memory, info + 32), 0, "no RSDP");
    let list = u64_at(&memory, info + 16);
    for (at, len, byte, text) in [(list, 100, 8, "initrd"), (list + 32, 5000, 9, "second arg")] {
        assert_eq!(u64_at(&memory, at + 8), len, "{text}: length");
        let content = read(&memory, u64_at(&memory, at), len);
        assert!(content.iter().all(|&found| found == byte), "{text}: content");
        assert_eq!(string_at(&memory, u64_at(&memory, at + 16)), text, "{text}: command line");
    }
    let map = memory_map(&memory, None);
    assert_eq!(u32_at(&memory, info + 48) as usize, map.len(), "entries of the map");
    for (at, entry) in (u64_at(&memory, info + 40)..).step_by(24).zip(map) {
        let told = (u64_at(&memory, at), u64_at(&memory, at + 8), u32_at(&memory, at + 16));
        assert_eq!(told, (entry.start, entry.len(), entry.kind as u32), "map at {at:#x}");
    }
}

#[test]
fn the_note_may_be_of_32_bits() {
    let memory = memory(4 * MIB);
    let parts = [note(18, &0x20_0004_u32.to_le_bytes()), segment(0x20_0000, &[1; 16])];
    let (protocol, state) = load(&memory, &BootSource::new(&elf32(0, &parts), "k")).expect("loads");
    assert_eq!((protocol, state.rip), (Protocol::Pvh, 0x20_0004), "the entry");
}

#[test]
fn what_is_wrong_with_an_elf_file_is_said() {
    let text = || segment(0x10_0000, &[1; 64]);
    let good = || note(18, &0x10_0000_u64.to_le_bytes());
    let at = |physical| segment(physical, &[1; 64]);
    let sized = |memory_len| files::Part { memory_len, ..text() };
    let header = |change: fn(&mut Vec<u8>)| {
        let mut file = elf64(0, &[text(), good()]);
        change(&mut file);
        file
    };
    let elf = |parts: &[files::Part]| elf64(0, parts);
    let memory = memory(4 * MIB);
    for (kernel, part) in [
        (elf(&[text()]), "no PVH note"),
        (elf(&[text(), note(17, &[0; 8])]), "no PVH note"),
        (elf(&[text(), note(18, &[0; 6])]), "has 6 bytes, not 4 or 8"),
        (elf(&[text(), note(18, &0x10_0040_u64.to_le_bytes())]), "entry 0x100040 is in no segment"),
        (elf(&[good()]), "nothing to load"),
        (elf(&[at(0xa_0000), text(), good()]), "0xa0000..0xa0040, which is not all free RAM"),
        (elf(&[at(u64::MAX - 3), text(), good()]), "which is not all free RAM"),
        (elf(&[at(4 * MIB - 1), text(), good()]), "which is not all free RAM"),
        (elf(&[sized(u64::MAX), good()]), "which is not all free RAM"),
        (elf(&[sized(63), good()]), "64 bytes in the file and 63 in memory"),
        (elf(&[text(), at(0x10_003f), good()]), "where segment 0 of the kernel is already"),
        (vec![0x7f, b'E', b'L', b'F'], "ELF header is cut off"),
        (header(|file| file[4] = 3), "unknown class"),
        (header(|file| file[5] = 2), "big-endian"),
        (header(|file| file[16] = 1), "type 1 is not that of an executable"),
        (header(|file| file[18] = 183), "machine 183 is not x86"),
        (header(|file| file[57] = 1), "program headers, more than 256"),
        (header(|file| file[54] = 55), "ELF header is wrong"),
        (header(|file| file[39] = 0xff), "ELF header is wrong"),
        (header(|file| file.truncate(230)), "segment of the kernel's ELF file is cut off"),
    ] {
        let mut kernel = kernel;
        if part.contains("more than 256") {
            // Enough file for so many headers.
            kernel.resize(64 + 258 * 56, 0);
        }
        let error = refused(&memory, &BootSource::new(&kernel, "k"), part).to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    let kernel = elf(&[text(), good()]);
    let source = BootSource { initrd: Some(&[]), ..BootSource::new(&kernel, "k") };
    let error = refused(&memory, &source, "an empty module").to_string();
    assert!(error.contains("module 0 is empty"), "{error}");
}
