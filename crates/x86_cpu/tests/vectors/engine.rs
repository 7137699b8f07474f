//! What runs the vectors. Whatever executes guest instructions on the state of a [`Cpu`] can be one more engine here.

use guest_memory::GuestMemory;
use saved_state::{Restore, Save};
use x86_cpu::{BlockCache, Cpu, CpuStateV1, Exit};

/// Something that runs instructions.
pub(crate) trait Engine {
    /// Told in messages.
    const NAME: &'static str;

    /// A processor in `state`.
    fn new(state: CpuStateV1) -> Self;
    /// The processor, between two runs.
    fn cpu(&mut self) -> &mut Cpu;
    /// Runs at most `budget` instructions; [`Exit::Budget`] may come earlier.
    fn run(&mut self, mem: &GuestMemory, budget: u64) -> Exit;
}

fn restored(state: CpuStateV1) -> Cpu {
    let mut cpu = Cpu::new(state.apic_id, state.processors);
    cpu.restore(state).expect("the initial state is one a processor can have");
    cpu
}

/// The interpreter, whole blocks at once.
pub(crate) struct Blocks {
    cpu: Cpu,
    blocks: BlockCache,
}

impl Engine for Blocks {
    const NAME: &'static str = "blocks";

    fn new(state: CpuStateV1) -> Self {
        Self { cpu: restored(state), blocks: BlockCache::new() }
    }

    fn cpu(&mut self) -> &mut Cpu {
        &mut self.cpu
    }

    fn run(&mut self, mem: &GuestMemory, budget: u64) -> Exit {
        self.cpu.run(mem, &mut self.blocks, budget)
    }
}

/// The interpreter, one instruction at a time.
pub(crate) struct Steps(Blocks);

impl Engine for Steps {
    const NAME: &'static str = "steps";

    fn new(state: CpuStateV1) -> Self {
        Self(Blocks::new(state))
    }

    fn cpu(&mut self) -> &mut Cpu {
        self.0.cpu()
    }

    fn run(&mut self, mem: &GuestMemory, budget: u64) -> Exit {
        self.0.run(mem, budget.min(1))
    }
}

/// The interpreter, moved to another processor between any two instructions.
pub(crate) struct Moves(Blocks);

impl Engine for Moves {
    const NAME: &'static str = "moves";

    fn new(state: CpuStateV1) -> Self {
        Self(Blocks::new(state))
    }

    fn cpu(&mut self) -> &mut Cpu {
        self.0.cpu()
    }

    fn run(&mut self, mem: &GuestMemory, budget: u64) -> Exit {
        let exit = self.0.run(mem, budget.min(1));
        if exit == Exit::Budget {
            self.0.blocks.clear(mem);
            self.0 = Blocks::new(self.0.cpu.save());
        }
        exit
    }
}
