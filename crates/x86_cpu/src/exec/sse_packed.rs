//! Packed integers in MMX and XMM registers, bitwise operations, AES, SHA and carry-less multiplication: a table of what
//! each mnemonic computes.

use iced_x86::{Instruction, Mnemonic};

use super::Form;
use super::mmx::mmx_operation;
use super::sse::xmm_operation;
use crate::op::Handler;
use crate::simd::{aes, arith, clmul, compare, logic, pack, sha, shift};

/// An operation that exists for MMX and XMM registers.
macro_rules! packed_operation {
    (($instruction:ident, $form:ident), $function:expr) => {
        if $instruction.op0_register().is_mm() {
            mmx_operation!(($instruction, $form), $function)
        } else {
            xmm_operation!(($instruction, $form), $function)
        }
    };
}

/// A table of mnemonics of two operands that exist for MMX and XMM registers.
macro_rules! packed_table {
    ($context:tt, $mnemonic:expr, $($name:ident $($more:ident)*: $function:path;)*) => {
        match $mnemonic {
            $(Mnemonic::$name $(| Mnemonic::$more)* => packed_operation!($context, |a, b, _| $function(a, b)),)*
            _ => return None,
        }
    };
}

/// The same for XMM registers alone.
macro_rules! xmm_table {
    ($context:tt, $mnemonic:expr, $($name:ident $($more:ident)*: $function:path;)*) => {
        match $mnemonic {
            $(Mnemonic::$name $(| Mnemonic::$more)* => xmm_operation!($context, |a, b, _| $function(a, b)),)*
            _ => return None,
        }
    };
}

/// Shifts: the count is the low quadword of the second operand, or an immediate.
macro_rules! shift_table {
    ($context:tt, $mnemonic:expr, $($name:ident: $function:path;)*) => {
        match $mnemonic {
            $(Mnemonic::$name => packed_operation!($context, |a, b, _| $function(a, b as u64)),)*
            _ => return None,
        }
    };
}

fn both_widths(instruction: &Instruction, form: Form) -> Option<Handler> {
    Some(packed_table! {
        (instruction, form), instruction.mnemonic(),
        Paddb: arith::paddb;
        Paddw: arith::paddw;
        Paddd: arith::paddd;
        Paddq: arith::paddq;
        Paddsb: arith::paddsb;
        Paddsw: arith::paddsw;
        Paddusb: arith::paddusb;
        Paddusw: arith::paddusw;
        Psubb: arith::psubb;
        Psubw: arith::psubw;
        Psubd: arith::psubd;
        Psubq: arith::psubq;
        Psubsb: arith::psubsb;
        Psubsw: arith::psubsw;
        Psubusb: arith::psubusb;
        Psubusw: arith::psubusw;
        Pmullw: arith::pmullw;
        Pmulhw: arith::pmulhw;
        Pmulhuw: arith::pmulhuw;
        Pmulhrsw: arith::pmulhrsw;
        Pmuludq: arith::pmuludq;
        Pmaddwd: arith::pmaddwd;
        Pmaddubsw: arith::pmaddubsw;
        Psadbw: arith::psadbw;
        Pavgb: arith::pavgb;
        Pavgw: arith::pavgw;
        Psignb: arith::psignb;
        Psignw: arith::psignw;
        Psignd: arith::psignd;
        Phaddw: arith::phaddw;
        Phaddd: arith::phaddd;
        Phaddsw: arith::phaddsw;
        Phsubw: arith::phsubw;
        Phsubd: arith::phsubd;
        Phsubsw: arith::phsubsw;
        Pcmpeqb: compare::pcmpeqb;
        Pcmpeqw: compare::pcmpeqw;
        Pcmpeqd: compare::pcmpeqd;
        Pcmpgtb: compare::pcmpgtb;
        Pcmpgtw: compare::pcmpgtw;
        Pcmpgtd: compare::pcmpgtd;
        Pminub: compare::pminub;
        Pminsw: compare::pminsw;
        Pmaxub: compare::pmaxub;
        Pmaxsw: compare::pmaxsw;
        Pand Andps Andpd: logic::pand;
        Pandn Andnps Andnpd: logic::pandn;
        Por Orps Orpd: logic::por;
        Pxor Xorps Xorpd: logic::pxor;
        Packsswb: pack::packsswb;
        Packssdw: pack::packssdw;
        Packuswb: pack::packuswb;
        Punpcklbw: pack::punpcklbw;
        Punpcklwd: pack::punpcklwd;
        Punpckldq Unpcklps: pack::punpckldq;
        Punpckhbw: pack::punpckhbw;
        Punpckhwd: pack::punpckhwd;
        Punpckhdq Unpckhps: pack::punpckhdq;
    })
}

