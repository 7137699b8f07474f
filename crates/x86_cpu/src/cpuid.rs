//! The processor model `testudo-v1`: what CPUID says (SDM 2A CPUID). It is the same on every host, so that a guest can move
//! between any two; only the APIC id, the number of processors and CR4.OSXSAVE show through.

use guest_memory::GuestMemory;
use x86_defs::PHYSICAL_ADDRESS_BITS;
use x86_defs::control::{CR4_OSXSAVE, XCR0_SSE, XCR0_X87};
use x86_defs::cpuid::{
    CpuidResult, extended, leaf_d1_eax, leaf1_ecx, leaf1_edx, leaf7_ebx, leaf7_ecx, leaf7_edx,
};
use x86_defs::gpr::{RAX, RBX, RCX, RDX};

use crate::Cpu;
use crate::op::{Flow, Op, next};

/// Family 6, model 0x6a, stepping 6 (leaf 1 EAX): a server part that guests have no workarounds for beyond those that
/// IA32_ARCH_CAPABILITIES turns off.
pub(crate) const SIGNATURE: u32 = 0x0006_06a6;
/// Ticks of the TSC in a second.
pub(crate) const TSC_HZ: u64 = 1_000_000_000;
/// Ticks of the crystal in a second: what the APIC timer counts.
pub(crate) const CRYSTAL_HZ: u64 = 25_000_000;

/// Highest basic leaf.
const MAX_BASIC: u32 = 0x1f;
/// Highest leaf of the hypervisor range.
const MAX_HYPERVISOR: u32 = 0x4000_0010;
/// Highest extended leaf.
const MAX_EXTENDED: u32 = 0x8000_0008;

const VENDOR: &[u8; 12] = b"GenuineIntel";
const HYPERVISOR: &[u8; 12] = b"TestudoTestu";
const BRAND: &[u8; 48] = b"Testudo v1 software processor\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

const LEAF1_EDX: u32 = {
    use leaf1_edx::*;
    FPU | VME
        | DE
        | PSE
        | TSC
        | MSR
        | PAE
        | MCE
        | CX8
        | APIC
        | SEP
        | MTRR
        | PGE
        | MCA
        | CMOV
        | PAT
        | PSE36
        | CLFSH
        | MMX
        | FXSR
        | SSE
        | SSE2
        | SS
};

const LEAF1_ECX: u32 = {
    use leaf1_ecx::*;
    SSE3 | PCLMULQDQ
        | SSSE3
        | CMPXCHG16B
        | PCID
        | SSE4_1
        | SSE4_2
        | X2APIC
        | MOVBE
        | POPCNT
        | TSC_DEADLINE
        | AES
        | XSAVE
        | RDRAND
        | HYPERVISOR
};

const LEAF7_EBX: u32 = {
    use leaf7_ebx::*;
    FSGSBASE
        | TSC_ADJUST
        | BMI1
        | SMEP
        | BMI2
        | ERMS
        | INVPCID
        | RDSEED
        | ADX
        | SMAP
        | CLFLUSHOPT
        | CLWB
        | SHA
};

const LEAF7_ECX: u32 = leaf7_ecx::UMIP | leaf7_ecx::RDPID;

/// IBRS and STIBP are offered so that guests can tell from IBRS_ALL that their indirect branches need no detours.
const LEAF7_EDX: u32 = leaf7_edx::FSRM | leaf7_edx::ARCH_CAPABILITIES | LEAF7_EDX_IBRS | LEAF7_EDX_STIBP;
const LEAF7_EDX_IBRS: u32 = 1 << 26;
const LEAF7_EDX_STIBP: u32 = 1 << 27;

/// Leaf 6 EAX: the APIC timer runs in every power state.
const LEAF6_EAX_ARAT: u32 = 1 << 2;
/// Leaf 0x8000_0007 EDX: the TSC runs at one rate in every power state.
const INVARIANT_TSC: u32 = 1 << 8;

/// Bytes of the XSAVE area: the legacy region and the header, for no component beyond SSE is offered.
pub(crate) const XSAVE_AREA: u32 = 512 + 64;

