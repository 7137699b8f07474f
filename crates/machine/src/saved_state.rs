//! The whole machine as a container of saved state, and the digest over it.
//!
//! | section | instance | content |
//! |---|---|---|
//! | `machine` | 0 | configuration, time, turn |
//! | `vcpu` | processor | processor, local APIC, activity |
//! | one per chip | 0, or 1 for COM2 | the chip |
//! | `ram` | memory slot | its bytes, raw |

use std::io::{Read, Seek, Write};

use devices::{
    AcpiPmStateV1, DebugExitStateV1, FwCfgStateV1, I8042StateV1, IoApicStateV1, PciConfigStateV1, PicStateV1,
    PitStateV1, PostPortStateV1, ResetControlStateV1, RtcStateV1, UartStateV1,
};
use guest_memory::{GuestMemory, PAGE_SIZE, Slot};
use hypervisor::VcpuStateV1;
use saved_state::{
    Container, ContainerError, Restore, RestoreError, Save, SavedState, SectionError, WriteError, Writer,
};
use serde::{Deserialize, Serialize};

use crate::board::Board;
use crate::{ClockMode, Config, Machine, PowerOnError};

/// Kind of the sections with the bytes of RAM.
const RAM_KIND: &str = "ram";
const RAM_VERSION: u16 = 1;

/// What belongs to the machine as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineStateV1 {
    /// Bytes of RAM.
    pub memory: u64,
    /// Processors.
    pub cpus: u32,
    /// Time follows the host's clock.
    pub host_clock: bool,
    /// What the real-time clock showed at power-on.
    pub start_time: i64,
    /// Virtual time in nanoseconds.
    pub now: u64,
    /// Whose turn it is.
    pub turn: u64,
    /// What is left of the turn.
    pub turn_left: u64,
    /// Levels of the ISA interrupt lines as the interrupt controllers saw them last.
    pub lines: u16,
}

impl SavedState for MachineStateV1 {
    const KIND: &'static str = "machine";
    const VERSION: u16 = 1;
}

