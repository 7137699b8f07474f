//! The transcendentals: special cases from the manual's tables, and references computed with 900 bits.

use super::exception::{INVALID, PRECISION, ZERO_DIVIDE};
use super::*;

const INTEGER: u64 = 1 << 63;
const MASKED: u16 = 0x037f;
const INF: F80 = f80(0x7fff, INTEGER);
const MINUS_INF: F80 = f80(0xffff, INTEGER);
const MINUS_ZERO: F80 = f80(0x8000, 0);
const MINUS_ONE: F80 = f80(0xbfff, INTEGER);
const HALF: F80 = f80(0x3ffe, INTEGER);
const TWO: F80 = f80(0x4000, INTEGER);
const PI: F80 = f80(0x4000, 0xc90f_daa2_2168_c235);
const HALF_PI: F80 = f80(0x3fff, PI.mantissa);
const QNAN: F80 = f80(0x7fff, 0xc000_0000_0000_1234);

const fn f80(sign_exp: u16, mantissa: u64) -> F80 {
    F80 { mantissa, sign_exp }
}

fn run<T>(operation: impl FnOnce(&mut X87Env) -> T) -> (T, u32) {
    let mut env = X87Env::new(MASKED);
    let result = operation(&mut env);
    (result, env.flags())
}

#[derive(Clone, Copy, Debug)]
enum Function {
    TwoToXMinusOne,
    YLog2X,
    YLog2XPlusOne,
    ArcTangent,
    Sine,
    Cosine,
    Tangent,
}

impl Function {
    fn apply(self, x: F80, y: F80, env: &mut X87Env) -> F80 {
        match self {
            Self::TwoToXMinusOne => x87_two_to_x_minus_one(x, env),
            Self::YLog2X => x87_y_log2_x(x, y, env),
            Self::YLog2XPlusOne => x87_y_log2_x_plus_one(x, y, env),
            Self::ArcTangent => x87_arc_tangent(x, y, env),
            Self::Sine => x87_sine(x, env).expect("in range"),
            Self::Cosine => x87_cosine(x, env).expect("in range"),
            Self::Tangent => x87_tangent(x, env).expect("in range").0,
        }
    }
}

/// ST(0), ST(1) and the result, nearest to what was computed with 900 bits (for the trigonometric functions with the 66-bit
/// pi of the manual).
type Reference = [(u16, u64); 3];

