//! Verifying a container and getting sections out of it.

use std::collections::BTreeMap;
use std::slice;

use crate::format::{ENTRY_LEN, Encoding, Entry, FORMAT_VERSION, HEADER_LEN, Header, MAGIC, table_checksum};
use crate::{ContainerError, Dump, SavedState, SectionError, payload};

/// A verified container: magic, version, table, layout, padding and every checksum are right.
#[derive(Debug)]
pub struct Container<'a> {
    bytes: &'a [u8],
    sections: Vec<SectionInfo>,
    by_name: BTreeMap<(String, u32), usize>,
}

/// One section, as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionInfo {
    entry: Entry,
}

impl SectionInfo {
    /// What it is the state of.
    pub fn kind(&self) -> &str {
        &self.entry.kind
    }

    /// Which of several of the same kind.
    pub fn instance(&self) -> u32 {
        self.entry.instance
    }

    /// Version of the kind.
    pub fn version(&self) -> u16 {
        self.entry.version
    }

    /// How its bytes are to be read.
    pub fn encoding(&self) -> Encoding {
        self.entry.encoding
    }

    /// Where it begins, from the start of the container.
    pub fn offset(&self) -> u64 {
        self.entry.offset
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.entry.length
    }
}

/// The sections of a container in their order.
#[derive(Debug, Clone)]
pub struct Sections<'c>(slice::Iter<'c, SectionInfo>);

impl<'c> Iterator for Sections<'c> {
    type Item = &'c SectionInfo;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<'a> Container<'a> {
    /// Verifies all of `bytes`. No section is decoded.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ContainerError> {
        let actual = bytes.len() as u64;
        let Some((header_bytes, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(ContainerError::TooShort { actual, needed: HEADER_LEN as u64 });
        };
        let header = Header::from_bytes(header_bytes);
        if header.magic != MAGIC {
            return Err(ContainerError::BadMagic { found: header.magic });
        }
        if header.format != FORMAT_VERSION {
            return Err(ContainerError::UnsupportedFormat {
                found: header.format,
                supported: FORMAT_VERSION,
            });
        }
        if header.total != actual {
            return Err(ContainerError::WrongLength { claimed: header.total, actual });
        }
        let table = usize::try_from(header.count)
            .ok()
            .and_then(|count| count.checked_mul(ENTRY_LEN))
            .and_then(|table_len| rest.get(..table_len))
            .ok_or(ContainerError::TableOutOfBounds { count: header.count, actual })?;
        if table_checksum(header_bytes, table) != header.checksum {
            return Err(ContainerError::TableChecksum);
        }
        if header.reserved != 0 {
            return Err(ContainerError::HeaderReserved);
        }

        let entries = table.as_chunks::<ENTRY_LEN>().0;
        let mut sections = Vec::with_capacity(entries.len());
        let mut by_name = BTreeMap::new();
        let mut position = HEADER_LEN + table.len();
        for (index, entry) in (0..).zip(entries) {
            let entry = Entry::from_bytes(entry).map_err(|what| ContainerError::BadEntry { index, what })?;
            position = Self::verify_section(bytes, position, &entry)?;
            if by_name.insert((entry.kind.clone(), entry.instance), sections.len()).is_some() {
                return Err(ContainerError::DuplicateSection { kind: entry.kind, instance: entry.instance });
            }
            sections.push(SectionInfo { entry });
        }
        if position != bytes.len() {
            return Err(ContainerError::WrongLength { claimed: position as u64, actual });
        }
        Ok(Self { bytes, sections, by_name })
    }

    /// Verifies the section that must follow what ends at `position`; returns where it ends.
    fn verify_section(bytes: &[u8], position: usize, entry: &Entry) -> Result<usize, ContainerError> {
        let misplaced = || ContainerError::SectionMisplaced {
            kind: entry.kind.clone(),
            instance: entry.instance,
            offset: entry.offset,
            length: entry.length,
        };
        let expected = (position as u64).checked_next_multiple_of(entry.encoding.alignment());
        if expected != Some(entry.offset) {
            return Err(misplaced());
        }
        let start = usize::try_from(entry.offset).map_err(|_| misplaced())?;
        let end = usize::try_from(entry.length).ok().and_then(|length| start.checked_add(length));
        let end = end.filter(|&end| end <= bytes.len()).ok_or_else(misplaced)?;
        if bytes[position..start].iter().any(|&b| b != 0) {
            return Err(ContainerError::PaddingNotZero { offset: position as u64 });
        }
        if *blake3::hash(&bytes[start..end]).as_bytes() != entry.checksum {
            return Err(ContainerError::SectionChecksum {
                kind: entry.kind.clone(),
                instance: entry.instance,
            });
        }
        Ok(end)
    }