fn shifts(instruction: &Instruction, form: Form) -> Option<Handler> {
    Some(shift_table! {
        (instruction, form), instruction.mnemonic(),
        Psllw: shift::psllw;
        Pslld: shift::pslld;
        Psllq: shift::psllq;
        Psrlw: shift::psrlw;
        Psrld: shift::psrld;
        Psrlq: shift::psrlq;
        Psraw: shift::psraw;
        Psrad: shift::psrad;
    })
}

fn xmm_only(instruction: &Instruction, form: Form) -> Option<Handler> {
    Some(xmm_table! {
        (instruction, form), instruction.mnemonic(),
        Punpcklqdq Unpcklpd: pack::punpcklqdq;
        Punpckhqdq Unpckhpd: pack::punpckhqdq;
        Packusdw: pack::packusdw;
        Pmulld: arith::pmulld;
        Pmuldq: arith::pmuldq;
        Pcmpeqq: compare::pcmpeqq;
        Pcmpgtq: compare::pcmpgtq;
        Pminsb: compare::pminsb;
        Pminsd: compare::pminsd;
        Pminuw: compare::pminuw;
        Pminud: compare::pminud;
        Pmaxsb: compare::pmaxsb;
        Pmaxsd: compare::pmaxsd;
        Pmaxuw: compare::pmaxuw;
        Pmaxud: compare::pmaxud;
        Aesenc: aes::aesenc;
        Aesenclast: aes::aesenclast;
        Aesdec: aes::aesdec;
        Aesdeclast: aes::aesdeclast;
        Sha1nexte: sha::sha1nexte;
        Sha1msg1: sha::sha1msg1;
        Sha1msg2: sha::sha1msg2;
        Sha256msg1: sha::sha256msg1;
        Sha256msg2: sha::sha256msg2;
    })
}

/// Those of one source, with an immediate or with XMM0 as a third operand.
fn others(instruction: &Instruction, form: Form) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        Mnemonic::Pabsb => packed_operation!((instruction, form), |_, b, _| arith::pabsb(b)),
        Mnemonic::Pabsw => packed_operation!((instruction, form), |_, b, _| arith::pabsw(b)),
        Mnemonic::Pabsd => packed_operation!((instruction, form), |_, b, _| arith::pabsd(b)),
        Mnemonic::Phminposuw => xmm_operation!((instruction, form), |_, b, _| arith::phminposuw(b)),
        Mnemonic::Mpsadbw => xmm_operation!((instruction, form), arith::mpsadbw),
        Mnemonic::Pslldq => xmm_operation!((instruction, form), |a, b, _| shift::pslldq(a, b as u8)),
        Mnemonic::Psrldq => xmm_operation!((instruction, form), |a, b, _| shift::psrldq(a, b as u8)),
        Mnemonic::Aesimc => xmm_operation!((instruction, form), |_, b, _| aes::aesimc(b)),
        Mnemonic::Aeskeygenassist => {
            xmm_operation!((instruction, form), |_, b, imm| aes::aeskeygenassist(b, imm))
        }
        Mnemonic::Pclmulqdq => xmm_operation!((instruction, form), clmul::pclmulqdq),
        Mnemonic::Sha1rnds4 => xmm_operation!((instruction, form), sha::sha1rnds4),
        Mnemonic::Sha256rnds2 => xmm_operation!((instruction, form), implicit sha::sha256rnds2),
        _ => return None,
    })
}

/// The handlers of this family.
pub(crate) fn lower(instruction: &Instruction, form: Form) -> Option<Handler> {
    both_widths(instruction, form)
        .or_else(|| shifts(instruction, form))
        .or_else(|| xmm_only(instruction, form))
        .or_else(|| others(instruction, form))
}
