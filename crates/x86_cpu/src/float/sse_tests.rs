//! Special cases from the manual's tables, and random operands against a second implementation of IEEE 754.

use super::env::{MXCSR_DAZ, MXCSR_FZ, MXCSR_RESET};
use super::exception::{DENORMAL, INVALID, OVERFLOW, PRECISION, UNDERFLOW, ZERO_DIVIDE};
use super::*;
use rustc_apfloat::ieee::{Double, Single};
use rustc_apfloat::{Float, Round, Status, StatusAnd};

const QNAN: u64 = 0x7ff8_0000_0000_1234;
const SNAN: u64 = 0x7ff0_0000_0000_4321;
const INDEFINITE: u64 = 0xfff8 << 48;
const INF: u64 = 0x7ff << 52;
const MAX: u64 = INF - 1;
const MIN_NORMAL: u64 = 1 << 52;
const NEGATIVE: u64 = 1 << 63;
const ONE: u64 = 0x3ff << 52;

/// SplitMix64: operands that are the same in every run.
struct Operands(u64);

impl Operands {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// An f64 of a kind chosen by chance: any, near one, near a limit, special, with few significant bits.
    fn double(&mut self) -> u64 {
        let any = self.bits();
        let sign = any & NEGATIVE;
        let few = self.bits();
        match self.bits() % 8 {
            0 => any,
            1 => sign | [0, INF, MAX, MIN_NORMAL, ONE, 1, MIN_NORMAL - 1, QNAN][(few % 8) as usize],
            2 => sign | (few % (1 << 52)),
            3 => sign | (MIN_NORMAL + few % (60 << 52)),
            4 => sign | (ONE + (few >> 12)) & u64::MAX << (any % 52),
            5 => (few as i32 as f64 / 4.0).to_bits(),
            _ => sign | (ONE - (8 << 52) + few % (16 << 52)),
        }
    }

    fn single(&mut self) -> u32 {
        let any = self.bits() as u32;
        let sign = any & 1 << 31;
        let few = self.bits() as u32;
        match self.bits() % 8 {
            0 => any,
            1 => {
                sign | [0, 0x7f80_0000, 0x7f7f_ffff, 0x80_0000, 1, 0x7f_ffff, 0x7fc0_0001, 3]
                    [(few % 8) as usize]
            }
            2 => sign | (few % (1 << 23)),
            3 => sign | ((1 << 23) + few % (30 << 23)),
            4 => sign | (0x3f80_0000 + (few >> 9)) & u32::MAX << (any % 23),
            5 => (few as i16 as f32 / 4.0).to_bits(),
            _ => sign | (0x3f00_0000 + few % (3 << 23)),
        }
    }
}

/// Runs one operation under `mxcsr` and returns its result and the flags it raised.
fn run<T>(mxcsr: u32, operation: impl Fn(&mut SseEnv) -> T) -> (T, u32) {
    let mut env = SseEnv::new(mxcsr);
    let result = operation(&mut env);
    (result, env.raised())
}

#[test]
fn nan_operands() {
    let quiet = SNAN | 1 << 51;
    let cases = [
        (QNAN, ONE, QNAN, 0),
        (ONE, QNAN, QNAN, 0),
        (SNAN, ONE, quiet, INVALID),
        (ONE, SNAN, quiet, INVALID),
        (QNAN, SNAN, QNAN, INVALID),
        (SNAN, QNAN, quiet, INVALID),
        (QNAN, QNAN | 1, QNAN, 0),
        // A NaN hides a denormal operand and a division by zero.
        (QNAN, 1, QNAN, 0),
        (SNAN, 0, quiet, INVALID),
    ];
    for (a, b, result, flags) in cases {
        for operation in [add::<u64>, sub, mul, div] {
            assert_eq!(run(MXCSR_RESET, |env| operation(a, b, env)), (result, flags), "{a:x} {b:x}");
        }
        assert_eq!(
            run(MXCSR_RESET, |env| min(a, b, env)),
            (b, if b == 1 { INVALID } else { flags | INVALID })
        );
        assert_eq!(
            run(MXCSR_RESET, |env| max(a, b, env)),
            (b, if b == 1 { INVALID } else { flags | INVALID })
        );
    }
}

