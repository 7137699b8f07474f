//! Model-specific registers of `testudo-v1`: one table of what can be read and written, and what each refuses.
//!
//! A register that is not named here does not exist: RDMSR and WRMSR answer #GP(0), as for a value with a reserved bit
//! set (SDM 4 2.1). Registers of the local APIC belong to L0 (see [`owned_by_l0`]).

use x86_defs::control::{CR0_PG, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE};
use x86_defs::is_canonical;
use x86_defs::msr as number;
use x86_defs::segment::index::{FS, GS};

use crate::Cpu;

/// Variable-range MTRR pairs.
const MTRR_PAIRS: usize = 8;
/// Banks of machine-check registers.
const MACHINE_CHECK_BANKS: usize = 4;

/// IA32_MTRRCAP: eight variable ranges, fixed ranges, write-combining.
const MTRR_CAPABILITIES: u64 = MTRR_PAIRS as u64 | (1 << 8) | (1 << 10);
/// IA32_FEATURE_CONTROL: locked, with VMX off.
const FEATURE_CONTROL: u64 = 1;
/// MSR_PLATFORM_INFO: maximum non-turbo ratio 10, of a bus of 100 MHz: the 1 GHz of the TSC.
const PLATFORM_INFO: u64 = 10 << 8;
/// IA32_BIOS_SIGN_ID: microcode revision 1, in the upper half.
const MICROCODE_REVISION: u64 = 1 << 32;
/// IA32_MISC_ENABLE bits that tell what is absent: branch trace storage and precise event sampling.
const MISC_ENABLE_UNAVAILABLE: u64 = (1 << 11) | (1 << 12);
/// IA32_MISC_ENABLE: fast strings.
const MISC_ENABLE_FAST_STRINGS: u64 = 1 << 0;
/// IA32_SPEC_CTRL bits that exist: IBRS and STIBP. They are kept and mean nothing, for nothing here speculates.
const SPEC_CTRL_BITS: u64 = 0b11;

/// IA32_ARCH_CAPABILITIES (SDM 4 table 2-2): none of the known side channels exists in a processor that does not speculate.
/// IBRS_ALL (bit 1) lets a guest trust its indirect branches without detours.
const ARCH_CAPABILITIES: u64 = (1 << 0) // RDCL_NO
    | (1 << 1) // IBRS_ALL
    | (1 << 3) // SKIP_L1DFL_VMENTRY
    | (1 << 4) // SSB_NO
    | (1 << 5) // MDS_NO
    | (1 << 6) // IF_PSCHANGE_MC_NO
    | (1 << 8) // TAA_NO
    | (1 << 13) // SBDR_SSDP_NO
    | (1 << 14) // FBSDP_NO
    | (1 << 15) // PSDP_NO
    | (1 << 20) // BHI_NO
    | (1 << 24) // PBRSB_NO
    | (1 << 26) // GDS_NO
    | (1 << 27) // RFDS_NO
    | (1 << 62); // ITS_NO

/// Fixed-range MTRRs in the order of [`Msrs::mtrr_fixed`].
const MTRR_FIXED: [u32; 11] = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];

/// Bits of a physical address above a page offset.
const FRAME: u64 = ((1 << x86_defs::PHYSICAL_ADDRESS_BITS) - 1) & !0xfff;

/// The registers that are nothing but a value with rules; the rest (EFER, FS base, ...) live in [`Cpu`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Msrs {
    pub(crate) sysenter_cs: u64,
    pub(crate) sysenter_esp: u64,
    pub(crate) sysenter_eip: u64,
    pub(crate) star: u64,
    pub(crate) lstar: u64,
    pub(crate) cstar: u64,
    pub(crate) fmask: u64,
    pub(crate) kernel_gs_base: u64,
    pub(crate) tsc_aux: u64,
    /// What is added to the clock to give the TSC.
    pub(crate) tsc_offset: u64,
    pub(crate) tsc_adjust: u64,
    pub(crate) pat: u64,
    pub(crate) mtrr_def_type: u64,
    pub(crate) mtrr_fixed: [u64; 11],
    pub(crate) mtrr_base: [u64; MTRR_PAIRS],
    pub(crate) mtrr_mask: [u64; MTRR_PAIRS],
    pub(crate) misc_enable: u64,
    pub(crate) spec_ctrl: u64,
    pub(crate) xss: u64,
    pub(crate) mcg_status: u64,
    pub(crate) mc_ctl: [u64; MACHINE_CHECK_BANKS],
}

