//! SSE arithmetic for every operand and every MXCSR, in integers. The quick paths of the other `sse_*` modules come here
//! with what they do not handle themselves.

use super::env::{SseEnv, exception};
use super::exact::{self, Real, Wide};
use super::rounding::{Range, round_tiny, round_unbounded};

/// The layout of an IEEE 754 binary format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(super) fraction_bits: u32,
    pub(super) exponent_bits: u32,
}

/// What the bits of an operand stand for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Zero,
    Finite(Real),
    Infinity,
    QuietNan,
    SignalingNan,
}

/// An operand, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub(super) negative: bool,
    /// A subnormal number that DAZ did not turn into zero.
    pub(super) denormal: bool,
    pub(super) value: Value,
}

/// The operations with two operands and a rounded result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Sub,
    Mul,
    Div,
}

impl Layout {
    pub(super) const SINGLE: Self = Self { fraction_bits: 23, exponent_bits: 8 };
    pub(super) const DOUBLE: Self = Self { fraction_bits: 52, exponent_bits: 11 };

    const fn max_field(self) -> u64 {
        (1 << self.exponent_bits) - 1
    }

    const fn bias(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    pub(super) const fn range(self) -> Range {
        Range { precision: self.fraction_bits + 1, min_exp: 1 - self.bias(), max_exp: self.bias() }
    }

    pub(super) const fn sign(self, negative: bool) -> u64 {
        (negative as u64) << (self.fraction_bits + self.exponent_bits)
    }

    pub(super) const fn infinity(self, negative: bool) -> u64 {
        self.sign(negative) | self.max_field() << self.fraction_bits
    }

    pub(super) const fn largest(self, negative: bool) -> u64 {
        self.infinity(negative) - 1
    }

    pub(super) const fn quiet_bit(self) -> u64 {
        1 << (self.fraction_bits - 1)
    }

    /// The QNaN floating-point indefinite (SDM 1 table 4-3).
    pub(super) const fn indefinite(self) -> u64 {
        self.infinity(true) | self.quiet_bit()
    }

    /// Puts together the bits of a number from its significand and the exponent of the significand's bit `fraction_bits`. A
    /// significand without that bit is that of a subnormal number.
    pub(super) const fn encode(self, negative: bool, exp: i32, sig: u64) -> u64 {
        // The hidden bit, where it is set, adds the one that the field of a normal number has over that of a subnormal.
        let field = (exp + self.bias() - 1) as u64;
        self.sign(negative) | ((field << self.fraction_bits) + sig)
    }

    /// Takes an operand apart. Neither this nor DAZ raises an exception.
    pub(super) fn decode(self, bits: u64, denormals_are_zeros: bool) -> Operand {
        let negative = bits & self.sign(true) != 0;
        let fraction = bits & ((1 << self.fraction_bits) - 1);
        let field = bits >> self.fraction_bits & self.max_field();
        let mut denormal = false;
        let value = if field == self.max_field() {
            match fraction {
                0 => Value::Infinity,
                _ if fraction & self.quiet_bit() != 0 => Value::QuietNan,
                _ => Value::SignalingNan,
            }
        } else if field != 0 {
            let sig = (fraction | 1 << self.fraction_bits) << (63 - self.fraction_bits);
            Value::Finite(Real { negative, exp: field as i32 - self.bias(), sig })
        } else if fraction == 0 || denormals_are_zeros {
            Value::Zero
        } else {
            denormal = true;
            let shift = fraction.leading_zeros();
            let exp = self.range().min_exp - (shift as i32 - (63 - self.fraction_bits as i32));
            Value::Finite(Real { negative, exp, sig: fraction << shift })
        };
        Operand { negative, denormal, value }
    }

    /// Rounds to this format, with the exceptions of a result (SDM 1 4.9.1.4 to 4.9.1.6).
    pub(super) fn finish(self, wide: Wide, env: &mut SseEnv) -> u64 {
        let range = self.range();
        let rounded = round_unbounded(wide, range.precision, env.rounding());
        if rounded.exp > range.max_exp {
            let inexact = rounded.inexact || env.is_masked(exception::OVERFLOW);
            env.raise(exception::OVERFLOW | if inexact { exception::PRECISION } else { 0 });
            return if env.rounding().overflows_to_infinity(wide.negative) {
                self.infinity(wide.negative)
            } else {
                self.largest(wide.negative)
            };
        }
        if rounded.exp < range.min_exp {
            // Tiny, as found after rounding with an unbounded exponent.
            let masked = env.is_masked(exception::UNDERFLOW);
            if masked && env.flush_to_zero() {
                env.raise(exception::UNDERFLOW | exception::PRECISION);
                return self.sign(wide.negative);
            }
            let tiny = round_tiny(wide, range, env.rounding());
            if !masked {
                // No result will be stored; the handler's would be scaled, so inexact means inexact at full precision.
                env.raise(exception::UNDERFLOW | if rounded.inexact { exception::PRECISION } else { 0 });
            } else if tiny.inexact {
                env.raise(exception::UNDERFLOW | exception::PRECISION);
            }
            return self.encode(wide.negative, range.min_exp, tiny.sig);
        }
        if rounded.inexact {
            env.raise(exception::PRECISION);
        }
        self.encode(wide.negative, rounded.exp, rounded.sig)
    }
}

impl Operand {
    pub(super) const fn is_nan(&self) -> bool {
        matches!(self.value, Value::QuietNan | Value::SignalingNan)
    }

