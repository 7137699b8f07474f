//! x87 instructions on the register stack: stack faults, what an unmasked exception leaves alone, pops and pushes.
//!
//! Memory operands are read before and written after: a store is computed ([`X87::store`]), its value written to memory, and
//! only then committed ([`X87::commit`]), so that a page fault leaves the state as it was.

use super::f80::{F80, Operand};
use super::sse_compare::Relation;
use super::x87_arith::{x87_compare_ordered, x87_compare_unordered};
use super::x87_env::X87Env;
use super::x87_remainder::{Quotient, x87_remainder};
use super::x87_scale::{x87_examine, x87_extract};
use super::x87_state::{C0, C1, C2, C3, X87};

/// An operation of two operands: [`super::x87_add`] and its kin.
pub(crate) type Binary = fn(Operand, Operand, &mut X87Env) -> F80;
/// An operation of one operand: [`super::x87_sqrt`] and its kin.
pub(crate) type Unary = fn(F80, &mut X87Env) -> F80;

/// Which NaNs a comparison takes for invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    /// All (FCOM).
    Ordered,
    /// Signaling ones (FUCOM).
    Unordered,
}

/// A store that was computed and not yet committed.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Store<T> {
    /// What to write to memory; `None` if an unmasked exception prevents it.
    pub(crate) value: Option<T>,
    env: X87Env,
    stack_fault: bool,
}

impl Relation {
    /// C3, C2 and C0 as the comparisons set them (SDM 1 table 8-6).
    #[must_use]
    pub(crate) const fn condition_codes(self) -> u16 {
        match self {
            Self::Greater => 0,
            Self::Less => C0,
            Self::Equal => C3,
            Self::Unordered => C3 | C2 | C0,
        }
    }
}

impl X87 {
    /// Puts a result in ST(st) and pops, unless an unmasked exception forbids.
    fn complete(&mut self, env: &X87Env, st: u8, result: F80, pop: bool) {
        self.finish(env);
        if !env.blocks_result() {
            self.set_st(st, result);
            if pop {
                self.pop();
            }
        }
    }

    /// Answers an empty source: the indefinite in ST(st) and a pop if masked.
    fn underflow(&mut self, st: u8, pop: bool) {
        if self.stack_fault(false) {
            self.set_st(st, F80::INDEFINITE);
            if pop {
                self.pop();
            }
        }
    }

    /// FADD, FSUB, FSUBR, ... with registers: ST(destination) becomes `ST(destination) op ST(source)`, or the other way round
    /// if `reversed`.
    pub(crate) fn binary(
        &mut self,
        operation: Binary,
        destination: u8,
        source: u8,
        reversed: bool,
        pop: bool,
    ) {
        if self.is_empty(destination) || self.is_empty(source) {
            return self.underflow(destination, pop);
        }
        let (a, b) = (self.st(destination).into(), self.st(source).into());
        let mut env = self.env();
        let result = if reversed { operation(b, a, &mut env) } else { operation(a, b, &mut env) };
        self.complete(&env, destination, result, pop);
    }

    /// The same with ST(0) and a memory operand.
    pub(crate) fn binary_memory(&mut self, operation: Binary, operand: Operand, reversed: bool) {
        if self.is_empty(0) {
            return self.underflow(0, false);
        }
        let a = self.st(0).into();
        let mut env = self.env();
        let result = if reversed { operation(operand, a, &mut env) } else { operation(a, operand, &mut env) };
        self.complete(&env, 0, result, false);
    }

    /// FSQRT, FRNDINT, F2XM1: ST(0) becomes `op ST(0)`.
    pub(crate) fn unary(&mut self, operation: Unary) {
        if self.is_empty(0) {
            return self.underflow(0, false);
        }
        let mut env = self.env();
        let result = operation(self.st(0), &mut env);
        self.complete(&env, 0, result, false);
    }

    /// FPATAN, FYL2X, FYL2XP1: ST(1) becomes `op(ST(0), ST(1))`, and ST(0) is popped. FSCALE leaves its result in ST(0) and
    /// pops nothing.
    pub(crate) fn with_second(&mut self, operation: fn(F80, F80, &mut X87Env) -> F80, destination: u8) {
        let pop = destination == 1;
        if self.is_empty(0) || self.is_empty(1) {
            return self.underflow(destination, pop);
        }
        let mut env = self.env();
        let result = operation(self.st(0), self.st(1), &mut env);
        self.complete(&env, destination, result, pop);
    }

