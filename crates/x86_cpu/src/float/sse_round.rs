//! ROUNDSS, ROUNDSD and their packed forms.

use super::env::{SseEnv, exception};
use super::exact::Real;
use super::rounding::{Rounding, cut};
use super::sse_lane::Lane;
use super::sse_slow::Value;

/// Rounds to an integer of the same format. Bits 0 and 1 of `control` are the rounding control, unless bit 2 says to use
/// that of MXCSR; bit 3 suppresses the precision exception (SDM 2 ROUNDPD, figure 4-24).
pub(crate) fn round_to_integer<L: Lane>(a: L, control: u8, env: &mut SseEnv) -> L {
    let mode = if control & 4 != 0 { env.rounding() } else { Rounding::from_bits(u32::from(control)) };
    let bits = a.to_wide();
    let operand = L::LAYOUT.decode(bits, env.denormals_are_zeros());
    let real = match operand.value {
        Value::Finite(real) => real,
        Value::SignalingNan => {
            env.raise(exception::INVALID);
            return L::from_wide(bits | L::LAYOUT.quiet_bit());
        }
        Value::Zero => return L::from_wide(L::LAYOUT.sign(operand.negative)),
        Value::QuietNan | Value::Infinity => return a,
    };
    if real.exp >= L::LAYOUT.fraction_bits as i32 {
        return a;
    }
    let cut = cut(real.widen().sig, (127 - real.exp) as u32, real.negative, mode);
    if cut.inexact && control & 8 == 0 {
        env.raise(exception::PRECISION);
    }
    match Real::from_integer(real.negative, cut.units as u64) {
        None => L::from_wide(L::LAYOUT.sign(real.negative)),
        Some(integer) => {
            let sig = integer.sig >> (63 - L::LAYOUT.fraction_bits);
            L::from_wide(L::LAYOUT.encode(integer.negative, integer.exp, sig))
        }
    }
}
