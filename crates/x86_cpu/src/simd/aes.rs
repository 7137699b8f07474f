//! One-round AES (FIPS 197; SDM 2 AESENC and its kin). A state is a `u128` whose byte `4 * column + row` is the state's
//! byte in that row and column, as the instructions have it.

/// Multiplication by x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197 4.2.1).
const fn xtime(a: u8) -> u8 {
    (a << 1) ^ if a & 0x80 != 0 { 0x1b } else { 0 }
}

/// Multiplication in GF(2^8) (FIPS 197 4.2).
const fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut product) = (a, b, 0);
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = xtime(a);
        b >>= 1;
    }
    product
}

/// The S-box (FIPS 197 5.1.1): inverse in the field, then an affine transformation.
const SBOX: [u8; 256] = {
    let mut sbox = [0; 256];
    let mut value = 0;
    while value < 256 {
        // The inverse is the 254th power: the product of all squarings but the zeroth. It is zero for zero.
        let (mut inverse, mut power): (u8, u8) = (1, value as u8);
        let mut i = 0;
        while i < 7 {
            power = multiply(power, power);
            inverse = multiply(inverse, power);
            i += 1;
        }
        let s = inverse;
        sbox[value] = s ^ s.rotate_left(1) ^ s.rotate_left(2) ^ s.rotate_left(3) ^ s.rotate_left(4) ^ 0x63;
        value += 1;
    }
    sbox
};

/// The inverse S-box (FIPS 197 5.3.2).
const INVERSE_SBOX: [u8; 256] = {
    let mut inverse = [0; 256];
    let mut value = 0;
    while value < 256 {
        inverse[SBOX[value] as usize] = value as u8;
        value += 1;
    }
    inverse
};

/// For every byte of row 0: its S-box value times the first column of the MixColumns matrix, as a column. The columns
/// of the other rows are this one rotated.
static ENCRYPT: [u32; 256] = {
    let mut table = [0; 256];
    let mut value = 0;
    while value < 256 {
        let s = SBOX[value];
        table[value] = u32::from_le_bytes([xtime(s), s, s, xtime(s) ^ s]);
        value += 1;
    }
    table
};

/// For every byte of row 0: its contribution to InvMixColumns, as a column.
static INVERSE_MIX: [u32; 256] = {
    let mut table = [0; 256];
    let mut value = 0;
    while value < 256 {
        let s = value as u8;
        table[value] =
            u32::from_le_bytes([multiply(s, 14), multiply(s, 9), multiply(s, 13), multiply(s, 11)]);
        value += 1;
    }
    table
};

/// As [`INVERSE_MIX`], after the inverse S-box.
static DECRYPT: [u32; 256] = {
    let mut table = [0; 256];
    let mut value = 0;
    while value < 256 {
        table[value] = INVERSE_MIX[INVERSE_SBOX[value] as usize];
        value += 1;
    }
    table
};

static SUBSTITUTE: [u8; 256] = SBOX;
static SUBSTITUTE_INVERSE: [u8; 256] = INVERSE_SBOX;

/// The bytes of a state in the order that ShiftRows gives.
#[inline(always)]
fn shift_rows(state: u128) -> [u8; 16] {
    let bytes = state.to_le_bytes();
    std::array::from_fn(|i| bytes[(i + 4 * (i % 4)) % 16])
}

/// The bytes of a state in the order that InvShiftRows gives.
#[inline(always)]
fn inverse_shift_rows(state: u128) -> [u8; 16] {
    let bytes = state.to_le_bytes();
    std::array::from_fn(|i| bytes[(i + 16 - 4 * (i % 4)) % 16])
}

/// Sums the table's columns for the bytes of each column.
#[inline(always)]
fn mix(bytes: [u8; 16], table: &[u32; 256]) -> u128 {
    let mut state = 0;
    for column in 0..4 {
        let mut sum = 0;
        for row in 0..4 {
            sum ^= table[usize::from(bytes[4 * column + row])].rotate_left(8 * row as u32);
        }
        state |= u128::from(sum) << (32 * column);
    }
    state
}

/// One round of encryption.
#[inline]
pub(crate) fn aesenc(state: u128, round_key: u128) -> u128 {
    mix(shift_rows(state), &ENCRYPT) ^ round_key
}

