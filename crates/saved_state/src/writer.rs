//! Writing a container.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use crate::format::{ENTRY_LEN, Encoding, Entry, HEADER_LEN, Header, is_kind};
use crate::{SavedState, WriteError, payload};

/// Collects sections, then writes them as one container. The order of sections is the order of the calls.
#[derive(Default)]
pub struct Writer<'a> {
    sections: Vec<Pending<'a>>,
    seen: BTreeSet<(String, u32)>,
}

struct Pending<'a> {
    kind: String,
    instance: u32,
    version: u16,
    content: Content<'a>,
}

enum Content<'a> {
    Encoded(Vec<u8>),
    Raw { length: u64, source: Box<dyn Read + 'a> },
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("sections", &self.seen).finish_non_exhaustive()
    }
}

impl<'a> Writer<'a> {
    /// A writer with no sections.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the state of one component.
    pub fn put<S: SavedState>(&mut self, instance: u32, state: &S) -> Result<(), WriteError> {
        let encoded = payload::encode(state).map_err(|source| WriteError::NotEncodable {
            kind: S::KIND,
            instance,
            source,
        })?;
        self.push(S::KIND, S::VERSION, instance, Content::Encoded(encoded))
    }

    /// Adds `length` bytes that are read from `source` when the container is written, at an offset that is a multiple of
    /// [`RAW_ALIGNMENT`](crate::RAW_ALIGNMENT). Nothing of it is kept in memory.
    pub fn put_raw(
        &mut self,
        kind: &str,
        version: u16,
        instance: u32,
        length: u64,
        source: impl Read + 'a,
    ) -> Result<(), WriteError> {
        self.push(kind, version, instance, Content::Raw { length, source: Box::new(source) })
    }

    fn push(
        &mut self,
        kind: &str,
        version: u16,
        instance: u32,
        content: Content<'a>,
    ) -> Result<(), WriteError> {
        if !is_kind(kind) {
            return Err(WriteError::BadKind { kind: kind.to_owned() });
        }
        if !self.seen.insert((kind.to_owned(), instance)) {
            return Err(WriteError::DuplicateSection { kind: kind.to_owned(), instance });
        }
        self.sections.push(Pending { kind: kind.to_owned(), instance, version, content });
        Ok(())
    }

    /// Writes the container from the current position of `out`, which is its offset 0, and returns its length.
    ///
    /// Header and table are written last: what was interrupted has zeros for a magic and is not a container.
    pub fn write_to<W: Write + Seek>(self, mut out: W) -> Result<u64, WriteError> {
        let start = out.stream_position()?;
        let count = u32::try_from(self.sections.len()).map_err(|_| WriteError::TooLarge)?;
        let table_len = self.sections.len().checked_mul(ENTRY_LEN).ok_or(WriteError::TooLarge)?;
        let mut position = 0;
        pad(&mut out, &mut position, (HEADER_LEN + table_len) as u64)?;

        let mut table = Vec::with_capacity(table_len);
        for Pending { kind, instance, version, content } in self.sections {
            let encoding = match content {
                Content::Encoded(_) => Encoding::MessagePack,
                Content::Raw { .. } => Encoding::Raw,
            };
            let offset =
                position.checked_next_multiple_of(encoding.alignment()).ok_or(WriteError::TooLarge)?;
            pad(&mut out, &mut position, offset)?;
            let mut hasher = blake3::Hasher::new();
            let length = match content {
                Content::Encoded(bytes) => {
                    hasher.update(&bytes);
                    out.write_all(&bytes)?;
                    bytes.len() as u64
                }
                Content::Raw { length, mut source } => {
                    let given = copy(&mut source, length, &mut hasher, &mut out)?;
                    if given != length {
                        return Err(WriteError::ShortSource { kind, instance, announced: length, given });
                    }
                    length
                }
            };
            position = position.checked_add(length).ok_or(WriteError::TooLarge)?;
            let checksum = *hasher.finalize().as_bytes();
            let entry = Entry { kind, instance, version, encoding, offset, length, checksum };
            table.extend_from_slice(&entry.to_bytes());
        }

        out.seek(SeekFrom::Start(start))?;
        out.write_all(&Header::bytes_for(count, position, &table))?;
        out.write_all(&table)?;
        out.seek(SeekFrom::Start(start.checked_add(position).ok_or(WriteError::TooLarge)?))?;
        out.flush()?;
        Ok(position)
    }

    /// The container in memory.
    pub fn into_vec(self) -> Result<Vec<u8>, WriteError> {
        let mut out = Cursor::new(Vec::new());
        self.write_to(&mut out)?;
        Ok(out.into_inner())
    }
}

/// Zeros from `position` up to `to`.
fn pad(out: &mut impl Write, position: &mut u64, to: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(to - *position), out)?;
    *position = to;
    Ok(())
}

/// Copies up to `length` bytes and sums them up; returns how many there were.
fn copy(
    source: &mut dyn Read,
    length: u64,
    hasher: &mut blake3::Hasher,
    out: &mut impl Write,
) -> io::Result<u64> {
    let mut chunk = vec![0; 256 << 10];
    let mut done = 0;
    while done < length {
        let want = usize::try_from(length - done).map_or(chunk.len(), |left| left.min(chunk.len()));
        let got = match source.read(&mut chunk[..want]) {
            Ok(0) => break,
            Ok(got) => got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hasher.update(&chunk[..got]);
        out.write_all(&chunk[..got])?;
        done += got as u64;
    }
    Ok(done)
}