impl Msrs {
    /// Values after power-on (SDM 3A table 9-1).
    pub(crate) const fn new() -> Self {
        Self {
            sysenter_cs: 0,
            sysenter_esp: 0,
            sysenter_eip: 0,
            star: 0,
            lstar: 0,
            cstar: 0,
            fmask: 0,
            kernel_gs_base: 0,
            tsc_aux: 0,
            tsc_offset: 0,
            tsc_adjust: 0,
            pat: 0x0007_0406_0007_0406,
            mtrr_def_type: 0,
            mtrr_fixed: [0; 11],
            mtrr_base: [0; MTRR_PAIRS],
            mtrr_mask: [0; MTRR_PAIRS],
            misc_enable: MISC_ENABLE_UNAVAILABLE | MISC_ENABLE_FAST_STRINGS,
            spec_ctrl: 0,
            xss: 0,
            mcg_status: 0,
            mc_ctl: [0; MACHINE_CHECK_BANKS],
        }
    }
}

/// The register does not exist, or refuses the value: #GP(0) for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such model-specific register, or a value it does not take")]
pub struct MsrRefused;

/// Where an access comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// RDMSR or WRMSR with this many instructions of its block before it.
    Instruction { before: u64 },
    /// L0, putting state in place.
    Host,
}

/// Whether L0 and not the processor has this register: IA32_APIC_BASE, IA32_TSC_DEADLINE, the x2APIC.
#[must_use]
pub(crate) const fn owned_by_l0(index: u32) -> bool {
    matches!(index, number::APIC_BASE | number::TSC_DEADLINE | number::X2APIC_FIRST..=number::X2APIC_LAST)
}

/// The numbers of all registers that hold state of the processor, in an order in which they can be written back.
pub fn savable_msrs() -> impl Iterator<Item = u32> {
    let single = [
        number::EFER,
        number::TSC,
        number::TSC_ADJUST,
        number::TSC_AUX,
        number::SYSENTER_CS,
        number::SYSENTER_ESP,
        number::SYSENTER_EIP,
        number::STAR,
        number::LSTAR,
        number::CSTAR,
        number::SYSCALL_MASK,
        number::FS_BASE,
        number::GS_BASE,
        number::KERNEL_GS_BASE,
        number::SPEC_CTRL,
        number::MISC_ENABLE,
        number::PAT,
        number::XSS,
        number::DEBUGCTL,
        number::MCG_STATUS,
        number::MTRR_DEF_TYPE,
    ];
    let variable = (0..2 * MTRR_PAIRS as u32).map(|n| number::MTRR_PHYS_BASE0 + n);
    let banks = (0..MACHINE_CHECK_BANKS as u32).map(|bank| number::MC0_CTL + 4 * bank);
    single.into_iter().chain(MTRR_FIXED).chain(variable).chain(banks)
}

/// Memory types an MTRR can hold (SDM 3A table 11-8).
const fn is_mtrr_type(value: u64) -> bool {
    matches!(value, 0 | 1 | 4 | 5 | 6)
}

/// Memory types a PAT entry can hold (SDM 3A table 11-10).
const fn is_pat_type(value: u8) -> bool {
    matches!(value, 0 | 1 | 4..=7)
}

fn only(value: u64, bits: u64) -> Result<u64, MsrRefused> {
    if value & !bits == 0 { Ok(value) } else { Err(MsrRefused) }
}

fn canonical(value: u64) -> Result<u64, MsrRefused> {
    if is_canonical(value) { Ok(value) } else { Err(MsrRefused) }
}

