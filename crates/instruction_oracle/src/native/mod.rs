//! The host's processor as an engine: the instruction is written to an executable page and entered with every user-mode register
//! loaded; what it leaves behind is stored by a stub behind it, or by the handler of the signal it raised.

mod page;
mod signals;
mod trampoline;

use std::io;
use std::sync::{Mutex, MutexGuard};

use anyhow::{Context, Result, bail, ensure};

use crate::case::{
    CODE, CODE_SIZE, Case, DATA, DATA_SIZE, DATA_WRITABLE, ENTRY, End, Engine, FpuState, LINE, MEMORY_SIZE,
    Mode, Outcome, Patch, STACK, STACK_SIZE, State, selectors,
};
use crate::memory::{base_image, changed_lines};
use page::{PAGE, StatePage};

/// The mappings lie at fixed addresses and the signal handlers are the process's: one engine at a time.
static ONLY_ONE: Mutex<()> = Mutex::new(());

/// INT3, which fills the code page: a branch that is taken ends there.
const INT3: u8 = 0xcc;

/// The host's processor.
#[derive(Debug)]
pub struct Native {
    base: Vec<u8>,
    /// Operand memory and stack once more, all of it writable: addresses of it are not those of the operands.
    alias: *mut u8,
    _only_one: MutexGuard<'static, ()>,
}

impl Native {
    /// Maps the memory and installs the signal handlers. Blocks while another engine exists in this process.
    pub fn new() -> Result<Self> {
        ensure!(
            kernel_enables_fsgsbase(),
            "this host does not let user mode write segment bases: Linux 5.9 or later and a processor with FSGSBASE do"
        );
        let guard = ONLY_ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // A second engine finds the mappings of the first one in place: they stay for the life of the process.
        static ALIAS: Mutex<Option<usize>> = Mutex::new(None);
        let mut mapped = ALIAS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let alias = match *mapped {
            Some(address) => std::ptr::with_exposed_provenance_mut(address),
            None => {
                let alias = map_everything()?;
                *mapped = Some(alias.expose_provenance());
                alias
            }
        };
        drop(mapped);
        signals::install()?;
        let base = base_image();
        // SAFETY: `alias` maps MEMORY_SIZE bytes, the size of `base`.
        unsafe { std::ptr::copy_nonoverlapping(base.as_ptr(), alias, MEMORY_SIZE) };
        // SAFETY: the page is mapped, and only this engine uses it.
        let page = unsafe { StatePage::get() };
        page.exit = trampoline::exit_address();
        page.far_entry = [ENTRY as u32, u32::from(selectors::CODE32)];
        Ok(Self { base, alias, _only_one: guard })
    }

    fn memory(&mut self) -> &mut [u8] {
        // SAFETY: `alias` maps MEMORY_SIZE bytes and nothing executes natively while the slice is borrowed from `self`.
        unsafe { std::slice::from_raw_parts_mut(self.alias, MEMORY_SIZE) }
    }

    fn restore_line(&mut self, offset: usize) {
        let start = offset / LINE * LINE;
        let (base, alias) = (self.base[start..start + LINE].as_ptr(), self.alias);
        // SAFETY: the range was checked on `base`, and the mapping has the same size.
        unsafe { std::ptr::copy_nonoverlapping(base, alias.add(start), LINE) };
    }
}

impl Engine for Native {
    fn run(&mut self, case: &Case) -> Outcome {
        for (offset, byte) in case.patches.iter().flat_map(Patch::within_memory) {
            self.memory()[offset] = byte;
        }
        let code = write_instruction(case.encoding.bytes(), case.mode);
        // SAFETY: the page is mapped, this engine is the only one, and the reference ends before the instruction runs.
        let page = unsafe { StatePage::get() };
        page.fx = case.state.fpu.to_image();
        page.gpr = case.state.gpr;
        page.rflags = case.state.rflags;
        page.fs_base = case.state.fs_base;
        page.gs_base = case.state.gs_base;
        (page.entry, page.data_selector) = match case.mode {
            Mode::Long => (ENTRY, 0),
            Mode::Compatibility => (FAR_JUMP, u64::from(selectors::DATA)),
        };
        page.signalled = 0;
        // SAFETY: the instruction is one of the generator's, which enters neither the kernel nor memory outside the
        // mappings made for it but by a fault; the trampoline keeps what the ABI wants kept, and the handlers bring
        // every fault back here.
        unsafe { trampoline::enter() };
        // SAFETY: as above; the instruction has ended.
        let page = unsafe { StatePage::get() };
        let fallen_through = ENTRY + case.encoding.bytes().len() as u64;
        let (end, rip) = if page.signalled == 0 {
            (End::Retired, fallen_through)
        } else if page.vector == 3 && page.rip != ENTRY + 1 {
            // A taken branch, ended by the INT3 at its target.
            (End::Retired, page.rip.wrapping_sub(1))
        } else if page.vector == 14 && page.rip != ENTRY && page.cr2 == page.rip {
            // A taken branch to where nothing is mapped: the fault is the next instruction's.
            (End::Retired, page.rip)
        } else {
            let vector = page.vector as u8;
            let has_error_code = matches!(vector, 8 | 10..=14 | 17);
            (
                End::Exception {
                    vector,
                    error_code: if has_error_code { page.error_code } else { 0 },
                    address: if vector == 14 { page.cr2 } else { 0 },
                },
                page.rip,
            )
        };
        let mut selectors = page.selectors;
        if page.signalled == 0 {
            // The stub has loaded it already.
            selectors[1] = case.mode.selectors()[1];
        }
        let state = State {
            gpr: page.gpr,
            rip,
            rflags: page.rflags,
            selectors,
            fs_base: page.fs_base,
            gs_base: page.gs_base,
            fpu: FpuState::from_image(&page.fx),
        };
        erase_instruction(code);
        // SAFETY: as in `memory`.
        let now = unsafe { std::slice::from_raw_parts(self.alias.cast_const(), MEMORY_SIZE) };
        let changed = changed_lines(&self.base, now);
        for line in &changed {
            self.restore_line(line.offset);
        }
        Outcome { end, state, changed }
    }
}

