//! A machine that is switched on: its processors, its board, its time, and the loop that runs them.
//!
//! Processors take turns by retired instructions. In icount mode whose turn it is, what is left of it and what time it is
//! depend on nothing but the instructions executed; all three are saved state.

use std::time::{Duration, Instant};

use hypervisor::{Activity, RunExit, SpecialRegisters, TimeSource, Vm};
use x86_defs::{PHYSICAL_ADDRESS_BITS, msr};

use crate::acpi::{AcpiConfig, AcpiError, build};
use crate::board::{Board, Request};
use crate::boot::{BootError, BootSource, InitialState, Protocol, load, ram_layout};
use crate::config::{ClockMode, Config, ConfigError};
use crate::host::{Host, Port};
use crate::report::Statistics;

/// Instructions a processor runs before the next has its turn.
const QUANTUM: u64 = 20_000;
/// Most instructions between two looks at the host (input, a request to stop) in icount mode.
const HOST_INTERVAL: u64 = 2_000_000;
/// Instructions between two looks at the clock when it is the host's.
const HOST_CLOCK_SLICE: u64 = 50_000;
/// Events that may come one after the other without waking a processor; at the 18.2 Hz of a PC's timer, more than a day of them.
const MOST_IDLE_EVENTS: u32 = 2_000_000;
/// How long a machine without any event to come sleeps for input.
const WAIT_FOR_INPUT: Duration = Duration::from_millis(50);