impl Cpu {
    /// Reads a register for L0.
    ///
    /// # Errors
    /// [`MsrRefused`] if there is none of this number, or it is L0's own.
    pub fn read_msr(&self, index: u32) -> Result<u64, MsrRefused> {
        self.msr_value(index, 0)
    }

    /// Puts a value in a register for L0. Writing the TSC does not change TSC_ADJUST nor the other way round, and a register
    /// that is read-only to the guest takes the value it has.
    ///
    /// # Errors
    /// [`MsrRefused`] if there is none of this number, it is L0's own, or it refuses the value; nothing is changed then.
    pub fn write_msr(&mut self, index: u32, value: u64) -> Result<(), MsrRefused> {
        if self.msr_write(index, value, By::Host).is_err() && self.msr_value(index, 0) != Ok(value) {
            return Err(MsrRefused);
        }
        self.mode_changed();
        Ok(())
    }

    /// RDMSR of a register that is not L0's.
    pub(crate) fn rdmsr(&self, index: u32, before: u64) -> Result<u64, MsrRefused> {
        self.msr_value(index, before)
    }

    /// WRMSR of a register that is not L0's.
    pub(crate) fn wrmsr(&mut self, index: u32, value: u64, before: u64) -> Result<(), MsrRefused> {
        self.msr_write(index, value, By::Instruction { before })
    }

    fn msr_value(&self, index: u32, before: u64) -> Result<u64, MsrRefused> {
        let msrs = &self.msrs;
        Ok(match index {
            number::TSC => self.tsc(before),
            number::PLATFORM_ID => 0,
            number::FEATURE_CONTROL => FEATURE_CONTROL,
            number::TSC_ADJUST => msrs.tsc_adjust,
            number::SPEC_CTRL => msrs.spec_ctrl,
            number::BIOS_SIGN_ID => MICROCODE_REVISION,
            number::PLATFORM_INFO => PLATFORM_INFO,
            number::MTRR_CAP => MTRR_CAPABILITIES,
            number::ARCH_CAPABILITIES => ARCH_CAPABILITIES,
            number::SYSENTER_CS => msrs.sysenter_cs,
            number::SYSENTER_ESP => msrs.sysenter_esp,
            number::SYSENTER_EIP => msrs.sysenter_eip,
            number::MCG_CAP => MACHINE_CHECK_BANKS as u64,
            number::MCG_STATUS => msrs.mcg_status,
            number::MISC_ENABLE => msrs.misc_enable,
            // Neither branch records nor single-stepping on branches are offered.
            number::DEBUGCTL => 0,
            number::PAT => msrs.pat,
            number::MTRR_DEF_TYPE => msrs.mtrr_def_type,
            number::XSS => msrs.xss,
            number::EFER => self.efer,
            number::STAR => msrs.star,
            number::LSTAR => msrs.lstar,
            number::CSTAR => msrs.cstar,
            number::SYSCALL_MASK => msrs.fmask,
            number::FS_BASE => self.segs[FS].base,
            number::GS_BASE => self.segs[GS].base,
            number::KERNEL_GS_BASE => msrs.kernel_gs_base,
            number::TSC_AUX => msrs.tsc_aux,
            _ => match Numbered::of(index).ok_or(MsrRefused)? {
                Numbered::MtrrBase(n) => msrs.mtrr_base[n],
                Numbered::MtrrMask(n) => msrs.mtrr_mask[n],
                Numbered::MtrrFixed(n) => msrs.mtrr_fixed[n],
                Numbered::BankControl(n) => msrs.mc_ctl[n],
                // No error is ever logged.
                Numbered::BankLog => 0,
            },
        })
    }

