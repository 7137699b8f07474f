//! From decoded instructions to the handlers of this module.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use crate::exec::Form;
use crate::op::{Handler, Op};
use crate::system::{
    IN_MEMORY, cache_hints, control_registers, debug, descriptor_checks, descriptor_tables, far_transfer,
    flags_instructions, io, iret, msr_instructions, segment_load, software_interrupt, syscall, xsave,
};

/// The handler for a system instruction, whose general operands are in `op` already.
pub(crate) fn lower(instruction: &Instruction, op: &mut Op, _form: Form) -> Option<Handler> {
    moves(instruction, op)
        .or_else(|| transfers(instruction, op))
        .or_else(|| selectors(instruction, op))
        .or_else(|| ports(instruction, op))
        .or_else(|| state(instruction, op))
        .or_else(|| plain(instruction))
}

/// Where register or memory can stand, `aux` says which.
fn mark_memory(instruction: &Instruction, op: &mut Op) {
    let memory = (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory);
    op.aux = if memory { IN_MEMORY } else { 0 };
}

/// MOV and POP of segment, control and debug registers; far pointers.
fn moves(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    Some(match instruction.code() {
        Code::Mov_Sreg_rm16 | Code::Mov_Sreg_r32m16 | Code::Mov_Sreg_r64m16 => {
            mark_memory(instruction, op);
            segment_load::mov_to_segment
        }
        Code::Mov_rm16_Sreg | Code::Mov_r32m16_Sreg | Code::Mov_r64m16_Sreg => {
            mark_memory(instruction, op);
            segment_load::mov_from_segment
        }
        Code::Popw_ES | Code::Popw_SS | Code::Popw_DS | Code::Popw_FS | Code::Popw_GS => {
            op.size = 1;
            segment_load::pop_segment
        }
        Code::Popd_ES | Code::Popd_SS | Code::Popd_DS | Code::Popd_FS | Code::Popd_GS => {
            op.size = 2;
            segment_load::pop_segment
        }
        Code::Popq_FS | Code::Popq_GS => {
            op.size = 3;
            segment_load::pop_segment
        }
        Code::Mov_r32_cr | Code::Mov_r64_cr => control_registers::mov_from_control,
        Code::Mov_cr_r32 | Code::Mov_cr_r64 => control_registers::mov_to_control,
        Code::Mov_r32_dr | Code::Mov_r64_dr => debug::mov_from_debug,
        Code::Mov_dr_r32 | Code::Mov_dr_r64 => debug::mov_to_debug,
        _ => match instruction.mnemonic() {
            Mnemonic::Les => far_pointer(op, Register::ES),
            Mnemonic::Lds => far_pointer(op, Register::DS),
            Mnemonic::Lss => far_pointer(op, Register::SS),
            Mnemonic::Lfs => far_pointer(op, Register::FS),
            Mnemonic::Lgs => far_pointer(op, Register::GS),
            _ => return None,
        },
    })
}

fn far_pointer(op: &mut Op, segment: Register) -> Handler {
    op.src = segment.number() as u8;
    segment_load::load_far_pointer
}

/// Far transfers, returns and everything that goes through a gate.
fn transfers(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let direct = |op: &mut Op, size: u8| {
        let offset = if size == 1 {
            u64::from(instruction.far_branch16())
        } else {
            u64::from(instruction.far_branch32())
        };
        op.imm = u64::from(instruction.far_branch_selector()) << 32 | offset;
        op.size = size;
    };
    Some(match instruction.code() {
        Code::Jmp_ptr1616 => {
            direct(op, 1);
            far_transfer::jmp_far_direct
        }
        Code::Jmp_ptr1632 => {
            direct(op, 2);
            far_transfer::jmp_far_direct
        }
        Code::Call_ptr1616 => {
            direct(op, 1);
            far_transfer::call_far_direct
        }
        Code::Call_ptr1632 => {
            direct(op, 2);
            far_transfer::call_far_direct
        }
        Code::Jmp_m1616 => sized(op, 1, far_transfer::jmp_far_memory),
        Code::Jmp_m1632 => sized(op, 2, far_transfer::jmp_far_memory),
        Code::Jmp_m1664 => sized(op, 3, far_transfer::jmp_far_memory),
        Code::Call_m1616 => sized(op, 1, far_transfer::call_far_memory),
        Code::Call_m1632 => sized(op, 2, far_transfer::call_far_memory),
        Code::Call_m1664 => sized(op, 3, far_transfer::call_far_memory),
        Code::Retfw | Code::Retfw_imm16 => sized(op, 1, far_transfer::ret_far),
        Code::Retfd | Code::Retfd_imm16 => sized(op, 2, far_transfer::ret_far),
        Code::Retfq | Code::Retfq_imm16 => sized(op, 3, far_transfer::ret_far),
        Code::Iretw => sized(op, 1, iret::iret),
        Code::Iretd => sized(op, 2, iret::iret),
        Code::Iretq => sized(op, 3, iret::iret),
        Code::Int_imm8 => software_interrupt::int_n,
        Code::Int3 => software_interrupt::int3,
        Code::Int1 => software_interrupt::int1,
        Code::Into => software_interrupt::into,
        Code::Syscall => syscall::syscall,
        Code::Sysretd => sized(op, 2, syscall::sysret),
        Code::Sysretq => sized(op, 3, syscall::sysret),
        Code::Sysenter => syscall::sysenter,
        Code::Sysexitd => sized(op, 2, syscall::sysexit),
        Code::Sysexitq => sized(op, 3, syscall::sysexit),
        _ => return None,
    })
}

