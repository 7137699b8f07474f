//! Why a guest cannot be started.

use guest_memory::OutsideRam;
use thiserror::Error;

use super::Protocol;

/// Why a guest cannot be started.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BootError {
    /// The kernel is compressed as a whole.
    #[error("the kernel is compressed with {with}; decompress it first")]
    Compressed {
        /// The program that did it.
        with: &'static str,
    },
    /// No protocol knows the kernel.
    #[error(
        "the kernel ({len} bytes) is neither a Linux bzImage, nor has it a multiboot header or the PVH note of an ELF file; for a flat binary give the address it goes to"
    )]
    Unrecognized {
        /// Length of the file.
        len: u64,
    },
    /// A file ends early.
    #[error("{what} is cut off: it needs {needed} bytes and has {actual}; copy it again")]
    Truncated {
        /// What ends early.
        what: &'static str,
        /// Bytes it needs.
        needed: u64,
        /// Bytes there are.
        actual: u64,
    },
    /// A file is empty.
    #[error("{what} is empty; leave it out or give another file")]
    Empty {
        /// What is empty.
        what: String,
    },
    /// A header says something that cannot be.
    #[error("the kernel's {header} is wrong: {reason}; the file is damaged or not meant for this protocol")]
    BadHeader {
        /// Which header.
        header: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A header asks for something that is not done here.
    #[error("the kernel asks for {what}, which this loader does not do; {instead}")]
    Unsupported {
        /// What it asks for.
        what: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// A file that the protocol has no place for.
    #[error("{what} cannot be given to a {protocol} guest; leave it out")]
    NotTaken {
        /// What was given.
        what: &'static str,
        /// The protocol that has no place for it.
        protocol: Protocol,
    },
    /// The command line is longer than the kernel takes.
    #[error("the command line has {len} bytes, this kernel takes {max}; shorten it")]
    CommandLineTooLong {
        /// Its length.
        len: u64,
        /// What the kernel takes.
        max: u64,
    },
    /// The command line has a NUL in it.
    #[error("the command line has a NUL in it, where the kernel would stop reading; remove it")]
    CommandLineNul,
    /// Something must go where there is no RAM for it.
    #[error(
        "{what} goes to {start:#x}..{end:#x}, which is not all free RAM; give the machine more memory (it has {ram} bytes) or link it elsewhere"
    )]
    OutsideRam {
        /// What goes there.
        what: String,
        /// First address.
        start: u64,
        /// First address behind it.
        end: u64,
        /// How much RAM there is.
        ram: u64,
    },
    /// Two things must go to the same place.
    #[error("{what} goes to {start:#x}..{end:#x}, where {other} is already; link it elsewhere")]
    Overlap {
        /// What goes there.
        what: String,
        /// First address.
        start: u64,
        /// First address behind it.
        end: u64,
        /// What is there.
        other: String,
    },
    /// There is no place left.
    #[error(
        "no {len} bytes of RAM are free below {limit:#x} for {what}; give the machine more memory (it has {ram} bytes)"
    )]
    NoRoom {
        /// What has no place.
        what: String,
        /// Bytes it needs.
        len: u64,
        /// It must end here at the latest.
        limit: u64,
        /// How much RAM there is.
        ram: u64,
    },
    /// A flat binary cannot be entered at its address.
    #[error(
        "a flat binary cannot start at {address:#x}: real mode reaches addresses below 0x100000; give a lower one"
    )]
    FlatAddress {
        /// Where it was to go.
        address: u64,
    },
    /// Memory that was planned with is not there.
    #[error("guest memory has no RAM at {:#x}, where {what} goes", outside.address)]
    NoRam {
        /// What goes there.
        what: String,
        /// The address.
        outside: OutsideRam,
    },
}