    fn msr_write(&mut self, index: u32, value: u64, by: By) -> Result<(), MsrRefused> {
        match index {
            number::TSC => {
                let before = if let By::Instruction { before } = by { before } else { 0 };
                let delta = value.wrapping_sub(self.tsc(before));
                self.msrs.tsc_offset = self.msrs.tsc_offset.wrapping_add(delta);
                // SDM 3B 18.17.3: what is added to the TSC is added to TSC_ADJUST too, and the other way round.
                if by != By::Host {
                    self.msrs.tsc_adjust = self.msrs.tsc_adjust.wrapping_add(delta);
                }
            }
            number::TSC_ADJUST => {
                let delta = value.wrapping_sub(self.msrs.tsc_adjust);
                self.msrs.tsc_adjust = value;
                if by != By::Host {
                    self.msrs.tsc_offset = self.msrs.tsc_offset.wrapping_add(delta);
                }
            }
            number::SPEC_CTRL => self.msrs.spec_ctrl = only(value, SPEC_CTRL_BITS)?,
            // A command: barriers between predictions that are never made.
            number::PRED_CMD => {
                only(value, 1)?;
            }
            // Software clears it before CPUID puts the revision in; here the revision is always there (SDM 3A 9.11.7).
            number::BIOS_SIGN_ID => {}
            // SDM 4 table 2-2: the upper half is not kept.
            number::SYSENTER_CS => self.msrs.sysenter_cs = value & 0xffff_ffff,
            number::SYSENTER_ESP => self.msrs.sysenter_esp = canonical(value)?,
            number::SYSENTER_EIP => self.msrs.sysenter_eip = canonical(value)?,
            number::MCG_STATUS => self.msrs.mcg_status = only(value, 0b111)?,
            number::MISC_ENABLE => {
                only(value, MISC_ENABLE_UNAVAILABLE | MISC_ENABLE_FAST_STRINGS)?;
                self.msrs.misc_enable = (value & MISC_ENABLE_FAST_STRINGS) | MISC_ENABLE_UNAVAILABLE;
            }
            number::DEBUGCTL => {
                only(value, 0)?;
            }
            number::PAT => {
                if !value.to_le_bytes().into_iter().all(is_pat_type) {
                    return Err(MsrRefused);
                }
                self.msrs.pat = value;
            }
            number::MTRR_DEF_TYPE => {
                only(value, 0xcff)?;
                if !is_mtrr_type(value & 0xff) {
                    return Err(MsrRefused);
                }
                self.msrs.mtrr_def_type = value;
            }
            // No supervisor state component is offered.
            number::XSS => self.msrs.xss = only(value, 0)?,
            number::EFER => self.write_efer(value, by)?,
            number::STAR => self.msrs.star = value,
            number::LSTAR => self.msrs.lstar = canonical(value)?,
            number::CSTAR => self.msrs.cstar = canonical(value)?,
            number::SYSCALL_MASK => self.msrs.fmask = only(value, 0xffff_ffff)?,
            number::FS_BASE => self.segs[FS].base = canonical(value)?,
            number::GS_BASE => self.segs[GS].base = canonical(value)?,
            number::KERNEL_GS_BASE => self.msrs.kernel_gs_base = canonical(value)?,
            number::TSC_AUX => self.msrs.tsc_aux = only(value, 0xffff_ffff)?,
            _ => match Numbered::of(index).ok_or(MsrRefused)? {
                Numbered::MtrrBase(n) => {
                    only(value, FRAME | 0xff)?;
                    if !is_mtrr_type(value & 0xff) {
                        return Err(MsrRefused);
                    }
                    self.msrs.mtrr_base[n] = value;
                }
                Numbered::MtrrMask(n) => self.msrs.mtrr_mask[n] = only(value, FRAME | (1 << 11))?,
                Numbered::MtrrFixed(n) => {
                    if !value.to_le_bytes().into_iter().all(|kind| is_mtrr_type(kind.into())) {
                        return Err(MsrRefused);
                    }
                    self.msrs.mtrr_fixed[n] = value;
                }
                Numbered::BankControl(n) => self.msrs.mc_ctl[n] = value,
                // SDM 3B 16.3.2.2: only 0 may be written.
                Numbered::BankLog => {
                    only(value, 0)?;
                }
            },
        }
        Ok(())
    }

