//! Into the instruction and out of it: loads every register of the case, and stores what it left.

use std::arch::naked_asm;

use super::page::offsets;

/// Runs the instruction that lies at the entry address, with the registers of the state page.
///
/// # Safety
/// The state page and the code page are mapped and filled in, and the signal handlers installed.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn enter() {
    naked_asm!(
        // What the ABI wants kept.
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
        "mov qword ptr [{host_rsp}], rsp",
        "stmxcsr dword ptr [{host_mxcsr}]",
        "fnstcw word ptr [{host_fcw}]",
        "fxrstor64 [{fx}]",
        "rdfsbase rax",
        "mov qword ptr [{host_fs_base}], rax",
        "rdgsbase rax",
        "mov qword ptr [{host_gs_base}], rax",
        "mov rax, qword ptr [{data_selector}]",
        "mov ds, eax",
        "mov es, eax",
        "mov fs, eax",
        "mov gs, eax",
        "mov rax, qword ptr [{fs_base}]",
        "wrfsbase rax",
        "mov rax, qword ptr [{gs_base}]",
        "wrgsbase rax",
        "mov qword ptr [{in_guest}], 1",
        "push qword ptr [{rflags}]",
        "popfq",
        // MOV leaves the flags alone; RSP last, for POPFQ used it.
        "mov rax, qword ptr [{gpr} + 0x00]",
        "mov rcx, qword ptr [{gpr} + 0x08]",
        "mov rdx, qword ptr [{gpr} + 0x10]",
        "mov rbx, qword ptr [{gpr} + 0x18]",
        "mov rbp, qword ptr [{gpr} + 0x28]",
        "mov rsi, qword ptr [{gpr} + 0x30]",
        "mov rdi, qword ptr [{gpr} + 0x38]",
        "mov r8, qword ptr [{gpr} + 0x40]",
        "mov r9, qword ptr [{gpr} + 0x48]",
        "mov r10, qword ptr [{gpr} + 0x50]",
        "mov r11, qword ptr [{gpr} + 0x58]",
        "mov r12, qword ptr [{gpr} + 0x60]",
        "mov r13, qword ptr [{gpr} + 0x68]",
        "mov r14, qword ptr [{gpr} + 0x70]",
        "mov r15, qword ptr [{gpr} + 0x78]",
        "mov rsp, qword ptr [{gpr} + 0x20]",
        "jmp qword ptr [{entry}]",
        host_rsp = const offsets::HOST_RSP,
        host_mxcsr = const offsets::HOST_MXCSR,
        host_fcw = const offsets::HOST_FCW,
        host_fs_base = const offsets::HOST_FS_BASE,
        host_gs_base = const offsets::HOST_GS_BASE,
        fs_base = const offsets::FS_BASE,
        gs_base = const offsets::GS_BASE,
        in_guest = const offsets::IN_GUEST,
        fx = const offsets::FX,
        gpr = const offsets::GPR,
        rflags = const offsets::RFLAGS,
        entry = const offsets::ENTRY,
        data_selector = const offsets::DATA_SELECTOR,
    )
}