/// A cache as leaf 4 tells it.
struct Cache {
    kind: u32,
    level: u32,
    ways: u32,
    sets: u32,
    shared: bool,
}

const CACHES: [Cache; 4] = [
    Cache { kind: 1, level: 1, ways: 8, sets: 64, shared: false },
    Cache { kind: 2, level: 1, ways: 8, sets: 64, shared: false },
    Cache { kind: 3, level: 2, ways: 16, sets: 1024, shared: false },
    Cache { kind: 3, level: 3, ways: 16, sets: 16384, shared: true },
];

const fn word(text: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]])
}

impl Cpu {
    /// What CPUID returns for `leaf` (EAX) and `subleaf` (ECX).
    #[must_use]
    pub fn cpuid(&self, leaf: u32, subleaf: u32) -> CpuidResult {
        match leaf {
            0..=MAX_BASIC => self.basic(leaf, subleaf),
            0x4000_0000..=MAX_HYPERVISOR => hypervisor(leaf),
            0x8000_0000..=MAX_EXTENDED => extended_leaf(leaf),
            // A leaf beyond the highest answers as the highest basic one (SDM 2A CPUID, "INPUT EAX").
            _ => self.basic(MAX_BASIC, subleaf),
        }
    }

    fn basic(&self, leaf: u32, subleaf: u32) -> CpuidResult {
        match leaf {
            0x0 => CpuidResult {
                eax: MAX_BASIC,
                ebx: word(VENDOR, 0),
                edx: word(VENDOR, 4),
                ecx: word(VENDOR, 8),
            },
            0x1 => self.features(),
            // Caches: see leaf 4.
            0x2 => CpuidResult { eax: 0x0000_ff01, ..CpuidResult::default() },
            0x4 => self.cache(subleaf),
            0x6 => CpuidResult { eax: LEAF6_EAX_ARAT, ..CpuidResult::default() },
            0x7 if subleaf == 0 => CpuidResult { eax: 0, ebx: LEAF7_EBX, ecx: LEAF7_ECX, edx: LEAF7_EDX },
            0xb | 0x1f => self.topology(subleaf),
            0xd => match subleaf {
                0 => CpuidResult {
                    eax: (XCR0_X87 | XCR0_SSE) as u32,
                    ebx: XSAVE_AREA,
                    ecx: XSAVE_AREA,
                    edx: 0,
                },
                1 => CpuidResult {
                    eax: leaf_d1_eax::XSAVEOPT
                        | leaf_d1_eax::XSAVEC
                        | leaf_d1_eax::XGETBV1
                        | leaf_d1_eax::XSAVES,
                    ebx: XSAVE_AREA,
                    ecx: 0,
                    edx: 0,
                },
                _ => CpuidResult::default(),
            },
            0x15 => CpuidResult { eax: 1, ebx: (TSC_HZ / CRYSTAL_HZ) as u32, ecx: CRYSTAL_HZ as u32, edx: 0 },
            0x16 => CpuidResult { eax: 1000, ebx: 1000, ecx: 100, edx: 0 },
            _ => CpuidResult::default(),
        }
    }

    fn features(&self) -> CpuidResult {
        let mut edx = LEAF1_EDX;
        let mut ecx = LEAF1_ECX;
        if self.processors > 1 {
            edx |= leaf1_edx::HTT;
        }
        if self.cr4 & CR4_OSXSAVE != 0 {
            ecx |= leaf1_ecx::OSXSAVE;
        }
        // CLFLUSH line in units of 8 bytes, ids of logical processors, initial APIC id.
        let ids = 1_u32 << self.id_bits();
        let ebx = (8 << 8) | ((ids & 0xff) << 16) | (self.apic_id << 24);
        CpuidResult { eax: SIGNATURE, ebx, ecx, edx }
    }

    /// Bits of an APIC id that tell processors of the package apart. One package, cores of one thread each.
    fn id_bits(&self) -> u32 {
        self.processors.max(1).next_power_of_two().trailing_zeros()
    }