#[test]
fn invalid_operations_and_division_by_zero() {
    let indefinite = (INDEFINITE, INVALID);
    assert_eq!(run(MXCSR_RESET, |env| add(INF, INF | NEGATIVE, env)), indefinite);
    assert_eq!(run(MXCSR_RESET, |env| sub(INF, INF, env)), indefinite);
    assert_eq!(run(MXCSR_RESET, |env| mul(0u64, INF, env)), indefinite);
    assert_eq!(run(MXCSR_RESET, |env| div(0u64, NEGATIVE, env)), indefinite);
    assert_eq!(run(MXCSR_RESET, |env| div(INF, INF, env)), indefinite);
    assert_eq!(run(MXCSR_RESET, |env| sqrt(ONE | NEGATIVE, env)), indefinite);
    assert_eq!(run(MXCSR_RESET, |env| sqrt(1 | NEGATIVE, env)), indefinite);
    assert_eq!(run(MXCSR_RESET, |env| sqrt(NEGATIVE, env)), (NEGATIVE, 0));
    assert_eq!(run(MXCSR_RESET, |env| div(ONE, NEGATIVE, env)), (INF | NEGATIVE, ZERO_DIVIDE));
    // Division by zero comes before the denormal operand.
    assert_eq!(run(MXCSR_RESET, |env| div(1u64, 0, env)), (INF, ZERO_DIVIDE));
    assert_eq!(run(MXCSR_RESET, |env| div(INF, 0, env)), (INF, 0));
}

#[test]
fn overflow_by_rounding_mode() {
    let inexact = OVERFLOW | PRECISION;
    for (mode, positive, negative) in [
        (0, INF, INF | NEGATIVE),
        (1, MAX, INF | NEGATIVE),
        (2, INF, MAX | NEGATIVE),
        (3, MAX, MAX | NEGATIVE),
    ] {
        let mxcsr = MXCSR_RESET | mode << 13;
        assert_eq!(run(mxcsr, |env| add(MAX, MAX, env)), (positive, inexact));
        assert_eq!(run(mxcsr, |env| mul(MAX | NEGATIVE, MAX, env)), (negative, inexact));
    }
    // Unmasked, an overflow of an exact result is exact.
    assert_eq!(run(MXCSR_RESET & !(OVERFLOW << 7), |env| add(MAX, MAX, env)).1, OVERFLOW);
}

#[test]
fn tininess_is_found_after_rounding() {
    let half = ONE - (1 << 52);
    // (2^-1022 - 2^-1074) * (1 + 2^-52) rounds to 2^-1022 with unbounded exponents: not tiny.
    assert_eq!(run(MXCSR_RESET | DENORMAL, |env| mul(MIN_NORMAL - 1, ONE + 1, env)).1, DENORMAL | PRECISION);
    // (2 - 2^-52) * 2^-1023 fits into 53 bits below 2^-1022: tiny, and rounds up to it.
    assert_eq!(
        run(MXCSR_RESET, |env| mul(MIN_NORMAL * 2 - 1, half, env)),
        (MIN_NORMAL, UNDERFLOW | PRECISION)
    );
    // A tiny exact result underflows only if unmasked.
    assert_eq!(run(MXCSR_RESET, |env| mul(MIN_NORMAL, half, env)), (MIN_NORMAL / 2, 0));
    let unmasked = MXCSR_RESET & !(UNDERFLOW << 7);
    assert_eq!(run(unmasked, |env| mul(MIN_NORMAL, half, env)).1, UNDERFLOW);
    // Flush-to-zero makes it a zero of the same sign, unless underflow is unmasked.
    let flushed = (NEGATIVE, UNDERFLOW | PRECISION);
    assert_eq!(run(MXCSR_RESET | MXCSR_FZ, |env| mul(MIN_NORMAL | NEGATIVE, half, env)), flushed);
    assert_eq!(run(unmasked | MXCSR_FZ, |env| mul(MIN_NORMAL, half, env)).1, UNDERFLOW);
}

