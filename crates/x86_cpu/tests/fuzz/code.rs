//! Random code: instructions of every opcode map with operands that often lead somewhere, and plain noise.

use crate::random::Random;

/// What code is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    Bits16,
    Bits32,
    Bits64,
}

/// `len` bytes of instructions.
pub(crate) fn program(random: &mut Random, flavour: Flavour, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 16);
    let noise = random.chance(5);
    while bytes.len() < len {
        if noise {
            bytes.push(random.next() as u8);
        } else {
            instruction(random, flavour, &mut bytes);
        }
    }
    bytes.truncate(len);
    bytes
}

/// A store to code or to page tables, or a flush of what is cached of them.
fn store_that_matters(random: &mut Random, flavour: Flavour, bytes: &mut Vec<u8>) {
    let to_code = flavour == Flavour::Bits16 || random.chance(50);
    let address =
        if to_code { 0x8000 + random.below(0x2000) } else { 0x7000 + 4 * random.below(0x400) } as u32;
    match random.below(6) {
        // mov cr3,rax
        0 => return bytes.extend([0x0f, 0x22, 0xd8]),
        // invlpg [rbx]
        1 => return bytes.extend([0x0f, 0x01, 0x3b]),
        _ => {}
    }
    // mov byte or dword [address],immediate
    bytes.push(if to_code { 0xc6 } else { 0xc7 });
    match flavour {
        Flavour::Bits16 => {
            // The data segments begin at 0x20000: code is out of reach but through CS, which protected mode does not write.
            bytes.insert(bytes.len() - 1, 0x2e);
            bytes.push(0x06);
            bytes.extend((address as u16 & 0x1fff).to_le_bytes());
        }
        Flavour::Bits32 => {
            bytes.push(0x05);
            bytes.extend(address.to_le_bytes());
        }
        Flavour::Bits64 => {
            bytes.extend([0x04, 0x25]);
            bytes.extend(address.to_le_bytes());
        }
    }
    if to_code {
        bytes.push(random.next() as u8);
    } else {
        let frame = random.below(0x40) << 12 | random.pick(&[7, 7, 7, 5, 3, 0]);
        bytes.extend((frame as u32).to_le_bytes());
    }
}

fn instruction(random: &mut Random, flavour: Flavour, bytes: &mut Vec<u8>) {
    if random.chance(3) {
        return store_that_matters(random, flavour, bytes);
    }
    for (prefix, percent) in [(0x66, 15), (0x67, 5), (0xf0, 3), (0xf2, 6), (0xf3, 10)] {
        if random.chance(percent) {
            bytes.push(prefix);
        }
    }
    if random.chance(6) {
        bytes.push(random.pick(&[0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]));
    }
    if flavour == Flavour::Bits64 && random.chance(45) {
        bytes.push(0x40 | random.below(16) as u8);
    }
    let mut immediate = random.below(5);
    match random.below(100) {
        // What goes wrong soon is kept rare.
        0..=54 => {
            let mut opcode = random.next() as u8;
            if matches!(
                opcode,
                0xf4 | 0xea | 0x9a | 0xca..=0xcf | 0xc2 | 0xc3 | 0xe8 | 0xe9 | 0x62 | 0xc4 | 0xc5
            ) && random.chance(70)
            {
                opcode &= 0x3f;
            }
            if matches!(opcode, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f) {
                opcode ^= 0x80;
            }
            bytes.push(opcode);
            if matches!(opcode, 0xe8 | 0xe9) {
                bytes.extend([random.below(64) as u8, 0, 0, 0]);
                return;
            }
            if matches!(opcode, 0x70..=0x7f | 0xe0..=0xe3 | 0xeb) {
                // Forward more often than back: runs should get somewhere.
                bytes.push(if random.chance(80) { random.below(24) as u8 } else { random.next() as u8 });
                return;
            }
        }
        55..=84 => {
            bytes.extend([0x0f, random.next() as u8]);
            if matches!(bytes.last(), Some(0x80..=0x8f)) {
                bytes.extend([random.below(64) as u8, 0, 0, 0]);
                return;
            }
        }
        85..=91 => bytes.extend([0x0f, 0x38, random.pick(&[0, 0x80, 0xc0, 0xf0]) | random.below(0x40) as u8]),
        92..=96 => {
            bytes.extend([0x0f, 0x3a, random.below(0x70) as u8]);
            immediate = immediate.max(1);
        }
        // System instructions, often.
        _ => bytes.extend([
            0x0f,
            random
                .pick(&[0x00, 0x01, 0x20, 0x22, 0x21, 0x23, 0x30, 0x32, 0xae, 0xc7, 0x05, 0x07, 0x34, 0x35]),
        ]),
    }
    operand(random, flavour, bytes);
    for _ in 0..immediate {
        bytes.push(if random.chance(50) { random.below(8) as u8 } else { random.next() as u8 });
    }
}

/// ModRM, SIB and displacement.
fn operand(random: &mut Random, flavour: Flavour, bytes: &mut Vec<u8>) {
    let modrm = random.next() as u8;
    bytes.push(modrm);
    let (mode, rm) = (modrm >> 6, modrm & 7);
    if mode == 3 {
        return;
    }
    let address = 0xd000 + random.below(0x3_3000) as u32;
    if flavour == Flavour::Bits16 {
        match (mode, rm) {
            (0, 6) | (2, _) => bytes.extend((address as u16).to_le_bytes()),
            (1, _) => bytes.push(random.next() as u8),
            _ => {}
        }
        return;
    }
    if rm == 4 {
        bytes.push(random.next() as u8);
    }
    match (mode, rm) {
        (0, 5) if flavour == Flavour::Bits64 => bytes.extend((random.below(0x8000) as u32).to_le_bytes()),
        (0, 5) => bytes.extend(address.to_le_bytes()),
        (1, _) => bytes.push(random.next() as u8),
        (2, _) => bytes.extend((random.below(0x1000) as u32).to_le_bytes()),
        _ => {}
    }
}

/// A handler of at most 16 bytes: it steps over a few bytes of what was interrupted and goes back.
pub(crate) fn handler(random: &mut Random, flavour: Flavour, has_code: bool) -> Vec<u8> {
    let skip = random.pick(&[0, 1, 2, 2, 3]);
    let mut bytes = match flavour {
        // push bp; mov bp,sp; add word [bp+2],skip; pop bp; iret
        Flavour::Bits16 => vec![0x55, 0x89, 0xe5, 0x83, 0x46, 0x02, skip, 0x5d, 0xcf],
        // add dword [esp],skip; iretd
        Flavour::Bits32 if !has_code => vec![0x83, 0x04, 0x24, skip, 0xcf],
        // add dword [esp+4],skip; add esp,4; iretd
        Flavour::Bits32 => vec![0x83, 0x44, 0x24, 0x04, skip, 0x83, 0xc4, 0x04, 0xcf],
        // add qword [rsp],skip; iretq
        Flavour::Bits64 if !has_code => vec![0x48, 0x83, 0x04, 0x24, skip, 0x48, 0xcf],
        // add qword [rsp+8],skip; add rsp,8; iretq
        Flavour::Bits64 => vec![0x48, 0x83, 0x44, 0x24, 0x08, skip, 0x48, 0x83, 0xc4, 0x08, 0x48, 0xcf],
    };
    bytes.resize(16, 0x90);
    bytes
}