/// Where the code page has a far jump to the instruction, for compatibility mode.
const FAR_JUMP: u64 = CODE + CODE_SIZE - 16;
/// Where it has the exit stub of 64-bit mode, for the way back.
const WAY_BACK: u64 = CODE + CODE_SIZE - 32;

/// `jmp qword ptr [page.exit]`, with an absolute address.
fn exit_stub() -> [u8; 7] {
    let [a, b, c, d] = (page::offsets::EXIT as u32).to_le_bytes();
    [0xff, 0x24, 0x25, a, b, c, d]
}

/// What is behind an instruction in compatibility mode: a far jump to the exit stub of 64-bit mode.
fn exit_stub_32() -> [u8; 7] {
    let [a, b, c, d] = (WAY_BACK as u32).to_le_bytes();
    let [e, f] = selectors::CODE.to_le_bytes();
    [0xea, a, b, c, d, e, f]
}

/// `jmp fword ptr [page.far_entry]`, with an absolute address.
fn far_jump() -> [u8; 7] {
    let [a, b, c, d] = (page::offsets::FAR_ENTRY as u32).to_le_bytes();
    [0xff, 0x2c, 0x25, a, b, c, d]
}

/// Writes the instruction and the stub behind it; returns the length to erase later.
fn write_instruction(bytes: &[u8], mode: Mode) -> usize {
    let stub = match mode {
        Mode::Long => exit_stub(),
        Mode::Compatibility => exit_stub_32(),
    };
    let target = std::ptr::with_exposed_provenance_mut::<u8>(ENTRY as usize);
    // SAFETY: a case has at most 128 bytes, the stub 7, and the mapped page goes on for half a page behind ENTRY.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        std::ptr::copy_nonoverlapping(stub.as_ptr(), target.add(bytes.len()), stub.len());
    }
    bytes.len() + stub.len()
}

fn erase_instruction(len: usize) {
    let target = std::ptr::with_exposed_provenance_mut::<u8>(ENTRY as usize);
    // SAFETY: `len` is what `write_instruction` wrote.
    unsafe { std::ptr::write_bytes(target, INT3, len) };
}

/// Whether the kernel lets user mode execute WRFSBASE and its kin (AT_HWCAP2 bit 1).
fn kernel_enables_fsgsbase() -> bool {
    // SAFETY: reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_HWCAP2) & 2 != 0 }
}