#[test]
fn denormal_operands() {
    assert_eq!(run(MXCSR_RESET, |env| add(1u64, 0, env)), (1, DENORMAL));
    assert_eq!(run(MXCSR_RESET | MXCSR_DAZ, |env| add(1u64, 0, env)), (0, 0));
    assert_eq!(run(MXCSR_RESET | MXCSR_DAZ, |env| max(1u64, NEGATIVE | 1, env)), (NEGATIVE, 0));
    assert_eq!(run(MXCSR_RESET, |env| compare_unordered(1u64, 0, env)), (Relation::Greater, DENORMAL));
    assert_eq!(run(MXCSR_RESET | MXCSR_DAZ, |env| compare_unordered(1u64, 0, env)), (Relation::Equal, 0));
    assert_eq!(run(MXCSR_RESET, |env| div(ONE, MAX, env)), (1 << 50, UNDERFLOW | PRECISION));
}

#[test]
fn an_unmasked_exception_before_the_result_hides_those_of_the_result() {
    let unmasked = MXCSR_RESET & !(DENORMAL << 7);
    let mut env = SseEnv::new(unmasked);
    add(1u64, ONE, &mut env);
    assert!(env.unmasked());
    assert_eq!(env.mxcsr(), unmasked | DENORMAL);
    // Flags set earlier do not count as raised now.
    let mut env = SseEnv::new(unmasked | DENORMAL);
    add(ONE, ONE, &mut env);
    assert!(!env.unmasked());
}

#[test]
fn predicates() {
    let all = u64::MAX;
    // For less, equal, greater, unordered: EQ LT LE UNORD NEQ NLT NLE ORD.
    let table = [
        (ONE, ONE + 1, [0, all, all, 0, all, 0, 0, all]),
        (0, NEGATIVE, [all, 0, all, 0, 0, all, 0, all]),
        (INF, ONE, [0, 0, 0, 0, all, all, all, all]),
        (QNAN, ONE, [0, 0, 0, all, all, all, all, 0]),
    ];
    for (a, b, results) in table {
        for (predicate, result) in results.into_iter().enumerate() {
            let invalid = a == QNAN && [1, 2, 5, 6].contains(&predicate);
            let flags = if invalid { INVALID } else { 0 };
            let got = run(MXCSR_RESET, |env| compare_predicate(a, b, predicate as u8, env));
            assert_eq!(got, (result, flags), "{predicate}");
        }
    }
    assert_eq!(run(MXCSR_RESET, |env| compare_predicate(SNAN, 0, 0, env)), (0, INVALID));
    let flags =
        [Relation::Less, Relation::Equal, Relation::Greater, Relation::Unordered].map(Relation::eflags);
    assert_eq!(flags, [0x01, 0x40, 0x00, 0x45]);
    assert_eq!(run(MXCSR_RESET, |env| compare_ordered(QNAN, 0, env)), (Relation::Unordered, INVALID));
    assert_eq!(run(MXCSR_RESET, |env| compare_unordered(QNAN, 0, env)), (Relation::Unordered, 0));
}

#[test]
fn conversions_to_integers() {
    let convert = |value: f64, mode: u32| run(MXCSR_RESET | mode << 13, |env| to_i32(value.to_bits(), env));
    assert_eq!(convert(2.5, 0), (2, PRECISION));
    assert_eq!(convert(-2.5, 1), (-3, PRECISION));
    assert_eq!(convert(2.25, 2), (3, PRECISION));
    assert_eq!(convert(-2.75, 3), (-2, PRECISION));
    assert_eq!(convert(-2_147_483_648.0, 0), (i32::MIN, 0));
    assert_eq!(convert(-2_147_483_648.5, 0), (i32::MIN, PRECISION));
    assert_eq!(convert(2_147_483_647.5, 0), (i32::MIN, INVALID));
    assert_eq!(convert(f64::NAN, 0), (i32::MIN, INVALID));
    for (value, result) in [
        (0.75f64, (0, PRECISION)),
        (-9_223_372_036_854_775_808.0, (i64::MIN, 0)),
        (9_223_372_036_854_775_808.0, (i64::MIN, INVALID)),
        (f64::NEG_INFINITY, (i64::MIN, INVALID)),
        (f64::from_bits(1), (0, PRECISION)),
    ] {
        assert_eq!(run(MXCSR_RESET, |env| to_i64_truncated(value.to_bits(), env)), result, "{value}");
        assert_eq!(run(MXCSR_RESET, |env| to_i64(value.to_bits(), env)).1, result.1, "{value}");
    }
    assert_eq!(run(MXCSR_RESET | PRECISION, |env| to_i32_truncated((-7.9f32).to_bits(), env)), (-7, 0));
    assert_eq!(run(MXCSR_RESET | MXCSR_DAZ, |env| to_i64(1u64, env)), (0, 0));
}

