//! x87 instructions: arithmetic and everything on the register stack, loads and stores. What moves the whole state or its control
//! words is in [`super::x87_control`].
//!
//! An instruction computes with [`crate::float::X87`] and leaves its exceptions there; an unmasked one is reported as #MF by the
//! next waiting instruction, which all of these are (SDM 1 8.7). The opcode of the last instruction is not recorded: it is stored
//! as 0, as processors do without the fopcode compatibility mode (SDM 1 8.1.9.1).

use guest_memory::{GuestMemory, Word};
use iced_x86::{Code, Instruction};
use x86_defs::Vector;
use x86_defs::segment::index::CS;

use super::mmx::check_pending;
use super::{Form, x87_control};
use crate::Cpu;
use crate::cpu::CodeMode;
use crate::float::{
    self, Binary, Compare, Constant, F80, LastInstruction, Operand, Quotient, Store, X87, X87Env,
};
use crate::memory::{Addressing, Segmented};
use crate::op::{Fault, Flow, Handler, Op, attempt, next, next_after_write};

/// #NM, whatever the instruction.
fn not_available(cpu: &mut Cpu, _mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.raise_code(Vector::NM, 0);
    cpu.abort(&ops[0])
}

/// Records where the instruction is, for FNSTENV and its kin.
fn record(cpu: &mut Cpu, op: &Op) {
    let (ip, cs) = (cpu.this_ip(op), cpu.segs[CS].selector);
    cpu.x87.last = LastInstruction { ip, cs, opcode: 0, ..cpu.x87.last };
}

/// Records where its memory operand is too.
fn record_with_operand(cpu: &mut Cpu, op: &Op) {
    record(cpu, op);
    cpu.x87.last.dp = cpu.effective_address(op);
    cpu.x87.last.ds = cpu.segs[(op.seg & 7) as usize].selector;
}

/// Reads a memory operand.
fn read<T: Word>(cpu: &mut Cpu, mem: &GuestMemory, op: &Op) -> Result<T, Fault> {
    let linear = Segmented::linear(cpu, op, T::SIZE, false)?;
    cpu.read(mem, linear, op.seg)
}

/// Reads an operand of ten bytes.
fn read_ten(cpu: &mut Cpu, mem: &GuestMemory, op: &Op) -> Result<[u8; 10], Fault> {
    let linear = Segmented::linear(cpu, op, 10, false)?;
    let mantissa = cpu.read(mem, linear, op.seg)?;
    let sign_exp = cpu.read(mem, cpu.wrap_linear(linear.wrapping_add(8)), op.seg)?;
    Ok(F80 { mantissa, sign_exp }.to_bytes())
}

/// Checks that an operand of ten bytes can be written; returns where its two parts are.
fn probe_ten(cpu: &mut Cpu, mem: &GuestMemory, op: &Op) -> Result<(u64, u64), Fault> {
    let linear = Segmented::linear(cpu, op, 10, true)?;
    let behind = cpu.wrap_linear(linear.wrapping_add(8));
    cpu.probe_write(mem, linear, 8, op.seg)?;
    cpu.probe_write(mem, behind, 2, op.seg)?;
    Ok((linear, behind))
}

/// Writes an operand of ten bytes, or faults before the first.
fn write_ten(cpu: &mut Cpu, mem: &GuestMemory, op: &Op, bytes: [u8; 10]) -> Result<(), Fault> {
    let (linear, behind) = probe_ten(cpu, mem, op)?;
    let F80 { mantissa, sign_exp } = F80::from_bytes(bytes);
    cpu.write(mem, linear, mantissa, op.seg)?;
    cpu.write(mem, behind, sign_exp, op.seg)
}

/// The handler of an instruction without memory operand: `|cpu, op| ...`.
macro_rules! on_stack {
    ($body:expr) => {{
        fn handler(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
            attempt!(cpu, ops, check_pending(cpu));
            let body: fn(&mut Cpu, &Op) = $body;
            body(cpu, &ops[0]);
            record(cpu, &ops[0]);
            next!(cpu, mem, ops)
        }
        handler as Handler
    }};
}

