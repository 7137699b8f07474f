//! PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM (SDM 2B 4.1, "imm8 control byte operation").
//!
//! A comparison is carried out in the manual's steps: which elements of both operands are valid, the matrix of element
//! comparisons aggregated into IntRes1, the polarity giving IntRes2, and then an index or a mask.

use super::Flags;

/// The control byte, decoded.
#[derive(Clone, Copy, Debug)]
struct Control {
    words: bool,
    signed: bool,
    aggregation: Aggregation,
    negate: bool,
    only_valid: bool,
    /// Most significant index, or mask expanded to elements.
    bit6: bool,
}

#[derive(Clone, Copy, Debug)]
enum Aggregation {
    EqualAny,
    Ranges,
    EqualEach,
    EqualOrdered,
}

impl Control {
    #[inline]
    fn new(imm: u8) -> Self {
        let aggregation = match imm >> 2 & 3 {
            0 => Aggregation::EqualAny,
            1 => Aggregation::Ranges,
            2 => Aggregation::EqualEach,
            _ => Aggregation::EqualOrdered,
        };
        Self {
            words: imm & 1 != 0,
            signed: imm & 2 != 0,
            aggregation,
            negate: imm & 0x10 != 0,
            only_valid: imm & 0x20 != 0,
            bit6: imm & 0x40 != 0,
        }
    }

    /// Number of elements of a full operand.
    #[inline]
    fn elements(self) -> usize {
        if self.words { 8 } else { 16 }
    }

    /// The elements, extended so that they compare as numbers whatever their format; the rest is zero.
    #[inline]
    fn unpack(self, operand: u128) -> [i32; 16] {
        let bytes = operand.to_le_bytes();
        std::array::from_fn(|i| match (self.words, self.signed) {
            (false, false) => i32::from(bytes[i]),
            (false, true) => i32::from(bytes[i] as i8),
            (true, _) if i >= 8 => 0,
            (true, false) => i32::from(u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]])),
            (true, true) => i32::from(i16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]])),
        })
    }

    /// Number of elements before the first that is zero.
    #[inline]
    fn implicit_length(self, operand: u128) -> usize {
        let elements = self.unpack(operand);
        elements[..self.elements()].iter().position(|&element| element == 0).unwrap_or(self.elements())
    }

    /// The absolute value of an explicit length, no greater than the number of elements.
    #[inline]
    fn explicit_length(self, length: i64) -> usize {
        length.unsigned_abs().min(self.elements() as u64) as usize
    }
}

/// IntRes2 and what the flags and the result are made of.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    result: u32,
    flags: Flags,
}

/// The lowest `n` bits.
#[inline]
fn low_bits(n: usize) -> u32 {
    (1 << n) - 1
}

/// Compares the first `a_length` elements of `a` with the first `b_length` elements of `b`.
fn compare(control: Control, a: u128, a_length: usize, b: u128, b_length: usize) -> Outcome {
    let n = control.elements();
    let (a, b) = (control.unpack(a), control.unpack(b));
    // Bit j: element j of `b` satisfies `test`. Invalid elements are masked by the callers.
    let matches = |test: &dyn Fn(i32) -> bool| (0..n).fold(0u32, |bits, j| bits | u32::from(test(b[j])) << j);
    let valid = low_bits(b_length);
    let aggregated = match control.aggregation {
        Aggregation::EqualAny => {
            let mut bits = 0;
            for &element in &a[..a_length] {
                bits |= matches(&|b| b == element);
            }
            bits & valid
        }
        Aggregation::Ranges => {
            // A range whose upper bound is not valid matches nothing.
            let mut bits = 0;
            for range in a[..a_length].chunks_exact(2) {
                bits |= matches(&|b| range[0] <= b && b <= range[1]);
            }
            bits & valid
        }
        Aggregation::EqualEach => {
            let equal = (0..n).fold(0, |bits, j| bits | u32::from(a[j] == b[j]) << j);
            let both_valid = low_bits(a_length.min(b_length));
            let both_invalid = low_bits(n) & !low_bits(a_length.max(b_length));
            equal & both_valid | both_invalid
        }
        Aggregation::EqualOrdered => {
            // Position j matches if every valid element k of `a` equals element j + k of `b`, which must be valid;
            // what would lie beyond the register is not compared.
            let mut bits = low_bits(n);
            for (k, &element) in a[..a_length].iter().enumerate() {
                let equal = matches(&|b| b == element) & valid;
                bits &= equal >> k | (low_bits(n) & !low_bits(n - k));
            }
            bits
        }
    };
    let inverted = match (control.negate, control.only_valid) {
        (false, _) => 0,
        (true, false) => low_bits(n),
        (true, true) => valid,
    };
    let result = aggregated ^ inverted;
    let flags =
        Flags { carry: result != 0, zero: b_length < n, sign: a_length < n, overflow: result & 1 != 0 };
    Outcome { result, flags }
}

