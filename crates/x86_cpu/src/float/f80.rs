//! The double extended-precision format of the x87 registers (SDM 1 4.2.2, 8.2.2).

use super::exact::Real;

/// The bits of one x87 register or memory operand of 80 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct F80 {
    /// The significand, with its explicit integer bit (bit 63).
    pub(crate) mantissa: u64,
    /// The sign (bit 15) and the biased exponent.
    pub(crate) sign_exp: u16,
}

const SIGN: u16 = 0x8000;
const INTEGER_BIT: u64 = 1 << 63;
const QUIET_BIT: u64 = 1 << 62;
const BIAS: i32 = 16383;

impl F80 {
    /// Positive zero.
    pub(crate) const ZERO: Self = Self { mantissa: 0, sign_exp: 0 };
    /// 1.0.
    pub(crate) const ONE: Self = Self { mantissa: INTEGER_BIT, sign_exp: 0x3fff };
    /// The QNaN floating-point indefinite, the masked response to invalid operations.
    pub(crate) const INDEFINITE: Self = Self { mantissa: INTEGER_BIT | QUIET_BIT, sign_exp: 0xffff };

    /// From the ten bytes of memory.
    #[must_use]
    pub(crate) const fn from_bytes(bytes: [u8; 10]) -> Self {
        let [m0, m1, m2, m3, m4, m5, m6, m7, s0, s1] = bytes;
        Self {
            mantissa: u64::from_le_bytes([m0, m1, m2, m3, m4, m5, m6, m7]),
            sign_exp: u16::from_le_bytes([s0, s1]),
        }
    }

    /// The ten bytes in memory.
    #[must_use]
    pub(crate) const fn to_bytes(self) -> [u8; 10] {
        let [m0, m1, m2, m3, m4, m5, m6, m7] = self.mantissa.to_le_bytes();
        let [s0, s1] = self.sign_exp.to_le_bytes();
        [m0, m1, m2, m3, m4, m5, m6, m7, s0, s1]
    }

    /// Whether the sign bit is set.
    #[must_use]
    pub(crate) const fn is_negative(self) -> bool {
        self.sign_exp & SIGN != 0
    }

    /// FABS: the same bits without the sign; never an exception.
    #[must_use]
    pub(crate) const fn abs(self) -> Self {
        Self { sign_exp: self.sign_exp & !SIGN, ..self }
    }

    /// FCHS: the same bits with the sign inverted; never an exception.
    #[must_use]
    pub(crate) const fn negated(self) -> Self {
        Self { sign_exp: self.sign_exp ^ SIGN, ..self }
    }

    const fn field(self) -> u16 {
        self.sign_exp & !SIGN
    }

    pub(super) const fn signed(negative: bool, field: u16, mantissa: u64) -> Self {
        Self { mantissa, sign_exp: if negative { field | SIGN } else { field } }
    }

    pub(super) const fn zero(negative: bool) -> Self {
        Self::signed(negative, 0, 0)
    }

    pub(super) const fn infinity(negative: bool) -> Self {
        Self::signed(negative, 0x7fff, INTEGER_BIT)
    }

    pub(super) const fn quieted(self) -> Self {
        Self { mantissa: self.mantissa | QUIET_BIT, ..self }
    }

    /// From a significand and the exponent of its bit 63; one without that bit must have the smallest exponent.
    pub(super) const fn encode(negative: bool, exp: i32, sig: u64) -> Self {
        let field = if sig & INTEGER_BIT != 0 { exp + BIAS } else { 0 };
        Self::signed(negative, field as u16, sig)
    }

    /// An integer; all of 64 bits fit.
    #[must_use]
    pub(crate) const fn from_i64(value: i64) -> Self {
        match Real::from_integer(value < 0, value.unsigned_abs()) {
            Some(real) => Self::encode(real.negative, real.exp, real.sig),
            None => Self::ZERO,
        }
    }

    /// What the bits stand for.
    pub(super) const fn value(self) -> F80Value {
        let negative = self.is_negative();
        let normal = self.mantissa & INTEGER_BIT != 0;
        match self.field() {
            0 if self.mantissa == 0 => F80Value::Zero,
            // Denormals and pseudo-denormals, whose integer bit is set: both have the exponent of field 1.
            0 => {
                let shift = self.mantissa.leading_zeros();
                let exp = 1 - BIAS - shift as i32;
                F80Value::Finite(Real { negative, exp, sig: self.mantissa << shift })
            }
            // Pseudo-NaNs, pseudo-infinities and unnormals (SDM 1 table 8-3).
            _ if !normal => F80Value::Unsupported,
            0x7fff if self.mantissa == INTEGER_BIT => F80Value::Infinity,
            0x7fff if self.mantissa & QUIET_BIT != 0 => F80Value::QuietNan,
            0x7fff => F80Value::SignalingNan,
            field => F80Value::Finite(Real { negative, exp: field as i32 - BIAS, sig: self.mantissa }),
        }
    }

    /// Whether this is a denormal or pseudo-denormal number.
    pub(super) const fn is_denormal(self) -> bool {
        self.field() == 0 && self.mantissa != 0
    }

    /// The two bits of the full tag word for a register that holds this: valid, zero or special (SDM 1 8.1.7).
    #[must_use]
    pub(crate) const fn tag(self) -> u16 {
        match self.field() {
            0 if self.mantissa == 0 => 1,
            0 | 0x7fff => 2,
            _ if self.mantissa & INTEGER_BIT == 0 => 2,
            _ => 0,
        }
    }
}

/// What the bits of an x87 operand stand for.
#[derive(Clone, Copy, Debug)]
pub(super) enum F80Value {
    Zero,
    Finite(Real),
    Infinity,
    QuietNan,
    SignalingNan,
    Unsupported,
}

/// An operand of an x87 instruction: a register, or memory as it was before it was widened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    pub(super) bits: F80,
    /// Denormal in its own format: widened, a denormal f32 or f64 is a normal number.
    pub(super) denormal: bool,
}

impl From<F80> for Operand {
    fn from(bits: F80) -> Self {
        Self { bits, denormal: bits.is_denormal() }
    }
}

impl Operand {
    /// An f32 from memory. A signaling NaN stays one.
    #[must_use]
    pub(crate) const fn from_f32(bits: u32) -> Self {
        Self::from_binary(bits as u64, 23, 8)
    }

    /// An f64 from memory.
    #[must_use]
    pub(crate) const fn from_f64(bits: u64) -> Self {
        Self::from_binary(bits, 52, 11)
    }

    /// An integer from memory.
    #[must_use]
    pub(crate) const fn from_integer(value: i64) -> Self {
        Self { bits: F80::from_i64(value), denormal: false }
    }

    const fn from_binary(bits: u64, fraction_bits: u32, exponent_bits: u32) -> Self {
        let negative = bits >> (fraction_bits + exponent_bits) & 1 != 0;
        let max = (1 << exponent_bits) - 1;
        let field = (bits >> fraction_bits & max) as i32;
        let bias = (max >> 1) as i32;
        let fraction = (bits & ((1 << fraction_bits) - 1)) << (63 - fraction_bits);
        let denormal = field == 0 && fraction != 0;
        let bits = if field == 0 {
            let shift = fraction.leading_zeros();
            if denormal {
                F80::encode(negative, 1 - bias - shift as i32, fraction << shift)
            } else {
                F80::zero(negative)
            }
        } else if field == max as i32 {
            F80::signed(negative, 0x7fff, INTEGER_BIT | fraction)
        } else {
            F80::encode(negative, field - bias, INTEGER_BIT | fraction)
        };
        Self { bits, denormal }
    }
}