/// The handler of an instruction with a memory operand of the type given: `|x87, operand: type| ...`.
macro_rules! from_memory {
    (ten, $body:expr) => {
        from_memory!(@read read_ten, [u8; 10], $body)
    };
    ($ty:ty, $body:expr) => {
        from_memory!(@read read::<$ty>, $ty, $body)
    };
    (@read $read:expr, $ty:ty, $body:expr) => {{
        fn handler(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
            attempt!(cpu, ops, check_pending(cpu));
            let operand = attempt!(cpu, ops, $read(cpu, mem, &ops[0]));
            let body: fn(&mut X87, $ty) = $body;
            body(&mut cpu.x87, operand);
            record_with_operand(cpu, &ops[0]);
            next!(cpu, mem, ops)
        }
        handler as Handler
    }};
}

/// Stores what `conversion` makes of ST(0); `indefinite` if that is empty.
fn store<T: Word>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
    conversion: fn(F80, &mut X87Env) -> T,
    indefinite: T,
    pop: bool,
) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, check_pending(cpu));
    let store: Store<T> = cpu.x87.store(conversion, indefinite);
    let linear = attempt!(cpu, ops, Segmented::linear(cpu, op, T::SIZE, true));
    match store.value {
        Some(value) => attempt!(cpu, ops, cpu.write(mem, linear, value, op.seg)),
        // An unmasked exception stores nothing, but faults of the access come before it (SDM 3A table 6-2).
        None => attempt!(cpu, ops, cpu.probe_write(mem, linear, T::SIZE, op.seg)),
    }
    cpu.x87.commit(&store, pop);
    record_with_operand(cpu, op);
    next_after_write!(cpu, mem, ops)
}

/// The same for operands of ten bytes, after which ST(0) is always popped.
fn store_ten(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    ops: &[Op],
    conversion: fn(F80, &mut X87Env) -> [u8; 10],
    indefinite: [u8; 10],
) -> Flow {
    attempt!(cpu, ops, check_pending(cpu));
    let store = cpu.x87.store(conversion, indefinite);
    match store.value {
        Some(bytes) => attempt!(cpu, ops, write_ten(cpu, mem, &ops[0], bytes)),
        None => {
            attempt!(cpu, ops, probe_ten(cpu, mem, &ops[0]));
        }
    }
    cpu.x87.commit(&store, true);
    record_with_operand(cpu, &ops[0]);
    next_after_write!(cpu, mem, ops)
}

/// The handler of a store: the conversion, what an empty register gives, whether to pop.
macro_rules! to_memory {
    ($conversion:expr, $indefinite:expr, $pop:expr) => {{
        fn handler(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
            store(cpu, mem, ops, $conversion, $indefinite, $pop)
        }
        handler as Handler
    }};
}

const INDEFINITE_32: u32 = 0xffc0_0000;
const INDEFINITE_64: u64 = 0xfff8_0000_0000_0000;
const INDEFINITE_BCD: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];

fn store_extended(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    store_ten(cpu, mem, ops, |value, _| value.to_bytes(), F80::INDEFINITE.to_bytes())
}

fn store_decimal(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    store_ten(cpu, mem, ops, float::x87_store_bcd, INDEFINITE_BCD)
}