    fn cache(&self, subleaf: u32) -> CpuidResult {
        let Some(cache) = CACHES.get(subleaf as usize) else { return CpuidResult::default() };
        let core_ids = (1_u32 << self.id_bits()) - 1;
        let sharing = if cache.shared { core_ids } else { 0 };
        CpuidResult {
            eax: cache.kind
                | (cache.level << 5)
                | (1 << 8)
                | ((sharing & 0xfff) << 14)
                | ((core_ids & 0x3f) << 26),
            // 64-byte lines in one partition.
            ebx: 63 | ((cache.ways - 1) << 22),
            ecx: cache.sets - 1,
            edx: 0,
        }
    }

    fn topology(&self, subleaf: u32) -> CpuidResult {
        let (eax, ebx, kind) = match subleaf {
            0 => (0, 1, 1),
            1 => (self.id_bits(), self.processors.max(1), 2),
            _ => (0, 0, 0),
        };
        CpuidResult { eax, ebx, ecx: (subleaf & 0xff) | (kind << 8), edx: self.apic_id }
    }
}

fn hypervisor(leaf: u32) -> CpuidResult {
    match leaf {
        0x4000_0000 => CpuidResult {
            eax: MAX_HYPERVISOR,
            ebx: word(HYPERVISOR, 0),
            ecx: word(HYPERVISOR, 4),
            edx: word(HYPERVISOR, 8),
        },
        // Frequencies in kHz, the timing leaf that hypervisors have agreed on.
        MAX_HYPERVISOR => CpuidResult {
            eax: (TSC_HZ / 1000) as u32,
            ebx: (CRYSTAL_HZ / 1000) as u32,
            ..CpuidResult::default()
        },
        _ => CpuidResult::default(),
    }
}

fn extended_leaf(leaf: u32) -> CpuidResult {
    match leaf {
        0x8000_0000 => CpuidResult { eax: MAX_EXTENDED, ..CpuidResult::default() },
        0x8000_0001 => CpuidResult {
            ecx: extended::ECX_LAHF | extended::ECX_LZCNT,
            edx: extended::EDX_SYSCALL
                | extended::EDX_NX
                | extended::EDX_PAGE_1G
                | extended::EDX_RDTSCP
                | extended::EDX_LONG_MODE,
            ..CpuidResult::default()
        },
        0x8000_0002..=0x8000_0004 => {
            let at = (leaf - 0x8000_0002) as usize * 16;
            CpuidResult {
                eax: word(BRAND, at),
                ebx: word(BRAND, at + 4),
                ecx: word(BRAND, at + 8),
                edx: word(BRAND, at + 12),
            }
        }
        // L2: 1 MiB, 16 ways, lines of 64 bytes.
        0x8000_0006 => CpuidResult { ecx: (1024 << 16) | (8 << 12) | 64, ..CpuidResult::default() },
        0x8000_0007 => CpuidResult { edx: INVARIANT_TSC, ..CpuidResult::default() },
        0x8000_0008 => CpuidResult { eax: PHYSICAL_ADDRESS_BITS | (48 << 8), ..CpuidResult::default() },
        _ => CpuidResult::default(),
    }
}

