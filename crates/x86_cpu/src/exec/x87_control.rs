//! x87 instructions that move control and status words, the environment or the whole state, and WAIT (SDM 1 8.3.11).
//!
//! Those with an N in their name report no exception that waits.

use guest_memory::GuestMemory;
use iced_x86::Code;
use x86_defs::Vector;
use x86_defs::control::{CR0_MP, CR0_TS};
use x86_defs::gpr::RAX;

use super::mmx::check_pending;
use crate::Cpu;
use crate::float::{ENVIRONMENT_SIZE, EnvironmentFormat, SAVE_SIZE};
use crate::memory::{Addressing, Segmented};
use crate::op::{Fault, Flow, Handler, Op, attempt, next, next_after_write};

/// WAIT: #NM if CR0.MP and CR0.TS are set, whatever CR0.EM says; #MF if an exception waits.
pub(super) fn wait(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    if cpu.cr0 & (CR0_MP | CR0_TS) == CR0_MP | CR0_TS {
        cpu.raise_code(Vector::NM, 0);
        return cpu.abort(&ops[0]);
    }
    attempt!(cpu, ops, check_pending(cpu));
    next!(cpu, mem, ops)
}

fn no_operation(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    next!(cpu, mem, ops)
}

fn fninit(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.x87.init();
    next!(cpu, mem, ops)
}

fn fnclex(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.x87.clear_exceptions();
    next!(cpu, mem, ops)
}

fn fnstsw_ax(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    cpu.regs[RAX] = cpu.regs[RAX] & !0xffff | u64::from(cpu.x87.status());
    next!(cpu, mem, ops)
}

fn store_word(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op], word: u16) -> Flow {
    let linear = attempt!(cpu, ops, Segmented::linear(cpu, &ops[0], 2, true));
    attempt!(cpu, ops, cpu.write(mem, linear, word, ops[0].seg));
    next_after_write!(cpu, mem, ops)
}

fn fnstsw(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    store_word(cpu, mem, ops, cpu.x87.status())
}

fn fnstcw(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    store_word(cpu, mem, ops, cpu.x87.control())
}

fn fldcw(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let op = &ops[0];
    attempt!(cpu, ops, check_pending(cpu));
    let linear = attempt!(cpu, ops, Segmented::linear(cpu, op, 2, false));
    let control = attempt!(cpu, ops, cpu.read(mem, linear, op.seg));
    cpu.x87.set_control(control);
    next!(cpu, mem, ops)
}

fn format(cpu: &Cpu, wide: bool) -> EnvironmentFormat {
    EnvironmentFormat { wide, real: !cpu.protected() || cpu.v86() }
}

/// Writes an image, or faults before the first byte.
fn write_image(cpu: &mut Cpu, mem: &GuestMemory, op: &Op, image: &[u8]) -> Result<(), Fault> {
    let linear = Segmented::linear(cpu, op, image.len() as u64, true)?;
    let at = |cpu: &Cpu, index: usize| cpu.wrap_linear(linear.wrapping_add(2 * index as u64));
    for index in 0..image.len() / 2 {
        cpu.probe_write(mem, at(cpu, index), 2, op.seg)?;
    }
    check_double_words(cpu, linear, image.len())?;
    for (index, &pair) in image.as_chunks().0.iter().enumerate() {
        cpu.write(mem, at(cpu, index), u16::from_le_bytes(pair), op.seg)?;
    }
    Ok(())
}

fn read_image<const N: usize>(
    cpu: &mut Cpu,
    mem: &GuestMemory,
    op: &Op,
    size: usize,
) -> Result<[u8; N], Fault> {
    let linear = Segmented::linear(cpu, op, size as u64, false)?;
    let mut image = [0; N];
    for (index, pair) in image[..size].as_chunks_mut().0.iter_mut().enumerate() {
        let at = cpu.wrap_linear(linear.wrapping_add(2 * index as u64));
        *pair = cpu.read::<u16>(mem, at, op.seg)?.to_le_bytes();
    }
    check_double_words(cpu, linear, size)?;
    Ok(image)
}

/// Raises #AC for an image of 32-bit format that is only aligned to words (SDM 3A table 6-7): its parts are accessed as words.
fn check_double_words(cpu: &mut Cpu, linear: u64, size: usize) -> Result<(), Fault> {
    let wide = [
        EnvironmentFormat { wide: true, real: false }.size(),
        EnvironmentFormat { wide: true, real: false }.save_size(),
    ];
    if wide.contains(&size) && linear & 3 != 0 && cpu.alignment_checks() {
        return Err(cpu.raise_code(Vector::AC, 0));
    }
    Ok(())
}

fn fnstenv<const WIDE: bool>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let format = format(cpu, WIDE);
    let image = cpu.x87.environment(format);
    attempt!(cpu, ops, write_image(cpu, mem, &ops[0], &image[..format.size()]));
    cpu.x87.mask_exceptions();
    next_after_write!(cpu, mem, ops)
}

fn fldenv<const WIDE: bool>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    attempt!(cpu, ops, check_pending(cpu));
    let format = format(cpu, WIDE);
    let image = attempt!(cpu, ops, read_image::<ENVIRONMENT_SIZE>(cpu, mem, &ops[0], format.size()));
    cpu.x87.load_environment(&image, format);
    next!(cpu, mem, ops)
}

fn fnsave<const WIDE: bool>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let format = format(cpu, WIDE);
    let image = cpu.x87.save_image(format);
    attempt!(cpu, ops, write_image(cpu, mem, &ops[0], &image[..format.save_size()]));
    cpu.x87.init();
    next_after_write!(cpu, mem, ops)
}

fn frstor<const WIDE: bool>(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    attempt!(cpu, ops, check_pending(cpu));
    let format = format(cpu, WIDE);
    let image = attempt!(cpu, ops, read_image::<SAVE_SIZE>(cpu, mem, &ops[0], format.save_size()));
    cpu.x87.load_image(&image, format);
    next!(cpu, mem, ops)
}

/// The handlers of this family.
pub(super) fn lower(code: Code) -> Option<Handler> {
    Some(match code {
        Code::Fninit => fninit,
        Code::Fnclex => fnclex,
        // Of the 8087 and the 80287; later processors ignore them (SDM 3B 23.18.7).
        Code::Fneni | Code::Fndisi | Code::Fnsetpm => no_operation,
        Code::Fnstsw_AX => fnstsw_ax,
        Code::Fnstsw_m2byte => fnstsw,
        Code::Fnstcw_m2byte => fnstcw,
        Code::Fldcw_m2byte => fldcw,
        Code::Fnstenv_m14byte => fnstenv::<false>,
        Code::Fnstenv_m28byte => fnstenv::<true>,
        Code::Fldenv_m14byte => fldenv::<false>,
        Code::Fldenv_m28byte => fldenv::<true>,
        Code::Fnsave_m94byte => fnsave::<false>,
        Code::Fnsave_m108byte => fnsave::<true>,
        Code::Frstor_m94byte => frstor::<false>,
        Code::Frstor_m108byte => frstor::<true>,
        _ => return None,
    })
}