const REFERENCES: &[(Function, &[Reference])] = &[
    (
        Function::TwoToXMinusOne,
        &[
            [
                (0x3ffe, 0xd860_8fef_cb91_ce37),
                (0x4001, 0xf60e_bed0_a6eb_8c9e),
                (0x3ffe, 0xcbea_3d0e_b31a_794e),
            ],
            [
                (0x3ffe, 0xf8bf_e9ba_c6a5_3877),
                (0xbffc, 0x9413_b446_e6a1_6a3b),
                (0x3ffe, 0xf60c_023f_bdd8_c944),
            ],
            [
                (0xbffd, 0x9f8f_b2d4_de52_7100),
                (0xbffc, 0x9fea_11ac_92ed_cf45),
                (0xbffc, 0xc6f0_693e_c138_d7f9),
            ],
            [
                (0xbffb, 0xa3c6_140e_687c_966c),
                (0xc002, 0xb1d9_14f8_c406_9545),
                (0xbffa, 0xdcdc_694c_768f_c9a0),
            ],
            [
                (0xbfc2, 0xcf18_348e_2386_42ea),
                (0x3ffd, 0x803a_2898_21da_8978),
                (0xbfc2, 0x8f8c_0881_54a9_ba48),
            ],
            [
                (0x3fb9, 0xe305_1e55_359e_eefb),
                (0xbffd, 0x954f_5d06_df56_1d80),
                (0x3fb9, 0x9d5b_b781_a5bd_dad7),
            ],
        ],
    ),
    (
        Function::YLog2X,
        &[
            [
                (0x3fff, 0xfb11_b5f9_504b_74ba),
                (0xc001, 0x9a36_3715_a02f_daa1),
                (0xc001, 0x95e2_8074_e14f_d0a4),
            ],
            [
                (0x3fff, 0xfbf9_ab1a_f0e3_cd97),
                (0x3fff, 0x82c2_d00e_4c7d_6df0),
                (0x3ffe, 0xff8b_0b6b_500e_b527),
            ],
            [
                (0x3ffe, 0x953e_0c40_6a37_5391),
                (0x3ffe, 0xaa7a_3534_10ac_ff00),
                (0xbffe, 0x84b6_dfa5_4f6f_b8cc),
            ],
            [
                (0x3ffe, 0xcd32_b557_d141_2584),
                (0x4000, 0xda95_21d5_ad8d_194a),
                (0xbfff, 0x8b82_d10a_95c0_fd98),
            ],
            [
                (0x2cbf, 0xa7ac_b393_10e6_d8e6),
                (0xbffe, 0xd924_48c8_7b12_1dc5),
                (0x400b, 0x829d_2f22_6673_c856),
            ],
            [
                (0x29ea, 0xbd98_906f_2f4d_4c86),
                (0xbffd, 0xa0ca_90ff_0e97_9cf3),
                (0x4009, 0xdde3_df18_39b1_033a),
            ],
        ],
    ),
    (
        Function::YLog2XPlusOne,
        &[
            [
                (0x3ffc, 0xdff9_4880_f300_1cee),
                (0xbfff, 0xc647_caf7_04a0_12e8),
                (0xbffd, 0xe255_abf0_e060_cc92),
            ],
            [
                (0x3ffc, 0xca0c_e7a6_6059_7bdc),
                (0x3fff, 0xda97_d29e_0bf6_4ef7),
                (0x3ffd, 0xe32a_0697_0965_4bb4),
            ],
            [
                (0xbff6, 0xe0bb_f889_1e78_2196),
                (0xc002, 0xbb29_8b9b_f129_c8c6),
                (0x3ffa, 0xed72_9a31_99ac_653d),
            ],
            [
                (0xbff7, 0xc329_6de8_e488_b6c8),
                (0xbfff, 0xcb7d_5dbd_1ba9_5a54),
                (0x3ff8, 0xe079_a92d_0321_c929),
            ],
            [
                (0x3fec, 0xee0a_76ab_5e07_30b3),
                (0xbfff, 0xfd3a_4b49_f21f_f5eb),
                (0xbfee, 0xa9d9_b3c5_fd22_4616),
            ],
            [
                (0xbfce, 0xce2f_98cf_834c_1b69),
                (0xbffd, 0xa349_5d01_5707_9670),
                (0x3fcd, 0xbdbb_c829_123e_b6d1),
            ],
        ],
    ),
    (
        Function::ArcTangent,
        &[
            [
                (0x4001, 0xa7fe_5fa1_1792_1e6c),
                (0x3ffe, 0xe63e_36c0_2d6f_2efc),
                (0x3ffc, 0xadbe_42e6_80b5_d498),
            ],
            [
                (0xbffe, 0xd836_df70_b89c_4e56),
                (0xbfff, 0xdc2d_2e69_2959_fea3),
                (0xc000, 0x81bd_f8b4_8a8f_8ca3),
            ],
            [
                (0xc002, 0xf638_bf8a_8895_787f),
                (0xbffd, 0xcc06_e37f_bd95_3dc2),
                (0xc000, 0xc767_b093_f287_cfb5),
            ],
            [
                (0xbffd, 0xd352_de4c_74a6_77c6),
                (0xbffc, 0xf541_c2a5_faa3_0fac),
                (0xc000, 0xa769_2b32_662a_5ff2),
            ],
            [
                (0x4029, 0xaac6_956d_7e5a_3930),
                (0x3ffd, 0xdda7_2e08_fb36_8220),
                (0x3fd3, 0xa622_3596_b3a4_bb5a),
            ],
            [
                (0x3fd3, 0xf2c0_61af_a161_d909),
                (0x3ffc, 0xb79f_8120_2b37_d817),
                (0x3fff, 0xc90f_daa2_2114_2666),
            ],
        ],
    ),
    (
        Function::Sine,
        &[
            [
                (0xbffc, 0xb5d7_b8eb_d840_7b1a),
                (0xbfff, 0xffe9_0f84_ec08_693c),
                (0xbffc, 0xb4e3_70be_472f_8e80),
            ],
            [
                (0x3ffd, 0xc2d7_43b8_f9db_a1db),
                (0xbfff, 0xdd60_6bab_b057_c162),
                (0x3ffd, 0xbe2c_0e3f_3dec_6b6f),
            ],
            [
                (0xc014, 0xbc2b_9bcb_4a80_7546),
                (0xbffd, 0xb041_8f79_1cd0_c151),
                (0x3ffc, 0x9b92_dc2b_4d86_69e9),
            ],
            [
                (0x4025, 0x96f6_74ad_f5b6_7e6e),
                (0x3fff, 0xab53_45a0_de28_123c),
                (0xbffd, 0xb234_1047_b210_d89b),
            ],
            [
                (0xbff7, 0xc1f1_6194_45b6_1df2),
                (0x4002, 0xae3f_f02c_80b9_1b2e),
                (0xbff7, 0xc1f1_175f_1206_3d4f),
            ],
            [
                (0xbfe6, 0xcb32_af91_b1d1_17b7),
                (0x4002, 0xae84_ee94_4e42_4b92),
                (0xbfe6, 0xcb32_af91_b1d1_0261),
            ],
        ],
    ),
    (
        Function::Cosine,
        &[
            [
                (0x4001, 0xeae8_e5e8_47e5_eb8d),
                (0xc002, 0xd86e_da45_fb1f_f91a),
                (0x3ffd, 0xfb4f_28f6_d12b_8492),
            ],
            [
                (0x3ffe, 0x96dd_fbb1_a652_3995),
                (0x3ffc, 0xc603_cc2d_796b_fa00),
                (0x3ffe, 0xd4d1_2381_9c9e_c270),
            ],
            [
                (0x4017, 0xa308_1d15_abf0_ca69),
                (0xc002, 0xd2df_36b5_8016_e14d),
                (0xbffe, 0xfffe_3d55_5633_1561),
            ],
            [
                (0x4019, 0xa30e_5b70_590e_f594),
                (0x4001, 0xea02_161b_f000_feb0),
                (0x3ffe, 0xdde1_2b4a_fce9_f230),
            ],
            [
                (0xbfcf, 0xeef8_ebcf_deb2_80e6),
                (0x3ffe, 0xaacb_a0f3_f4de_438f),
                (0x3fff, 0x8000_0000_0000_0000),
            ],
            [
                (0x3fce, 0xeb16_5f92_32da_ef9f),
                (0xc002, 0xa434_b287_7a2c_54a0),
                (0x3fff, 0x8000_0000_0000_0000),
            ],
        ],
    ),
    (
        Function::Tangent,
        &[
            [
                (0x4001, 0xdd7c_3898_abbd_5e94),
                (0xc000, 0xf7d6_36f3_c7c6_6f53),
                (0x3ffe, 0xbde6_323f_3c57_6022),
            ],
            [
                (0x4001, 0xb5dc_8364_efb9_f2c6),
                (0xc000, 0xeefe_0e04_c653_0cc3),
                (0xbffe, 0xaf25_3e44_5a27_d18c),
            ],
            [
                (0x4031, 0x8389_1e46_fefa_f558),
                (0xc000, 0xcfe1_95da_70e9_dc05),
                (0xbfff, 0xd8f4_9d31_4109_b417),
            ],
            [
                (0x4011, 0xd7cd_7255_c24d_a336),
                (0xc001, 0xfe44_98a8_0ab7_72dc),
                (0x4000, 0x99f9_76f2_9602_dc64),
            ],
            [
                (0xbfd5, 0x86ee_287d_2a6e_4bd6),
                (0x3ffc, 0xfbe6_c918_513d_e781),
                (0xbfd5, 0x86ee_287d_2a6e_4bd6),
            ],
            [
                (0xbfd1, 0x8490_6d38_8c5e_bf87),
                (0xbffe, 0xd4cd_9614_615b_43f3),
                (0xbfd1, 0x8490_6d38_8c5e_bf87),
            ],
        ],
    ),
];

