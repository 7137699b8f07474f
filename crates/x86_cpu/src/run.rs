//! The main loop: find the block at RIP, run it, look what happened, until an exit.

use std::cell::Cell;

use guest_memory::GuestMemory;
use x86_defs::rflags::{IF, RF, TF};
use x86_defs::segment::index::CS;

use crate::Cpu;
use crate::block::{BlockCache, NEVER_FITS, NONE, key};
use crate::cpu::CodeMode;
use crate::decode::decode_block;
use crate::event::{Attention, Exit, InterruptShadow, Pending};
use crate::op::{BLOCK_RIP, Fault, Flow};
use crate::tlb::{FetchTranslation, PAGE_MASK};

/// Most instructions of one run, some minutes' worth; a larger budget ends early.
const MOST_BUDGET: u64 = NEVER_FITS as u64 - 1;
/// No link leads on from an indirect branch.
const NO_LINK: u8 = u8::MAX;

/// How a chain of blocks ended.
enum Chain {
    /// The next block is not known, or something has to be looked at first.
    Broken,
    /// The next instruction has to be run by itself.
    Step,
    /// An instruction ended its block with [`Flow::Stop`].
    Stopped,
    /// An instruction did not complete.
    Aborted,
}

impl Cpu {
    /// Runs at most `budget` instructions (deliveries of events count as one each) and says why it stopped. The stop is exact,
    /// between two instructions.
    pub fn run(&mut self, mem: &GuestMemory, blocks: &mut BlockCache, budget: u64) -> Exit {
        // Below `NEVER_FITS`, whatever the budget.
        self.limit = self.retired.saturating_add(budget.min(MOST_BUDGET));
        self.replay.cursor = 0;
        self.stop_block = false;
        self.tlb.sync_epoch(mem);
        if mem.code_written() {
            blocks.drop_overwritten(mem);
        }
        self.refresh_attention();
        loop {
            if let Some(exit) = self.run_blocks(mem, blocks) {
                return exit;
            }
            // The delivery of an event may have pushed onto code.
            if self.stop_block {
                self.finish_stop(mem, blocks);
            }
        }
    }

    /// Runs blocks until something has to be looked at; an exit, or nothing if it was dealt with.
    fn run_blocks(&mut self, mem: &GuestMemory, blocks: &mut BlockCache) -> Option<Exit> {
        loop {
            if self.attention.0 != 0
                && let Some(exit) = self.attend(mem)
            {
                return Some(exit);
            }
            if self.stop_block {
                // Code was overwritten, by the last instruction or by the frame of an event.
                self.finish_stop(mem, blocks);
            }
            if self.attention.0 & Attention::STEP != 0 {
                return self.step(mem, blocks);
            }
            if self.retired >= self.limit {
                return Some(Exit::Budget);
            }
            let mode = self.mode;
            let linear = self.wrap_linear(self.code_base.wrapping_add(self.rip));
            let address = if self.tlb.fetch.covers(linear) {
                self.tlb.fetch.address(linear)
            } else {
                match self.translate_fetch(mem, linear) {
                    Ok(address) => address,
                    Err(Fault) => return self.deal_with_pending(mem),
                }
            };
            let Ok(index) = self.locate(mem, blocks, key(address, mode.0), linear, address, mode) else {
                return self.deal_with_pending(mem);
            };
            match self.run_chain(mem, blocks, index) {
                Chain::Broken => {}
                Chain::Step => return self.step(mem, blocks),
                Chain::Stopped => self.finish_stop(mem, blocks),
                Chain::Aborted => {
                    if self.stop_block {
                        self.finish_stop(mem, blocks);
                    }
                    return self.deal_with_pending(mem);
                }
            }
        }
    }

