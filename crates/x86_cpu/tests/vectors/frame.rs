//! What the delivery of an event left: read back from its stack into the state it interrupted.

use x86_cpu::CpuStateV1;

use crate::machine::{HANDLERS, Machine};

/// How an event came about, which decides what is expected of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Reported before the instruction; RF in the pushed flags is 1.
    Fault,
    /// A fault that is pushed with the RF there was: an instruction breakpoint.
    Break,
    /// Nothing is said about the pushed flags.
    Abort,
    /// Reported behind the instruction.
    Trap,
    /// INT n, INT3, INTO, INT1: the event is the instruction.
    Soft,
    /// From outside.
    Interrupt,
}

/// An event as it was delivered.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) vector: u8,
    pub(crate) error_code: Option<u32>,
    /// The state that was interrupted, as the frame tells it: RIP, CS, RFLAGS, RSP and SS, in what segment registers hold only
    /// the selectors.
    pub(crate) interrupted: CpuStateV1,
    /// Which bits of RSP and RFLAGS the frame tells.
    pub(crate) known: u64,
    /// What the flags of the handler must be.
    pub(crate) handler_flags: u64,
    /// Flags that this says nothing about.
    pub(crate) handler_flags_unknown: u64,
}

const VECTORS: [&str; 20] = [
    "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9", "#TS", "#NP", "#SS", "#GP", "#PF",
    "15", "#MF", "#AC", "#MC", "#XM",
];

/// `#GP(0x10)`, `#UD`, `0x30`.
pub(crate) fn event_text(vector: u8, error_code: Option<u32>) -> String {
    let name =
        VECTORS.get(usize::from(vector)).map_or_else(|| format!("{vector:#x}"), |&name| name.to_owned());
    match error_code {
        Some(code) => format!("{name}({code:#x})"),
        None => name,
    }
}

/// The vector whose handler is about to run in `state`, or has just run its HLT if `halted`.
pub(crate) fn handler_of(state: &CpuStateV1, halted: bool) -> Option<u8> {
    let base = if state.efer & 0x400 != 0 && state.segments[1].access & 0x2000 != 0 {
        0
    } else {
        state.segments[1].base
    };
    let at = base.wrapping_add(state.rip).wrapping_sub(halted.into());
    let distance = at.wrapping_sub(HANDLERS);
    (distance < 0x1000 && distance.is_multiple_of(16)).then_some((distance / 16) as u8)
}

/// Reads the frame of the event whose handler `state` is in.
pub(crate) fn read(
    machine: &Machine,
    initial: &CpuStateV1,
    state: &CpuStateV1,
    vector: u8,
    has_code: bool,
) -> Result<Delivered, String> {
    let protected = state.cr0 & 1 != 0;
    let long = state.efer & 0x400 != 0;
    let gate = machine.entry(machine.gate_address(vector.into()), 8) >> 40 & 0xf;
    let real = !protected || state.rflags & 0x2_0000 != 0;
    let (width, interrupt_gate) = if real {
        (2, true)
    } else if long {
        (8, gate & 1 == 0)
    } else {
        (if gate & 8 != 0 { 4 } else { 2 }, gate & 1 == 0)
    };
    let ss = &state.segments[2];
    let wide_stack = long || ss.access & 0x4000 != 0;
    let base = if long { 0 } else { ss.base };
    let mut sp = if wide_stack { state.general[4] } else { state.general[4] & 0xffff };
    let next = |sp: &mut u64| -> Result<u64, String> {
        let at = base.wrapping_add(*sp);
        *sp = sp.wrapping_add(width);
        let value = match width {
            2 => machine.mem.read::<u16>(at).map(u64::from),
            4 => machine.mem.read::<u32>(at).map(u64::from),
            _ => machine.mem.read::<u64>(at),
        };
        value.map_err(|_| format!("the frame at {at:#x} is not in RAM"))
    };
    let error_code = if has_code { Some(next(&mut sp)? as u32) } else { None };
    let rip = next(&mut sp)?;
    let cs = next(&mut sp)? as u16;
    let known = if width == 8 { u64::MAX } else { u64::MAX >> (64 - 8 * width) };
    let flags = next(&mut sp)? | initial.rflags & !known;
    let mut interrupted = state.clone();
    interrupted.rip = rip;
    interrupted.rflags = flags;
    interrupted.segments[1].selector = cs;
    let from_v86 = !real && flags & 0x2_0000 != 0;
    let outer = !real && (from_v86 || u8::try_from(cs & 3).expect("two bits") > state.cpl);
    let kept = initial.general[4] & !0xffff;
    if long || outer {
        let rsp = next(&mut sp)?;
        interrupted.general[4] = if width == 2 { kept | rsp } else { rsp };
        interrupted.segments[2].selector = next(&mut sp)? as u16;
    } else {
        interrupted.general[4] = if wide_stack { sp } else { kept | sp & 0xffff };
    }
    if from_v86 {
        for index in [0, 3, 4, 5] {
            interrupted.segments[index].selector = next(&mut sp)? as u16;
            interrupted.segments[index].base = u64::from(interrupted.segments[index].selector) << 4;
            interrupted.segments[index].limit = 0xffff;
            interrupted.segments[index].access = 0xf3;
        }
    }
    interrupted.cpl = if real {
        state.cpl
    } else if from_v86 {
        3
    } else {
        (cs & 3) as u8
    };
    // SDM 2A INT, the pseudocode: TF, and IF through an interrupt gate; NT, VM and RF where gates are; AC in real mode.
    let mut cleared = 0x1_0100 | if interrupt_gate { 0x200 } else { 0 };
    cleared |= if !protected {
        0x4_0000
    } else if real {
        0
    } else {
        0x2_4000
    };
    let handler_flags_unknown = if real {
        !0xffff | if protected { 0x8_3200 } else { 0 }
    } else if width == 2 {
        !0x3_ffff
    } else {
        0
    };
    Ok(Delivered {
        vector,
        error_code,
        interrupted,
        known,
        handler_flags: flags & !cleared,
        handler_flags_unknown,
    })
}
