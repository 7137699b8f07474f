//! The x87 register stack: pushes and pops, stack faults, what unmasked exceptions leave alone, MMX.

use super::exception::{DENORMAL, INVALID, UNDERFLOW, ZERO_DIVIDE};
use super::x87_env::STACK_FAULT;
use super::x87_state::{BUSY, C0, C1, C2, C3, ERROR_SUMMARY};
use super::*;

const TWO: F80 = F80 { mantissa: 1 << 63, sign_exp: 0x4000 };

/// An initialized state with these values on the stack, the first in ST(0).
fn with_stack(values: &[F80]) -> X87 {
    let mut x87 = X87::default();
    x87.init();
    for &value in values.iter().rev() {
        x87.load(|_| value);
    }
    x87
}

fn flags(x87: &X87) -> u32 {
    u32::from(x87.status()) & 0x7f
}

#[test]
fn reset_and_initialization() {
    let mut x87 = X87::default();
    assert_eq!((x87.control(), x87.status(), x87.full_tags()), (0x40, 0, 0x5555));
    x87.init();
    assert_eq!((x87.control(), x87.status(), x87.full_tags()), (0x037f, 0, 0xffff));
    x87.set_control(0xffff);
    assert_eq!(x87.control(), 0x1f7f);
}

#[test]
fn the_stack_wraps() {
    let mut x87 = with_stack(&[F80::ONE, TWO]);
    assert_eq!((x87.top(), x87.tags()), (6, 0b1100_0000));
    x87.binary(x87_add, 1, 0, false, true);
    assert_eq!((x87.top(), x87.st(0)), (7, F80::from_i64(3)));
    x87.pop();
    assert_eq!((x87.top(), x87.tags()), (0, 0));
    x87.move_top(-1);
    assert_eq!(x87.top(), 7);
    x87.move_top(1);
    assert_eq!(x87.top(), 0);
}

#[test]
fn masked_stack_faults() {
    let mut x87 = with_stack(&[F80::ONE; 8]);
    x87.load(|_| TWO);
    assert_eq!((x87.top(), x87.st(0)), (7, F80::INDEFINITE));
    assert_eq!(flags(&x87), INVALID | STACK_FAULT);
    assert_ne!(x87.status() & C1, 0);
    let mut x87 = with_stack(&[F80::ONE]);
    x87.binary(x87_add, 1, 0, false, true);
    assert_eq!((x87.top(), x87.st(0)), (0, F80::INDEFINITE));
    assert_eq!((flags(&x87), x87.status() & C1), (INVALID | STACK_FAULT, 0));
    let mut x87 = with_stack(&[F80::ONE]);
    x87.exchange(3);
    assert_eq!((x87.st(0), x87.st(3)), (F80::INDEFINITE, F80::ONE));
    let mut x87 = with_stack(&[]);
    x87.compare(Compare::Unordered, 1, 2);
    assert_eq!((x87.top(), x87.status() & (C0 | C2 | C3)), (2, C0 | C2 | C3));
    let store = x87.store(x87_store_i16, i16::MIN);
    assert_eq!(store.value, Some(i16::MIN));
    x87.commit(&store, true);
    assert_eq!((x87.top(), flags(&x87)), (3, INVALID | STACK_FAULT));
}

#[test]
fn unmasked_stack_faults_change_nothing_else() {
    let mut x87 = with_stack(&[F80::ONE]);
    x87.set_control(0x037e);
    let before = x87.clone();
    x87.binary(x87_add, 0, 1, false, false);
    assert!(x87.is_error_pending());
    assert_eq!(x87.status() ^ before.status(), ERROR_SUMMARY | BUSY | 0x41);
    x87.clear_exceptions();
    assert_eq!(x87, before);
    for _ in 0..7 {
        x87.load(|_| TWO);
    }
    let before = x87.clone();
    x87.load(|_| TWO);
    x87.extract();
    assert_ne!(x87.status() & C1, 0);
    x87.clear_exceptions();
    x87.set_condition(C1, 0);
    assert_eq!(x87, before);
    let store = with_unmasked_invalid().store(x87_store_i64, i64::MIN);
    assert_eq!(store.value, None);
}

fn with_unmasked_invalid() -> X87 {
    let mut x87 = with_stack(&[]);
    x87.set_control(0x037e);
    x87
}

