//! What can be wrong with a container, a section, a saved value.

use std::io;

use thiserror::Error;

/// Why bytes are not a container. Nothing was decoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// Shorter than a header.
    #[error(
        "{actual} bytes are too few for a saved state (its header alone has {needed}): the file is cut off; copy it again"
    )]
    TooShort {
        /// Bytes there are.
        actual: u64,
        /// Bytes there must be.
        needed: u64,
    },
    /// It does not begin with the magic.
    #[error("this is not a saved state of testudo: it begins with {found:02x?}; check the file name")]
    BadMagic {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// Another version of the container format.
    #[error(
        "saved state has container format {found}, this program reads {supported}: use the program that wrote it, or a newer one"
    )]
    UnsupportedFormat {
        /// The version in the header.
        found: u32,
        /// The version this crate reads.
        supported: u32,
    },
    /// The length in the header is not that of the file.
    #[error(
        "saved state says it has {claimed} bytes, but {actual} are here: it was cut off or added to; copy it again"
    )]
    WrongLength {
        /// Length in the header.
        claimed: u64,
        /// Bytes there are.
        actual: u64,
    },
    /// The table does not fit.
    #[error(
        "saved state says it has {count} sections, but its {actual} bytes do not hold the table: it is damaged; copy it again"
    )]
    TableOutOfBounds {
        /// Number of sections in the header.
        count: u32,
        /// Bytes there are.
        actual: u64,
    },
    /// Header or table are not what was written.
    #[error("the checksum of the saved state's header and table is wrong: it is damaged; copy it again")]
    TableChecksum,
    /// A reserved field of the header is not zero.
    #[error("reserved bytes of the saved state's header are not zero: it was not written by testudo")]
    HeaderReserved,
    /// An entry of the table makes no sense by itself.
    #[error(
        "entry {index} of the saved state's section table is invalid ({what}): it was not written by testudo"
    )]
    BadEntry {
        /// Number of the entry.
        index: u32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Two sections have the same name.
    #[error("section {kind}/{instance} is there twice: the saved state was not written by testudo")]
    DuplicateSection {
        /// Kind of the section.
        kind: String,
        /// Instance of the section.
        instance: u32,
    },
    /// A section is not where the layout puts it, or reaches past the end.
    #[error(
        "section {kind}/{instance} is said to be {length} bytes at offset {offset}, where it cannot be: the saved state is damaged; copy it again"
    )]
    SectionMisplaced {
        /// Kind of the section.
        kind: String,
        /// Instance of the section.
        instance: u32,
        /// Offset in the table.
        offset: u64,
        /// Length in the table.
        length: u64,
    },
    /// Bytes between sections are not zero.
    #[error("the padding at offset {offset} is not zero: the saved state is damaged; copy it again")]
    PaddingNotZero {
        /// Where the padding begins.
        offset: u64,
    },
    /// A section is not what was written.
    #[error("the checksum of section {kind}/{instance} is wrong: the saved state is damaged; copy it again")]
    SectionChecksum {
        /// Kind of the section.
        kind: String,
        /// Instance of the section.
        instance: u32,
    },
}

/// Why a section of a verified container cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SectionError {
    /// It is not there.
    #[error(
        "the saved state has no section {kind}/{instance}: it is of a machine without that part; use the configuration it was saved with"
    )]
    Missing {
        /// Kind of the section.
        kind: &'static str,
        /// Instance of the section.
        instance: u32,
    },
    /// It has a version that was not asked for.
    #[error(
        "section {kind}/{instance} has version {found}, this program reads up to {supported}: use the program that wrote it, or a newer one"
    )]
    UnsupportedVersion {
        /// Kind of the section.
        kind: &'static str,
        /// Instance of the section.
        instance: u32,
        /// Version in the table.
        found: u16,
        /// Newest version asked for.
        supported: u16,
    },
    /// It is raw and should not be, or the other way round.
    #[error(
        "section {kind}/{instance} is {found}, not {expected}: the saved state was not written by testudo"
    )]
    WrongEncoding {
        /// Kind of the section.
        kind: &'static str,
        /// Instance of the section.
        instance: u32,
        /// Encoding in the table.
        found: crate::Encoding,
        /// Encoding asked for.
        expected: crate::Encoding,
    },
    /// Its bytes are not a value of the type.
    #[error(
        "section {kind}/{instance} version {version} does not decode: the program that wrote it has a fault"
    )]
    NotDecodable {
        /// Kind of the section.
        kind: &'static str,
        /// Instance of the section.
        instance: u32,
        /// Version in the table.
        version: u16,
        /// What the decoder said.
        source: rmp_serde::decode::Error,
    },
    /// It decodes, but to something that is written differently: fields too many, another order, trailing bytes.
    #[error(
        "section {kind}/{instance} version {version} holds more than, or not exactly, what that version holds: the program that wrote it has a fault"
    )]
    NotCanonical {
        /// Kind of the section.
        kind: &'static str,
        /// Instance of the section.
        instance: u32,
        /// Version in the table.
        version: u16,
    },
}

/// Why a container could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The kind breaks the rules of the format.
    #[error("{kind:?} cannot name a section: it must be 1 to 32 characters of a-z 0-9 _ . -")]
    BadKind {
        /// The kind.
        kind: String,
    },
    /// The same section was put twice.
    #[error("section {kind}/{instance} was put twice")]
    DuplicateSection {
        /// Kind of the section.
        kind: String,
        /// Instance of the section.
        instance: u32,
    },
    /// A state cannot be encoded.
    #[error("section {kind}/{instance} cannot be encoded")]
    NotEncodable {
        /// Kind of the section.
        kind: &'static str,
        /// Instance of the section.
        instance: u32,
        /// What the encoder said.
        source: rmp_serde::encode::Error,
    },
    /// A raw section's source ended early.
    #[error("section {kind}/{instance} was announced with {announced} bytes but its source gave {given}")]
    ShortSource {
        /// Kind of the section.
        kind: String,
        /// Instance of the section.
        instance: u32,
        /// Length announced.
        announced: u64,
        /// Length given.
        given: u64,
    },
    /// More sections or bytes than the format counts.
    #[error("there are more sections, or more bytes, than a saved state can hold")]
    TooLarge,
    /// Reading a raw section's source, or writing the container, failed.
    #[error("writing the saved state failed")]
    Io(#[from] io::Error),
}

/// Why a component refused a saved state that decoded well.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// A value the component can never have.
    #[error(
        "saved state of {kind}: field {field} {reason}; the state is damaged or from a machine of another configuration"
    )]
    InvalidValue {
        /// Kind of the section.
        kind: &'static str,
        /// Name of the field.
        field: &'static str,
        /// What is wrong, to be read after the name of the field.
        reason: String,
    },
    /// The section could not be had.
    #[error(transparent)]
    Section(#[from] SectionError),
}

impl RestoreError {
    /// A value in `field` of `S` that the component can never have; `reason` is read after the name of the field ("is 9, must be below 8").
    pub fn invalid<S: crate::SavedState>(field: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidValue { kind: S::KIND, field, reason: reason.into() }
    }
}