    /// FPREM, FPREM1.
    pub(crate) fn remainder(&mut self, kind: Quotient) {
        if self.is_empty(0) || self.is_empty(1) {
            self.set_condition(C2, 0);
            return self.underflow(0, false);
        }
        let mut env = self.env();
        let remainder = x87_remainder(self.st(0), self.st(1), kind, &mut env);
        self.complete(&env, 0, remainder.value, false);
        self.set_condition(C2, 0);
        if env.blocks_result() {
            return;
        }
        self.set_condition(C2, if remainder.complete { 0 } else { C2 });
        if let Some(quotient) = remainder.quotient {
            let bit = |from: u8, code: u16| if quotient & from != 0 { code } else { 0 };
            self.set_condition(C0 | C1 | C3, bit(4, C0) | bit(2, C3) | bit(1, C1));
        }
    }

    /// FXTRACT, FSINCOS, FPTAN: two results, of which the first replaces ST(0) and the second is pushed. `None` from the
    /// operation: the operand is out of range, C2 is set and nothing changes.
    pub(crate) fn unary_and_push(&mut self, operation: impl FnOnce(F80, &mut X87Env) -> Option<(F80, F80)>) {
        self.set_condition(C2, 0);
        let empty = self.is_empty(0);
        if empty || !self.is_empty(7) {
            if self.stack_fault(!empty) {
                self.set_st(0, F80::INDEFINITE);
                self.push(F80::INDEFINITE);
            }
            return;
        }
        let mut env = self.env();
        match operation(self.st(0), &mut env) {
            Some((replaced, pushed)) => {
                self.finish(&env);
                if !env.blocks_result() {
                    self.set_st(0, replaced);
                    self.push(pushed);
                }
            }
            None => self.set_condition(C1 | C2, C2),
        }
    }

    /// FXTRACT.
    pub(crate) fn extract(&mut self) {
        let condition = self.status();
        self.unary_and_push(|a, env| Some(x87_extract(a, env)));
        self.set_condition(C2, condition);
    }

    /// FSIN, FCOS: as [`X87::unary`], with C2 set for an operand out of range.
    pub(crate) fn unary_in_range(&mut self, operation: fn(F80, &mut X87Env) -> Option<F80>) {
        self.set_condition(C2, 0);
        if self.is_empty(0) {
            return self.underflow(0, false);
        }
        let mut env = self.env();
        match operation(self.st(0), &mut env) {
            Some(result) => self.complete(&env, 0, result, false),
            None => self.set_condition(C1 | C2, C2),
        }
    }

    /// FABS, FCHS: operations on the bits of ST(0).
    pub(crate) fn on_bits(&mut self, operation: fn(F80) -> F80) {
        if self.is_empty(0) {
            return self.underflow(0, false);
        }
        self.set_condition(C1, 0);
        self.set_st(0, operation(self.st(0)));
    }

    /// The relation of ST(0) to an operand, or `None` if an unmasked invalid exception forbids to tell. An unmasked denormal
    /// exception only prevents the pops (SDM 2 FCOM, FCOMI).
    fn relation(&mut self, kind: Compare, operand: Option<Operand>, pops: u8) -> Option<Relation> {
        let operand = match operand {
            Some(operand) if !self.is_empty(0) => operand,
            _ => {
                if !self.stack_fault(false) {
                    return None;
                }
                (0..pops).for_each(|_| self.pop());
                return Some(Relation::Unordered);
            }
        };
        let mut env = self.env();
        let a = self.st(0).into();
        let relation = match kind {
            Compare::Ordered => x87_compare_ordered(a, operand, &mut env),
            Compare::Unordered => x87_compare_unordered(a, operand, &mut env),
        };
        self.finish(&env);
        if !env.blocks_result() {
            (0..pops).for_each(|_| self.pop());
        }
        if env.blocks_load() { None } else { Some(relation) }
    }

    fn operand(&self, st: u8) -> Option<Operand> {
        if self.is_empty(st) { None } else { Some(self.st(st).into()) }
    }

    /// FCOM, FCOMP, FCOMPP, FUCOM, ...: compares ST(0) with ST(st).
    pub(crate) fn compare(&mut self, kind: Compare, st: u8, pops: u8) {
        let operand = self.operand(st);
        if let Some(relation) = self.relation(kind, operand, pops) {
            self.set_condition(C0 | C2 | C3, relation.condition_codes());
        }
    }