#[test]
fn unmasked_exceptions_before_the_result_keep_the_operands() {
    let mut x87 = with_stack(&[F80::ZERO, F80::ONE]);
    x87.set_control(0x037b);
    x87.binary(x87_div, 1, 0, false, true);
    assert_eq!((x87.top(), x87.st(1), flags(&x87)), (6, F80::ONE, ZERO_DIVIDE));
    // A denormal is loaded all the same.
    let mut x87 = with_stack(&[]);
    x87.set_control(0x037d);
    x87.load(|env| x87_load(Operand::from_f32(1), env));
    assert_eq!((x87.top(), flags(&x87)), (7, DENORMAL));
    // An unmasked underflow gives an adjusted result to a register, and none to memory.
    let tiny = F80 { mantissa: 1 << 63, sign_exp: 1 };
    let mut x87 = with_stack(&[tiny, TWO]);
    x87.set_control(0x036f);
    x87.binary(x87_div, 0, 1, false, false);
    assert_eq!(x87.st(0).sign_exp, 24576);
    assert_eq!(flags(&x87), UNDERFLOW);
    let store = x87.store(x87_store_f64, 0);
    assert_eq!((store.value, x87.top()), (Some(0x7ff0_0000_0000_0000), 6));
    x87.set_st(0, tiny);
    let store = x87.store(x87_store_f64, 0);
    x87.commit(&store, true);
    assert_eq!((store.value, x87.top()), (None, 6));
}

#[test]
fn comparisons_with_unmasked_exceptions() {
    let quiet = F80 { mantissa: 3 << 62, sign_exp: 0x7fff };
    let mut x87 = with_stack(&[quiet, F80::ONE]);
    x87.set_control(0x037e);
    assert_eq!(x87.compare_to_flags(Compare::Ordered, 1, true), None);
    assert_eq!((x87.top(), flags(&x87)), (6, INVALID));
    let mut x87 = with_stack(&[F80 { mantissa: 1, sign_exp: 0 }, F80::ONE]);
    x87.set_control(0x037d);
    x87.compare(Compare::Ordered, 1, 1);
    assert_eq!((x87.top(), flags(&x87), x87.status() & (C0 | C2 | C3)), (6, DENORMAL, C0));
}

#[test]
fn masking_and_unmasking_moves_the_summary() {
    let mut x87 = with_stack(&[F80::ZERO, F80::ONE]);
    x87.binary(x87_div, 1, 0, false, false);
    assert!(!x87.is_error_pending());
    x87.set_control(0x037b);
    assert_eq!(x87.status() & (ERROR_SUMMARY | BUSY), ERROR_SUMMARY | BUSY);
    x87.mask_exceptions();
    assert!(!x87.is_error_pending());
    x87.set_status(0x8080);
    assert_eq!(x87.status(), 0);
}

#[test]
fn angles_out_of_range_set_c2_and_keep_the_stack() {
    let far = F80 { mantissa: 1 << 63, sign_exp: 0x3fff + 64 };
    let mut x87 = with_stack(&[far]);
    x87.unary_in_range(x87_sine);
    assert_eq!((x87.st(0), x87.top(), x87.status() & C2), (far, 7, C2));
    x87.unary_and_push(x87_tangent);
    assert_eq!((x87.st(0), x87.top(), x87.status() & C2), (far, 7, C2));
    x87.set_st(0, F80::ZERO);
    x87.unary_and_push(x87_sine_and_cosine);
    assert_eq!((x87.st(0), x87.st(1), x87.top(), x87.status() & C2), (F80::ONE, F80::ZERO, 6, 0));
}

#[test]
fn examine_tells_empty_registers_and_signs() {
    let mut x87 = with_stack(&[TWO.negated()]);
    x87.examine();
    assert_eq!(x87.status() & (C0 | C1 | C2 | C3), C2 | C1);
    x87.make_empty(0);
    x87.examine();
    assert_eq!(x87.status() & (C0 | C1 | C2 | C3), C3 | C0 | C1);
}

#[test]
fn conditional_moves_need_both_registers() {
    let mut x87 = with_stack(&[F80::ONE, TWO]);
    x87.conditional_move(1, false);
    assert_eq!(x87.st(0), F80::ONE);
    x87.conditional_move(1, true);
    assert_eq!(x87.st(0), TWO);
    x87.conditional_move(5, false);
    assert_eq!((x87.st(0), flags(&x87)), (F80::INDEFINITE, INVALID | STACK_FAULT));
}

/// SDM 1 table 9-2.
#[test]
fn mmx_registers_are_the_mantissas() {
    let mut x87 = with_stack(&[F80::ONE, TWO]);
    assert_eq!(x87.mmx(6), 1 << 63);
    x87.enter_mmx();
    x87.set_mmx(3, 0x1234);
    assert_eq!((x87.top(), x87.tags(), x87.full_tags() >> 6 & 3), (0, 0xff, 2));
    assert_eq!(x87.st(3), F80 { mantissa: 0x1234, sign_exp: 0xffff });
    x87.leave_mmx();
    assert_eq!((x87.top(), x87.tags()), (0, 0));
    assert_eq!(x87.mmx(3), 0x1234);
}
