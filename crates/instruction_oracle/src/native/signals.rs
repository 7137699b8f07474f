//! Exceptions of the instruction arrive as signals: their registers are stored and the harness goes on.

use std::io;

use anyhow::{Result, ensure};
use libc::{c_int, c_void, siginfo_t, ucontext_t};

use super::page::StatePage;
use super::trampoline;

/// Every signal an exception in user mode can become.
const SIGNALS: [c_int; 5] = [libc::SIGFPE, libc::SIGSEGV, libc::SIGILL, libc::SIGBUS, libc::SIGTRAP];

/// Enough for the frame of a processor with AVX-512 and AMX state, and for the handler.
const STACK_SIZE: usize = 256 * 1024;

/// Installs the handlers for the process and a signal stack for this thread.
pub(super) fn install() -> Result<()> {
    thread_local! {
        static STACK: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let stack = STACK.with_borrow_mut(|stack| {
        stack.resize(STACK_SIZE, 0);
        libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK_SIZE }
    });
    // SAFETY: the stack lives as long as the thread that uses it.
    let result = unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
    ensure!(result == 0, "sigaltstack: {}", io::Error::last_os_error());
    for signal in SIGNALS {
        // SAFETY: a zeroed sigaction is a valid one; the handler has the form SA_SIGINFO wants.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = (trampoline::signal_entry as *const ()).expose_provenance();
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(signal, &action, std::ptr::null_mut())
        };
        ensure!(result == 0, "sigaction({signal}): {}", io::Error::last_os_error());
    }
    Ok(())
}

/// Where the kernel keeps each register, in the order of their numbers.
const REGISTERS: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// Stores the interrupted registers and makes the handler return to [`trampoline::leave_address`].
pub(super) extern "C" fn handle(signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the state page is mapped before the handlers are installed; the engine holds no reference to it while the
    // instruction runs.
    let page = unsafe { StatePage::get() };
    if page.in_guest == 0 {
        // A fault of the harness itself: let it have the effect it has without a handler.
        // SAFETY: resets a signal to its default.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    // SAFETY: the kernel passes a ucontext_t to a handler installed with SA_SIGINFO.
    let context = unsafe { &mut *context.cast::<ucontext_t>() };
    let registers = &mut context.uc_mcontext.gregs;
    let get = |register: c_int| registers[register as usize].cast_unsigned();
    page.gpr = REGISTERS.map(get);
    page.rip = get(libc::REG_RIP);
    page.rflags = get(libc::REG_EFL);
    page.vector = get(libc::REG_TRAPNO);
    page.error_code = get(libc::REG_ERR);
    page.cr2 = get(libc::REG_CR2);
    let selectors = get(libc::REG_CSGSFS);
    page.selectors[1] = selectors as u16;
    page.selectors[2] = (selectors >> 48) as u16;
    page.signalled = 1;
    // SAFETY: on x86-64 the pointer is to a frame that starts with an FXSAVE64 image of 512 bytes.
    page.fx = unsafe { *context.uc_mcontext.fpregs.cast::<[u8; 512]>() };
    registers[libc::REG_RIP as usize] = trampoline::leave_address().cast_signed();
    registers[libc::REG_RSP as usize] = page.host_rsp().cast_signed();
    // CS of 64-bit mode, SS as it always is.
    registers[libc::REG_CSGSFS as usize] = 0x33 | 0x2b << 48;
    // DF, AC and the like as the ABI has them.
    registers[libc::REG_EFL as usize] = 0x202;
}