fn loads_and_stores(code: Code) -> Option<Handler> {
    /// Pushes an integer.
    fn integer(x87: &mut X87, value: i64) {
        x87.load(|_| F80::from_i64(value));
    }
    Some(match code {
        Code::Fld_m32fp => {
            from_memory!(u32, |x87, bits| x87.load(|env| float::x87_load(Operand::from_f32(bits), env)))
        }
        Code::Fld_m64fp => {
            from_memory!(u64, |x87, bits| x87.load(|env| float::x87_load(Operand::from_f64(bits), env)))
        }
        Code::Fld_m80fp => from_memory!(ten, |x87, bytes| x87.load(|_| F80::from_bytes(bytes))),
        Code::Fbld_m80bcd => from_memory!(ten, |x87, bytes| x87.load(|_| float::x87_load_bcd(bytes))),
        Code::Fild_m16int => from_memory!(u16, |x87, bits| integer(x87, bits.cast_signed().into())),
        Code::Fild_m32int => from_memory!(u32, |x87, bits| integer(x87, bits.cast_signed().into())),
        Code::Fild_m64int => from_memory!(u64, |x87, bits| integer(x87, bits.cast_signed())),
        Code::Fst_m32fp => to_memory!(float::x87_store_f32, INDEFINITE_32, false),
        Code::Fstp_m32fp => to_memory!(float::x87_store_f32, INDEFINITE_32, true),
        Code::Fst_m64fp => to_memory!(float::x87_store_f64, INDEFINITE_64, false),
        Code::Fstp_m64fp => to_memory!(float::x87_store_f64, INDEFINITE_64, true),
        Code::Fstp_m80fp => store_extended,
        Code::Fbstp_m80bcd => store_decimal,
        Code::Fist_m16int => to_memory!(|a, e| float::x87_store_i16(a, e).cast_unsigned(), 1 << 15, false),
        Code::Fistp_m16int => to_memory!(|a, e| float::x87_store_i16(a, e).cast_unsigned(), 1 << 15, true),
        Code::Fist_m32int => to_memory!(|a, e| float::x87_store_i32(a, e).cast_unsigned(), 1 << 31, false),
        Code::Fistp_m32int => to_memory!(|a, e| float::x87_store_i32(a, e).cast_unsigned(), 1 << 31, true),
        Code::Fistp_m64int => to_memory!(|a, e| float::x87_store_i64(a, e).cast_unsigned(), 1 << 63, true),
        Code::Fisttp_m16int => {
            to_memory!(|a, e| float::x87_truncate_i16(a, e).cast_unsigned(), 1 << 15, true)
        }
        Code::Fisttp_m32int => {
            to_memory!(|a, e| float::x87_truncate_i32(a, e).cast_unsigned(), 1 << 31, true)
        }
        Code::Fisttp_m64int => {
            to_memory!(|a, e| float::x87_truncate_i64(a, e).cast_unsigned(), 1 << 63, true)
        }
        Code::Fld_sti => on_stack!(|cpu, op| cpu.x87.load_register(op.dst & 7)),
        Code::Fst_sti => on_stack!(|cpu, op| cpu.x87.store_register(op.dst & 7, false)),
        Code::Fstp_sti | Code::Fstp_sti_DFD0 | Code::Fstp_sti_DFD8 | Code::Fstpnce_sti => {
            on_stack!(|cpu, op| cpu.x87.store_register(op.dst & 7, true))
        }
        Code::Fxch_st0_sti | Code::Fxch_st0_sti_DDC8 | Code::Fxch_st0_sti_DFC8 => {
            on_stack!(|cpu, op| cpu.x87.exchange(op.src & 7))
        }
        Code::Fld1 => on_stack!(|cpu, _| constant(cpu, Constant::One)),
        Code::Fldl2t => on_stack!(|cpu, _| constant(cpu, Constant::Log2Of10)),
        Code::Fldl2e => on_stack!(|cpu, _| constant(cpu, Constant::Log2OfE)),
        Code::Fldpi => on_stack!(|cpu, _| constant(cpu, Constant::Pi)),
        Code::Fldlg2 => on_stack!(|cpu, _| constant(cpu, Constant::Log10Of2)),
        Code::Fldln2 => on_stack!(|cpu, _| constant(cpu, Constant::LnOf2)),
        Code::Fldz => on_stack!(|cpu, _| constant(cpu, Constant::Zero)),
        _ => return None,
    })
}