#[test]
fn conversions_between_formats() {
    assert_eq!(run(MXCSR_RESET, |env| f32_to_f64(0x7f80_0001, env)), (0x7ff8_0000_2000_0000, INVALID));
    assert_eq!(run(MXCSR_RESET, |env| f64_to_f32(QNAN | 1 << 40, env)), (0x7fc0_0800, 0));
    assert_eq!(run(MXCSR_RESET, |env| f32_to_f64(1, env)), (0x36a0_0000_0000_0000, DENORMAL));
    assert_eq!(run(MXCSR_RESET, |env| f64_to_f32(MAX, env)), (0x7f80_0000, OVERFLOW | PRECISION));
    assert_eq!(run(MXCSR_RESET, |env| f64_to_f32(1, env)), (0, DENORMAL | UNDERFLOW | PRECISION));
    assert_eq!(run(MXCSR_RESET, |env| from_i64::<u32>(i64::MAX, env)), (0x5f00_0000, PRECISION));
    assert_eq!(run(MXCSR_RESET | 3 << 13, |env| from_i32::<u32>(-16_777_217, env)), (0xcb80_0000, PRECISION));
    assert_eq!(run(MXCSR_RESET | 1 << 13, |env| from_i64::<u64>(0, env)), (0, 0));
}

#[test]
fn rounding_to_integers() {
    let round = |value: f64, control| {
        run(MXCSR_RESET | 1 << 13, |env| round_to_integer(value.to_bits(), control, env))
    };
    assert_eq!(round(2.5, 0), (2.0f64.to_bits(), PRECISION));
    assert_eq!(round(2.5, 2), (3.0f64.to_bits(), PRECISION));
    assert_eq!(round(-0.5, 3), ((-0.0f64).to_bits(), PRECISION));
    assert_eq!(round(-0.5, 4), ((-1.0f64).to_bits(), PRECISION));
    assert_eq!(round(-0.5, 8 | 4), ((-1.0f64).to_bits(), 0));
    assert_eq!(round(2251799813685249.5, 0), (2251799813685250f64.to_bits(), PRECISION));
    assert_eq!(round(f64::INFINITY, 0), (INF, 0));
    assert_eq!(run(MXCSR_RESET, |env| round_to_integer(SNAN, 8, env)), (SNAN | 1 << 51, INVALID));
}

#[test]
fn dot_products_sum_in_pairs() {
    let f = |values: [f32; 4]| values.map(f32::to_bits);
    let (result, _) =
        run(MXCSR_RESET, |env| dot_product_f32(f([1.0, 2.0, 3.0, 4.0]), f([5.0, 6.0, 7.0, 8.0]), 0xb5, env));
    // Lanes 0, 1 and 3 are multiplied; lanes 0 and 2 receive the sum.
    assert_eq!(result, Some(f([49.0, 0.0, 49.0, 0.0])));
    let (result, flags) = run(MXCSR_RESET, |env| dot_product_f64([INF, ONE], [0, ONE], 0x31, env));
    assert_eq!((result, flags), (Some([INDEFINITE, 0]), 0));
    let mut env = SseEnv::new(0x1f00);
    assert_eq!(dot_product_f64([INF, ONE], [0, ONE], 0x31, &mut env), None);
    assert_eq!(env.mxcsr(), 0x1f01);
}

#[test]
fn approximations_keep_their_promise() {
    let mut operands = Operands(1);
    for _ in 0..20_000 {
        let a = operands.single() & 0x7fff_ffff;
        let value = f64::from(f32::from_bits(a));
        if !f32::from_bits(a).is_normal() || value > 1e37 {
            continue;
        }
        let bound = 1.5 / 4096.0;
        let error = f64::from(f32::from_bits(reciprocal(a))) * value - 1.0;
        assert!(error.abs() <= bound, "{a:x} {error}");
        let root = f64::from(f32::from_bits(reciprocal_square_root(a))) * value.sqrt() - 1.0;
        assert!(root.abs() <= bound, "{a:x} {root}");
    }
    let (minus, inf) = (1 << 31, 0x7f80_0000);
    assert_eq!([0, minus, 1, inf, minus | inf].map(reciprocal), [inf, minus | inf, inf, 0, minus]);
    assert_eq!(reciprocal(0x7f00_0000), 0);
    assert_eq!([0, minus, minus | 1, inf].map(reciprocal_square_root), [inf, minus | inf, minus | inf, 0]);
    assert_eq!(reciprocal_square_root(0xbf80_0000), 0xffc0_0000);
    assert_eq!(reciprocal_square_root(0x7f80_0001), 0x7fc0_0001);
}