fn sized(op: &mut Op, size: u8, handler: Handler) -> Handler {
    op.size = size;
    handler
}

/// Descriptor tables, and what may be asked about selectors.
fn selectors(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let handler: Handler = match instruction.code() {
        Code::Lgdt_m1632_16 => return Some(sized(op, 1, descriptor_tables::lgdt)),
        Code::Lgdt_m1632 => return Some(sized(op, 2, descriptor_tables::lgdt)),
        Code::Lgdt_m1664 => return Some(sized(op, 3, descriptor_tables::lgdt)),
        Code::Lidt_m1632_16 => return Some(sized(op, 1, descriptor_tables::lidt)),
        Code::Lidt_m1632 => return Some(sized(op, 2, descriptor_tables::lidt)),
        Code::Lidt_m1664 => return Some(sized(op, 3, descriptor_tables::lidt)),
        Code::Sgdt_m1632_16 | Code::Sgdt_m1632 => return Some(sized(op, 2, descriptor_tables::sgdt)),
        Code::Sgdt_m1664 => return Some(sized(op, 3, descriptor_tables::sgdt)),
        Code::Sidt_m1632_16 | Code::Sidt_m1632 => return Some(sized(op, 2, descriptor_tables::sidt)),
        Code::Sidt_m1664 => return Some(sized(op, 3, descriptor_tables::sidt)),
        _ => match instruction.mnemonic() {
            Mnemonic::Lldt => descriptor_tables::lldt,
            Mnemonic::Sldt => descriptor_tables::sldt,
            Mnemonic::Ltr => descriptor_tables::ltr,
            Mnemonic::Str => descriptor_tables::str,
            Mnemonic::Lar => descriptor_checks::lar,
            Mnemonic::Lsl => descriptor_checks::lsl,
            Mnemonic::Verr => descriptor_checks::verr,
            Mnemonic::Verw => descriptor_checks::verw,
            Mnemonic::Arpl => descriptor_checks::arpl,
            Mnemonic::Lmsw => control_registers::lmsw,
            Mnemonic::Smsw => control_registers::smsw,
            _ => return None,
        },
    };
    mark_memory(instruction, op);
    Some(handler)
}

/// IN, OUT, INS, OUTS.
fn ports(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let (size, immediate, handler): (u8, bool, Handler) = match instruction.code() {
        Code::In_AL_imm8 => (0, true, io::input),
        Code::In_AX_imm8 => (1, true, io::input),
        Code::In_EAX_imm8 => (2, true, io::input),
        Code::In_AL_DX => (0, false, io::input),
        Code::In_AX_DX => (1, false, io::input),
        Code::In_EAX_DX => (2, false, io::input),
        Code::Out_imm8_AL => (0, true, io::output),
        Code::Out_imm8_AX => (1, true, io::output),
        Code::Out_imm8_EAX => (2, true, io::output),
        Code::Out_DX_AL => (0, false, io::output),
        Code::Out_DX_AX => (1, false, io::output),
        Code::Out_DX_EAX => (2, false, io::output),
        Code::Insb_m8_DX => (0, false, io::input_string),
        Code::Insw_m16_DX => (1, false, io::input_string),
        Code::Insd_m32_DX => (2, false, io::input_string),
        Code::Outsb_DX_m8 => (0, false, io::output_string),
        Code::Outsw_DX_m16 => (1, false, io::output_string),
        Code::Outsd_DX_m32 => (2, false, io::output_string),
        _ => return None,
    };
    op.aux = if immediate { io::IMMEDIATE_PORT } else { 0 };
    Some(sized(op, size, handler))
}