fn constant(cpu: &mut Cpu, which: Constant) {
    cpu.x87.load(|env| float::x87_constant(which, env));
}

/// The arithmetic of two operands in all of its forms: with registers, popping or not, and with memory.
macro_rules! arithmetic {
    ($code:expr, $operation:expr, $reversed:expr; $($register:ident)|+, $pop:ident, $f32:ident, $f64:ident, $i16:ident, $i32:ident) => {{
        const OPERATION: Binary = $operation;
        match $code {
            $(Code::$register)|+ => {
                Some(on_stack!(|cpu, op| cpu.x87.binary(OPERATION, op.dst & 7, op.src & 7, $reversed, false)))
            }
            Code::$pop => {
                Some(on_stack!(|cpu, op| cpu.x87.binary(OPERATION, op.dst & 7, op.src & 7, $reversed, true)))
            }
            Code::$f32 => Some(from_memory!(u32, |x87, bits| {
                x87.binary_memory(OPERATION, Operand::from_f32(bits), $reversed);
            })),
            Code::$f64 => Some(from_memory!(u64, |x87, bits| {
                x87.binary_memory(OPERATION, Operand::from_f64(bits), $reversed);
            })),
            Code::$i16 => Some(from_memory!(u16, |x87, bits| {
                x87.binary_memory(OPERATION, Operand::from_integer(bits.cast_signed().into()), $reversed);
            })),
            Code::$i32 => Some(from_memory!(u32, |x87, bits| {
                x87.binary_memory(OPERATION, Operand::from_integer(bits.cast_signed().into()), $reversed);
            })),
            _ => None,
        }
    }};
}

fn basic_arithmetic(code: Code) -> Option<Handler> {
    arithmetic!(code, float::x87_add, false; Fadd_st0_sti | Fadd_sti_st0, Faddp_sti_st0, Fadd_m32fp, Fadd_m64fp, Fiadd_m16int, Fiadd_m32int)
        .or_else(|| arithmetic!(code, float::x87_mul, false; Fmul_st0_sti | Fmul_sti_st0, Fmulp_sti_st0, Fmul_m32fp, Fmul_m64fp, Fimul_m16int, Fimul_m32int))
        .or_else(|| arithmetic!(code, float::x87_sub, false; Fsub_st0_sti | Fsub_sti_st0, Fsubp_sti_st0, Fsub_m32fp, Fsub_m64fp, Fisub_m16int, Fisub_m32int))
        .or_else(|| arithmetic!(code, float::x87_sub, true; Fsubr_st0_sti | Fsubr_sti_st0, Fsubrp_sti_st0, Fsubr_m32fp, Fsubr_m64fp, Fisubr_m16int, Fisubr_m32int))
        .or_else(|| arithmetic!(code, float::x87_div, false; Fdiv_st0_sti | Fdiv_sti_st0, Fdivp_sti_st0, Fdiv_m32fp, Fdiv_m64fp, Fidiv_m16int, Fidiv_m32int))
        .or_else(|| arithmetic!(code, float::x87_div, true; Fdivr_st0_sti | Fdivr_sti_st0, Fdivrp_sti_st0, Fdivr_m32fp, Fdivr_m64fp, Fidivr_m16int, Fidivr_m32int))
}