/// CPUID.
pub(crate) fn cpuid(cpu: &mut Cpu, mem: &GuestMemory, ops: &[Op]) -> Flow {
    let result = cpu.cpuid(cpu.regs[RAX] as u32, cpu.regs[RCX] as u32);
    cpu.regs[RAX] = result.eax.into();
    cpu.regs[RBX] = result.ebx.into();
    cpu.regs[RCX] = result.ecx.into();
    cpu.regs[RDX] = result.edx.into();
    next!(cpu, mem, ops)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(parts: &[u32]) -> String {
        let bytes = parts.iter().flat_map(|part| part.to_le_bytes()).take_while(|&byte| byte != 0).collect();
        String::from_utf8(bytes).unwrap_or_default()
    }

    #[test]
    fn names_are_spelt_as_guests_read_them() {
        let cpu = Cpu::new(0, 1);
        let vendor = cpu.cpuid(0, 0);
        assert_eq!(text(&[vendor.ebx, vendor.edx, vendor.ecx]), "GenuineIntel");
        let host = cpu.cpuid(0x4000_0000, 0);
        assert_eq!(text(&[host.ebx, host.ecx, host.edx]), "TestudoTestu");
        let mut brand = Vec::new();
        for leaf in 0x8000_0002..=0x8000_0004 {
            let part = cpu.cpuid(leaf, 0);
            brand.extend([part.eax, part.ebx, part.ecx, part.edx]);
        }
        assert_eq!(text(&brand), "Testudo v1 software processor");
    }

    #[test]
    fn the_tsc_frequency_follows_from_each_leaf_that_tells_it() {
        let cpu = Cpu::new(0, 1);
        let leaf = cpu.cpuid(0x15, 0);
        assert_eq!(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax), TSC_HZ);
        assert_eq!(u64::from(cpu.cpuid(0x16, 0).eax) * 1_000_000, TSC_HZ);
        assert_eq!(u64::from(cpu.cpuid(0x4000_0010, 0).eax) * 1000, TSC_HZ);
        assert_eq!(u64::from(cpu.cpuid(0x4000_0010, 0).ebx) * 1000, CRYSTAL_HZ);
    }

    #[test]
    fn topology_follows_processors_and_apic_id() {
        for (processors, apic_id, shift) in [(1, 0, 0), (2, 1, 1), (3, 2, 2), (4, 3, 2), (16, 15, 4)] {
            let cpu = Cpu::new(apic_id, processors);
            assert_eq!(cpu.cpuid(1, 0).edx & leaf1_edx::HTT != 0, processors > 1);
            assert_eq!(cpu.cpuid(1, 0).ebx >> 24, apic_id);
            for leaf in [0xb, 0x1f] {
                let thread = cpu.cpuid(leaf, 0);
                assert_eq!((thread.eax, thread.ebx, thread.ecx, thread.edx), (0, 1, 0x100, apic_id));
                let core = cpu.cpuid(leaf, 1);
                assert_eq!((core.eax, core.ebx, core.ecx, core.edx), (shift, processors, 0x201, apic_id));
                let end = cpu.cpuid(leaf, 2);
                assert_eq!((end.eax, end.ebx, end.ecx, end.edx), (0, 0, 2, apic_id));
            }
        }
    }

    #[test]
    fn a_leaf_beyond_the_highest_answers_as_the_highest_basic_one() {
        let cpu = Cpu::new(3, 4);
        let highest = cpu.cpuid(MAX_BASIC, 1);
        for leaf in [0x20, 0x3fff_ffff, 0x4000_0011, 0x8000_0009, 0xffff_ffff] {
            assert_eq!(cpu.cpuid(leaf, 1), highest, "leaf {leaf:#x}");
        }
    }

    #[test]
    fn osxsave_follows_cr4() {
        let mut cpu = Cpu::new(0, 1);
        assert_eq!(cpu.cpuid(1, 0).ecx & leaf1_ecx::OSXSAVE, 0);
        cpu.cr4 |= CR4_OSXSAVE;
        assert_ne!(cpu.cpuid(1, 0).ecx & leaf1_ecx::OSXSAVE, 0);
    }

    #[test]
    fn nothing_is_offered_that_is_not_there() {
        let cpu = Cpu::new(0, 1);
        assert_eq!(cpu.cpuid(1, 0).ecx & (leaf1_ecx::VMX | leaf1_ecx::MONITOR), 0);
        // AVX and FMA.
        assert_eq!(cpu.cpuid(1, 0).ecx & ((1 << 28) | (1 << 12)), 0);
        // AVX2 and AVX-512F.
        assert_eq!(cpu.cpuid(7, 0).ebx & ((1 << 5) | (1 << 16)), 0);
        assert_eq!(cpu.cpuid(7, 1), CpuidResult::default());
        assert_eq!(cpu.cpuid(0xa, 0), CpuidResult::default(), "performance counters");
    }
}
