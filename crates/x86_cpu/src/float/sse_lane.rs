//! One lane of an SSE register: the bits of an f32 (`u32`) or of an f64 (`u64`).

use super::sse_compare::Relation;
use super::sse_slow::Layout;

/// A lane's bits, and what the host's own arithmetic can do with them.
///
/// `native_*` rounds to nearest; the host's result is only used where operands and result are zeros or normal numbers.
/// The `*_is_exact` functions say whether such a result is exact; they must only be asked where
/// [`Lane::is_usual`] holds for the result and no operand is subnormal.
pub(crate) trait Lane: Copy {
    /// The lane's format.
    const LAYOUT: Layout;
    /// The all-zero lane.
    const ZERO: Self;
    /// The bits, extended.
    fn to_wide(self) -> u64;
    /// The low bits of `wide`.
    fn from_wide(wide: u64) -> Self;

    fn native_add(self, other: Self) -> Self;
    fn native_sub(self, other: Self) -> Self;
    fn native_mul(self, other: Self) -> Self;
    fn native_div(self, other: Self) -> Self;
    fn native_sqrt(self) -> Self;
    fn native_relation(self, other: Self) -> Relation;
    fn native_from_i32(value: i32) -> Self;
    fn native_from_i64(value: i64) -> Self;
    fn native_to_f64(self) -> f64;

    fn is_subnormal(self) -> bool;
    fn is_zero(self) -> bool;
    fn is_nan(self) -> bool;
    /// A normal number outside the lowest and the highest binade: neither tininess nor overflow was near.
    fn is_usual(self) -> bool;
    /// A positive normal number.
    fn is_positive_normal(self) -> bool;

    fn sum_is_exact(self, other: Self, sum: Self) -> bool;
    fn product_is_exact(self, other: Self, product: Self) -> bool;
    fn quotient_is_exact(self, other: Self, quotient: Self) -> bool;
    fn root_is_exact(self, root: Self) -> bool;
    /// The same lane with its sign inverted.
    fn negated(self) -> Self;
}

const FRACTION_64: u64 = (1 << 52) - 1;
const HIDDEN_64: u64 = 1 << 52;

/// The significand of a normal f64.
#[inline(always)]
fn significand_64(bits: u64) -> u64 {
    bits & FRACTION_64 | HIDDEN_64
}

impl Lane for u64 {
    const LAYOUT: Layout = Layout::DOUBLE;
    const ZERO: Self = 0;
    #[inline(always)]
    fn to_wide(self) -> u64 {
        self
    }
    #[inline(always)]
    fn from_wide(wide: u64) -> Self {
        wide
    }
    #[inline(always)]
    fn native_add(self, other: Self) -> Self {
        (f64::from_bits(self) + f64::from_bits(other)).to_bits()
    }
    #[inline(always)]
    fn native_sub(self, other: Self) -> Self {
        (f64::from_bits(self) - f64::from_bits(other)).to_bits()
    }
    #[inline(always)]
    fn native_mul(self, other: Self) -> Self {
        (f64::from_bits(self) * f64::from_bits(other)).to_bits()
    }
    #[inline(always)]
    fn native_div(self, other: Self) -> Self {
        (f64::from_bits(self) / f64::from_bits(other)).to_bits()
    }
    #[inline(always)]
    fn native_sqrt(self) -> Self {
        f64::from_bits(self).sqrt().to_bits()
    }
    #[inline(always)]
    fn native_relation(self, other: Self) -> Relation {
        Relation::from_partial(f64::from_bits(self).partial_cmp(&f64::from_bits(other)))
    }
    #[inline(always)]
    fn native_from_i32(value: i32) -> Self {
        f64::from(value).to_bits()
    }
    #[inline(always)]
    fn native_from_i64(value: i64) -> Self {
        (value as f64).to_bits()
    }
    #[inline(always)]
    fn native_to_f64(self) -> f64 {
        f64::from_bits(self)
    }
    #[inline(always)]
    fn is_subnormal(self) -> bool {
        (self << 1).wrapping_sub(1) < (HIDDEN_64 << 1) - 1
    }
    #[inline(always)]
    fn is_zero(self) -> bool {
        self << 1 == 0
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        self << 1 > 0x7ff << 53
    }
    #[inline(always)]
    fn is_usual(self) -> bool {
        (self << 1).wrapping_sub(2 << 53) < 0x7fc << 53
    }
    #[inline(always)]
    fn is_positive_normal(self) -> bool {
        self.wrapping_sub(1 << 52) < 0x7fe << 52
    }
    fn sum_is_exact(self, other: Self, sum: Self) -> bool {
        let (a, b, sum) = (f64::from_bits(self), f64::from_bits(other), f64::from_bits(sum));
        let (large, small) = if a.abs() >= b.abs() { (a, b) } else { (b, a) };
        // Dekker: sum - large is exact, so what differs from `small` was rounded away.
        sum - large == small
    }
    fn product_is_exact(self, other: Self, product: Self) -> bool {
        if product.is_zero() {
            return true;
        }
        // The product of the significands has 105 or 106 bits; the exponents tell which. It fits in 53 if the rest is zero.
        let exponent = |bits: u64| (bits >> 52 & 0x7ff) as i32;
        let long = exponent(product) - exponent(self) - exponent(other) + 1023;
        let zeros = significand_64(self).trailing_zeros() + significand_64(other).trailing_zeros();
        zeros as i32 >= 52 + long
    }
    fn quotient_is_exact(self, other: Self, quotient: Self) -> bool {
        if quotient.is_zero() {
            return true;
        }
        let back = u128::from(significand_64(quotient)) * u128::from(significand_64(other));
        let dividend = u128::from(significand_64(self)) << 52;
        back == dividend || back == dividend << 1
    }
    fn root_is_exact(self, root: Self) -> bool {
        if root.is_zero() {
            return true;
        }
        let back = u128::from(significand_64(root)).pow(2);
        let square = u128::from(significand_64(self)) << 52;
        back == square || back == square << 1
    }
    #[inline(always)]
    fn negated(self) -> Self {
        self ^ 1 << 63
    }
}

