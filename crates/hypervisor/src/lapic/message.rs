//! Interrupt messages: what an ICR, an MSI or an I/O APIC sends, who it is for, and what its arrival means.

use super::Lapic;
use super::registers::ICR_LOW_WRITABLE;

/// How an interrupt is to be delivered (SDM 3A 12.6.1 and 12.11.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryMode {
    /// To all destinations, by vector.
    Fixed,
    /// To the one destination with the lowest priority, by vector.
    LowestPriority,
    /// System-management interrupt.
    Smi,
    /// Non-maskable interrupt.
    Nmi,
    /// INIT.
    Init,
    /// Start-up IPI; the vector is the page to start at.
    StartUp,
    /// The vector comes from the 8259.
    ExtInt,
}

impl DeliveryMode {
    /// From the three bits that ICR, LVT, MSI data and redirection entries share.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        match bits & 7 {
            0 => Some(Self::Fixed),
            1 => Some(Self::LowestPriority),
            2 => Some(Self::Smi),
            4 => Some(Self::Nmi),
            5 => Some(Self::Init),
            6 => Some(Self::StartUp),
            7 => Some(Self::ExtInt),
            _ => None,
        }
    }
}

/// Edge or level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerMode {
    /// Edge-triggered.
    Edge,
    /// Level-triggered: its EOI is told to the I/O APICs.
    Level,
}

/// How a destination is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationMode {
    /// It is an APIC ID.
    Physical,
    /// It is compared with logical destination registers.
    Logical,
}

/// Destinations that need no destination field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shorthand {
    /// None: the destination field counts.
    None,
    /// The sender alone.
    Itself,
    /// Everybody.
    AllIncludingSelf,
    /// Everybody but the sender.
    AllExcludingSelf,
}

/// One interrupt message on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Whom it is for, if there is no shorthand. An 8-bit broadcast (0xff) has been widened to [`Message::BROADCAST`].
    pub destination: u32,
    /// How to read `destination`.
    pub destination_mode: DestinationMode,
    /// Instead of `destination`.
    pub shorthand: Shorthand,
    /// What to do at the destination.
    pub delivery_mode: DeliveryMode,
    /// Vector, or page of a start-up IPI.
    pub vector: u8,
    /// Edge or level.
    pub trigger: TriggerMode,
}

impl Message {
    /// The destination that means everybody.
    pub const BROADCAST: u32 = 0xffff_ffff;

    /// An 8-bit destination, as xAPIC-mode ICRs, MSIs and I/O APICs have it, as 32 bits.
    pub const fn widen(destination: u8) -> u32 {
        if destination == 0xff { Self::BROADCAST } else { destination as u32 }
    }

    /// What a write of `low` to the ICR sends, if it sends anything.
    ///
    /// Table 12-3 of SDM 3A: IPIs are edge-triggered, whatever the trigger-mode bit says; "INIT level de-assert" does nothing; with the shorthands that
    /// include the sender only Fixed is valid, and an invalid combination sends nothing. Lowest-priority IPIs are supported.
    pub(super) fn from_icr(low: u32, destination: u32) -> Option<Self> {
        let low = low & ICR_LOW_WRITABLE;
        let delivery_mode = DeliveryMode::from_bits(low >> 8)?;
        let shorthand = match low >> 18 & 3 {
            0 => Shorthand::None,
            1 => Shorthand::Itself,
            2 => Shorthand::AllIncludingSelf,
            _ => Shorthand::AllExcludingSelf,
        };
        let (level_asserted, level_triggered) = (low >> 14 & 1 != 0, low >> 15 & 1 != 0);
        let valid = match delivery_mode {
            DeliveryMode::Fixed => true,
            DeliveryMode::ExtInt => false,
            DeliveryMode::Init if level_triggered && !level_asserted => false,
            _ => matches!(shorthand, Shorthand::None | Shorthand::AllExcludingSelf),
        };
        valid.then_some(Self {
            destination,
            destination_mode: destination_mode(low >> 11),
            shorthand,
            delivery_mode,
            vector: low as u8,
            trigger: TriggerMode::Edge,
        })
    }