    /// Runs the block `index` and those that follow it, as long as they are known and nothing has to be looked at between two
    /// of them. This is the loop in which the processor spends its life.
    #[inline(never)]
    fn run_chain(&mut self, mem: &GuestMemory, blocks: &BlockCache, mut index: u32) -> Chain {
        // No block changes the mode and goes on: what does ends with `Flow::Stop` or `Flow::Abort`.
        let is_64 = self.mode.is_64();
        let mode_key = key(0, self.mode.0);
        loop {
            let Some(block) = blocks.get(index) else { return Chain::Broken };
            if u64::from(block.count) > self.limit.wrapping_sub(self.retired)
                || !is_64 && !self.within_code_limit(block.len)
            {
                return Chain::Step;
            }
            self.regs[BLOCK_RIP as usize] = self.rip;
            let Some(first) = block.ops.first() else { return Chain::Broken };
            let link = match (first.run)(self, mem, &block.ops) {
                Flow::Taken => self.link,
                Flow::End => {
                    self.rip = self.wrap_ip(self.regs[BLOCK_RIP as usize].wrapping_add(u64::from(block.len)));
                    self.retired += u64::from(block.count);
                    0
                }
                Flow::Indirect => NO_LINK,
                Flow::Stop => return Chain::Stopped,
                Flow::Abort => return Chain::Aborted,
            };
            if self.attention.0 != 0 || self.stop_block || self.retired >= self.limit {
                return Chain::Broken;
            }
            let linear = self.wrap_linear(self.code_base.wrapping_add(self.rip));
            if !self.tlb.fetch.covers(linear) {
                let hit = self.tlb.fast_fetch(linear).and_then(|offset| mem.address_of(offset));
                let Some(address) = hit else { return Chain::Broken };
                self.tlb.fetch = FetchTranslation::new(linear, address);
            }
            let wanted = self.tlb.fetch.address(linear) | mode_key;
            let link = block.links.get(usize::from(link));
            let linked = link.map_or(NONE, Cell::get);
            index = match blocks.get(linked) {
                Some(next) if next.key == wanted => linked,
                _ => match blocks.peek(wanted) {
                    Some(found) => {
                        if let Some(link) = link {
                            link.set(found);
                        }
                        found
                    }
                    None => return Chain::Broken,
                },
            };
        }
    }

    /// The block for `wanted`, decoded if need be.
    #[inline(never)]
    fn locate(
        &mut self,
        mem: &GuestMemory,
        blocks: &mut BlockCache,
        wanted: u64,
        linear: u64,
        address: u64,
        mode: CodeMode,
    ) -> Result<u32, Fault> {
        if let Some(index) = blocks.find(wanted) {
            return Ok(index);
        }
        let block = decode_block(self, mem, linear, address, mode)?;
        let index = blocks.insert(mem, block);
        self.tlb.sync_epoch(mem);
        Ok(index)
    }

    /// Whether the `len` bytes at RIP lie inside the limit of CS.
    #[inline]
    fn within_code_limit(&self, len: u32) -> bool {
        let last = (self.rip & 0xffff_ffff) + u64::from(len.max(1)) - 1;
        last <= u64::from(self.segs[CS].limit)
    }

    /// Deals with written code and completed writes once the instruction is done.
    #[cold]
    #[inline(never)]
    fn finish_stop(&mut self, mem: &GuestMemory, blocks: &mut BlockCache) {
        self.stop_block = false;
        if mem.code_written() {
            blocks.drop_overwritten(mem);
        }
    }