/// The index that goes to ECX.
#[inline]
fn index(control: Control, result: u32) -> u32 {
    if result == 0 {
        control.elements() as u32
    } else if control.bit6 {
        result.ilog2()
    } else {
        result.trailing_zeros()
    }
}

/// The mask that goes to XMM0.
#[inline]
fn mask(control: Control, result: u32) -> u128 {
    if !control.bit6 {
        return u128::from(result);
    }
    let (width, ones) = if control.words { (16, 0xffff) } else { (8, 0xff) };
    (0..control.elements()).filter(|i| result >> i & 1 != 0).fold(0, |mask, i| mask | ones << (width * i))
}

/// Explicit lengths (EAX and EDX, or RAX and RDX with REX.W, sign-extended), giving an index for ECX.
pub(crate) fn pcmpestri(a: u128, a_length: i64, b: u128, b_length: i64, imm: u8) -> (u32, Flags) {
    let control = Control::new(imm);
    let (a_length, b_length) = (control.explicit_length(a_length), control.explicit_length(b_length));
    let outcome = compare(control, a, a_length, b, b_length);
    (index(control, outcome.result), outcome.flags)
}

/// Explicit lengths (EAX and EDX, or RAX and RDX with REX.W, sign-extended), giving a mask for XMM0.
pub(crate) fn pcmpestrm(a: u128, a_length: i64, b: u128, b_length: i64, imm: u8) -> (u128, Flags) {
    let control = Control::new(imm);
    let (a_length, b_length) = (control.explicit_length(a_length), control.explicit_length(b_length));
    let outcome = compare(control, a, a_length, b, b_length);
    (mask(control, outcome.result), outcome.flags)
}

/// Lengths up to the first zero element, giving an index for ECX.
pub(crate) fn pcmpistri(a: u128, b: u128, imm: u8) -> (u32, Flags) {
    let control = Control::new(imm);
    let outcome = compare(control, a, control.implicit_length(a), b, control.implicit_length(b));
    (index(control, outcome.result), outcome.flags)
}

/// Lengths up to the first zero element, giving a mask for XMM0.
pub(crate) fn pcmpistrm(a: u128, b: u128, imm: u8) -> (u128, Flags) {
    let control = Control::new(imm);
    let outcome = compare(control, a, control.implicit_length(a), b, control.implicit_length(b));
    (mask(control, outcome.result), outcome.flags)
}

#[cfg(test)]
mod tests {
    use super::super::test_values::Operands;
    use super::*;

    fn text(text: &str) -> u128 {
        let mut bytes = [0; 16];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        u128::from_le_bytes(bytes)
    }

    fn flags(carry: bool, zero: bool, sign: bool, overflow: bool) -> Flags {
        Flags { carry, zero, sign, overflow }
    }

    #[test]
    fn finds_characters_ranges_differences_and_substrings() {
        let haystack = text("a needle in hay");
        // Equal any: the first of the characters "in"; then the last one (bit 6).
        assert_eq!(pcmpistri(text("in"), haystack, 0x00), (2, flags(true, true, true, false)));
        assert_eq!(pcmpistri(text("in"), haystack, 0x40), (10, flags(true, true, true, false)));
        // Ranges: the first character outside "a" to "z" (masked negative polarity).
        assert_eq!(pcmpistri(text("az"), haystack, 0x34), (1, flags(true, true, true, false)));
        // Equal each, negated: the first difference.
        assert_eq!(pcmpistri(text("a noodle"), haystack, 0x18), (3, flags(true, true, true, false)));
        assert_eq!(pcmpistri(haystack, haystack, 0x18), (16, flags(false, true, true, false)));
        // Equal ordered: where the substring begins, also one that goes on beyond the operand.
        assert_eq!(pcmpistri(text("needle"), haystack, 0x0c), (2, flags(true, true, true, false)));
        let full = text("0123456789abcdef");
        assert_eq!(pcmpistri(text("efgh"), full, 0x0c), (14, flags(true, false, true, false)));
        // An empty needle is found at once; in an empty haystack nothing is.
        assert_eq!(pcmpistri(0, full, 0x0c), (0, flags(true, false, true, true)));
        assert_eq!(pcmpistri(text("x"), 0, 0x00), (16, flags(false, true, true, false)));
    }