    /// All sections, in the order they were written.
    pub fn sections(&self) -> Sections<'_> {
        Sections(self.sections.iter())
    }

    /// The bytes of a section of this container; they lie inside it, as verified.
    pub(crate) fn payload(&self, section: &SectionInfo) -> &'a [u8] {
        // `parse` has shown that both fit a usize and lie inside.
        &self.bytes[section.entry.offset as usize..][..section.entry.length as usize]
    }

    fn find(
        &self,
        kind: &'static str,
        instance: u32,
        expected: Encoding,
    ) -> Result<&SectionInfo, SectionError> {
        let index = self.by_name.get(&(kind.to_owned(), instance));
        let section = index.map(|&index| &self.sections[index]);
        let section = section.ok_or(SectionError::Missing { kind, instance })?;
        let found = section.encoding();
        if found != expected {
            return Err(SectionError::WrongEncoding { kind, instance, found, expected });
        }
        Ok(section)
    }

    /// The state of one component, in the one version `S`.
    pub fn section<S: SavedState>(&self, instance: u32) -> Result<S, SectionError> {
        self.upgradable::<S>(instance)?.get()
    }

    /// The state of one component as `S`, which older versions can be added to with [`Upgradable::or`].
    pub fn upgradable<S: SavedState>(&self, instance: u32) -> Result<Upgradable<'_, S>, SectionError> {
        let section = self.find(S::KIND, instance, Encoding::MessagePack)?;
        let mut state =
            Upgradable { payload: self.payload(section), instance, found: section.version(), state: None };
        state.try_version::<S>()?;
        Ok(state)
    }

    /// The bytes of a raw section. They start at a multiple of [`RAW_ALIGNMENT`](crate::RAW_ALIGNMENT) from the start of the
    /// container.
    pub fn raw(&self, kind: &'static str, version: u16, instance: u32) -> Result<&'a [u8], SectionError> {
        let section = self.find(kind, instance, Encoding::Raw)?;
        let found = section.version();
        if found != version {
            return Err(SectionError::UnsupportedVersion { kind, instance, found, supported: version });
        }
        Ok(self.payload(section))
    }

    /// The container as text, for people.
    pub fn dump(&self) -> Dump<'_> {
        Dump::new(self)
    }
}

/// A section being read as `S`, from whichever version of it was saved.
#[derive(Debug)]
pub struct Upgradable<'a, S> {
    payload: &'a [u8],
    instance: u32,
    found: u16,
    state: Option<S>,
}

impl<S: SavedState> Upgradable<'_, S> {
    /// If the section is an `Old`, decodes and upgrades it.
    pub fn or<Old: SavedState>(mut self) -> Result<Self, SectionError>
    where
        S: From<Old>,
    {
        assert_eq!(S::KIND, Old::KIND, "an older version is of the same kind");
        self.try_version::<Old>()?;
        Ok(self)
    }

    /// The state, or the error that none of the versions named is the one that was saved.
    pub fn get(self) -> Result<S, SectionError> {
        let Self { payload: _, instance, found, state } = self;
        state.ok_or(SectionError::UnsupportedVersion {
            kind: S::KIND,
            instance,
            found,
            supported: S::VERSION,
        })
    }

    fn try_version<V: SavedState>(&mut self) -> Result<(), SectionError>
    where
        S: From<V>,
    {
        if self.found != V::VERSION {
            return Ok(());
        }
        let (kind, instance, version) = (V::KIND, self.instance, V::VERSION);
        let state: V = payload::decode(self.payload).map_err(|source| SectionError::NotDecodable {
            kind,
            instance,
            version,
            source,
        })?;
        // The encoding is canonical, so anything the decoder overlooked shows here.
        if payload::encode(&state).ok().as_deref() != Some(self.payload) {
            return Err(SectionError::NotCanonical { kind, instance, version });
        }
        self.state = Some(state.into());
        Ok(())
    }
}
