//! The machine the interpreter runs a case in: the host process's addresses as user pages, and above them a system of the least
//! that delivers an exception: descriptor tables, a task-state segment, handlers that stand still.

use guest_memory::{GuestMemory, Slot};

use crate::case::{CODE, DATA, DATA_SIZE, DATA_WRITABLE, MEMORY_SIZE, STACK};

const PAGE: u64 = 0x1000;

/// Guest-physical addresses.
pub(super) mod physical {
    use super::PAGE;

    /// Operand memory and stack, in the order of [`crate::case::memory_offset`].
    pub(in super::super) const MEMORY: u64 = 0x1_0000;
    /// The code page.
    pub(in super::super) const CODE: u64 = 0x1_4000;
    /// The system's pages.
    pub(super) const SYSTEM: u64 = 0x1_8000;
    /// The kernel stack.
    pub(in super::super) const KERNEL_STACK: u64 = SYSTEM + 3 * PAGE;
    pub(super) const PML4: u64 = PAGE;
    pub(super) const PDPT_USER: u64 = 2 * PAGE;
    pub(super) const PD_USER: u64 = 3 * PAGE;
    pub(super) const PT_USER: u64 = 4 * PAGE;
    pub(super) const PDPT_SYSTEM: u64 = 5 * PAGE;
    pub(super) const PD_SYSTEM: u64 = 6 * PAGE;
    pub(super) const PT_SYSTEM: u64 = 7 * PAGE;
    pub(super) const END: u64 = 0x2_0000;
}

/// Where the system lies: the first address of the upper half.
const SYSTEM: u64 = 0xffff_8000_0000_0000;
/// A handler for each vector, [`HANDLER_STRIDE`] bytes apart, each a jump to itself.
pub(super) const HANDLERS: u64 = SYSTEM;
/// Bytes from one handler to the next.
pub(super) const HANDLER_STRIDE: u64 = 16;
/// Vectors with a gate.
pub(super) const VECTORS: u64 = 32;
/// The global descriptor table.
pub(super) const GDT: u64 = SYSTEM + PAGE;
/// Linux's table has this limit.
pub(super) const GDT_LIMIT: u16 = 0x7f;
/// The task-state segment.
pub(super) const TSS: u64 = SYSTEM + PAGE + 0x800;
/// Its limit: there is no I/O permission bitmap behind it.
pub(super) const TSS_LIMIT: u16 = 0x67;
/// The interrupt descriptor table.
pub(super) const IDT: u64 = SYSTEM + 2 * PAGE;
/// Its limit.
pub(super) const IDT_LIMIT: u16 = (VECTORS * 16 - 1) as u16;
/// The kernel stack's first address.
pub(super) const KERNEL_STACK: u64 = SYSTEM + 3 * PAGE;
/// Its end: what RSP starts at when an exception is delivered.
pub(super) const KERNEL_STACK_END: u64 = KERNEL_STACK + PAGE;

/// Selector of the kernel's code segment.
const KERNEL_CODE: u64 = 0x10;
/// Selector of the task-state segment.
pub(super) const TASK: u16 = 0x40;

/// The page-table root.
pub(super) const CR3: u64 = physical::PML4;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const NO_EXECUTE: u64 = 1 << 63;

/// The descriptors Linux has, by index.
const DESCRIPTORS: [u64; 7] = [
    0,
    0x00cf_9b00_0000_ffff, // 0x08 kernel code, 32 bits
    0x00af_9b00_0000_ffff, // 0x10 kernel code
    0x00cf_9300_0000_ffff, // 0x18 kernel data
    0x00cf_fb00_0000_ffff, // 0x20 user code, 32 bits
    0x00cf_f300_0000_ffff, // 0x28 user data
    0x00af_fb00_0000_ffff, // 0x30 user code
];

/// RAM with all of it set up.
pub(super) fn memory() -> GuestMemory {
    let memory = match GuestMemory::new(&[Slot { base: 0, len: physical::END }]) {
        Ok(memory) => memory,
        Err(error) => panic!("128 KiB of guest memory: {error}"),
    };
    page_tables(&memory);
    descriptors(&memory);
    handlers(&memory);
    memory
}