fn further_arithmetic(code: Code) -> Option<Handler> {
    Some(match code {
        Code::Fabs => on_stack!(|cpu, _| cpu.x87.on_bits(F80::abs)),
        Code::Fchs => on_stack!(|cpu, _| cpu.x87.on_bits(F80::negated)),
        Code::Fsqrt => on_stack!(|cpu, _| cpu.x87.unary(float::x87_sqrt)),
        Code::Frndint => on_stack!(|cpu, _| cpu.x87.unary(float::x87_round_to_integer)),
        Code::Fscale => on_stack!(|cpu, _| cpu.x87.with_second(float::x87_scale, 0)),
        Code::Fxtract => on_stack!(|cpu, _| cpu.x87.extract()),
        Code::Fprem => on_stack!(|cpu, _| cpu.x87.remainder(Quotient::Truncated)),
        Code::Fprem1 => on_stack!(|cpu, _| cpu.x87.remainder(Quotient::Nearest)),
        Code::F2xm1 => on_stack!(|cpu, _| cpu.x87.unary(float::x87_two_to_x_minus_one)),
        Code::Fyl2x => on_stack!(|cpu, _| cpu.x87.with_second(float::x87_y_log2_x, 1)),
        Code::Fyl2xp1 => on_stack!(|cpu, _| cpu.x87.with_second(float::x87_y_log2_x_plus_one, 1)),
        Code::Fpatan => on_stack!(|cpu, _| cpu.x87.with_second(float::x87_arc_tangent, 1)),
        Code::Fptan => on_stack!(|cpu, _| cpu.x87.unary_and_push(float::x87_tangent)),
        Code::Fsin => on_stack!(|cpu, _| cpu.x87.unary_in_range(float::x87_sine)),
        Code::Fcos => on_stack!(|cpu, _| cpu.x87.unary_in_range(float::x87_cosine)),
        Code::Fsincos => on_stack!(|cpu, _| cpu.x87.unary_and_push(float::x87_sine_and_cosine)),
        _ => return None,
    })
}

/// FCOMI, FUCOMI: ZF, PF and CF; OF, SF and AF are cleared (SDM 2 FCOMI).
fn compare_to_flags(cpu: &mut Cpu, op: &Op, kind: Compare, pop: bool) {
    if let Some(relation) = cpu.x87.compare_to_flags(kind, op.src & 7, pop) {
        cpu.flags.load(u64::from(relation.eflags()));
    }
}

fn comparisons(code: Code) -> Option<Handler> {
    Some(match code {
        Code::Fcom_st0_sti | Code::Fcom_st0_sti_DCD0 => {
            on_stack!(|cpu, op| cpu.x87.compare(Compare::Ordered, op.src & 7, 0))
        }
        Code::Fcomp_st0_sti | Code::Fcomp_st0_sti_DCD8 | Code::Fcomp_st0_sti_DED0 => {
            on_stack!(|cpu, op| cpu.x87.compare(Compare::Ordered, op.src & 7, 1))
        }
        Code::Fcompp => on_stack!(|cpu, _| cpu.x87.compare(Compare::Ordered, 1, 2)),
        Code::Fucom_st0_sti => on_stack!(|cpu, op| cpu.x87.compare(Compare::Unordered, op.src & 7, 0)),
        Code::Fucomp_st0_sti => on_stack!(|cpu, op| cpu.x87.compare(Compare::Unordered, op.src & 7, 1)),
        Code::Fucompp => on_stack!(|cpu, _| cpu.x87.compare(Compare::Unordered, 1, 2)),
        Code::Fcom_m32fp => from_memory!(u32, |x87, bits| x87.compare_operand(Operand::from_f32(bits), 0)),
        Code::Fcomp_m32fp => from_memory!(u32, |x87, bits| x87.compare_operand(Operand::from_f32(bits), 1)),
        Code::Fcom_m64fp => from_memory!(u64, |x87, bits| x87.compare_operand(Operand::from_f64(bits), 0)),
        Code::Fcomp_m64fp => from_memory!(u64, |x87, bits| x87.compare_operand(Operand::from_f64(bits), 1)),
        Code::Ficom_m16int => from_memory!(u16, |x87, bits| {
            x87.compare_operand(Operand::from_integer(bits.cast_signed().into()), 0);
        }),
        Code::Ficomp_m16int => from_memory!(u16, |x87, bits| {
            x87.compare_operand(Operand::from_integer(bits.cast_signed().into()), 1);
        }),
        Code::Ficom_m32int => from_memory!(u32, |x87, bits| {
            x87.compare_operand(Operand::from_integer(bits.cast_signed().into()), 0);
        }),
        Code::Ficomp_m32int => from_memory!(u32, |x87, bits| {
            x87.compare_operand(Operand::from_integer(bits.cast_signed().into()), 1);
        }),
        Code::Fcomi_st0_sti => on_stack!(|cpu, op| compare_to_flags(cpu, op, Compare::Ordered, false)),
        Code::Fcomip_st0_sti => on_stack!(|cpu, op| compare_to_flags(cpu, op, Compare::Ordered, true)),
        Code::Fucomi_st0_sti => on_stack!(|cpu, op| compare_to_flags(cpu, op, Compare::Unordered, false)),
        Code::Fucomip_st0_sti => on_stack!(|cpu, op| compare_to_flags(cpu, op, Compare::Unordered, true)),
        Code::Ftst => on_stack!(|cpu, _| cpu.x87.compare_operand(F80::ZERO.into(), 0)),
        Code::Fxam => on_stack!(|cpu, _| cpu.x87.examine()),
        _ => return None,
    })
}

