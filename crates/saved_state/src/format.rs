//! The bytes of header and table. The README has the tables this file follows.

use std::fmt;

/// The first eight bytes of a container.
pub const MAGIC: [u8; 8] = *b"\x89TESTUDO";
/// The version of the container format this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;
/// Raw sections start at multiples of this, so that they can be mapped.
pub const RAW_ALIGNMENT: u64 = 4096;

pub(crate) const HEADER_LEN: usize = 64;
pub(crate) const ENTRY_LEN: usize = 96;
pub(crate) const KIND_LEN: usize = 32;
/// The part of the header that its checksum covers.
pub(crate) const HEADER_SUMMED: usize = 32;

/// How the bytes of a section are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are: guest RAM.
    Raw,
    /// A map of named fields.
    MessagePack,
}

impl Encoding {
    pub(crate) fn alignment(self) -> u64 {
        match self {
            Self::Raw => RAW_ALIGNMENT,
            Self::MessagePack => 8,
        }
    }

    fn number(self) -> u16 {
        match self {
            Self::Raw => 0,
            Self::MessagePack => 1,
        }
    }

    fn from_number(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Raw),
            1 => Some(Self::MessagePack),
            _ => None,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::MessagePack => "MessagePack",
        })
    }
}

/// Whether the format allows `kind` as the name of a section.
pub(crate) fn is_kind(kind: &str) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    !kind.is_empty() && kind.len() <= KIND_LEN && kind.bytes().all(allowed)
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: String,
    pub(crate) instance: u32,
    pub(crate) version: u16,
    pub(crate) encoding: Encoding,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) checksum: [u8; 32],
}

impl Entry {
    /// The entry as it stands in the table. `kind` obeys [`is_kind`].
    pub(crate) fn to_bytes(&self) -> [u8; ENTRY_LEN] {
        let Self { kind, instance, version, encoding, offset, length, checksum } = self;
        let mut out = [0; ENTRY_LEN];
        out[..kind.len()].copy_from_slice(kind.as_bytes());
        out[32..36].copy_from_slice(&instance.to_le_bytes());
        out[36..38].copy_from_slice(&version.to_le_bytes());
        out[38..40].copy_from_slice(&encoding.number().to_le_bytes());
        out[40..48].copy_from_slice(&offset.to_le_bytes());
        out[48..56].copy_from_slice(&length.to_le_bytes());
        out[64..96].copy_from_slice(checksum);
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8; ENTRY_LEN]) -> Result<Self, &'static str> {
        let used = bytes[..KIND_LEN].iter().position(|&b| b == 0).unwrap_or(KIND_LEN);
        if bytes[used..KIND_LEN].iter().any(|&b| b != 0) {
            return Err("its kind is not filled up with zeros");
        }
        let kind = str::from_utf8(&bytes[..used]).ok().filter(|kind| is_kind(kind));
        let Some(kind) = kind else { return Err("its kind has characters that are not allowed") };
        let Some(encoding) = Encoding::from_number(u16::from_le_bytes(array(bytes, 38))) else {
            return Err("its encoding is unknown");
        };
        if u64::from_le_bytes(array(bytes, 56)) != 0 {
            return Err("its reserved bytes are not zero");
        }
        Ok(Self {
            kind: kind.to_owned(),
            instance: u32::from_le_bytes(array(bytes, 32)),
            version: u16::from_le_bytes(array(bytes, 36)),
            encoding,
            offset: u64::from_le_bytes(array(bytes, 40)),
            length: u64::from_le_bytes(array(bytes, 48)),
            checksum: array(bytes, 64),
        })
    }
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) magic: [u8; 8],
    pub(crate) format: u32,
    pub(crate) count: u32,
    pub(crate) total: u64,
    pub(crate) reserved: u64,
    pub(crate) checksum: [u8; 32],
}

impl Header {
    /// The header of a container of this version over `table`.
    pub(crate) fn bytes_for(count: u32, total: u64, table: &[u8]) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&count.to_le_bytes());
        out[16..24].copy_from_slice(&total.to_le_bytes());
        let sum = table_checksum(&out, table);
        out[32..64].copy_from_slice(&sum);
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Self {
        Self {
            magic: array(bytes, 0),
            format: u32::from_le_bytes(array(bytes, 8)),
            count: u32::from_le_bytes(array(bytes, 12)),
            total: u64::from_le_bytes(array(bytes, 16)),
            reserved: u64::from_le_bytes(array(bytes, 24)),
            checksum: array(bytes, 32),
        }
    }
}

/// The checksum in the header: over its own first half and the table.
pub(crate) fn table_checksum(header: &[u8; HEADER_LEN], table: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&header[..HEADER_SUMMED]);
    hasher.update(table);
    *hasher.finalize().as_bytes()
}

/// `N` bytes at `at`, which lie inside `bytes` because all callers read fixed fields of fixed records.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}
