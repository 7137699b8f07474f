//! The registers of a processor, for the report of a run that ended badly.

use hypervisor::{Activity, Registers, SpecialRegisters, Vm};
use serde::Serialize;

/// As instructions number them.
const GENERAL: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];
/// As instructions number them.
const SEGMENTS: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];

/// A register with a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Register {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// A segment register with its hidden part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SegmentRegister {
    pub(super) name: &'static str,
    pub(super) selector: String,
    pub(super) base: String,
    pub(super) limit: String,
    pub(super) access: String,
}

/// A processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Processor {
    pub(super) processor: usize,
    pub(super) activity: &'static str,
    pub(super) registers: Vec<Register>,
    pub(super) segments: Vec<SegmentRegister>,
}

/// Every processor of a machine.
pub(super) fn processors(vm: &Vm) -> Vec<Processor> {
    (0..vm.vcpu_count()).map(|index| processor(vm, index)).collect()
}

fn processor(vm: &Vm, index: usize) -> Processor {
    let Registers { general, rip, rflags } = vm.registers(index);
    let SpecialRegisters { segments, ldtr, tr, gdtr, idtr, cr0, cr2, cr3, cr4, efer } =
        vm.special_registers(index);
    let named = GENERAL.into_iter().zip(general).chain([
        ("rip", rip),
        ("rflags", rflags),
        ("cr0", cr0),
        ("cr2", cr2),
        ("cr3", cr3),
        ("cr4", cr4),
        ("efer", efer),
    ]);
    let segments = SEGMENTS
        .into_iter()
        .zip(segments)
        .chain([("ldtr", ldtr), ("tr", tr)])
        .map(|(name, segment)| SegmentRegister {
            name,
            selector: format!("{:#06x}", segment.selector),
            base: format!("{:#018x}", segment.base),
            limit: format!("{:#010x}", segment.limit),
            access: format!("{:#07x}", segment.access),
        })
        .chain([("gdtr", gdtr), ("idtr", idtr)].map(|(name, table)| SegmentRegister {
            name,
            selector: String::new(),
            base: format!("{:#018x}", table.base),
            limit: format!("{:#010x}", table.limit),
            access: String::new(),
        }));
    Processor {
        processor: index,
        activity: match vm.activity(index) {
            Activity::Running => "running",
            Activity::Halted => "halted",
            Activity::WaitForStartUp => "waits for a start-up IPI",
            Activity::Shutdown => "shut down",
        },
        registers: named.map(|(name, value)| Register { name, value: format!("{value:#018x}") }).collect(),
        segments: segments.collect(),
    }
}

impl std::fmt::Display for Processor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "  processor {}: {}", self.processor, self.activity)?;
        for row in self.registers.chunks(4) {
            write!(f, "   ")?;
            for Register { name, value } in row {
                write!(f, " {name:>6} {value}")?;
            }
            writeln!(f)?;
        }
        for SegmentRegister { name, selector, base, limit, access } in &self.segments {
            let line = format!("    {name:>6} {selector:6} base {base} limit {limit} access {access}");
            writeln!(f, "{}", line.strip_suffix(" access ").unwrap_or(&line))?;
        }
        Ok(())
    }
}
