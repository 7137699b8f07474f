//! The FADT (ACPI 6.5, 5.2.9): the fixed hardware, with the ports it is wired to.

use acpi_tables::fadt::{FADT, FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};

/// PM1a_EVT_BLK: 16 bits of status, then 16 bits of enables.
pub const PM1A_EVENT_PORT: u16 = 0x600;
/// PM1a_CNT_BLK: 16 bits of control; sleep type and enable among them.
pub const PM1A_CONTROL_PORT: u16 = 0x604;
/// PM_TMR_BLK: the 3.579545 MHz counter, 24 bits.
pub const PM_TIMER_PORT: u16 = 0x608;
/// The reset register.
pub const RESET_PORT: u16 = 0xcf9;
/// What is written to it to reset the machine.
pub const RESET_VALUE: u8 = 6;
/// The interrupt of ACPI events: level, active high, on this line of the I/O APIC.
pub const SCI_IRQ: u8 = 9;
/// SLP_TYP of S5, as \_S5 tells it. 0, so that a write of 0x2000 to PM1a control powers off, which bare-metal guests rely on.
pub const SLEEP_TYPE_S5: u8 = 0;

/// Where the RTC keeps the century.
const CMOS_CENTURY: u8 = 0x32;

// IAPC_BOOT_ARCH (table 5.11).
const LEGACY_DEVICES: u16 = 1 << 0;
const HAS_8042: u16 = 1 << 1;
const NO_VGA: u16 = 1 << 2;
const NO_PCIE_ASPM: u16 = 1 << 4;

/// Latencies above 100 and 1000 microseconds say that there is no C2 and no C3.
const NO_C2: u16 = 0xffff;
const NO_C3: u16 = 0xffff;

const fn io(port: u16) -> u32 {
    port as u32
}

fn register(port: u16, bits: u8, access: AccessSize) -> GAS {
    GAS::new(AddressSpace::SystemIo, bits, 0, access, u64::from(port))
}

/// The FADT. Addresses are told in the fields of 32 and of 64 bits alike.
pub(super) fn fadt(facs: u64, dsdt: u64, keyboard_controller: bool) -> FADT {
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        // No buttons, and no RTC wake status, in the fixed registers.
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::ResetRegSup);
    // The caller keeps them below 4 GiB.
    fadt.firmware_ctrl = (facs as u32).into();
    fadt.x_firmware_ctrl = facs.into();
    fadt.dsdt = (dsdt as u32).into();
    fadt.x_dsdt = dsdt.into();
    // No SMI command: the machine is in ACPI mode from the start, and stays.
    fadt.smi_cmd = 0.into();
    fadt.sci_int = u16::from(SCI_IRQ).into();
    fadt.pm1a_evt_blk = io(PM1A_EVENT_PORT).into();
    fadt.pm1a_cnt_blk = io(PM1A_CONTROL_PORT).into();
    fadt.pm_tmr_blk = io(PM_TIMER_PORT).into();
    fadt.pm1_evt_len = 4;
    fadt.pm1_cnt_len = 2;
    fadt.pm_tmr_len = 4;
    fadt.x_pm1a_evt_blk = register(PM1A_EVENT_PORT, 32, AccessSize::WordAccess);
    fadt.x_pm1a_cnt_blk = register(PM1A_CONTROL_PORT, 16, AccessSize::WordAccess);
    fadt.x_pm_tmr_blk = register(PM_TIMER_PORT, 32, AccessSize::DwordAccess);
    fadt.p_lvl2_lat = NO_C2.into();
    fadt.p_lvl3_lat = NO_C3.into();
    fadt.century = CMOS_CENTURY;
    let has_8042 = if keyboard_controller { HAS_8042 } else { 0 };
    fadt.iapc_boot_arch = (LEGACY_DEVICES | has_8042 | NO_VGA | NO_PCIE_ASPM).into();
    fadt.reset_reg = register(RESET_PORT, 8, AccessSize::ByteAccess);
    fadt.reset_value = RESET_VALUE;
    fadt.finalize()
}