    pub(super) const fn is_signaling(&self) -> bool {
        matches!(self.value, Value::SignalingNan)
    }
}

/// The NaN that results from operands at least one of which is a NaN (SDM 1 table 4-7): the first NaN, made quiet.
fn propagate(layout: Layout, a: u64, b: u64, x: &Operand, y: &Operand, env: &mut SseEnv) -> u64 {
    if x.is_signaling() || y.is_signaling() {
        env.raise(exception::INVALID);
    }
    layout.quiet_bit() | if x.is_nan() { a } else { b }
}

/// `a op b` for any operands.
pub(super) fn arithmetic(operation: Operation, layout: Layout, a: u64, b: u64, env: &mut SseEnv) -> u64 {
    let x = layout.decode(a, env.denormals_are_zeros());
    let mut y = layout.decode(b, env.denormals_are_zeros());
    if x.is_nan() || y.is_nan() {
        return propagate(layout, a, b, &x, &y, env);
    }
    if operation == Operation::Sub {
        y.negative = !y.negative;
        if let Value::Finite(real) = y.value {
            y.value = Value::Finite(real.negated());
        }
    }
    // Exceptions found before the computation come in this order: invalid, division by zero, denormal (SDM 1 4.9.2).
    let invalid = match operation {
        Operation::Add | Operation::Sub => {
            matches!((x.value, y.value), (Value::Infinity, Value::Infinity)) && x.negative != y.negative
        }
        Operation::Mul => {
            matches!((x.value, y.value), (Value::Infinity, Value::Zero) | (Value::Zero, Value::Infinity))
        }
        Operation::Div => {
            matches!((x.value, y.value), (Value::Infinity, Value::Infinity) | (Value::Zero, Value::Zero))
        }
    };
    if invalid {
        env.raise(exception::INVALID);
        return layout.indefinite();
    }
    let negative = x.negative != y.negative;
    if operation == Operation::Div && matches!((x.value, y.value), (Value::Finite(_), Value::Zero)) {
        env.raise(exception::ZERO_DIVIDE);
        return layout.infinity(negative);
    }
    if x.denormal || y.denormal {
        env.raise(exception::DENORMAL);
    }
    let wide = match operation {
        Operation::Add | Operation::Sub => match (x.value, y.value) {
            (Value::Infinity, _) => return layout.infinity(x.negative),
            (_, Value::Infinity) => return layout.infinity(y.negative),
            (Value::Finite(a), Value::Finite(b)) => exact::add(a, b),
            (Value::Finite(one), _) | (_, Value::Finite(one)) => Some(one.widen()),
            _ if x.negative == y.negative => return layout.sign(x.negative),
            _ => None,
        },
        Operation::Mul => match (x.value, y.value) {
            (Value::Infinity, _) | (_, Value::Infinity) => return layout.infinity(negative),
            (Value::Finite(a), Value::Finite(b)) => Some(exact::mul(a, b)),
            _ => return layout.sign(negative),
        },
        Operation::Div => match (x.value, y.value) {
            (Value::Infinity, _) => return layout.infinity(negative),
            (Value::Finite(a), Value::Finite(b)) => Some(exact::div(a, b)),
            _ => return layout.sign(negative),
        },
    };
    match wide {
        Some(wide) => layout.finish(wide, env),
        // A sum of nothing is positive except when rounding down (SDM 1 4.8.3.1).
        None => layout.sign(env.rounding() == super::Rounding::Down),
    }
}

/// The square root of any operand.
pub(super) fn sqrt(layout: Layout, a: u64, env: &mut SseEnv) -> u64 {
    let x = layout.decode(a, env.denormals_are_zeros());
    match x.value {
        Value::QuietNan => a,
        Value::SignalingNan => {
            env.raise(exception::INVALID);
            a | layout.quiet_bit()
        }
        Value::Zero => layout.sign(x.negative),
        _ if x.negative => {
            env.raise(exception::INVALID);
            layout.indefinite()
        }
        Value::Infinity => a,
        Value::Finite(real) => {
            if x.denormal {
                env.raise(exception::DENORMAL);
            }
            layout.finish(exact::sqrt(real), env)
        }
    }
}