fn move_if(cpu: &mut Cpu, op: &Op, condition: bool) {
    cpu.x87.conditional_move(op.src & 7, condition);
}

fn stack_and_moves(code: Code) -> Option<Handler> {
    Some(match code {
        Code::Fcmovb_st0_sti => on_stack!(|cpu, op| move_if(cpu, op, cpu.flags.carry())),
        Code::Fcmove_st0_sti => on_stack!(|cpu, op| move_if(cpu, op, cpu.flags.zero())),
        Code::Fcmovbe_st0_sti => on_stack!(|cpu, op| move_if(cpu, op, cpu.flags.carry() || cpu.flags.zero())),
        Code::Fcmovu_st0_sti => on_stack!(|cpu, op| move_if(cpu, op, cpu.flags.parity())),
        Code::Fcmovnb_st0_sti => on_stack!(|cpu, op| move_if(cpu, op, !cpu.flags.carry())),
        Code::Fcmovne_st0_sti => on_stack!(|cpu, op| move_if(cpu, op, !cpu.flags.zero())),
        Code::Fcmovnbe_st0_sti => {
            on_stack!(|cpu, op| move_if(cpu, op, !cpu.flags.carry() && !cpu.flags.zero()))
        }
        Code::Fcmovnu_st0_sti => on_stack!(|cpu, op| move_if(cpu, op, !cpu.flags.parity())),
        Code::Fincstp => on_stack!(|cpu, _| cpu.x87.move_top(1)),
        Code::Fdecstp => on_stack!(|cpu, _| cpu.x87.move_top(-1)),
        Code::Ffree_sti => on_stack!(|cpu, op| cpu.x87.make_empty(op.dst & 7)),
        Code::Ffreep_sti => on_stack!(|cpu, op| {
            cpu.x87.make_empty(op.dst & 7);
            cpu.x87.pop();
        }),
        Code::Fnop => on_stack!(|_, _| ()),
        _ => return None,
    })
}

/// The handlers of x87 instructions. With CR0.EM or CR0.TS they are #NM (SDM 3A 2.5).
pub(crate) fn lower(instruction: &Instruction, form: Form) -> Option<Handler> {
    let code = instruction.code();
    if code == Code::Wait {
        return Some(x87_control::wait);
    }
    let handler = loads_and_stores(code)
        .or_else(|| basic_arithmetic(code))
        .or_else(|| comparisons(code))
        .or_else(|| further_arithmetic(code))
        .or_else(|| stack_and_moves(code))
        .or_else(|| x87_control::lower(code))?;
    let unavailable = form.mode.0 & (CodeMode::EM | CodeMode::TS) != 0;
    Some(if unavailable { not_available } else { handler })
}