    /// What a 32-bit write of `data` to `address` in 0xfee0_0000..0xfef0_0000 means (SDM 3A 12.11). `None` for delivery modes that are reserved.
    pub fn from_msi(address: u64, data: u32) -> Option<Self> {
        let delivery_mode = match DeliveryMode::from_bits(data >> 8)? {
            DeliveryMode::StartUp => return None,
            // Bit 3, the redirection hint: one processor of those addressed logically, the one with the lowest priority.
            DeliveryMode::Fixed if address & 0xc == 0xc => DeliveryMode::LowestPriority,
            mode => mode,
        };
        let level = data >> 15 & 1 != 0;
        // A level-triggered message says with bit 14 whether the line was asserted or deasserted; nothing is to be done for the latter.
        if level && data >> 14 & 1 == 0 {
            return None;
        }
        Some(Self {
            destination: Self::widen((address >> 12) as u8),
            destination_mode: destination_mode((address >> 2) as u32),
            shorthand: Shorthand::None,
            delivery_mode,
            vector: data as u8,
            trigger: if level { TriggerMode::Level } else { TriggerMode::Edge },
        })
    }
}

const fn destination_mode(bit: u32) -> DestinationMode {
    if bit & 1 == 0 { DestinationMode::Physical } else { DestinationMode::Logical }
}

/// What the arrival of a message means for the processor of the APIC it arrived at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing.
    Dropped,
    /// A request is pending in the APIC: wake the processor if it halts.
    Requested,
    /// A system-management interrupt.
    Smi,
    /// A non-maskable interrupt.
    Nmi,
    /// INIT: reset the processor, and the APIC with [`Lapic::init`].
    Init,
    /// A start-up IPI: a processor that waits for it starts at `page << 12`.
    StartUp {
        /// Page to start at.
        page: u8,
    },
    /// The processor is to take a vector from the 8259.
    ExtInt,
}

/// Which of `lapics` a message goes to, as a mask of their positions. `sender` is the position of the one whose ICR sent it.
///
/// No more than 64 are looked at. Of the destinations of a lowest-priority message the one with the lowest processor priority takes it; among equals
/// the one with the lowest APIC ID, so that the choice is always the same (SDM 3A 12.6.2.4 leaves it to the model).
pub fn destinations<'a>(
    lapics: impl IntoIterator<Item = &'a Lapic>,
    sender: Option<usize>,
    message: &Message,
) -> u64 {
    let mut all = 0;
    let mut lowest: Option<((u8, u32), u64)> = None;
    for (position, lapic) in lapics.into_iter().take(64).enumerate() {
        let addressed = match message.shorthand {
            Shorthand::None => lapic.is_addressed(message.destination, message.destination_mode),
            Shorthand::Itself => sender == Some(position),
            Shorthand::AllIncludingSelf => lapic.hardware_enabled(),
            Shorthand::AllExcludingSelf => lapic.hardware_enabled() && sender != Some(position),
        };
        if !addressed {
            continue;
        }
        all |= 1 << position;
        // An APIC that is software-disabled accepts no such message and must not be the one chosen (SDM 3A 12.4.7.2).
        let rank = (lapic.processor_priority(), lapic.apic_id());
        if lapic.software_enabled() && lowest.is_none_or(|(best, _)| rank < best) {
            lowest = Some((rank, 1 << position));
        }
    }
    match message.delivery_mode {
        DeliveryMode::LowestPriority => lowest.map_or(0, |(_, mask)| mask),
        _ => all,
    }
}

impl Lapic {
    /// A message has arrived for this APIC. INIT, NMI, SMI and start-up pass through a software-disabled APIC (SDM 3A 12.4.7.2); nothing passes
    /// through one that is globally disabled.
    #[must_use = "the processor has to be told"]
    pub fn deliver(&mut self, message: &Message) -> Delivery {
        if !self.hardware_enabled() {
            return Delivery::Dropped;
        }
        match message.delivery_mode {
            DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
                if self.accept(message.vector, message.trigger) {
                    Delivery::Requested
                } else {
                    Delivery::Dropped
                }
            }
            DeliveryMode::Smi => Delivery::Smi,
            DeliveryMode::Nmi => Delivery::Nmi,
            DeliveryMode::Init => Delivery::Init,
            DeliveryMode::StartUp => Delivery::StartUp { page: message.vector },
            DeliveryMode::ExtInt if self.software_enabled() => Delivery::ExtInt,
            DeliveryMode::ExtInt => Delivery::Dropped,
        }
    }
}