impl Lane for u32 {
    const LAYOUT: Layout = Layout::SINGLE;
    const ZERO: Self = 0;
    #[inline(always)]
    fn to_wide(self) -> u64 {
        u64::from(self)
    }
    #[inline(always)]
    fn from_wide(wide: u64) -> Self {
        wide as u32
    }
    #[inline(always)]
    fn native_add(self, other: Self) -> Self {
        (f32::from_bits(self) + f32::from_bits(other)).to_bits()
    }
    #[inline(always)]
    fn native_sub(self, other: Self) -> Self {
        (f32::from_bits(self) - f32::from_bits(other)).to_bits()
    }
    #[inline(always)]
    fn native_mul(self, other: Self) -> Self {
        (f32::from_bits(self) * f32::from_bits(other)).to_bits()
    }
    #[inline(always)]
    fn native_div(self, other: Self) -> Self {
        (f32::from_bits(self) / f32::from_bits(other)).to_bits()
    }
    #[inline(always)]
    fn native_sqrt(self) -> Self {
        f32::from_bits(self).sqrt().to_bits()
    }
    #[inline(always)]
    fn native_relation(self, other: Self) -> Relation {
        Relation::from_partial(f32::from_bits(self).partial_cmp(&f32::from_bits(other)))
    }
    #[inline(always)]
    fn native_from_i32(value: i32) -> Self {
        (value as f32).to_bits()
    }
    #[inline(always)]
    fn native_from_i64(value: i64) -> Self {
        (value as f32).to_bits()
    }
    #[inline(always)]
    fn native_to_f64(self) -> f64 {
        f64::from(f32::from_bits(self))
    }
    #[inline(always)]
    fn is_subnormal(self) -> bool {
        (self << 1).wrapping_sub(1) < (1 << 24) - 1
    }
    #[inline(always)]
    fn is_zero(self) -> bool {
        self << 1 == 0
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        self << 1 > 0xff << 24
    }
    #[inline(always)]
    fn is_usual(self) -> bool {
        (self << 1).wrapping_sub(2 << 24) < 0xfc << 24
    }
    #[inline(always)]
    fn is_positive_normal(self) -> bool {
        self.wrapping_sub(1 << 23) < 0xfe << 23
    }
    fn sum_is_exact(self, other: Self, sum: Self) -> bool {
        let (a, b, sum) = (f32::from_bits(self), f32::from_bits(other), f32::from_bits(sum));
        let (large, small) = if a.abs() >= b.abs() { (a, b) } else { (b, a) };
        sum - large == small
    }
    // A product of two f32 is exact in f64, and so is the way back from a quotient or a root.
    fn product_is_exact(self, other: Self, product: Self) -> bool {
        self.native_to_f64() * other.native_to_f64() == product.native_to_f64()
    }
    fn quotient_is_exact(self, other: Self, quotient: Self) -> bool {
        quotient.is_zero() || quotient.native_to_f64() * other.native_to_f64() == self.native_to_f64()
    }
    fn root_is_exact(self, root: Self) -> bool {
        root.native_to_f64() * root.native_to_f64() == self.native_to_f64()
    }
    #[inline(always)]
    fn negated(self) -> Self {
        self ^ 1 << 31
    }
}