/// Writes to RAM that is there.
pub(super) fn write(memory: &GuestMemory, address: u64, bytes: &[u8]) {
    if let Err(error) = memory.write_bytes(address, bytes) {
        panic!("write to guest memory: {error}");
    }
}

/// Reads RAM that is there.
pub(super) fn read(memory: &GuestMemory, address: u64, bytes: &mut [u8]) {
    if let Err(error) = memory.read_bytes(address, bytes) {
        panic!("read of guest memory: {error}");
    }
}

fn write_u64(memory: &GuestMemory, address: u64, value: u64) {
    write(memory, address, &value.to_le_bytes());
}

fn page_tables(memory: &GuestMemory) {
    use physical as at;
    let index = |address: u64, level: u32| (address >> (12 + 9 * level)) & 0x1ff;
    let table = PRESENT | WRITABLE | USER;
    write_u64(memory, at::PML4, at::PDPT_USER | table);
    write_u64(memory, at::PDPT_USER + 8 * index(DATA, 2), at::PD_USER | table);
    write_u64(memory, at::PD_USER + 8 * index(DATA, 1), at::PT_USER | table);
    write_u64(memory, at::PML4 + 8 * index(SYSTEM, 3), at::PDPT_SYSTEM | table);
    write_u64(memory, at::PDPT_SYSTEM, at::PD_SYSTEM | table);
    write_u64(memory, at::PD_SYSTEM, at::PT_SYSTEM | table);
    let user = |linear: u64, frame: u64, flags: u64| {
        write_u64(memory, at::PT_USER + 8 * index(linear, 0), frame | PRESENT | USER | flags);
    };
    for page in 0..DATA_SIZE / PAGE {
        let writable = if page < DATA_WRITABLE / PAGE { WRITABLE } else { 0 };
        user(DATA + page * PAGE, at::MEMORY + page * PAGE, writable | NO_EXECUTE);
    }
    user(STACK, at::MEMORY + DATA_SIZE, WRITABLE | NO_EXECUTE);
    user(CODE, at::CODE, WRITABLE);
    for page in 0..4 {
        write_u64(memory, at::PT_SYSTEM + 8 * page, (at::SYSTEM + page * PAGE) | PRESENT | WRITABLE);
    }
    assert!(at::MEMORY + MEMORY_SIZE as u64 <= at::CODE, "operand memory and code page overlap");
}

fn descriptors(memory: &GuestMemory) {
    let gdt = physical::SYSTEM + PAGE;
    for (index, descriptor) in (0..).zip(DESCRIPTORS) {
        write_u64(memory, gdt + 8 * index, descriptor);
    }
    let tss = gdt + 0x800;
    write_u64(memory, tss + 4, KERNEL_STACK_END); // RSP0
    write(memory, tss + 0x66, &(TSS_LIMIT + 1).to_le_bytes()); // I/O map base, beyond the limit
    // A busy 64-bit TSS of 16 bytes (SDM 3A 8.2.3).
    let low = u64::from(TSS_LIMIT) | (TSS & 0xff_ffff) << 16 | 0x8b << 40 | (TSS >> 24 & 0xff) << 56;
    write_u64(memory, gdt + u64::from(TASK), low);
    write_u64(memory, gdt + u64::from(TASK) + 8, TSS >> 32);
}

fn handlers(memory: &GuestMemory) {
    let idt = physical::SYSTEM + 2 * PAGE;
    for vector in 0..VECTORS {
        let handler = HANDLERS + vector * HANDLER_STRIDE;
        write(memory, physical::SYSTEM + vector * HANDLER_STRIDE, &[0xeb, 0xfe]);
        // A 64-bit interrupt gate (SDM 3A 6.14.1); user mode may INT3 and INTO.
        let level = if matches!(vector, 3 | 4) { 3 } else { 0 };
        let low =
            handler & 0xffff | KERNEL_CODE << 16 | (0x8e | level << 5) << 40 | (handler >> 16 & 0xffff) << 48;
        write_u64(memory, idt + 16 * vector, low);
        write_u64(memory, idt + 16 * vector + 8, handler >> 32);
    }
}