const ROUNDS: [Round; 4] =
    [Round::NearestTiesToEven, Round::TowardNegative, Round::TowardPositive, Round::TowardZero];

/// The flags both implementations define alike. A NaN operand, quiet or not, is compared by the tables above.
fn common_flags(status: Status) -> u32 {
    let flag = |wanted, flag| if status.contains(wanted) { flag } else { 0 };
    flag(Status::INVALID_OP, INVALID)
        | flag(Status::DIV_BY_ZERO, ZERO_DIVIDE)
        | flag(Status::OVERFLOW, OVERFLOW)
        | flag(Status::INEXACT, PRECISION)
}

fn agree<F: Float, L: Lane + std::fmt::Debug + PartialEq>(
    operands: [L; 2],
    theirs: impl Fn(F, F, Round) -> StatusAnd<F>,
    ours: impl Fn(L, L, &mut SseEnv) -> L,
) {
    let [x, y] = operands.map(|operand| F::from_bits(operand.to_wide().into()));
    if x.is_nan() || y.is_nan() {
        return;
    }
    for (mode, round) in (0..).zip(ROUNDS) {
        let expected = theirs(x, y, round);
        // With the precision flag clear and with it set, which takes the quick path.
        for sticky in [0, PRECISION] {
            let (result, flags) =
                run(MXCSR_RESET | sticky | mode << 13, |env| ours(operands[0], operands[1], env));
            let case = format!("{operands:x?} {round:?}");
            if !expected.value.is_nan() {
                assert_eq!(u128::from(result.to_wide()), expected.value.to_bits(), "{case}");
            }
            // The other one calls only infinite results an overflow.
            let finite = if expected.value.is_finite() { OVERFLOW } else { 0 };
            let ignored = DENORMAL | UNDERFLOW | sticky | finite;
            assert_eq!(flags & !ignored, common_flags(expected.status) & !ignored, "{case}");
        }
    }
}

#[test]
fn random_operands_against_a_second_implementation() {
    let mut operands = Operands(7);
    for _ in 0..40_000 {
        let doubles = [operands.double(), operands.double()];
        agree::<Double, u64>(doubles, |a, b, round| a.add_r(b, round), add);
        agree::<Double, u64>(doubles, |a, b, round| a.sub_r(b, round), sub);
        agree::<Double, u64>(doubles, |a, b, round| a.mul_r(b, round), mul);
        agree::<Double, u64>(doubles, |a, b, round| a.div_r(b, round), div);
        let singles = [operands.single(), operands.single()];
        agree::<Single, u32>(singles, |a, b, round| a.add_r(b, round), add);
        agree::<Single, u32>(singles, |a, b, round| a.sub_r(b, round), sub);
        agree::<Single, u32>(singles, |a, b, round| a.mul_r(b, round), mul);
        agree::<Single, u32>(singles, |a, b, round| a.div_r(b, round), div);
    }
}

#[test]
fn roots_of_squares_are_exact() {
    let mut operands = Operands(3);
    for _ in 0..20_000 {
        let root = f64::from(operands.bits() as u32 >> 6);
        let square = root * root;
        assert_eq!(run(MXCSR_RESET, |env| sqrt(square.to_bits(), env)), (root.to_bits(), 0));
        let above = square.to_bits() + 1;
        let (result, flags) = run(MXCSR_RESET, |env| sqrt(above, env));
        assert_eq!((result, flags), (f64::from_bits(above).sqrt().to_bits(), PRECISION));
        // The slow path finds the same nearest root.
        assert_eq!(sse_slow::sqrt(sse_slow::Layout::DOUBLE, above, &mut SseEnv::new(MXCSR_RESET)), result);
    }
}