fn map_everything() -> Result<*mut u8> {
    // SAFETY: creates an anonymous file and maps it; no existing memory is touched.
    let (fd, alias) = unsafe {
        let fd = libc::memfd_create(c"operands".as_ptr(), libc::MFD_CLOEXEC);
        ensure!(fd >= 0, "memfd_create: {}", io::Error::last_os_error());
        ensure!(libc::ftruncate(fd, MEMORY_SIZE as i64) == 0, "ftruncate: {}", io::Error::last_os_error());
        let alias = libc::mmap(
            std::ptr::null_mut(),
            MEMORY_SIZE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd,
            0,
        );
        ensure!(alias != libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        (fd, alias.cast::<u8>())
    };
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    map_fixed(DATA, DATA_WRITABLE, writable, Some((fd, 0)))?;
    map_fixed(DATA + DATA_WRITABLE, DATA_SIZE - DATA_WRITABLE, libc::PROT_READ, Some((fd, DATA_WRITABLE)))?;
    map_fixed(STACK, STACK_SIZE, writable, Some((fd, DATA_SIZE)))?;
    map_fixed(CODE, CODE_SIZE, writable | libc::PROT_EXEC, None)?;
    map_fixed(PAGE, page::SIZE, writable, None)?;
    // SAFETY: the descriptor was opened above, the mappings keep the memory; the code page was just mapped.
    unsafe {
        libc::close(fd);
        std::ptr::write_bytes(
            std::ptr::with_exposed_provenance_mut::<u8>(CODE as usize),
            INT3,
            CODE_SIZE as usize,
        );
        for (address, stub) in [(FAR_JUMP, far_jump()), (WAY_BACK, exit_stub())] {
            let target = std::ptr::with_exposed_provenance_mut::<u8>(address as usize);
            std::ptr::copy_nonoverlapping(stub.as_ptr(), target, stub.len());
        }
    }
    Ok(alias)
}

fn map_fixed(address: u64, size: u64, protection: i32, file: Option<(i32, u64)>) -> Result<()> {
    let (fd, offset, kind) = match file {
        Some((fd, offset)) => (fd, offset, libc::MAP_SHARED),
        None => (-1, 0, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS),
    };
    // SAFETY: MAP_FIXED_NOREPLACE fails rather than replace a mapping that is in use.
    let mapped = unsafe {
        libc::mmap(
            std::ptr::without_provenance_mut(address as usize),
            size as usize,
            protection,
            // Populated, or the first write to the read-only page would say "not present" in its error code.
            kind | libc::MAP_FIXED_NOREPLACE | libc::MAP_POPULATE,
            fd,
            offset as i64,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("map {size:#x} bytes at {address:#x}"));
    }
    if mapped.expose_provenance() as u64 != address {
        bail!("the kernel put the mapping for {address:#x} elsewhere");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Encoding;
    use crate::memory::patched;

    fn state() -> State {
        State {
            gpr: std::array::from_fn(|i| 0x1111_1111_1111_1111 * i as u64),
            rip: ENTRY,
            rflags: 0x202,
            selectors: Mode::Long.selectors(),
            fs_base: 0,
            gs_base: 0,
            fpu: FpuState { fcw: 0x37f, fsw: 0, ftw: 0, mxcsr: 0x1f80, st: [0; 8], xmm: [0; 16] },
        }
    }

    fn case(bytes: &[u8]) -> Case {
        Case {
            mode: Mode::Long,
            instruction: Case::decode(bytes, Mode::Long),
            encoding: Encoding::new(bytes).expect("short"),
            state: state(),
            sequence: None,
            prelude: None,
            patches: Vec::new(),
        }
    }

    fn run(case: &Case) -> Outcome {
        Native::new().expect("native engine").run(case)
    }

    #[test]
    fn nop_changes_nothing_but_rip() {
        let case = case(&[0x90]);
        let outcome = run(&case);
        assert_eq!(outcome.end, End::Retired);
        assert_eq!(outcome.state, State { rip: ENTRY + 1, ..case.state });
        assert!(outcome.changed.is_empty());
    }

    #[test]
    fn a_jump_ends_at_its_target() {
        let outcome = run(&case(&[0xeb, 0x10]));
        assert_eq!((outcome.end, outcome.state.rip), (End::Retired, ENTRY + 0x12));
    }

    #[test]
    fn a_store_is_seen_and_undone() {
        let mut case = case(&[0x48, 0x89, 0x08]); // mov [rax], rcx
        case.state.gpr[0] = DATA + 0x100;
        case.patches.push(Patch { address: DATA + 0x108, bytes: vec![0xaa] });
        let mut native = Native::new().expect("native engine");
        let mut expected = patched(&native.base, &case.patches);
        expected[0x100..0x108].copy_from_slice(&case.state.gpr[1].to_le_bytes());
        let outcome = native.run(&case);
        assert_eq!(outcome.changed, changed_lines(&native.base, &expected));
        let base = native.base.clone();
        assert_eq!(native.memory(), base);
    }

    #[test]
    fn exceptions_are_told_with_error_code_and_address() {
        let exception = |case: &Case| match run(case).end {
            End::Exception { vector, error_code, address } => (vector, error_code, address),
            other => panic!("{other:?}"),
        };
        assert_eq!(exception(&case(&[0x0f, 0x0b])), (6, 0, 0)); // ud2
        assert_eq!(exception(&case(&[0xf4])), (13, 0, 0)); // hlt
        assert_eq!(exception(&case(&[0xcc])), (3, 0, 0)); // int3
        assert_eq!(exception(&case(&[0xf7, 0xf0])), (0, 0, 0)); // div eax, by zero
        let mut store = case(&[0x89, 0x00]); // mov [rax], eax
        store.state.gpr[0] = DATA + DATA_SIZE;
        assert_eq!(exception(&store), (14, 6, DATA + DATA_SIZE));
        store.state.gpr[0] = DATA + DATA_WRITABLE;
        assert_eq!(exception(&store), (14, 7, DATA + DATA_WRITABLE));
        store.state.gpr[0] = 1 << 60;
        assert_eq!(exception(&store), (13, 0, 0));
    }

    #[test]
    fn registers_survive_an_exception() {
        let case = case(&[0x0f, 0x0b]);
        let mut outcome = run(&case);
        outcome.state.rflags &= !0x1_0000; // RF, which the saved image has set for a fault
        assert_eq!(outcome.state, case.state);
    }
}
