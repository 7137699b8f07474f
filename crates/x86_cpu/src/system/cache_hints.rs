//! Caches and fences: nothing here caches data, so that most of these only check (SDM 2A/2B).

use guest_memory::GuestMemory;
use x86_defs::control::CR4_SMAP;
use x86_defs::rflags::AC;
use x86_defs::segment::index::SS;
use x86_defs::{Vector, is_canonical};

use crate::Cpu;
use crate::memory::{Addressing, Segmented};
use crate::op::{Flow, Op};
use crate::paging::Access;
use crate::system::{Then, complete};

/// LFENCE, MFENCE, SFENCE, PREFETCHh, PREFETCHW, PAUSE and the reserved NOPs.
pub(super) fn hint(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |_cpu, _mem, _op| Ok(Then::Next))
}

/// CLFLUSH, CLFLUSHOPT, CLWB: faults as a byte load does (SDM 2A CLFLUSH).
pub(super) fn flush_line(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, mem, op| {
        let linear = Segmented::linear(cpu, op, 1, false)?;
        if cpu.mode.is_64() && !is_canonical(linear) {
            let vector = if usize::from(op.seg) == SS { Vector::SS } else { Vector::GP };
            return Err(cpu.raise_code(vector, 0));
        }
        // Nothing is read: a device would notice.
        let user = cpu.cpl == 3;
        let smap_override = !user && cpu.cr4 & CR4_SMAP != 0 && cpu.system_flags & AC != 0;
        cpu.translate(mem, linear, Access { write: false, fetch: false, user, smap_override })?;
        Ok(Then::Next)
    })
}

/// INVD, WBINVD.
pub(super) fn flush_caches(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    complete(cpu, mem, ops, |cpu, _mem, _op| {
        if cpu.cpl != 0 {
            return Err(cpu.gp0());
        }
        Ok(Then::Next)
    })
}
