//! The CRC32 instruction: CRC-32C (polynomial 11EDC6F41h), bit-reflected, without the inversions before and after.

/// The polynomial without its top term, bit-reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[n][byte]`: the remainder of a byte followed by `n` zero bytes.
static TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 != 0 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeroes = 1;
    while zeroes < 8 {
        let mut byte = 0;
        while byte < 256 {
            let shorter = tables[zeroes - 1][byte];
            tables[zeroes][byte] = (shorter >> 8) ^ tables[0][(shorter & 0xff) as usize];
            byte += 1;
        }
        zeroes += 1;
    }
    tables
};

#[inline(always)]
fn accumulate<const N: usize>(crc: u32, bytes: [u8; N]) -> u32 {
    let crc_bytes = crc.to_le_bytes();
    // What of the old remainder is not combined with a byte of data moves down.
    let mut result = if N < 4 { crc >> (8 * N) } else { 0 };
    for (i, byte) in bytes.into_iter().enumerate() {
        let byte = if i < 4 { byte ^ crc_bytes[i] } else { byte };
        result ^= TABLES[N - 1 - i][usize::from(byte)];
    }
    result
}

/// Accumulates a byte.
#[inline]
pub(crate) fn crc32_8(crc: u32, data: u8) -> u32 {
    accumulate(crc, data.to_le_bytes())
}

/// Accumulates a word.
#[inline]
pub(crate) fn crc32_16(crc: u32, data: u16) -> u32 {
    accumulate(crc, data.to_le_bytes())
}

/// Accumulates a doubleword.
#[inline]
pub(crate) fn crc32_32(crc: u32, data: u32) -> u32 {
    accumulate(crc, data.to_le_bytes())
}

/// Accumulates a quadword.
#[inline]
pub(crate) fn crc32_64(crc: u32, data: u64) -> u32 {
    accumulate(crc, data.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::test_values::Operands;
    use super::*;

    /// The check value of CRC-32C (RFC 3720 B.4 uses the same parameters).
    #[test]
    fn the_check_value() {
        let crc = b"123456789".iter().fold(!0, |crc, &byte| crc32_8(crc, byte));
        assert_eq!(!crc, 0xe306_9283);
    }

    #[test]
    fn wider_data_is_a_sequence_of_bytes() {
        let bytes = |crc: u32, data: &[u8]| {
            data.iter().fold(crc, |crc, &byte| {
                (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ ((crc & 1) * POLYNOMIAL))
            })
        };
        let mut operands = Operands::new(14);
        for _ in 0..500 {
            let (crc, data) = (operands.u64() as u32, operands.u64());
            let little_endian = data.to_le_bytes();
            assert_eq!(crc32_8(crc, data as u8), bytes(crc, &little_endian[..1]));
            assert_eq!(crc32_16(crc, data as u16), bytes(crc, &little_endian[..2]));
            assert_eq!(crc32_32(crc, data as u32), bytes(crc, &little_endian[..4]));
            assert_eq!(crc32_64(crc, data), bytes(crc, &little_endian));
        }
    }
}
