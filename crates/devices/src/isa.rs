//! How the ISA bus carries accesses that are wider than a chip.
//!
//! An access of two or four bytes to eight-bit registers becomes byte cycles at ascending ports, the lowest byte first. A port
//! nobody answers at reads as ones, and a write to it goes nowhere.

/// What a read of `size` bytes (1, 2 or 4) returns where no device answers.
pub fn open_bus(size: u8) -> u32 {
    match size {
        1 => 0xff,
        2 => 0xffff,
        _ => 0xffff_ffff,
    }
}

/// A read of `size` bytes as byte cycles.
pub(crate) fn read_bytes(port: u16, size: u8, mut read: impl FnMut(u16) -> u8) -> u32 {
    let byte = |n: u8| u32::from(read(port.wrapping_add(n.into()))) << (8 * n);
    (0..size.min(4)).map(byte).sum()
}

/// A write of `size` bytes as byte cycles.
pub(crate) fn write_bytes(port: u16, size: u8, value: u32, mut write: impl FnMut(u16, u8)) {
    for (n, byte) in (0..size.min(4).into()).zip(value.to_le_bytes()) {
        write(port.wrapping_add(n), byte);
    }
}

/// A read of `size` bytes that starts `skip` bytes into a 32-bit register; what lies beyond the register reads as ones.
pub(crate) fn part_of(register: u32, skip: u16, size: u8) -> u32 {
    let wide = u64::from(register) | 0xffff_ffff_0000_0000;
    (wide >> (8 * u32::from(skip & 3))) as u32 & open_bus(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_accesses_are_byte_cycles_in_order() {
        assert_eq!(read_bytes(0x40, 1, |port| port as u8), 0x40);
        assert_eq!(read_bytes(0x40, 4, |port| port as u8), 0x4342_4140);
        assert_eq!(read_bytes(0xffff, 2, |port| port as u8), 0x00ff);
        let mut seen = Vec::new();
        write_bytes(0xffff, 2, 0x1234_5678, |port, byte| seen.push((port, byte)));
        assert_eq!(seen, [(0xffff, 0x78), (0, 0x56)]);
    }

    #[test]
    fn parts_of_a_register() {
        for (skip, size, expected) in [
            (0, 4, 0x4433_2211),
            (0, 1, 0x11),
            (1, 2, 0x3322),
            (3, 1, 0x44),
            (3, 2, 0xff44),
            (2, 4, 0xffff_4433),
        ] {
            assert_eq!(part_of(0x4433_2211, skip, size), expected, "{skip} {size}");
        }
    }
}
