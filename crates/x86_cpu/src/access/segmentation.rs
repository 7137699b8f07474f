//! From offset to linear address where segments have limits: everywhere but in 64-bit mode (SDM 3A 5.3, 5.4, 20.1.1).

use x86_defs::Vector;
use x86_defs::segment::index::SS;
use x86_defs::segment::{AR_CODE, AR_CONFORMING_DOWN, AR_DB, AR_READ_WRITE, Segment};

use crate::Cpu;
use crate::op::Fault;

/// Whether `size` bytes at `offset` are inside the limit of a segment (SDM 3A 5.3). An access that would wrap around the end of
/// a 4 GiB segment is outside; the manual leaves that to the processor.
#[inline]
pub(crate) fn within_limit(segment: &Segment, offset: u64, size: u64) -> bool {
    let last = offset + (size - 1);
    let limit = u64::from(segment.limit);
    if segment.access & (AR_CODE | AR_CONFORMING_DOWN) == AR_CONFORMING_DOWN {
        let upper = if segment.access & AR_DB != 0 { 0xffff_ffff } else { 0xffff };
        offset > limit && last <= upper
    } else {
        last <= limit
    }
}

/// Whether the type of a segment allows the access (SDM 3A 5.5, table 3-1).
#[inline]
const fn type_allows(segment: &Segment, write: bool) -> bool {
    if segment.unusable() {
        return false;
    }
    match (segment.access & AR_CODE != 0, write) {
        (true, true) => false,
        (true, false) | (false, true) => segment.access & AR_READ_WRITE != 0,
        (false, false) => true,
    }
}

impl Cpu {
    /// The linear address of `size` bytes at `offset` of a segment, checked as everywhere but in 64-bit mode.
    #[inline]
    pub(crate) fn segment_linear(
        &mut self,
        seg: u8,
        offset: u64,
        size: u64,
        write: bool,
    ) -> Result<u64, Fault> {
        let segment = &self.segs[usize::from(seg & 7)];
        let offset = offset & 0xffff_ffff;
        // Real and virtual-8086 mode know limits but no types (SDM 3A 20.1.1, 20.2.1).
        let typed = self.protected() && !self.v86();
        if within_limit(segment, offset, size) && (!typed || type_allows(segment, write)) {
            return Ok(segment.base.wrapping_add(offset) & 0xffff_ffff);
        }
        Err(self.segment_fault(seg))
    }

    /// #SS(0) for the stack segment, #GP(0) for the others.
    #[cold]
    fn segment_fault(&mut self, seg: u8) -> Fault {
        let vector = if usize::from(seg) == SS { Vector::SS } else { Vector::GP };
        self.raise_code(vector, 0)
    }
}
