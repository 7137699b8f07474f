//! Where processors may differ from each other, or from the manual, without being wrong: each with a name and the reason.

use iced_x86::{Code, Mnemonic, OpKind};

use crate::case::Case;

/// A difference that is allowed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// FIP, FCS, FDP, FDS and FOP in FSTENV, FSAVE and FXSAVE images.
    X87Pointers,
    /// Bytes of the FXSAVE image that hold no register.
    FxsaveReserved,
    /// RCPPS, RCPSS, RSQRTPS, RSQRTSS.
    Approximation,
    /// F2XM1, FYL2X, FYL2XP1, FSIN, FCOS, FSINCOS, FPTAN, FPATAN.
    Transcendental,
    /// Memory after a fault in the middle of an operand of many words.
    PartialStore,
}

impl Difference {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::X87Pointers,
        Self::FxsaveReserved,
        Self::Approximation,
        Self::Transcendental,
        Self::PartialStore,
    ];

    /// Its name in the table of the README.
    pub fn name(self) -> &'static str {
        match self {
            Self::X87Pointers => "x87 pointers",
            Self::FxsaveReserved => "FXSAVE reserved bytes",
            Self::Approximation => "approximations",
            Self::Transcendental => "transcendental functions",
            Self::PartialStore => "partial stores",
        }
    }

    /// What is allowed, and why.
    pub fn reason(self) -> &'static str {
        match self {
            Self::X87Pointers => {
                "The instruction and operand pointers and the opcode are not compared: processors differ in when they save them \
                 (AMD: only with an exception pending; CPUID.7.EBX[6], CPUID.7.EBX[13])."
            }
            Self::FxsaveReserved => {
                "MXCSR_MASK, the bytes above each 80-bit register and bytes 416 to 511 are not compared: SDM 2A, FXSAVE \
                 reserves them or leaves them to the model."
            }
            Self::Approximation => {
                "Within 3 * 2^-12 of the host: SDM 2B bounds the error of each to 1.5 * 2^-12 and leaves the bits to the model."
            }
            Self::Transcendental => {
                "Within 2 units in the last place of the host, and C1 not compared: SDM 1 8.3.10 bounds the error to one."
            }
            Self::PartialStore => {
                "After a fault in the middle of an image, frame or far pointer the part that is mapped is not compared: SDM 3A 6.6 \
                 makes instructions restartable, not their stores invisible."
            }
        }
    }

    /// Whether this difference can show in instructions with this code.
    pub fn concerns(self, code: Code) -> bool {
        use Mnemonic::*;
        let mnemonic = code.mnemonic();
        match self {
            Self::X87Pointers => matches!(mnemonic, Fnstenv | Fnsave | Fxsave | Fxsave64),
            Self::FxsaveReserved => matches!(mnemonic, Fxsave | Fxsave64),
            Self::Approximation => matches!(mnemonic, Rcpps | Rcpss | Rsqrtps | Rsqrtss),
            Self::Transcendental => {
                matches!(mnemonic, F2xm1 | Fyl2x | Fyl2xp1 | Fsin | Fcos | Fsincos | Fptan | Fpatan)
            }
            Self::PartialStore => matches!(mnemonic, Fnstenv | Fnsave | Fxsave | Fxsave64 | Enter | Call),
        }
    }
}

/// Largest distance in units of the last place between two results of a transcendental instruction.
pub const TRANSCENDENTAL_ULPS: u128 = 2;

/// The largest relative distance of two approximations, as a power of two and a factor.
pub const APPROXIMATION: f32 = 3.0 / 4096.0;

/// The linear address of the memory operand, if there is one with ModRM.
pub fn operand_address(case: &Case) -> Option<u64> {
    let instruction = &case.instruction;
    let operand = (0..instruction.op_count()).find(|&i| instruction.op_kind(i) == OpKind::Memory)?;
    instruction.virtual_address(operand, 0, |register, _, _| {
        Some(if register.is_segment_register() {
            match register {
                iced_x86::Register::FS => case.state.fs_base,
                iced_x86::Register::GS => case.state.gs_base,
                _ => 0,
            }
        } else {
            let value = case.state.gpr[register.full_register().number()];
            if register.is_gpr32() { value & 0xffff_ffff } else { value }
        })
    })
}

/// Offsets in the operand of bytes that are not compared, beside what is undefined.
pub fn ignored_operand_bytes(case: &Case) -> Vec<std::ops::Range<u64>> {
    let code = case.code();
    match code.mnemonic() {
        // FIP with FCS and FOP, then FDP with FDS, behind the control, status and tag words.
        Mnemonic::Fnstenv | Mnemonic::Fnsave => {
            let unit = match code.op_code().operand_size() {
                16 => 2,
                _ => 4,
            };
            std::iter::once(3 * unit..7 * unit).collect()
        }
        Mnemonic::Fxsave | Mnemonic::Fxsave64 => {
            let mut ranges = vec![5..24, 28..32, 416..512];
            ranges.extend((0..8).map(|i| 32 + 16 * i + 10..48 + 16 * i));
            ranges
        }
        _ => Vec::new(),
    }
}

/// Whether two double-extended numbers are as close as the manual asks two transcendental results to be.
pub fn close_extended(a: u128, b: u128) -> bool {
    let (sign_a, key_a) = extended_key(a);
    let (sign_b, key_b) = extended_key(b);
    a == b || sign_a == sign_b && key_a.abs_diff(key_b) <= TRANSCENDENTAL_ULPS
}

/// Sign, and magnitude in units of the last place of its binade.
fn extended_key(value: u128) -> (bool, u128) {
    let exponent = (value >> 64) & 0x7fff;
    let fraction = value & ((1 << 63) - 1);
    (value >> 79 & 1 != 0, exponent << 63 | fraction)
}

/// Whether the lanes of two vectors are as close as the manual asks two approximations to be.
pub fn close_approximations(a: u128, b: u128) -> bool {
    (0..4).all(|lane| {
        let [a, b] = [a, b].map(|vector| (vector >> (32 * lane)) as u32);
        let [x, y] = [a, b].map(f32::from_bits);
        a == b || (x.is_normal() && y.is_normal() && ((x - y) / x).abs() <= APPROXIMATION)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_close_across_a_power_of_two() {
        let one = 0x3fff_8000_0000_0000_0000;
        let below_one = 0x3ffe_ffff_ffff_ffff_ffff;
        assert!(close_extended(one, below_one) && close_extended(one, one + 2));
        assert!(!close_extended(one, one + 3) && !close_extended(one, one | 1 << 79));
    }

    #[test]
    fn approximations_differ_by_little() {
        let vector = |x: f32| u128::from(x.to_bits());
        assert!(close_approximations(vector(1.0), vector(1.0005)));
        assert!(!close_approximations(vector(1.0), vector(1.001)));
        assert!(!close_approximations(vector(0.0), vector(f32::MIN_POSITIVE)));
    }
}