/// FXSAVE and the XSAVE family, and instructions with an operand size of their own.
fn state(instruction: &Instruction, op: &mut Op) -> Option<Handler> {
    let (wide, handler): (bool, Handler) = match instruction.mnemonic() {
        Mnemonic::Fxsave => (false, xsave::fxsave),
        Mnemonic::Fxsave64 => (true, xsave::fxsave),
        Mnemonic::Fxrstor => (false, xsave::fxrstor),
        Mnemonic::Fxrstor64 => (true, xsave::fxrstor),
        Mnemonic::Xsave => (false, xsave::xsave),
        Mnemonic::Xsave64 => (true, xsave::xsave),
        Mnemonic::Xsaveopt => (false, xsave::xsaveopt),
        Mnemonic::Xsaveopt64 => (true, xsave::xsaveopt),
        Mnemonic::Xsavec => (false, xsave::xsavec),
        Mnemonic::Xsavec64 => (true, xsave::xsavec),
        Mnemonic::Xsaves => (false, xsave::xsaves),
        Mnemonic::Xsaves64 => (true, xsave::xsaves),
        Mnemonic::Xrstor => (false, xsave::xrstor),
        Mnemonic::Xrstor64 => (true, xsave::xrstor),
        Mnemonic::Xrstors => (false, xsave::xrstors),
        Mnemonic::Xrstors64 => (true, xsave::xrstors),
        Mnemonic::Pushf | Mnemonic::Popf => return Some(sized(op, 1, flags_handler(instruction))),
        Mnemonic::Pushfd | Mnemonic::Popfd => return Some(sized(op, 2, flags_handler(instruction))),
        Mnemonic::Pushfq | Mnemonic::Popfq => return Some(sized(op, 3, flags_handler(instruction))),
        _ => return None,
    };
    op.aux = if wide { xsave::WIDE } else { 0 };
    Some(handler)
}

fn flags_handler(instruction: &Instruction) -> Handler {
    match instruction.mnemonic() {
        Mnemonic::Pushf | Mnemonic::Pushfd | Mnemonic::Pushfq => flags_instructions::pushf,
        _ => flags_instructions::popf,
    }
}

/// Instructions whose operands are as the decoder fills them.
fn plain(instruction: &Instruction) -> Option<Handler> {
    Some(match instruction.mnemonic() {
        Mnemonic::Clts => control_registers::clts,
        Mnemonic::Xsetbv => control_registers::xsetbv,
        Mnemonic::Xgetbv => control_registers::xgetbv,
        Mnemonic::Invlpg => control_registers::invlpg,
        Mnemonic::Invpcid => control_registers::invpcid,
        Mnemonic::Swapgs => syscall::swapgs,
        Mnemonic::Rdfsbase => syscall::rdfsbase,
        Mnemonic::Rdgsbase => syscall::rdgsbase,
        Mnemonic::Wrfsbase => syscall::wrfsbase,
        Mnemonic::Wrgsbase => syscall::wrgsbase,
        Mnemonic::Cli => flags_instructions::cli,
        Mnemonic::Sti => flags_instructions::sti,
        Mnemonic::Clac => flags_instructions::clac,
        Mnemonic::Stac => flags_instructions::stac,
        Mnemonic::Hlt => io::halt,
        Mnemonic::Cpuid => crate::cpuid::cpuid,
        Mnemonic::Rdmsr => msr_instructions::rdmsr,
        Mnemonic::Wrmsr => msr_instructions::wrmsr,
        Mnemonic::Rdtsc => msr_instructions::rdtsc,
        Mnemonic::Rdtscp => msr_instructions::rdtscp,
        Mnemonic::Rdpid => msr_instructions::rdpid,
        Mnemonic::Rdpmc => msr_instructions::rdpmc,
        Mnemonic::Rdrand | Mnemonic::Rdseed => msr_instructions::random,
        Mnemonic::Clflush | Mnemonic::Clflushopt | Mnemonic::Clwb => cache_hints::flush_line,
        Mnemonic::Invd | Mnemonic::Wbinvd | Mnemonic::Wbnoinvd => cache_hints::flush_caches,
        Mnemonic::Lfence
        | Mnemonic::Mfence
        | Mnemonic::Sfence
        | Mnemonic::Pause
        | Mnemonic::Prefetch
        | Mnemonic::Prefetchnta
        | Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2
        | Mnemonic::Prefetchw
        | Mnemonic::Prefetchwt1
        | Mnemonic::Reservednop => cache_hints::hint,
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => software_interrupt::undefined,
        _ => return None,
    })
}