    #[test]
    fn explicit_lengths_are_absolute_values_that_saturate() {
        let (a, b) = (text("xyz"), text("__z_____________"));
        assert_eq!(pcmpestri(a, -3, b, 16, 0x00), (2, flags(true, false, true, false)));
        assert_eq!(pcmpestri(a, 2, b, 16, 0x00), (16, flags(false, false, true, false)));
        assert_eq!(pcmpestri(a, i64::MIN, b, i64::MAX, 0x00), (2, flags(true, false, false, false)));
        assert_eq!(pcmpestri(a, 3, b, 2, 0x00), (16, flags(false, true, true, false)));
    }

    #[test]
    fn masks_are_bits_or_whole_elements() {
        let (a, b) = (text("l"), text("hello world"));
        assert_eq!(pcmpistrm(a, b, 0x00).0, 0b10_0000_1100);
        assert_eq!(pcmpistrm(a, b, 0x40).0, 0xff << 72 | 0xffff_0000);
        assert_eq!(pcmpestrm(5, 1, 5 << 32, 8, 0x41).0, 0xffff << 32);
        assert_eq!(pcmpestrm(5, 1, 5 << 32, 8, 0x11).0, 0b1111_1011);
    }

    /// The matrix of the manual, one comparison at a time, with its table of overrides for invalid elements.
    fn by_the_matrix(a: u128, a_length: usize, b: u128, b_length: usize, imm: u8) -> u32 {
        let n = if imm & 1 == 0 { 16 } else { 8 };
        let element = |operand: u128, i: usize| match imm & 3 {
            0 => i64::from((operand >> (8 * i)) as u8),
            1 => i64::from((operand >> (16 * i)) as u16),
            2 => i64::from((operand >> (8 * i)) as u8 as i8),
            _ => i64::from((operand >> (16 * i)) as u16 as i16),
        };
        let aggregation = imm >> 2 & 3;
        let compare = |i: usize, j: usize| {
            let (x, y) = (element(a, i), element(b, j));
            match (i < a_length, j < b_length) {
                (true, true) if aggregation == 1 && i.is_multiple_of(2) => x <= y,
                (true, true) if aggregation == 1 => x >= y,
                (true, true) => x == y,
                (false, false) => aggregation >= 2,
                (false, true) => aggregation == 3,
                (true, false) => false,
            }
        };
        let result = (0..n).fold(0u32, |bits, j| {
            let bit = match aggregation {
                0 => (0..n).any(|i| compare(i, j)),
                1 => (0..n).step_by(2).any(|i| compare(i, j) && compare(i + 1, j)),
                2 => compare(j, j),
                _ => (0..n - j).all(|i| compare(i, j + i)),
            };
            bits | u32::from(bit) << j
        });
        (0..n).fold(0, |bits, j| {
            let negate = imm & 0x10 != 0 && (imm & 0x20 == 0 || j < b_length);
            bits | (result ^ u32::from(negate) << j) & 1 << j
        })
    }

    #[test]
    fn every_control_byte_agrees_with_the_matrix() {
        let mut operands = Operands::new(12);
        for imm in 0..=255u8 {
            for _ in 0..40 {
                // Few different elements, so that many are equal.
                let mut operand = || operands.u128() & 0x0303_8381_0303_8381_0303_8381_0303_8381;
                let (a, b) = (operand(), operand());
                let n = if imm & 1 == 0 { 16 } else { 8 };
                let lengths = [operands.u64() % 20, operands.u64() % 20];
                let [a_length, b_length] = lengths.map(|length| (length as usize).min(n));
                let expected = by_the_matrix(a, a_length, b, b_length, imm);
                let [x, y] = lengths.map(u64::cast_signed);
                assert_eq!(
                    pcmpestrm(a, x, b, y, imm & !0x40).0,
                    u128::from(expected),
                    "{imm:#x} {a:#x} {a_length} {b:#x} {b_length}"
                );
                let index = match (expected, imm & 0x40 != 0) {
                    (0, _) => n as u32,
                    (_, false) => expected.trailing_zeros(),
                    (_, true) => 31 - expected.leading_zeros(),
                };
                let flags = flags(expected != 0, b_length < n, a_length < n, expected & 1 != 0);
                assert_eq!(pcmpestri(a, x, b, y, imm), (index, flags), "{imm:#x}");
            }
        }
    }
}
