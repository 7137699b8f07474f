//! PCLMULQDQ: multiplication of polynomials over GF(2).

/// The carry-less product of one quadword of each operand: bit 0 of `imm` chooses that of `a`, bit 4 that of `b`.
#[inline]
pub(crate) fn pclmulqdq(a: u128, b: u128, imm: u8) -> u128 {
    let choose = |operand: u128, high: bool| if high { (operand >> 64) as u64 } else { operand as u64 };
    carryless_multiply(choose(a, imm & 1 != 0), choose(b, imm & 0x10 != 0))
}

/// Four bits of `b` at a time, with the products of `a` and every 4-bit polynomial in a table.
fn carryless_multiply(a: u64, b: u64) -> u128 {
    let mut products = [0u128; 16];
    products[1] = u128::from(a);
    for i in 1..8 {
        products[2 * i] = products[i] << 1;
        products[2 * i + 1] = products[2 * i] ^ u128::from(a);
    }
    let mut product = 0;
    for i in (0..16).rev() {
        product = product << 4 ^ products[(b >> (4 * i) & 15) as usize];
    }
    product
}

#[cfg(test)]
mod tests {
    use super::super::test_values::Operands;
    use super::*;

    /// The examples of Intel's white paper on carry-less multiplication.
    #[test]
    fn the_published_examples() {
        let a = 0x7b5b_5465_7374_5665_6374_6f72_5d53_475d;
        let b = 0x4869_2853_6861_7929_5b47_7565_726f_6e5d;
        assert_eq!(pclmulqdq(a, b, 0x00), 0x1d4d_84c8_5c34_40c0_9296_33d5_d36f_0451);
        assert_eq!(pclmulqdq(a, b, 0x10), 0x1bd1_7c8d_556a_b5a1_7fa5_40ac_2a28_1315);
        assert_eq!(pclmulqdq(a, b, 0x01), 0x1a2b_f6db_3a30_862f_babf_262d_f4b7_d5c9);
        assert_eq!(pclmulqdq(a, b, 0x11), 0x1d1e_1f2c_592e_7c45_d66e_e03e_410f_d4ed);
        // The other bits of the immediate are ignored.
        assert_eq!(pclmulqdq(a, b, 0xee), pclmulqdq(a, b, 0x00));
    }

    #[test]
    fn the_product_is_the_sum_of_shifted_operands() {
        let mut operands = Operands::new(13);
        for _ in 0..500 {
            let (a, b) = (operands.u128() as u64, operands.u128() as u64);
            let expected = (0..64).filter(|i| b >> i & 1 != 0).fold(0, |sum, i| sum ^ u128::from(a) << i);
            assert_eq!(carryless_multiply(a, b), expected, "{a:#x} {b:#x}");
        }
    }
}