#[test]
fn results_are_within_one_unit_of_the_reference() {
    for &(function, references) in REFERENCES {
        for &[x, y, expected] in references {
            let [x, y, expected] = [x, y, expected].map(|(sign_exp, mantissa)| f80(sign_exp, mantissa));
            let (result, flags) = run(|env| function.apply(x, y, env));
            assert_eq!(result.sign_exp, expected.sign_exp, "{function:?} {x:x?} {y:x?}");
            assert!(result.mantissa.abs_diff(expected.mantissa) <= 1, "{function:?} {x:x?} {y:x?}");
            assert_eq!(flags, PRECISION, "{function:?} {x:x?} {y:x?}");
        }
    }
}

/// Rounding down and up enclose a result that cannot be exact.
#[test]
fn rounding_control_applies() {
    for &(function, references) in REFERENCES {
        for &[x, y, _] in references {
            let [x, y] = [x, y].map(|(sign_exp, mantissa)| f80(sign_exp, mantissa));
            let rounded = |mode: u16| function.apply(x, y, &mut X87Env::new(MASKED | mode << 10));
            let (down, up) = (rounded(1), rounded(2));
            // The bits without the integer bit count through all magnitudes.
            let position = |a: F80| u128::from(a.sign_exp) << 63 | u128::from(a.mantissa & !INTEGER);
            assert_eq!(position(down).abs_diff(position(up)), 1, "{function:?} {x:x?} {y:x?}");
        }
    }
}

#[test]
fn two_to_x_minus_one() {
    let f = |x| run(|env| x87_two_to_x_minus_one(x, env));
    assert_eq!(f(MINUS_ZERO), (MINUS_ZERO, 0));
    assert_eq!(f(F80::ONE), (F80::ONE, PRECISION));
    assert_eq!(f(MINUS_ONE), (HALF.negated(), PRECISION));
    assert_eq!(f(INF), (INF, 0));
    assert_eq!(f(MINUS_INF), (MINUS_ONE, 0));
}

