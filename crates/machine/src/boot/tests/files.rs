//! Kernels made byte by byte.

/// Overwrites bytes at an offset.
pub(super) fn patch(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Where the protected-mode kernel of [`bzimage`] begins: one setup sector, and the boot sector.
pub(super) const BZIMAGE_SETUP: usize = 1024;
/// Its length.
pub(super) const BZIMAGE_KERNEL: usize = 0x1000;

/// The smallest bzImage: it prefers 1 MiB and wants 1 MiB there.
pub(super) fn bzimage() -> Vec<u8> {
    let mut file = vec![0; BZIMAGE_SETUP + BZIMAGE_KERNEL];
    for (at, bytes) in [
        (0x1f1, &[1][..]),                       // setup_sects
        (0x1f4, &0x100_u32.to_le_bytes()),       // syssize
        (0x1fe, &[0x55, 0xaa]),                  // boot_flag
        (0x200, &[0xeb, 0x6a]),                  // jump to 0x26c
        (0x202, b"HdrS"),                        // header
        (0x206, &0x20f_u16.to_le_bytes()),       // version
        (0x211, &[0x01]),                        // loadflags: LOADED_HIGH
        (0x214, &0x10_0000_u32.to_le_bytes()),   // code32_start
        (0x22c, &0x7fff_ffff_u32.to_le_bytes()), // initrd_addr_max
        (0x230, &0x10_0000_u32.to_le_bytes()),   // kernel_alignment
        (0x234, &[1]),                           // relocatable_kernel
        (0x236, &0x3f_u16.to_le_bytes()),        // xloadflags
        (0x238, &255_u32.to_le_bytes()),         // cmdline_size
        (0x258, &0x10_0000_u64.to_le_bytes()),   // pref_address
        (0x260, &0x10_0000_u32.to_le_bytes()),   // init_size
    ] {
        patch(&mut file, at, bytes);
    }
    for (byte, value) in file[BZIMAGE_SETUP..].iter_mut().zip((1..=251).cycle()) {
        *byte = value;
    }
    file
}

/// A program header and what is in the file for it.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) kind: u32,
    pub(super) physical: u64,
    pub(super) virtual_address: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) memory_len: u64,
}

/// A segment to load.
pub(super) fn segment(physical: u64, bytes: &[u8]) -> Part {
    Part {
        kind: 1,
        physical,
        virtual_address: physical,
        bytes: bytes.to_vec(),
        memory_len: bytes.len() as u64,
    }
}

/// A note of Xen.
pub(super) fn note(kind: u32, description: &[u8]) -> Part {
    let mut bytes = Vec::new();
    for word in [4, description.len() as u32, kind] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(b"Xen\0");
    bytes.extend(description);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Part { kind: 4, physical: 0, virtual_address: 0, memory_len: bytes.len() as u64, bytes }
}

pub(super) const ELF32_HEADER: usize = 52;
pub(super) const ELF32_PROGRAM_HEADER: usize = 32;
pub(super) const ELF64_HEADER: usize = 64;
pub(super) const ELF64_PROGRAM_HEADER: usize = 56;

fn ident(class: u8, machine: u16) -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend(2_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file
}

/// An executable of 32 bits; parts follow the headers.
pub(super) fn elf32(entry: u32, parts: &[Part]) -> Vec<u8> {
    let mut file = ident(1, 3);
    for word in [entry, ELF32_HEADER as u32, 0, 0] {
        file.extend(word.to_le_bytes());
    }
    for half in [ELF32_HEADER as u16, ELF32_PROGRAM_HEADER as u16, parts.len() as u16, 40, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let mut offset = ELF32_HEADER + parts.len() * ELF32_PROGRAM_HEADER;
    for part in parts {
        let len = part.bytes.len() as u32;
        let (physical, virtual_address) = (part.physical as u32, part.virtual_address as u32);
        for word in [part.kind, offset as u32, virtual_address, physical, len, part.memory_len as u32, 7, 4] {
            file.extend(word.to_le_bytes());
        }
        offset += part.bytes.len();
    }
    file.extend(parts.iter().flat_map(|part| &part.bytes));
    file
}

/// An executable of 64 bits; parts follow the headers.
pub(super) fn elf64(entry: u64, parts: &[Part]) -> Vec<u8> {
    let mut file = ident(2, 62);
    for long in [entry, ELF64_HEADER as u64, 0] {
        file.extend(long.to_le_bytes());
    }
    file.extend([0; 4]);
    for half in [ELF64_HEADER as u16, ELF64_PROGRAM_HEADER as u16, parts.len() as u16, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let mut offset = ELF64_HEADER + parts.len() * ELF64_PROGRAM_HEADER;
    for part in parts {
        file.extend(part.kind.to_le_bytes());
        file.extend(7_u32.to_le_bytes());
        let len = part.bytes.len() as u64;
        for long in [offset as u64, part.virtual_address, part.physical, len, part.memory_len, 4] {
            file.extend(long.to_le_bytes());
        }
        offset += part.bytes.len();
    }
    file.extend(parts.iter().flat_map(|part| &part.bytes));
    file
}

/// A multiboot header without addresses.
pub(super) fn multiboot_header(flags: u32) -> Vec<u8> {
    let magic = 0x1bad_b002_u32;
    [magic, flags, 0_u32.wrapping_sub(magic).wrapping_sub(flags)]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect()
}

/// Where the multiboot header of [`multiboot_flat`] is.
pub(super) const MULTIBOOT_FLAT_HEADER: usize = 16;

/// A kernel of 16 bytes, a multiboot header with addresses, and `code`, which it is entered at; 4 KiB of bss behind it.
pub(super) fn multiboot_flat(load: u32, code: &[u8]) -> Vec<u8> {
    let mut file = vec![0xcc; MULTIBOOT_FLAT_HEADER];
    file.extend(multiboot_header(1 << 16));
    let header = load + MULTIBOOT_FLAT_HEADER as u32;
    let entry = header + 32;
    let end = entry + code.len() as u32;
    for word in [header, load, end, end + 0x1000, entry] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}