    /// FCOM, FICOM, FTST (against zero): compares ST(0) with an operand.
    pub(crate) fn compare_operand(&mut self, operand: Operand, pops: u8) {
        if let Some(relation) = self.relation(Compare::Ordered, Some(operand), pops) {
            self.set_condition(C0 | C2 | C3, relation.condition_codes());
        }
    }

    /// FCOMI, FUCOMI: the relation for EFLAGS, or `None` if they stay as they are.
    pub(crate) fn compare_to_flags(&mut self, kind: Compare, st: u8, pop: bool) -> Option<Relation> {
        let operand = self.operand(st);
        self.relation(kind, operand, u8::from(pop))
    }

    /// FXAM.
    pub(crate) fn examine(&mut self) {
        let class = if self.is_empty(0) { C3 | C0 } else { x87_examine(self.st(0)) };
        let sign = if self.st(0).is_negative() { C1 } else { 0 };
        self.set_condition(C0 | C1 | C2 | C3, class | sign);
    }

    /// FLD and the constants: pushes what `value` returns.
    pub(crate) fn load(&mut self, value: impl FnOnce(&mut X87Env) -> F80) {
        if !self.is_empty(7) {
            if self.stack_fault(true) {
                self.push(F80::INDEFINITE);
            }
            return;
        }
        let mut env = self.env();
        let value = value(&mut env);
        self.finish(&env);
        if !env.blocks_load() {
            self.push(value);
        }
    }

    /// FLD ST(st).
    pub(crate) fn load_register(&mut self, st: u8) {
        if self.is_empty(st) {
            if self.stack_fault(false) {
                self.push(F80::INDEFINITE);
            }
            return;
        }
        let value = self.st(st);
        self.load(|_| value);
    }

    /// FST, FSTP to a register.
    pub(crate) fn store_register(&mut self, st: u8, pop: bool) {
        if self.is_empty(0) {
            return self.underflow(st, pop);
        }
        self.set_condition(C1, 0);
        self.set_st(st, self.st(0));
        if pop {
            self.pop();
        }
    }

    /// FST, FIST, FISTTP, FBSTP: computes what `conversion` makes of ST(0); `indefinite` is stored if it is empty.
    pub(crate) fn store<T>(&self, conversion: impl FnOnce(F80, &mut X87Env) -> T, indefinite: T) -> Store<T> {
        let mut env = self.env();
        if self.is_empty(0) {
            let masked = env.is_masked(super::exception::INVALID);
            return Store { value: masked.then_some(indefinite), env, stack_fault: true };
        }
        let value = conversion(self.st(0), &mut env);
        let value = if env.blocks_store() { None } else { Some(value) };
        Store { value, env, stack_fault: false }
    }

    /// Takes over the exceptions of a store whose value was written, and pops.
    pub(crate) fn commit<T>(&mut self, store: &Store<T>, pop: bool) {
        if store.stack_fault {
            self.stack_fault(false);
        } else {
            self.finish(&store.env);
        }
        if pop && store.value.is_some() {
            self.pop();
        }
    }

    /// FXCH.
    pub(crate) fn exchange(&mut self, st: u8) {
        if self.is_empty(0) || self.is_empty(st) {
            if !self.stack_fault(false) {
                return;
            }
            for index in [0, st] {
                if self.is_empty(index) {
                    self.set_st(index, F80::INDEFINITE);
                }
            }
        } else {
            self.set_condition(C1, 0);
        }
        let (first, second) = (self.st(0), self.st(st));
        self.set_st(0, second);
        self.set_st(st, first);
    }

    /// FCMOVcc.
    pub(crate) fn conditional_move(&mut self, st: u8, condition: bool) {
        if self.is_empty(0) || self.is_empty(st) {
            self.underflow(0, false);
        } else if condition {
            self.set_st(0, self.st(st));
        }
    }

    /// FFREE.
    pub(crate) fn make_empty(&mut self, st: u8) {
        self.set_condition(C1, 0);
        self.free(st);
    }

    /// FINCSTP (1), FDECSTP (-1).
    pub(crate) fn move_top(&mut self, by: i8) {
        self.set_condition(C1, 0);
        self.rotate(by);
    }
}