/// Why a machine could not be switched on.
#[derive(Debug, thiserror::Error)]
pub enum PowerOnError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Guest memory.
    #[error(transparent)]
    Memory(#[from] guest_memory::MemoryError),
    /// The firmware's tables.
    #[error(transparent)]
    Acpi(#[from] AcpiError),
    /// The guest's files.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// Registers the boot protocol asks for.
    #[error("the boot protocol gave a register a value it cannot hold")]
    Register(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest switched the machine off.
    PowerOff,
    /// The guest wrote to isa-debug-exit, which makes this exit status.
    Exit {
        /// (value << 1) | 1, as in QEMU.
        status: u32,
    },
    /// The guest reset the machine.
    Reset,
    /// A processor had a triple fault.
    TripleFault {
        /// Which.
        vcpu: usize,
    },
    /// The instruction limit was reached.
    InstructionLimit,
    /// Every processor waits for something that cannot come.
    Stuck,
    /// The host asked the machine to stop.
    Stopped,
    /// The guest used something of a PC that is not here.
    Unsupported {
        /// What, in words.
        what: &'static str,
    },
    /// Output could not be kept.
    OutputFailed {
        /// Why.
        kind: std::io::ErrorKind,
    },
}

/// A machine that is built and not switched on: memory, processors and chips are there, and no guest.
///
/// The states of a machine's life are types: this one cannot run, and a [`Machine`] has a guest.
#[derive(Debug)]
pub struct PoweredOff(Machine);

impl PoweredOff {
    /// Builds a machine.
    ///
    /// # Errors
    /// [`PowerOnError`]: the configuration, or memory the host does not give.
    pub fn new(config: Config) -> Result<Self, PowerOnError> {
        Machine::build(config).map(Self)
    }

    /// Switches the machine on: builds the firmware's tables, loads the guest and sets the first processor to its entry.
    ///
    /// # Errors
    /// [`PowerOnError`], naming the file and what to do.
    pub fn boot(self, source: &BootSource<'_>) -> Result<(Machine, Protocol), PowerOnError> {
        let Self(mut machine) = self;
        let protocol = machine.load(source)?;
        Ok((machine, protocol))
    }
}

/// A machine that is switched on.
#[derive(Debug)]
pub struct Machine {
    pub(crate) config: Config,
    pub(crate) vm: Vm,
    pub(crate) board: Board,
    /// Virtual time in nanoseconds since power-on.
    pub(crate) now: u64,
    /// Whose turn it is.
    pub(crate) turn: usize,
    /// What is left of the turn, in instructions.
    pub(crate) turn_left: u64,
    statistics: Statistics,
    /// Host time at virtual time `now` when the host's clock is followed.
    host_start: Option<(Instant, u64)>,
}

impl Machine {
    /// A machine as after power-on, nothing loaded.
    pub(crate) fn build(config: Config) -> Result<Self, PowerOnError> {
        config.check()?;
        let memory = guest_memory::GuestMemory::new(&ram_layout(config.memory))?;
        let vm = Vm::new(memory, config.cpus);
        let board = Board::new(config.memory, config.cpus, config.start_time);
        Ok(Self {
            config,
            vm,
            board,
            now: 0,
            turn: 0,
            turn_left: QUANTUM,
            statistics: Statistics::default(),
            host_start: None,
        })
    }

    fn load(&mut self, source: &BootSource<'_>) -> Result<Protocol, PowerOnError> {
        let cpus = u8::try_from(self.config.cpus).unwrap_or(u8::MAX);
        let tables = build(&AcpiConfig::new(cpus))?;
        let source = BootSource { acpi: Some(&tables), ..*source };
        let (protocol, state) = load(self.vm.memory(), &source)?;
        self.set_initial_state(&state)?;
        self.set_up_as_firmware()?;
        Ok(protocol)
    }

    /// What firmware has done by the time it starts a guest: interrupts in virtual wire mode, and the MTRRs on, with memory
    /// write-back and the last GiB below 4 GiB, where devices are, uncached (SDM 3A 12.11.2).
    fn set_up_as_firmware(&mut self) -> Result<(), PowerOnError> {
        const WRITE_BACK_ENABLED: u64 = 0x806;
        const DEVICES: u64 = 3 << 30;
        const DEVICES_MASK: u64 = ((1 << PHYSICAL_ADDRESS_BITS) - (1 << 30)) | 1 << 11;
        self.vm.set_virtual_wire_mode();
        for vcpu in 0..self.vm.vcpu_count() {
            for (msr, value) in [
                (msr::MTRR_PHYS_BASE0, DEVICES),
                (msr::MTRR_PHYS_BASE0 + 1, DEVICES_MASK),
                (msr::MTRR_DEF_TYPE, WRITE_BACK_ENABLED),
            ] {
                self.vm
                    .write_msr(vcpu, msr, value)
                    .map_err(|error| PowerOnError::Register(Box::new(error)))?;
            }
        }
        Ok(())
    }

    fn set_initial_state(&mut self, state: &InitialState) -> Result<(), PowerOnError> {
        let InitialState { registers, rip, rflags, cr0, cr3, cr4, efer, segments, tr, ldtr, gdtr, idtr } =
            *state;
        let special = SpecialRegisters { segments, ldtr, tr, gdtr, idtr, cr0, cr2: 0, cr3, cr4, efer };
        self.vm
            .set_special_registers(0, &special)
            .map_err(|error| PowerOnError::Register(Box::new(error)))?;
        self.vm.set_registers(0, &hypervisor::Registers { general: registers, rip, rflags });
        Ok(())
    }

    /// The configuration it was switched on with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// L0, for tools that look at registers and memory.
    #[must_use]
    pub const fn vm(&self) -> &Vm {
        &self.vm
    }

    /// Virtual time in nanoseconds since power-on.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// Instructions retired by all processors.
    #[must_use]
    pub fn retired(&self) -> u64 {
        self.vm.retired()
    }

    /// What was counted.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Runs until the guest ends, `most` instructions have retired since power-on (all processors together), or the host asks
    /// to stop. A machine that was stopped can be run again.
    pub fn run(&mut self, host: &mut dyn Host, most: Option<u64>) -> End {
        let end = self.run_until_end(host, most);
        self.settle();
        end
    }

    /// Brings every chip and local APIC to the present, so that a stopped machine looks the same however it came here.
    fn settle(&mut self) {
        self.board.advance(self.now, &mut self.vm);
        for vcpu in 0..self.vm.vcpu_count() {
            self.vm.set_time(vcpu, self.time());
            self.vm.is_runnable(vcpu);
        }
    }

    fn run_until_end(&mut self, host: &mut dyn Host, most: Option<u64>) -> End {
        let mut input = Vec::new();
        let mut looked_at_host = None;
        let mut idle_events = 0_u32;
        if self.config.clock == ClockMode::Host {
            self.host_start = Some((Instant::now(), self.now));
        }
        loop {
            self.follow_host_clock();
            let retired = self.vm.retired();
            let left = most.map_or(u64::MAX, |most| most.saturating_sub(retired));
            if left == 0 {
                return End::InstructionLimit;
            }
            if looked_at_host.is_none_or(|at| self.now.wrapping_sub(at) >= HOST_INTERVAL) {
                looked_at_host = Some(self.now);
                if host.stop_requested() {
                    return End::Stopped;
                }
                host.progress(retired, self.now);
                self.take_input(host, &mut input);
            }
            self.board.advance(self.now, &mut self.vm);
            let Some(vcpu) = self.next_runnable() else {
                match self.wait(host) {
                    Ok(()) => {
                        looked_at_host = None;
                        // A timer nobody listens to would let time pass for ever.
                        idle_events += 1;
                        if idle_events > MOST_IDLE_EVENTS
                            && self.config.clock == ClockMode::Icount
                            && !host.may_have_input()
                        {
                            return End::Stuck;
                        }
                        continue;
                    }
                    Err(end) => return end,
                }
            };
            idle_events = 0;
            if let Some(end) = self.run_slice(vcpu, left, host) {
                return end;
            }
        }
    }

    /// Runs a processor until its turn ends, a chip has something to do, or it exits.
    fn run_slice(&mut self, vcpu: usize, left: u64, host: &mut dyn Host) -> Option<End> {
        let mut budget = self.turn_left.min(left);
        if self.config.clock == ClockMode::Host {
            budget = budget.min(HOST_CLOCK_SLICE);
        } else if let Some(event) = self.board.next_event() {
            budget = budget.min(event.saturating_sub(self.now).max(1));
        }
        self.vm.set_time(vcpu, self.time());
        let before = self.vm.retired_by(vcpu);
        let exit = self.vm.run(vcpu, budget);
        let done = self.vm.retired_by(vcpu).wrapping_sub(before);
        self.turn_left = self.turn_left.saturating_sub(done);
        if self.config.clock == ClockMode::Icount {
            self.now = self.now.wrapping_add(done);
        } else {
            self.follow_host_clock();
        }
        if self.turn_left == 0 || matches!(exit, RunExit::Idle | RunExit::Pause) {
            self.turn = (vcpu + 1) % self.vm.vcpu_count();
            self.turn_left = QUANTUM;
        }
        let started = Instant::now();
        let end = self.handle(vcpu, exit, host);
        self.statistics.count(self.now, vcpu, &exit, started.elapsed());
        end
    }

    fn handle(&mut self, vcpu: usize, exit: RunExit, host: &mut dyn Host) -> Option<End> {
        let now = self.now;
        match exit {
            RunExit::Budget | RunExit::Idle | RunExit::Pause => None,
            RunExit::IoRead { port, size } => {
                let value = self.board.read_port(port, size, now);
                self.vm.answer(vcpu, exit, u64::from(value));
                None
            }
            RunExit::IoWrite { port, size, value } => {
                self.board.write_port(port, size, value, now, self.vm.memory());
                if let Err(error) = self.pass_output(host) {
                    return Some(End::OutputFailed { kind: error.kind() });
                }
                self.board.take_request().map(|request| match request {
                    Request::PowerOff => End::PowerOff,
                    Request::Reset => End::Reset,
                    Request::Exit(status) => End::Exit { status },
                })
            }
            RunExit::MmioRead { address, size } => {
                let value = self.board.read_memory(address, size, now);
                self.vm.answer(vcpu, exit, value);
                None
            }
            RunExit::MmioWrite { address, size, value } => {
                self.board.write_memory(address, size, value, now);
                None
            }
            RunExit::IoapicEoi { vector } => {
                self.board.ioapic.end_of_interrupt(vector);
                None
            }
            RunExit::InterruptAcknowledge => {
                let vector = self.board.pic.acknowledge();
                match self.vm.interrupt(vcpu, vector) {
                    Ok(()) => None,
                    Err(_) => Some(End::TripleFault { vcpu }),
                }
            }
            RunExit::Shutdown => Some(End::TripleFault { vcpu }),
            RunExit::Unsupported { what } => Some(End::Unsupported { what }),
        }
    }

    /// The next processor with something to do, beginning with the one whose turn it is.
    fn next_runnable(&mut self) -> Option<usize> {
        let count = self.vm.vcpu_count();
        for step in 0..count {
            let vcpu = (self.turn + step) % count;
            self.vm.set_time(vcpu, self.time());
            if self.vm.is_runnable(vcpu) {
                if step != 0 {
                    self.turn = vcpu;
                    self.turn_left = QUANTUM;
                }
                return Some(vcpu);
            }
        }
        None
    }

    /// Every processor waits: time passes until the next event.
    fn wait(&mut self, host: &mut dyn Host) -> Result<(), End> {
        let count = self.vm.vcpu_count();
        if let Some(vcpu) = (0..count).find(|&vcpu| self.vm.activity(vcpu) == Activity::Shutdown) {
            return Err(End::TripleFault { vcpu });
        }
        if !(0..count).any(|vcpu| self.vm.can_be_woken(vcpu)) {
            return Err(End::Stuck);
        }
        let timers = (0..count).filter_map(|vcpu| self.vm.next_event(vcpu));
        match timers.chain(self.board.next_event()).min() {
            Some(event) => {
                let pause = Duration::from_nanos(event.saturating_sub(self.now));
                if self.config.clock == ClockMode::Host {
                    host.idle(pause);
                    self.follow_host_clock();
                } else {
                    if host.may_have_input() {
                        host.idle(pause);
                    }
                    self.now = self.now.max(event);
                }
                Ok(())
            }
            None if host.may_have_input() => {
                host.idle(WAIT_FOR_INPUT);
                Ok(())
            }
            None => Err(End::Stuck),
        }
    }

    fn time(&self) -> TimeSource {
        match self.host_start {
            Some((start, virtual_start)) => TimeSource::Host { start, virtual_start },
            None => TimeSource::Retired { now: self.now },
        }
    }

    fn follow_host_clock(&mut self) {
        if let Some((start, virtual_start)) = self.host_start {
            let passed = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.now = virtual_start.saturating_add(passed);
        }
    }

    fn take_input(&mut self, host: &mut dyn Host, input: &mut Vec<u8>) {
        let room = self.board.com1.room();
        if room > 0 {
            input.clear();
            host.input(room, input);
            if !input.is_empty() {
                self.board.com1.receive(input, self.now);
            }
        }
    }

    fn pass_output(&mut self, host: &mut dyn Host) -> std::io::Result<()> {
        let board = &mut self.board;
        let mut bytes = Vec::new();
        if board.com1.has_output() {
            board.com1.take_output(&mut bytes);
            host.output(Port::Com1, &bytes)?;
        }
        if board.com2.has_output() {
            bytes.clear();
            board.com2.take_output(&mut bytes);
            host.output(Port::Com2, &bytes)?;
        }
        if board.debug_console.has_output() {
            bytes.clear();
            board.debug_console.take_output(&mut bytes);
            host.output(Port::Debug, &bytes)?;
        }
        Ok(())
    }
}
