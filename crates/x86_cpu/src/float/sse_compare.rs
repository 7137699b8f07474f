//! CMP, COMI, UCOMI, MIN and MAX of one lane.

use super::env::{SseEnv, exception};
use super::sse_lane::Lane;
use std::cmp::Ordering;

/// How two operands compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// The first is less.
    Less,
    /// They are equal; zeros are, whatever their signs.
    Equal,
    /// The first is greater.
    Greater,
    /// At least one is a NaN.
    Unordered,
}

impl Relation {
    #[inline(always)]
    pub(super) fn from_partial(ordering: Option<Ordering>) -> Self {
        match ordering {
            Some(Ordering::Less) => Self::Less,
            Some(Ordering::Equal) => Self::Equal,
            Some(Ordering::Greater) => Self::Greater,
            None => Self::Unordered,
        }
    }

    /// The flags that COMISS, UCOMISS, FCOMI and their kin set, at their positions in EFLAGS: CF, PF and ZF. The first two
    /// also clear OF, SF and AF.
    #[inline(always)]
    pub(crate) const fn eflags(self) -> u32 {
        const CF: u32 = 1 << 0;
        const PF: u32 = 1 << 2;
        const ZF: u32 = 1 << 6;
        match self {
            Self::Less => CF,
            Self::Equal => ZF,
            Self::Greater => 0,
            Self::Unordered => CF | PF | ZF,
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Less => 1,
            Self::Equal => 2,
            Self::Greater => 4,
            Self::Unordered => 8,
        }
    }
}

/// Relations for which each predicate holds, as sets of [`Relation::bit`] (SDM 2 CMPPD, table 3-1): EQ, LT, LE, UNORD, NEQ,
/// NLT, NLE, ORD.
const HOLDS: [u8; 8] = [2, 1, 1 | 2, 8, 1 | 4 | 8, 2 | 4 | 8, 4 | 8, 1 | 2 | 4];
/// Predicates that raise the invalid exception for quiet NaNs too: LT, LE, NLT, NLE.
const SIGNALING: u8 = 0b0110_0110;

/// The relation of two operands that raise no exception whatever MXCSR says; `None` for NaNs and subnormals.
#[inline(always)]
pub(crate) fn quick_relation<L: Lane>(a: L, b: L) -> Option<Relation> {
    let relation = a.native_relation(b);
    if relation == Relation::Unordered || a.is_subnormal() | b.is_subnormal() { None } else { Some(relation) }
}

/// Compares; `signal_quiet` says whether quiet NaNs raise the invalid exception as signaling ones do.
#[inline(always)]
fn compare<L: Lane>(a: L, b: L, signal_quiet: bool, env: &mut SseEnv) -> Relation {
    match quick_relation(a, b) {
        Some(relation) => relation,
        None => compare_unusual(a, b, signal_quiet, env),
    }
}

#[cold]
#[inline(never)]
fn compare_unusual<L: Lane>(a: L, b: L, signal_quiet: bool, env: &mut SseEnv) -> Relation {
    let relation = flush(a, env).native_relation(flush(b, env));
    if relation == Relation::Unordered {
        if signal_quiet || is_signaling(a) || is_signaling(b) {
            env.raise(exception::INVALID);
        }
    } else if !env.denormals_are_zeros() {
        env.raise(exception::DENORMAL);
    }
    relation
}

/// What DAZ makes of an operand.
fn flush<L: Lane>(lane: L, env: &SseEnv) -> L {
    if lane.is_subnormal() && env.denormals_are_zeros() {
        L::from_wide(lane.to_wide() & L::LAYOUT.sign(true))
    } else {
        lane
    }
}

fn is_signaling<L: Lane>(lane: L) -> bool {
    lane.is_nan() && lane.to_wide() & L::LAYOUT.quiet_bit() == 0
}

/// CMPSS, CMPSD and their packed forms: all ones if predicate `predicate & 7` holds, else zero.
#[inline(always)]
pub(crate) fn compare_predicate<L: Lane>(a: L, b: L, predicate: u8, env: &mut SseEnv) -> L {
    let predicate = predicate & 7;
    let relation = compare(a, b, SIGNALING >> predicate & 1 != 0, env);
    predicate_mask(relation, predicate)
}

/// All ones if predicate `predicate & 7` holds for operands of this relation, else zero.
#[inline(always)]
pub(crate) fn predicate_mask<L: Lane>(relation: Relation, predicate: u8) -> L {
    let holds = HOLDS[usize::from(predicate & 7)] & relation.bit() != 0;
    L::from_wide((holds as u64).wrapping_neg())
}

/// COMISS, COMISD: any NaN is invalid.
#[inline(always)]
pub(crate) fn compare_ordered<L: Lane>(a: L, b: L, env: &mut SseEnv) -> Relation {
    compare(a, b, true, env)
}

/// UCOMISS, UCOMISD: only signaling NaNs are invalid.
#[inline(always)]
pub(crate) fn compare_unordered<L: Lane>(a: L, b: L, env: &mut SseEnv) -> Relation {
    compare(a, b, false, env)
}

/// MIN: the second operand unless the first is less, so also if either is a NaN or both are zeros (SDM 2 MINSD).
#[inline(always)]
pub(crate) fn min<L: Lane>(a: L, b: L, env: &mut SseEnv) -> L {
    let relation = compare(a, b, true, env);
    select(a, b, relation == Relation::Less, env)
}

/// MAX: the second operand unless the first is greater.
#[inline(always)]
pub(crate) fn max<L: Lane>(a: L, b: L, env: &mut SseEnv) -> L {
    let relation = compare(a, b, true, env);
    select(a, b, relation == Relation::Greater, env)
}

#[inline(always)]
fn select<L: Lane>(a: L, b: L, first: bool, env: &SseEnv) -> L {
    let chosen = if first { a } else { b };
    if chosen.is_subnormal() { flush(chosen, env) } else { chosen }
}
