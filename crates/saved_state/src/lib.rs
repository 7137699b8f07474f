#![doc = include_str!("../README.md")]

mod container;
mod dump;
mod error;
mod format;
mod payload;
mod state;
#[cfg(test)]
mod tests;
mod writer;

pub use container::{Container, SectionInfo, Sections, Upgradable};
pub use dump::Dump;
pub use error::{ContainerError, RestoreError, SectionError, WriteError};
pub use format::{Encoding, FORMAT_VERSION, MAGIC, RAW_ALIGNMENT};
pub use state::{Restore, Save, SavedState};
pub use writer::Writer;
