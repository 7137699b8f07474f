//! Files made here byte by byte, loaded into small memories.

mod files;
mod hostile;
mod linux;
mod map;
mod multiboot;
mod pvh;

use guest_memory::{GuestMemory, Slot};
use x86_defs::{Segment, gpr};

use self::files::{bzimage, elf32, elf64, note, patch, segment};
use super::*;

const MIB: u64 = 1 << 20;

fn memory(bytes: u64) -> GuestMemory {
    GuestMemory::new(&ram_layout(bytes)).expect("the host has this little")
}

/// Bytes of guest memory.
fn read(memory: &GuestMemory, address: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).expect("small")];
    memory.read_bytes(address, &mut bytes).expect("is RAM");
    bytes
}

fn u32_at(memory: &GuestMemory, address: u64) -> u32 {
    memory.read(address).expect("is RAM")
}

fn u64_at(memory: &GuestMemory, address: u64) -> u64 {
    memory.read(address).expect("is RAM")
}

/// A string up to its NUL.
fn string_at(memory: &GuestMemory, address: u64) -> String {
    let bytes = (address..).map(|at| memory.read::<u8>(at).expect("is RAM")).take_while(|&byte| byte != 0);
    String::from_utf8(bytes.collect()).expect("is text")
}

fn is_all_zero(memory: &GuestMemory) -> bool {
    let mut zero = true;
    memory.for_each_page(|_, page| zero &= page.iter().all(|&byte| byte == 0));
    zero
}

/// Loads what must not load: the error, with nothing written.
fn refused(memory: &GuestMemory, source: &BootSource<'_>, why: &str) -> BootError {
    let error = load(memory, source).expect_err(why);
    assert!(is_all_zero(memory), "{why}: nothing is written");
    error
}

/// What every protected-mode start has in common.
fn check_flat_32(state: &InitialState, name: &str) {
    assert_eq!((state.cr0, state.cr3, state.cr4, state.efer), (0x11, 0, 0, 0), "{name}: PE and ET alone");
    assert_eq!(state.rflags, 2, "{name}: interrupts off");
    let [_, code, data, ..] = state.segments;
    assert_eq!(code, Segment { selector: 0x10, base: 0, limit: !0, access: 0xc09b }, "{name}: CS");
    assert_eq!(data, Segment { selector: 0x18, base: 0, limit: !0, access: 0xc093 }, "{name}: SS");
    assert_eq!((state.tr.limit, state.tr.access), (0x67, 0x8b), "{name}: TR");
}

/// The hidden parts of the segments are those of the descriptors in the GDT.
fn check_gdt(memory: &GuestMemory, state: &InitialState, name: &str) {
    for segment in state.segments.iter().chain([&state.tr]) {
        assert!(segment.selector + 7 <= state.gdtr.limit, "{name}: {:#x} is in the GDT", segment.selector);
        let descriptor = u64_at(memory, state.gdtr.base + u64::from(segment.selector));
        let loaded = Segment::from_descriptor(segment.selector, descriptor);
        assert_eq!(loaded, *segment, "{name}: selector {:#x}", segment.selector);
    }
}

#[test]
fn protocols_are_told_apart() {
    let multiboot = files::multiboot_header(0);
    let text = segment(0x10_0000, &multiboot);
    let with_note = [segment(0x10_0000, &multiboot), note(18, &0x10_0000_u32.to_le_bytes())];
    let plain = segment(0x10_0000, &[0x90; 64]);
    let addresses = files::multiboot_flat(0x10_0000, &[0x90; 64]);
    for (kernel, flat_address, expected, why) in [
        (bzimage(), None, Some(Protocol::Linux), "HdrS"),
        (elf32(0x10_0000, &[text]), None, Some(Protocol::Multiboot), "ELF32 with a multiboot header"),
        (elf32(0x10_0000, &with_note), None, Some(Protocol::Multiboot), "both: multiboot"),
        (elf64(0x10_0000, &with_note), None, Some(Protocol::Pvh), "both, but ELF64: PVH"),
        (elf64(0x10_0000, &[plain]), None, Some(Protocol::Pvh), "ELF64: PVH, which tells what lacks"),
        (addresses, None, Some(Protocol::Multiboot), "a multiboot header with addresses"),
        (multiboot, None, None, "a multiboot header without addresses in no ELF file"),
        (bzimage(), Some(0x7c00), Some(Protocol::Flat), "an address given"),
        (vec![0; 4096], None, None, "zeros"),
        (Vec::new(), None, None, "nothing"),
    ] {
        let source = BootSource { flat_address, ..BootSource::new(&kernel, "kernel") };
        assert_eq!(detect(&source).ok(), expected, "{why}");
    }
    for (magic, name) in
        [(&[0x1f, 0x8b, 8, 0][..], "gzip"), (b"\xfd7zXZ\0\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")]
    {
        let error = detect(&BootSource::new(magic, "kernel")).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains("decompress it"), "{error}");
    }
}