/// Where the stub behind the instruction jumps: stores its registers and goes on in [`leave`].
#[unsafe(naked)]
unsafe extern "C" fn exit() {
    naked_asm!(
        "mov qword ptr [{gpr} + 0x00], rax",
        "mov qword ptr [{gpr} + 0x08], rcx",
        "mov qword ptr [{gpr} + 0x10], rdx",
        "mov qword ptr [{gpr} + 0x18], rbx",
        "mov qword ptr [{gpr} + 0x20], rsp",
        "mov qword ptr [{gpr} + 0x28], rbp",
        "mov qword ptr [{gpr} + 0x30], rsi",
        "mov qword ptr [{gpr} + 0x38], rdi",
        "mov qword ptr [{gpr} + 0x40], r8",
        "mov qword ptr [{gpr} + 0x48], r9",
        "mov qword ptr [{gpr} + 0x50], r10",
        "mov qword ptr [{gpr} + 0x58], r11",
        "mov qword ptr [{gpr} + 0x60], r12",
        "mov qword ptr [{gpr} + 0x68], r13",
        "mov qword ptr [{gpr} + 0x70], r14",
        "mov qword ptr [{gpr} + 0x78], r15",
        "mov rsp, qword ptr [{host_rsp}]",
        "pushfq",
        "pop qword ptr [{rflags}]",
        // The ABI's flags: DF and AC clear.
        "push 0x202",
        "popfq",
        "fxsave64 [{fx}]",
        "rdfsbase rax",
        "mov qword ptr [{fs_base}], rax",
        "rdgsbase rax",
        "mov qword ptr [{gs_base}], rax",
        "mov word ptr [{selectors} + 0], es",
        "mov word ptr [{selectors} + 2], cs",
        "mov word ptr [{selectors} + 4], ss",
        "mov word ptr [{selectors} + 6], ds",
        "mov word ptr [{selectors} + 8], fs",
        "mov word ptr [{selectors} + 10], gs",
        "jmp {leave}",
        gpr = const offsets::GPR,
        selectors = const offsets::SELECTORS,
        host_rsp = const offsets::HOST_RSP,
        fs_base = const offsets::FS_BASE,
        gs_base = const offsets::GS_BASE,
        rflags = const offsets::RFLAGS,
        fx = const offsets::FX,
        leave = sym leave,
    )
}

/// Back to the caller of [`enter`]. A signal handler returns here with RSP set, FS restored and everything else stored.
#[unsafe(naked)]
unsafe extern "C" fn leave() {
    naked_asm!(
        "xor eax, eax",
        "mov ds, eax",
        "mov es, eax",
        // Loading a selector loses the base.
        "mov fs, eax",
        "mov gs, eax",
        "mov rax, qword ptr [{host_fs_base}]",
        "wrfsbase rax",
        "mov rax, qword ptr [{host_gs_base}]",
        "wrgsbase rax",
        "mov qword ptr [{in_guest}], 0",
        "fninit",
        "fldcw word ptr [{host_fcw}]",
        "ldmxcsr dword ptr [{host_mxcsr}]",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret",
        host_fs_base = const offsets::HOST_FS_BASE,
        host_gs_base = const offsets::HOST_GS_BASE,
        in_guest = const offsets::IN_GUEST,
        host_fcw = const offsets::HOST_FCW,
        host_mxcsr = const offsets::HOST_MXCSR,
    )
}

/// The handler of every signal: gives Rust back its FS base (thread-local storage) and its flags, if the instruction had them.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn signal_entry() {
    naked_asm!(
        // A handler starts with the interrupted AC flag, and Rust accesses memory unaligned.
        "push 0x202",
        "popfq",
        "cmp qword ptr [{in_guest}], 0",
        "je 2f",
        // CS and SS are in the signal's frame.
        "mov word ptr [{selectors} + 0], es",
        "mov word ptr [{selectors} + 6], ds",
        "mov word ptr [{selectors} + 8], fs",
        "mov word ptr [{selectors} + 10], gs",
        "rdfsbase rax",
        "mov qword ptr [{fs_base}], rax",
        "mov rax, qword ptr [{host_fs_base}]",
        "wrfsbase rax",
        "rdgsbase rax",
        "mov qword ptr [{gs_base}], rax",
        "2:",
        "jmp {handle}",
        in_guest = const offsets::IN_GUEST,
        host_fs_base = const offsets::HOST_FS_BASE,
        fs_base = const offsets::FS_BASE,
        gs_base = const offsets::GS_BASE,
        selectors = const offsets::SELECTORS,
        handle = sym super::signals::handle,
    )
}

/// The address of [`exit`].
pub(super) fn exit_address() -> u64 {
    (exit as *const ()).expose_provenance() as u64
}

/// The address of [`leave`].
pub(super) fn leave_address() -> u64 {
    (leave as *const ()).expose_provenance() as u64
}
