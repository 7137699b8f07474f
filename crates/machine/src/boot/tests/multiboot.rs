//! Multiboot 1.

use super::files::{MULTIBOOT_FLAT_HEADER, multiboot_flat, multiboot_header};
use super::*;

fn elf(flags: u32, entry: u32) -> Vec<u8> {
    let mut text = segment(0x10_0000, &[multiboot_header(flags), vec![0x90; 64]].concat());
    text.virtual_address = 0xc010_0000;
    text.memory_len = 0x2000;
    elf32(entry, &[text])
}

#[test]
fn an_elf_kernel_is_entered_with_its_information() {
    let memory = memory(8 * MIB);
    let kernel = elf(0b11, 0xc010_000c);
    let modules = [
        Module { bytes: &[4; 10], command_line: "one a=1" },
        Module { bytes: &[5; 0x1001], command_line: "two" },
    ];
    let source =
        BootSource { command_line: "-v test", modules: &modules, ..BootSource::new(&kernel, "kernel.elf") };
    let (protocol, state) = load(&memory, &source).expect("loads");
    assert_eq!(protocol, Protocol::Multiboot, "recognized");
    assert_eq!(state.rip, 0x10_000c, "a virtual entry, made physical by its segment");
    assert_eq!(state.registers[gpr::RAX], 0x2bad_b002, "the loader's magic");
    check_flat_32(&state, "multiboot");
    check_gdt(&memory, &state, "multiboot");

    let info = state.registers[gpr::RBX];
    let field = |at: u64| u32_at(&memory, info + at);
    assert_eq!(field(0), 0b10_0100_1101, "flags: memory, command line, modules, map, name");
    assert_eq!((field(4), field(8)), (639, 7 * 1024), "KiB below 640 KiB and from 1 MiB");
    assert_eq!(string_at(&memory, field(16).into()), "kernel.elf -v test", "name and command line");
    assert_eq!(string_at(&memory, field(64).into()), "testudo", "the loader's name");
    assert_eq!(field(20), 2, "modules");
    for (number, expected) in (0..).zip(modules) {
        let module = u64::from(field(24)) + number * 16;
        let (start, end) = (u32_at(&memory, module), u32_at(&memory, module + 4));
        let name = expected.command_line;
        assert!(
            start >= 0x10_2000 && start % 0x1000 == 0,
            "{name}: behind the kernel, at a page: {start:#x}"
        );
        assert_eq!(read(&memory, start.into(), (end - start).into()), expected.bytes, "{name}: content");
        assert_eq!(string_at(&memory, u32_at(&memory, module + 8).into()), name, "{name}: string");
    }
    let mut at = u64::from(field(48));
    let end = at + u64::from(field(44));
    for entry in memory_map(&memory, None) {
        assert_eq!(u32_at(&memory, at), 20, "size of the rest");
        let told = (u64_at(&memory, at + 4), u64_at(&memory, at + 12), u32_at(&memory, at + 20));
        assert_eq!(told, (entry.start, entry.len(), entry.kind as u32), "map at {at:#x}");
        at += 24;
    }
    assert_eq!(at, end, "length of the map");
}

#[test]
fn a_kernel_may_say_itself_where_it_goes() {
    let memory = memory(4 * MIB);
    memory.write_bytes(0x20_0000, &[0xee; 0x4000]).expect("is RAM");
    let kernel = multiboot_flat(0x20_0000, &[0x90; 100]);
    let (protocol, state) = load(&memory, &BootSource::new(&kernel, "k")).expect("loads");
    assert_eq!(protocol, Protocol::Multiboot, "recognized");
    assert_eq!(state.rip, 0x20_0030, "its entry");
    assert_eq!(read(&memory, 0x20_0000, kernel.len() as u64), kernel, "the image");
    let behind = 0x20_0000 + kernel.len() as u64;
    assert_eq!(read(&memory, behind, 0x1000), [0; 0x1000], "its bss is cleared");
    assert_eq!(read(&memory, behind + 0x1000, 1), [0xee], "and no more");
    assert_eq!(
        string_at(&memory, u32_at(&memory, state.registers[gpr::RBX] + 16).into()),
        "k",
        "the name alone"
    );

    let mut whole = kernel.clone();
    patch(&mut whole, MULTIBOOT_FLAT_HEADER + 20, &[0; 8]);
    whole.extend([1; 50]);
    load(&memory, &BootSource::new(&whole, "k")).expect("loads");
    assert_eq!(read(&memory, 0x20_0000, whole.len() as u64), whole, "without an end: all of the file");

    let mut middle = vec![0; 4096];
    middle.extend(&kernel);
    load(&memory, &BootSource::new(&middle, "k")).expect("loads");
    assert_eq!(read(&memory, 0x20_0000, kernel.len() as u64), kernel, "the image may begin within the file");
}

#[test]
fn headers_are_found_where_they_may_be() {
    let found = |offset: usize, change: fn(&mut Vec<u8>)| {
        let mut file = vec![0; offset];
        file.extend(multiboot_header(3));
        file.resize(16384, 0);
        change(&mut file);
        super::super::multiboot::Header::find(&file).is_some()
    };
    for (offset, expected) in [(0, true), (4, true), (8180, true), (8184, false), (8192, false), (2, false)] {
        assert_eq!(found(offset, |_| ()), expected, "at {offset}");
    }
    assert!(!found(0, |file| file[8] ^= 1), "the checksum counts");
    assert!(
        found(64, |file| file[..4].copy_from_slice(&0x1bad_b002_u32.to_le_bytes())),
        "magic without checksum is passed"
    );
}

#[test]
fn what_is_wrong_with_a_multiboot_kernel_is_said() {
    let changed = |field: usize, value: u32| {
        let mut kernel = multiboot_flat(0x20_0000, &[0x90; 100]);
        patch(&mut kernel, MULTIBOOT_FLAT_HEADER + field, &value.to_le_bytes());
        kernel
    };
    let memory = memory(4 * MIB);
    for (kernel, part) in [
        (elf(1 << 3, 0xc010_000c), "multiboot features 0x8"),
        (elf(1 << 15, 0xc010_000c), "multiboot features 0x8000"),
        (elf(0, 0x1000), "entry 0x1000 is in no segment"),
        (changed(16, 0x20_0011), "lies before the load address"),
        (changed(12, 0x20_0100), "starts before the file"),
        (changed(20, 0x1f_ffff), "ends before it starts"),
        (changed(20, 0x20_1000), "multiboot kernel is cut off"),
        (changed(24, 0x20_0090), "bss ends before its data"),
        (changed(24, 0x40_0001), "which is not all free RAM"),
        (changed(28, 0x1f_ffff), "entry 0x1fffff is not in the image"),
        (changed(28, 0x30_0000), "entry 0x300000 is not in the image"),
        (multiboot_flat(0x20_0000, &[])[..40].to_vec(), "multiboot header is cut off"),
        (multiboot_flat(0x9_fc00, &[0x90; 100]), "which is not all free RAM"),
    ] {
        let error = refused(&memory, &BootSource::new(&kernel, "k"), part).to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    let kernel = elf(0, 0xc010_000c);
    let big = vec![1; 3 << 20];
    for (bytes, part) in [(&big[..], "free below 0x100000000 for module 0"), (&[], "module 0 is empty")] {
        let modules = [Module { bytes, command_line: "m" }];
        let source = BootSource { modules: &modules, ..BootSource::new(&kernel, "k") };
        let error = refused(&memory, &source, part).to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
}