/// The last round of encryption.
#[inline]
pub(crate) fn aesenclast(state: u128, round_key: u128) -> u128 {
    u128::from_le_bytes(shift_rows(state).map(|byte| SUBSTITUTE[usize::from(byte)])) ^ round_key
}

/// One round of decryption, by the equivalent inverse cipher.
#[inline]
pub(crate) fn aesdec(state: u128, round_key: u128) -> u128 {
    mix(inverse_shift_rows(state), &DECRYPT) ^ round_key
}

/// The last round of decryption.
#[inline]
pub(crate) fn aesdeclast(state: u128, round_key: u128) -> u128 {
    u128::from_le_bytes(inverse_shift_rows(state).map(|byte| SUBSTITUTE_INVERSE[usize::from(byte)]))
        ^ round_key
}

/// InvMixColumns, for round keys of the equivalent inverse cipher.
#[inline]
pub(crate) fn aesimc(src: u128) -> u128 {
    mix(src.to_le_bytes(), &INVERSE_MIX)
}

/// What a step of the key expansion needs of doublewords 1 and 3 of `src`.
#[inline]
pub(crate) fn aeskeygenassist(src: u128, round_constant: u8) -> u128 {
    let substitute =
        |word: u32| u32::from_le_bytes(word.to_le_bytes().map(|byte| SUBSTITUTE[usize::from(byte)]));
    let pair = |word: u32| {
        let word = substitute(word);
        let rotated = word.rotate_right(8) ^ u32::from(round_constant);
        u128::from(word) | u128::from(rotated) << 32
    };
    pair((src >> 32) as u32) | pair((src >> 96) as u32) << 64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of Intel's AES instruction set white paper.
    const STATE: u128 = 0x7b5b_5465_7374_5665_6374_6f72_5d53_475d;
    const KEY: u128 = 0x4869_2853_6861_7929_5b47_7565_726f_6e5d;

    #[test]
    fn single_rounds_match_the_published_examples() {
        assert_eq!(aesenc(STATE, KEY), 0xa831_1c2f_9fdb_a3c5_8b10_4b58_ded7_e595);
        assert_eq!(aesenclast(STATE, KEY), 0xc7fb_881e_938c_5964_177e_c425_53fd_c611);
        assert_eq!(aesdec(STATE, KEY), 0x138a_c342_faea_2787_b58e_b95e_b730_392a);
        assert_eq!(aesdeclast(STATE, KEY), 0xc5a3_91ef_6b31_7f95_d410_637b_72a5_93d0);
        // The paper prints KEY as the source of this one; its own InvMixColumns example is right.
        assert_eq!(aesimc(STATE), 0x627a_6f66_44b1_09c8_2b18_330a_81c3_b3e5);
        assert_eq!(
            aeskeygenassist(0x3c4f_cf09_8815_f7ab_a6d2_ae28_1615_7e2b, 1),
            0x01eb_848b_eb84_8a01_3424_b5e5_24b5_e434
        );
    }

    /// AES-128 of FIPS 197 C.1, keys expanded and rounds made with the instructions.
    #[test]
    fn a_block_is_encrypted_and_decrypted_as_fips_197_says() {
        let mut keys = vec![u128::from_le_bytes(std::array::from_fn(|i| i as u8))];
        for constant in [1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36] {
            let key = *keys.last().unwrap();
            let word = aeskeygenassist(key, constant) >> 96;
            let sums = key ^ key << 32;
            let sums = sums ^ sums << 64;
            keys.push(sums ^ word ^ word << 32 ^ word << 64 ^ word << 96);
        }
        let plain = u128::from_le_bytes(std::array::from_fn(|i| i as u8 * 0x11));
        let cipher = u128::from_be_bytes(0x69c4_e0d8_6a7b_0430_d8cd_b780_70b4_c55au128.to_le_bytes());

        let state = keys[1..10].iter().fold(plain ^ keys[0], |state, &key| aesenc(state, key));
        assert_eq!(aesenclast(state, keys[10]), cipher);
        let state =
            keys[1..10].iter().rev().fold(cipher ^ keys[10], |state, &key| aesdec(state, aesimc(key)));
        assert_eq!(aesdeclast(state, keys[0]), plain);
    }
}
