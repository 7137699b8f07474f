//! RCPSS, RSQRTSS and their packed forms.
//!
//! A named exception from bit exactness: the manual promises a relative error of at most 1.5 * 2^-12 and leaves the bits to
//! the processor (SDM 2 RCPPS, RSQRTPS). Here the result is the true one, rounded to 12 significant bits (an error of at
//! most 2^-12), so that it is the same on every host. Neither instruction raises an exception or looks at MXCSR.

use super::exact::{self, Real};
use super::rounding::{Rounding, round_unbounded};
use super::sse_slow::{Layout, Value};

const PRECISION: u32 = 12;

/// RCPSS: approximately `1 / a`.
pub(crate) fn reciprocal(a: u32) -> u32 {
    approximate(a, |real| exact::div(Real { negative: false, exp: 0, sig: 1 << 63 }, real))
}

/// RSQRTSS: approximately `1 / sqrt(a)`.
pub(crate) fn reciprocal_square_root(a: u32) -> u32 {
    let layout = Layout::SINGLE;
    let operand = layout.decode(u64::from(a), true);
    if operand.negative && matches!(operand.value, Value::Finite(_) | Value::Infinity) {
        return layout.indefinite() as u32;
    }
    approximate(a, |real| {
        // The root is cut to 64 bits; its error is far below half a unit of the result.
        let root = exact::sqrt(real);
        let root = Real { negative: false, exp: root.exp, sig: (root.sig >> 64) as u64 };
        exact::div(Real { negative: false, exp: 0, sig: 1 << 63 }, root)
    })
}

/// What both have in common: denormals count as zeros, tiny results become zeros, NaNs become quiet.
fn approximate(a: u32, function: impl FnOnce(Real) -> exact::Wide) -> u32 {
    let layout = Layout::SINGLE;
    let operand = layout.decode(u64::from(a), true);
    let bits = match operand.value {
        Value::Zero => layout.infinity(operand.negative),
        Value::Infinity => layout.sign(operand.negative),
        Value::QuietNan | Value::SignalingNan => u64::from(a) | layout.quiet_bit(),
        Value::Finite(real) => {
            let exact = function(real);
            let rounded = round_unbounded(exact, PRECISION, Rounding::Nearest);
            if exact.exp < layout.range().min_exp {
                layout.sign(operand.negative)
            } else {
                layout.encode(
                    operand.negative,
                    rounded.exp,
                    rounded.sig << (layout.fraction_bits + 1 - PRECISION),
                )
            }
        }
    };
    bits as u32
}
