//! Breakpoints of the debug registers (SDM 3B 18.2).

use crate::Cpu;
use crate::event::Attention;

/// R/W of DR7: break on execution.
const EXECUTE: u64 = 0;
/// R/W of DR7: break on data writes.
const WRITE: u64 = 1;
/// R/W of DR7: break on data reads and writes.
const READ_WRITE: u64 = 3;

impl Cpu {
    /// Whether L or G of breakpoint `index` is set (SDM 3B 18.2.4).
    const fn breakpoint_enabled(&self, index: usize) -> bool {
        self.dr7 >> (2 * index) & 3 != 0
    }

    /// The R/W field of breakpoint `index`.
    const fn breakpoint_condition(&self, index: usize) -> u64 {
        self.dr7 >> (16 + 4 * index) & 3
    }

    /// First linear address and bytes that breakpoint `index` covers (SDM 3B 18.2.5: the low bits of the address are ignored).
    const fn breakpoint_range(&self, index: usize) -> (u64, u64) {
        let len = match self.dr7 >> (18 + 4 * index) & 3 {
            0 => 1,
            1 => 2,
            2 => 8,
            _ => 4,
        };
        (self.dr[index] & !(len - 1), len)
    }

    /// Whether an instruction breakpoint is enabled.
    #[inline]
    pub(crate) fn instruction_breakpoints_armed(&self) -> bool {
        self.dr7 & 0xff != 0
            && (0..4)
                .any(|index| self.breakpoint_enabled(index) && self.breakpoint_condition(index) == EXECUTE)
    }

    /// Whether a data breakpoint is enabled.
    #[inline]
    pub(crate) fn data_breakpoints_armed(&self) -> bool {
        self.dr7 & 0xff != 0
            && (0..4).any(|index| {
                self.breakpoint_enabled(index)
                    && matches!(self.breakpoint_condition(index), WRITE | READ_WRITE)
            })
    }

    /// DR6 bits of the enabled instruction breakpoints at `linear`, the address of an instruction's first byte.
    pub(crate) fn instruction_breakpoints_at(&self, linear: u64) -> u64 {
        let mut hits = 0;
        for index in 0..4 {
            // LEN has to be 0 for these (SDM 3B 18.2.4).
            if self.breakpoint_enabled(index)
                && self.breakpoint_condition(index) == EXECUTE
                && self.breakpoint_range(index) == (linear, 1)
            {
                hits |= 1 << index;
            }
        }
        hits
    }

    /// Records the data breakpoints that an access hits; they trap when the instruction is done.
    #[cold]
    pub(crate) fn note_data_access(&mut self, linear: u64, size: u64, write: bool) {
        let mut hits = 0;
        for index in 0..4 {
            let breaks = match self.breakpoint_condition(index) {
                WRITE => write,
                READ_WRITE => true,
                _ => false,
            };
            let (start, len) = self.breakpoint_range(index);
            // Two ranges meet if one starts in the other; distances wrap as addresses do.
            let meets = start.wrapping_sub(linear) < size || linear.wrapping_sub(start) < len;
            if breaks && meets && self.breakpoint_enabled(index) {
                hits |= 1 << index;
            }
        }
        if hits != 0 {
            self.debug_pending |= hits;
            self.attention.0 |= Attention::DEBUG;
            self.stop_block = true;
        }
    }
}