    /// Runs one instruction, with everything that may surround it.
    #[cold]
    #[inline(never)]
    fn step(&mut self, mem: &GuestMemory, blocks: &mut BlockCache) -> Option<Exit> {
        if self.retired >= self.limit {
            return Some(Exit::Budget);
        }
        if self.check_instruction_breakpoint() {
            return self.deal_with_pending(mem);
        }
        let shadow = std::mem::take(&mut self.shadow);
        let traced = self.system_flags & TF != 0;
        let mode = CodeMode(self.mode.0 | CodeMode::STEP);
        let linear = self.wrap_linear(self.code_base.wrapping_add(self.rip));
        let fetched = if self.tlb.fetch.covers(linear) {
            Ok(self.tlb.fetch.address(linear))
        } else {
            self.translate_fetch(mem, linear)
        };
        let found = fetched.and_then(|address| {
            let index = self.locate(mem, blocks, key(address, mode.0), linear, address, mode)?;
            let second = blocks.get(index).and_then(|block| block.second_page);
            let Some(second) = second else { return Ok(index) };
            // The second page is looked up at each execution; if it moved, the block is decoded again.
            let next = self.wrap_linear((linear & PAGE_MASK).wrapping_add(4096));
            if self.translate_fetch_second(mem, next)? == second {
                return Ok(index);
            }
            let block = decode_block(self, mem, linear, address, mode)?;
            Ok(blocks.insert(mem, block))
        });
        let Ok(index) = found else {
            self.shadow = shadow;
            return self.deal_with_pending(mem);
        };
        self.tlb.sync_epoch(mem);
        let block = blocks.get(index)?;
        if !self.mode.is_64() && !self.within_code_limit(block.len) {
            self.shadow = shadow;
            self.gp0();
            return self.deal_with_pending(mem);
        }
        self.regs[BLOCK_RIP as usize] = self.rip;
        let len = u64::from(block.len);
        let first = *block.ops.first()?;
        let flow = (first.run)(self, mem, std::slice::from_ref(&first));
        match flow {
            Flow::End => {
                self.rip = self.wrap_ip(self.regs[BLOCK_RIP as usize].wrapping_add(len));
                self.retired += 1;
            }
            Flow::Taken | Flow::Indirect | Flow::Stop => {}
            Flow::Abort => {
                if self.pending != Pending::Again && self.shadow == InterruptShadow::None {
                    self.shadow = shadow;
                }
            }
        }
        if self.stop_block {
            self.finish_stop(mem, blocks);
        }
        if flow != Flow::Abort || self.pending == Pending::Again {
            self.replay.clear();
            self.instruction_completed(traced);
        }
        self.refresh_attention();
        if flow == Flow::Abort { self.deal_with_pending(mem) } else { None }
    }

    /// Deals with what an aborted instruction left: delivers an exception or returns an exit.
    #[cold]
    #[inline(never)]
    fn deal_with_pending(&mut self, mem: &GuestMemory) -> Option<Exit> {
        match std::mem::take(&mut self.pending) {
            Pending::Exception(exception) => {
                self.replay.clear();
                self.posted.clear();
                let delivered = self.deliver_exception(mem, exception);
                self.refresh_attention();
                delivered.err()
            }
            Pending::Exit(exit) => {
                self.replay.cursor = 0;
                // The instruction starts again with the answer, and makes its writes again.
                self.posted.clear();
                Some(exit)
            }
            Pending::Again => {
                self.retired += 1;
                // An event that comes between iterations pushes RF (SDM 3B 18.3.1.1); it ends with the instruction.
                self.system_flags |= RF;
                self.refresh_attention();
                None
            }
            Pending::None => None,
        }
    }

    /// Looks at what `attention` names, in the order of SDM 3A table 6-2.
    #[cold]
    #[inline(never)]
    fn attend(&mut self, mem: &GuestMemory) -> Option<Exit> {
        if self.attention.0 & Attention::POSTED != 0 && !self.posted.is_empty() {
            let exit = self.posted.remove(0);
            self.refresh_attention();
            return Some(exit);
        }
        if self.retired >= self.limit {
            return Some(Exit::Budget);
        }
        // An instruction that waits for an answer is in progress: nothing comes between.
        if !self.replay.answers.is_empty() {
            self.replay.cursor = 0;
            return None;
        }
        if self.attention.0 & Attention::DEBUG != 0 && self.shadow != InterruptShadow::MovSs {
            let delivered = self.take_debug_trap(mem);
            self.refresh_attention();
            // The delivery counts, and may have pushed to a device: look again before anything else comes.
            return delivered.err().or_else(|| self.attend(mem));
        }
        if self.nmi_pending && !self.nmi_blocked && self.shadow == InterruptShadow::None {
            let delivered = self.deliver_nmi(mem);
            self.refresh_attention();
            return delivered.err().or_else(|| self.attend(mem));
        }
        if self.interruptible() && self.interrupt_line {
            return Some(Exit::InterruptWindow);
        }
        None
    }

    /// Whether an external interrupt would be taken before the next instruction.
    #[must_use]
    pub fn interruptible(&self) -> bool {
        self.system_flags & IF != 0 && self.shadow == InterruptShadow::None && self.replay.answers.is_empty()
    }

    /// A linear address cut to 32 bits outside 64-bit mode.
    #[inline(always)]
    pub(crate) fn wrap_linear(&self, linear: u64) -> u64 {
        if self.mode.is_64() { linear } else { linear & 0xffff_ffff }
    }
}

#[cfg(test)]
mod tests;