/// Why a snapshot could not be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be written.
    #[error("the snapshot could not be written")]
    Write(#[from] WriteError),
    /// The file is no container, or is damaged.
    #[error("this is not an intact snapshot")]
    Container(#[from] ContainerError),
    /// A section is missing or cannot be read.
    #[error("the snapshot lacks something this machine needs")]
    Section(#[from] SectionError),
    /// A component refuses its state.
    #[error("the snapshot describes a state that cannot be")]
    Restore(#[from] RestoreError),
    /// The machine it describes cannot be built.
    #[error("the machine of the snapshot cannot be built")]
    PowerOn(#[from] PowerOnError),
    /// RAM does not have the size the machine says.
    #[error("memory slot {slot} of the snapshot has {found} bytes instead of {expected}")]
    RamSize {
        /// Which slot.
        slot: u32,
        /// What it has.
        found: u64,
        /// What it must have.
        expected: u64,
    },
}

/// Reads a slot of guest memory from its start.
struct SlotReader<'a> {
    memory: &'a GuestMemory,
    address: u64,
    left: u64,
}

impl Read for SlotReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        self.memory
            .read_bytes(self.address, &mut buffer[..len])
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        self.address += len as u64;
        self.left -= len as u64;
        Ok(len)
    }
}

impl Machine {
    fn machine_state(&self) -> MachineStateV1 {
        let Config { memory, cpus, clock, start_time } = self.config;
        MachineStateV1 {
            memory,
            cpus,
            host_clock: clock == ClockMode::Host,
            start_time,
            now: self.now,
            turn: self.turn as u64,
            turn_left: self.turn_left,
            lines: self.board.lines,
        }
    }

    /// Everything but RAM, in a fixed order.
    fn put_states(&self, writer: &mut Writer<'_>) -> Result<(), WriteError> {
        writer.put(0, &self.machine_state())?;
        for index in 0..self.config.cpus {
            writer.put(index, &self.vm.save_vcpu(index as usize))?;
        }
        let Board {
            pic,
            ioapic,
            pit,
            rtc,
            com1,
            com2,
            i8042,
            pci,
            pm,
            reset,
            debug_exit,
            debug_console: _, // stateless: what it was told has been passed on
            post,
            fw_cfg,
            lines: _, // in the machine's own state
        } = &self.board;
        writer.put(0, &pic.save())?;
        writer.put(0, &ioapic.save())?;
        writer.put(0, &pit.save())?;
        writer.put(0, &rtc.save())?;
        writer.put(0, &com1.save())?;
        writer.put(1, &com2.save())?;
        writer.put(0, &i8042.save())?;
        writer.put(0, &pci.save())?;
        writer.put(0, &pm.save())?;
        writer.put(0, &reset.save())?;
        writer.put(0, &debug_exit.save())?;
        writer.put(0, &post.save())?;
        writer.put(0, &fw_cfg.save())
    }

    /// BLAKE3 over processors, devices and memory: equal for machines that no guest could ever tell apart.
    ///
    /// # Panics
    /// Never: every saved type can be encoded.
    #[must_use]
    pub fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let mut writer = Writer::new();
        let states = self.put_states(&mut writer).and_then(|()| writer.into_vec());
        hasher.update(&states.expect("every saved type can be encoded"));
        self.vm.memory().for_each_page(|address, page| {
            // Pages of zeros say nothing: most of memory is.
            if page.iter().any(|&byte| byte != 0) {
                hasher.update(&address.to_le_bytes());
                hasher.update(page);
            }
        });
        hasher.finalize()
    }

    /// Writes the whole machine; it can go on running afterwards.
    ///
    /// # Errors
    /// [`SnapshotError::Write`].
    pub fn snapshot(&self, out: impl Write + Seek) -> Result<u64, SnapshotError> {
        let mut writer = Writer::new();
        self.put_states(&mut writer)?;
        let memory = self.vm.memory();
        for (index, Slot { base, len }) in (0..).zip(memory.slots()) {
            writer.put_raw(
                RAM_KIND,
                RAM_VERSION,
                index,
                len,
                SlotReader { memory, address: base, left: len },
            )?;
        }
        Ok(writer.write_to(out)?)
    }

    /// A machine that goes on where the one in the snapshot was.
    ///
    /// # Errors
    /// [`SnapshotError`], naming the section and what is wrong with it.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let container = Container::parse(bytes)?;
        let state: MachineStateV1 = container.section(0)?;
        let MachineStateV1 { memory, cpus, host_clock, start_time, now, turn, turn_left, lines } = state;
        let clock = if host_clock { ClockMode::Host } else { ClockMode::Icount };
        let mut machine = Self::build(Config { memory, cpus, clock, start_time })?;
        let turn =
            usize::try_from(turn).ok().filter(|&turn| turn < machine.vm.vcpu_count()).ok_or_else(|| {
                RestoreError::invalid::<MachineStateV1>("turn", format!("there is no processor {turn}"))
            })?;
        machine.now = now;
        machine.turn = turn;
        machine.turn_left = turn_left;
        machine.board.lines = lines;
        for index in 0..cpus {
            let vcpu: VcpuStateV1 = container.section(index)?;
            machine.vm.restore_vcpu(index as usize, vcpu)?;
        }
        let board = &mut machine.board;
        board.pic.restore(container.section::<PicStateV1>(0)?)?;
        board.ioapic.restore(container.section::<IoApicStateV1>(0)?)?;
        board.pit.restore(container.section::<PitStateV1>(0)?)?;
        board.rtc.restore(container.section::<RtcStateV1>(0)?)?;
        board.com1.restore(container.section::<UartStateV1>(0)?)?;
        board.com2.restore(container.section::<UartStateV1>(1)?)?;
        board.i8042.restore(container.section::<I8042StateV1>(0)?)?;
        board.pci.restore(container.section::<PciConfigStateV1>(0)?)?;
        board.pm.restore(container.section::<AcpiPmStateV1>(0)?)?;
        board.reset.restore(container.section::<ResetControlStateV1>(0)?)?;
        board.debug_exit.restore(container.section::<DebugExitStateV1>(0)?)?;
        board.post.restore(container.section::<PostPortStateV1>(0)?)?;
        board.fw_cfg.restore(container.section::<FwCfgStateV1>(0)?)?;
        let slots: Vec<Slot> = machine.vm.memory().slots().collect();
        for (index, Slot { base, len }) in (0..).zip(slots) {
            let content = container.raw(RAM_KIND, RAM_VERSION, index)?;
            if content.len() as u64 != len {
                return Err(SnapshotError::RamSize {
                    slot: index,
                    found: content.len() as u64,
                    expected: len,
                });
            }
            for (page, bytes) in (0_u64..).zip(content.chunks(PAGE_SIZE as usize)) {
                // Memory of a new machine is zero already; pages of zeros stay untouched.
                if bytes.iter().any(|&byte| byte != 0) {
                    machine.vm.memory().write_bytes(base + page * PAGE_SIZE, bytes).map_err(|error| {
                        RestoreError::invalid::<MachineStateV1>("memory", error.to_string())
                    })?;
                }
            }
        }
        Ok(machine)
    }
}
