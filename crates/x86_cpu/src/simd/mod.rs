//! What the packed-integer, crypto and bit-manipulation instructions compute, as pure functions.
//!
//! An XMM register is a `u128`, an MMX register a `u64`; lane 0 is the least significant one. Functions that exist
//! for both widths are generic over [`lanes::Packed`]. Nothing here knows of operands, memory or faults: the interpreter's
//! handlers fetch operands and check CR0/CR4 and alignment, and a JIT may call the same functions. Every function is
//! named after its mnemonic, takes the destination operand first (the first source of the legacy encodings) and
//! follows the "Operation" section of that mnemonic in SDM volume 2.
//!
//! No host vector intrinsic is used, so the result is the same on every host. The loops over lanes are written so that
//! the compiler turns them into vector code where the host has it (see [`lanes`]).

pub(crate) mod aes;
pub(crate) mod arith;
pub(crate) mod bits;
pub(crate) mod clmul;
pub(crate) mod compare;
pub(crate) mod crc32;
pub(crate) mod lanes;
pub(crate) mod logic;
pub(crate) mod pack;
pub(crate) mod sha;
pub(crate) mod shift;
pub(crate) mod shuffle;
pub(crate) mod string_compare;

#[cfg(test)]
mod test_values;

/// The flags an instruction of this module defines. AF and PF are always cleared by those that report flags: the SDM
/// either says so (PTEST, PCMPxSTRx, POPCNT) or leaves them undefined (BMI).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// CF.
    pub(crate) carry: bool,
    /// ZF.
    pub(crate) zero: bool,
    /// SF.
    pub(crate) sign: bool,
    /// OF.
    pub(crate) overflow: bool,
}