    /// IA32_EFER (SDM 3A 2.2.1): LMA is the processor's, LME cannot change while paging is on (SDM 3A 9.8.5).
    fn write_efer(&mut self, value: u64, by: By) -> Result<(), MsrRefused> {
        only(value, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)?;
        if by == By::Host {
            self.efer = value;
        } else {
            if (value ^ self.efer) & EFER_LME != 0 && self.cr0 & CR0_PG != 0 {
                return Err(MsrRefused);
            }
            self.efer = (value & !EFER_LMA) | (self.efer & EFER_LMA);
        }
        // NXE decides what the rights in the TLB mean.
        self.tlb.rights_changed();
        Ok(())
    }
}

/// Registers that come in rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbered {
    MtrrBase(usize),
    MtrrMask(usize),
    MtrrFixed(usize),
    BankControl(usize),
    /// MCi_STATUS and MCi_ADDR.
    BankLog,
}

impl Numbered {
    fn of(index: u32) -> Option<Self> {
        if let Some(n) = MTRR_FIXED.iter().position(|&fixed| fixed == index) {
            return Some(Self::MtrrFixed(n));
        }
        let pair = index.wrapping_sub(number::MTRR_PHYS_BASE0) as usize;
        if pair < 2 * MTRR_PAIRS {
            return Some(if pair.is_multiple_of(2) {
                Self::MtrrBase(pair / 2)
            } else {
                Self::MtrrMask(pair / 2)
            });
        }
        let bank = index.wrapping_sub(number::MC0_CTL) as usize;
        if bank < 4 * MACHINE_CHECK_BANKS {
            return match bank % 4 {
                0 => Some(Self::BankControl(bank / 4)),
                1 | 2 => Some(Self::BankLog),
                // MCi_MISC is there only where a bank's status could have MISCV.
                _ => None,
            };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = u64::MAX;

    #[test]
    fn each_register_takes_what_the_manual_allows() {
        // (number, a value it takes, a value it refuses)
        let table = [
            (number::SYSENTER_ESP, 0xffff_8000_0000_0000, Some(0x8000_0000_0000)),
            (number::SYSENTER_EIP, 0x7fff_ffff_ffff, Some(0x8000_0000_0000)),
            (number::SYSENTER_CS, 0x10, None),
            (number::STAR, ALL, None),
            (number::LSTAR, 0xffff_ffff_8100_0000, Some(0x1_0000_0000_0000)),
            (number::CSTAR, 0, Some(ALL >> 1)),
            (number::SYSCALL_MASK, 0x47700, Some(1 << 32)),
            (number::FS_BASE, 0x7fff_1234_5678, Some(1 << 47)),
            (number::GS_BASE, 0xffff_8880_0000_0000, Some(1 << 63)),
            (number::KERNEL_GS_BASE, 0, Some(1 << 62)),
            (number::TSC_AUX, 0xffff_ffff, Some(1 << 32)),
            (number::PAT, 0x0007_0406_0007_0401, Some(0x02)),
            (number::PAT, 0x0505_0505_0505_0505, Some(0x0800)),
            (number::MTRR_DEF_TYPE, 0xc06, Some(0x802)),
            (number::MTRR_DEF_TYPE, 0, Some(0x100)),
            (0x200, 0xc000_0006, Some(0xc000_0002)),
            (0x201, 0x3fff_c000_0800, Some(1 << 46)),
            (0x20f, 0x800, Some(1)),
            (0x250, 0x0606_0606_0606_0606, Some(0x0606_0606_0606_0602)),
            (0x26f, 0x0500_0000_0000_0000, Some(0x0200_0000_0000_0000)),
            (number::MISC_ENABLE, 0x1800, Some(1 << 22)),
            (number::SPEC_CTRL, 1, Some(1 << 2)),
            (number::XSS, 0, Some(1)),
            (number::DEBUGCTL, 0, Some(1)),
            (number::MC0_CTL + 4, ALL, None),
            (number::MC0_CTL + 5, 0, Some(1)),
            (number::MCG_STATUS, 7, Some(8)),
            (number::EFER, EFER_SCE | EFER_NXE, Some(1 << 1)),
        ];
        let mut cpu = Cpu::new(0, 1);
        for (index, good, bad) in table {
            assert_eq!(cpu.wrmsr(index, good, 0), Ok(()), "write of {good:#x} to {index:#x}");
            assert_eq!(cpu.rdmsr(index, 0), Ok(good), "read of {index:#x}");
            if let Some(bad) = bad {
                assert_eq!(cpu.wrmsr(index, bad, 0), Err(MsrRefused), "write of {bad:#x} to {index:#x}");
                assert_eq!(cpu.rdmsr(index, 0), Ok(good), "a refused write changed {index:#x}");
            }
        }
    }

    #[test]
    fn what_is_not_there_or_read_only_is_refused() {
        let mut cpu = Cpu::new(0, 1);
        for absent in [0x0, 0x2, 0xc1, 0x186, 0x210, 0x25a, 0x267, 0x270, 0x403, 0x410, 0x480, 0x4000_0000] {
            assert_eq!(cpu.rdmsr(absent, 0), Err(MsrRefused), "read of {absent:#x}");
            assert_eq!(cpu.wrmsr(absent, 0, 0), Err(MsrRefused), "write of {absent:#x}");
        }
        for constant in
            [number::ARCH_CAPABILITIES, number::MTRR_CAP, number::FEATURE_CONTROL, number::MCG_CAP]
        {
            let value = cpu.rdmsr(constant, 0);
            assert_eq!(cpu.wrmsr(constant, value.unwrap_or(0), 0), Err(MsrRefused), "{constant:#x}");
            assert_eq!(cpu.write_msr(constant, value.unwrap_or(0)), Ok(()), "L0 restoring {constant:#x}");
            assert_eq!(cpu.write_msr(constant, !value.unwrap_or(0)), Err(MsrRefused), "{constant:#x}");
        }
        assert_eq!(cpu.rdmsr(number::PRED_CMD, 0), Err(MsrRefused));
        assert_eq!(cpu.wrmsr(number::PRED_CMD, 1, 0), Ok(()));
    }

    #[test]
    fn tsc_and_tsc_adjust_move_together_for_the_guest_only() {
        let mut cpu = Cpu::new(0, 1);
        cpu.retired = 1000;
        assert_eq!(cpu.rdmsr(number::TSC, 5), Ok(1005));
        assert_eq!(cpu.wrmsr(number::TSC, 5000, 5), Ok(()));
        assert_eq!(cpu.rdmsr(number::TSC_ADJUST, 0), Ok(3995));
        assert_eq!(cpu.wrmsr(number::TSC_ADJUST, 0, 0), Ok(()));
        assert_eq!(cpu.rdmsr(number::TSC, 5), Ok(1005));
        assert_eq!(cpu.write_msr(number::TSC, 77), Ok(()));
        assert_eq!(cpu.rdmsr(number::TSC_ADJUST, 0), Ok(0));
        assert_eq!(cpu.write_msr(number::TSC_ADJUST, 9), Ok(()));
        assert_eq!(cpu.read_msr(number::TSC), Ok(77));
    }

    #[test]
    fn long_mode_cannot_be_switched_while_paging() {
        let mut cpu = Cpu::new(0, 1);
        assert_eq!(cpu.wrmsr(number::EFER, EFER_LME | EFER_LMA, 0), Ok(()));
        assert_eq!(cpu.efer, EFER_LME, "LMA is not software's");
        cpu.cr0 |= CR0_PG;
        cpu.efer |= EFER_LMA;
        assert_eq!(cpu.wrmsr(number::EFER, 0, 0), Err(MsrRefused));
        assert_eq!(cpu.wrmsr(number::EFER, EFER_LME | EFER_NXE, 0), Ok(()));
        assert_eq!(cpu.efer, EFER_LME | EFER_LMA | EFER_NXE);
    }

    #[test]
    fn every_savable_register_can_be_read_and_written_back() {
        let mut cpu = Cpu::new(0, 1);
        for index in savable_msrs() {
            let value = cpu.read_msr(index).unwrap_or_else(|_| panic!("{index:#x} cannot be read"));
            assert_eq!(cpu.write_msr(index, value), Ok(()), "{index:#x}");
        }
    }
}
