#![doc = include_str!("../README.md")]

mod access;
mod block;
mod clock;
pub mod controls;
mod cpu;
mod cpuid;
mod decode;
mod event;
mod exec;
mod flags;
mod float;
mod fpu_registers;
mod memory;
mod msr;
mod op;
mod paging;
mod random;
mod registers;
mod run;
mod saved_state;
mod simd;
mod system;
mod tlb;

pub use block::BlockCache;
pub use clock::Clock;
pub use controls::Controls;
pub use cpu::Cpu;
pub use event::{Answer, Exit};
pub use fpu_registers::FpuRegisters;
pub use msr::{MsrRefused, savable_msrs};
pub use registers::{DebugRegisters, InvalidRegister, Registers, SpecialRegisters};
pub use saved_state::{AnswerStateV1, CpuStateV1, MsrsStateV1, SegmentStateV1, X87StateV1};
pub use tlb::{TlbEntryStateV1, TlbStateV1};