/// SDM 2 FYL2X, table 3-49, and FYL2XP1, table 3-50.
#[test]
fn logarithms() {
    let f = |x, y| run(|env| x87_y_log2_x(x, y, env));
    let invalid = (F80::INDEFINITE, INVALID);
    assert_eq!(f(MINUS_ONE, F80::ONE), invalid);
    assert_eq!(f(MINUS_INF, F80::ONE), invalid);
    assert_eq!(f(F80::ZERO, MINUS_ZERO), invalid);
    assert_eq!(f(MINUS_ZERO, TWO), (MINUS_INF, ZERO_DIVIDE));
    assert_eq!(f(F80::ZERO, MINUS_INF), (INF, 0));
    assert_eq!(f(F80::ONE, INF), invalid);
    assert_eq!(f(F80::ONE, MINUS_ONE), (MINUS_ZERO, 0));
    assert_eq!(f(HALF, INF), (MINUS_INF, 0));
    assert_eq!(f(TWO, MINUS_ZERO), (MINUS_ZERO, 0));
    assert_eq!(f(INF, F80::ZERO), invalid);
    assert_eq!(f(INF, MINUS_ONE), (MINUS_INF, 0));
    assert_eq!(f(f80(0x3fff + 10, INTEGER), TWO), (F80::from_i64(20), PRECISION));
    let f = |x, y| run(|env| x87_y_log2_x_plus_one(x, y, env));
    assert_eq!(f(MINUS_ZERO, TWO), (MINUS_ZERO, 0));
    assert_eq!(f(F80::ZERO, INF), invalid);
    assert_eq!(f(f80(0x3ff0, INTEGER), MINUS_INF), (MINUS_INF, 0));
    assert_eq!(f(f80(0xbff0, INTEGER), F80::ZERO), (MINUS_ZERO, 0));
}

/// SDM 2 FPATAN, table 3-30: rows are ST(1), columns ST(0).
#[test]
fn arc_tangents() {
    let quarter = f80(0x3ffe, PI.mantissa);
    let three_quarters = f80(0x4000, 0x96cb_e3f9_990e_91a8);
    let columns = [MINUS_INF, MINUS_ONE, MINUS_ZERO, F80::ZERO, F80::ONE, INF];
    let zero = F80::ZERO;
    let table = [
        (INF, [three_quarters, HALF_PI, HALF_PI, HALF_PI, HALF_PI, quarter]),
        (F80::ONE, [PI, three_quarters, HALF_PI, HALF_PI, quarter, zero]),
        (zero, [PI, PI, PI, zero, zero, zero]),
    ];
    for (y, row) in table {
        for (x, expected) in columns.into_iter().zip(row) {
            let flags = if expected == zero { 0 } else { PRECISION };
            assert_eq!(run(|env| x87_arc_tangent(x, y, env)), (expected, flags), "{y:x?} {x:x?}");
            let below = run(|env| x87_arc_tangent(x, y.negated(), env));
            assert_eq!(below, (expected.negated(), flags), "{y:x?} {x:x?}");
        }
    }
}

#[test]
fn angles() {
    assert_eq!(run(|env| x87_sine(MINUS_ZERO, env)), (Some(MINUS_ZERO), 0));
    assert_eq!(run(|env| x87_cosine(MINUS_ZERO, env)), (Some(F80::ONE), 0));
    assert_eq!(run(|env| x87_tangent(MINUS_ZERO, env)), (Some((MINUS_ZERO, F80::ONE)), 0));
    let invalid = (F80::INDEFINITE, INVALID);
    assert_eq!(run(|env| x87_sine(INF, env)), (Some(invalid.0), invalid.1));
    assert_eq!(run(|env| x87_tangent(INF, env)), (Some((invalid.0, invalid.0)), INVALID));
    assert_eq!(run(|env| x87_sine_and_cosine(QNAN, env)), (Some((QNAN, QNAN)), 0));
    // 2^63 and above are left to the program.
    let limit = f80(0x3fff + 63, INTEGER);
    assert_eq!(run(|env| x87_sine(limit, env)), (None, 0));
    assert_eq!(run(|env| x87_tangent(limit.negated(), env)), (None, 0));
    assert!(run(|env| x87_cosine(f80(0x3fff + 62, u64::MAX), env)).0.is_some());
    // With 66 bits of pi the sine of the nearest number to pi is what that lacks: pi * 2^64 is 4 * mantissa - 1.
    assert_eq!(run(|env| x87_sine(PI, env)), (Some(f80(0xbfff - 64, INTEGER)), PRECISION));
}