#[test]
fn a_flat_binary_is_entered_in_real_mode() {
    for (address, selector, offset) in
        [(0x7c00, 0x7c0, 0), (0x1_2345, 0x1234, 5), (0x9_fbf0, 0x9fbf, 0), (0, 0, 0)]
    {
        let memory = memory(2 * MIB);
        let kernel = [0xf4, 0xeb, 0xfd];
        let source = BootSource { flat_address: Some(address), ..BootSource::new(&kernel, "flat") };
        let (protocol, state) = load(&memory, &source).expect("loads");
        assert_eq!(protocol, Protocol::Flat, "{address:#x}");
        assert_eq!(read(&memory, address, 3), kernel, "{address:#x}: the bytes");
        let code = state.segments[1];
        assert_eq!((code.selector, state.rip), (selector, offset), "{address:#x}: CS:IP");
        assert_eq!(code.base + state.rip, address, "{address:#x}: the address");
        assert_eq!((state.cr0, state.rflags), (0x10, 2), "{address:#x}: real mode, interrupts off");
    }
    // It may go on past 1 MiB only where RAM does, and real mode cannot start there.
    let memory = memory(2 * MIB);
    let kernel = vec![1; 0x1000];
    let modules = [Module { bytes: &kernel, command_line: "" }];
    let at = |address| BootSource { flat_address: Some(address), ..BootSource::new(&kernel, "flat") };
    for (source, part, why) in [
        (at(0x10_0000), "below 0x100000", "at 1 MiB"),
        (at(u64::MAX), "below 0x100000", "at the end of everything"),
        (at(0x9_f000), "not all free RAM", "into the last KiB"),
        (at(0xb_0000), "not all free RAM", "in the display's memory"),
        (BootSource { command_line: "x", ..at(0) }, "a command line cannot", "a command line"),
        (BootSource { initrd: Some(&[1]), ..at(0) }, "RAM disk cannot", "a RAM disk"),
        (BootSource { modules: &modules, ..at(0) }, "a module cannot", "a module"),
        (BootSource { kernel: &[], ..at(0) }, "is empty", "an empty file"),
    ] {
        let error = refused(&memory, &source, why).to_string();
        assert!(error.contains(part), "{why}: {error}");
    }
}

#[test]
fn acpi_tables_go_to_their_place() {
    let tables = crate::acpi::build(&crate::acpi::AcpiConfig::new(2)).expect("fits");
    let memory = memory(4 * MIB);
    let kernel = bzimage();
    let source = BootSource { acpi: Some(&tables), ..BootSource::new(&kernel, "linux") };
    let (_, state) = load(&memory, &source).expect("loads");
    assert_eq!(read(&memory, 0xe_0000, tables.bytes.len() as u64), tables.bytes, "the tables");
    assert_eq!(u64_at(&memory, state.registers[gpr::RSI] + 0x70), 0xe_0000, "acpi_rsdp_addr");
    // A machine with RAM elsewhere has no place for them.
    let memory = GuestMemory::new(&[Slot { base: 0, len: 0xa_0000 }, Slot { base: MIB, len: 4 * MIB }])
        .expect("the host has this little");
    let error = refused(&memory, &source, "no RAM for the tables").to_string();
    assert!(error.contains("no RAM at 0xe0000") && error.contains("ACPI tables"), "{error}");
}
