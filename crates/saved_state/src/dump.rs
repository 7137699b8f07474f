//! A container as text: what `testudo inspect` prints. It needs no types, and copies no section into memory first.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use crate::{Container, Encoding, SectionInfo, payload};

/// Displays a container: a line for each section, then its fields, indented by two for each level.
#[derive(Debug, Clone, Copy)]
pub struct Dump<'c> {
    container: &'c Container<'c>,
}

impl<'c> Dump<'c> {
    pub(crate) fn new(container: &'c Container<'_>) -> Self {
        Self { container }
    }

    fn section(&self, f: &mut fmt::Formatter<'_>, section: &SectionInfo) -> fmt::Result {
        write!(
            f,
            "{}/{} version {}: {} bytes at {:#x}, {}",
            section.kind(),
            section.instance(),
            section.version(),
            section.length(),
            section.offset(),
            section.encoding()
        )?;
        if section.encoding() == Encoding::Raw {
            return writeln!(f);
        }
        let mut decoder = payload::decoder(self.container.payload(section));
        match (Value { out: f, depth: 0, index: None }).deserialize(&mut decoder) {
            Ok(()) => writeln!(f),
            Err(e) => writeln!(f, "\n  (the rest does not decode: {e})"),
        }
    }
}

impl fmt::Display for Dump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.container.sections().try_for_each(|section| self.section(f, section))
    }
}

/// Prints one value after what names it: scalars on the same line, maps on the lines below.
struct Value<'o, 'f> {
    out: &'o mut fmt::Formatter<'f>,
    depth: usize,
    /// Its number, if it is an element of a list.
    index: Option<usize>,
}

impl Value<'_, '_> {
    fn new_line(&mut self) -> fmt::Result {
        write!(self.out, "\n{:1$}", "", self.depth * 2 + 2)
    }

    /// Scalars go on the same line, in a list separated by commas.
    fn scalar<E: Error>(self, value: fmt::Arguments<'_>) -> Result<(), E> {
        let separator = if self.index.is_some_and(|index| index > 0) { ", " } else { " " };
        write!(self.out, "{separator}{value}").map_err(output)
    }

    /// What takes lines of its own is preceded by its number, if it is in a list.
    fn begin_lines(&mut self) -> fmt::Result {
        if let Some(index) = self.index {
            self.new_line()?;
            write!(self.out, "{index}:")?;
            self.depth += 1;
        }
        Ok(())
    }
}

/// A failure of the text output, in the decoder's type. It cannot happen with a `String`.
fn output<E: Error>(_: fmt::Error) -> E {
    E::custom("the text cannot be written")
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, decoder: D) -> Result<(), D::Error> {
        decoder.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessagePack without extensions")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar(format_args!("none"))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(format_args!("{value}"))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match value {
            0..10 => self.scalar(format_args!("{value}")),
            _ => self.scalar(format_args!("{value} ({value:#x})")),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(format_args!("{value}"))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.scalar(format_args!("{value:?}"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.scalar(format_args!("{value:?}"))
    }

    fn visit_bytes<E: Error>(mut self, value: &[u8]) -> Result<(), E> {
        let mut print = || {
            self.begin_lines()?;
            write!(self.out, " {} bytes", value.len())?;
            for line in value.chunks(32) {
                self.new_line()?;
                line.iter().try_for_each(|byte| write!(self.out, "{byte:02x}"))?;
            }
            Ok(())
        };
        print().map_err(output)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        self.begin_lines().map_err(output)?;
        if seq.size_hint() == Some(0) {
            self.out.write_str(" empty").map_err(output)?;
        }
        let mut index = 0;
        while seq.next_element_seed(Value { out: self.out, depth: self.depth, index: Some(index) })?.is_some()
        {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.begin_lines().map_err(output)?;
        loop {
            let key = Key { map: &mut self };
            if map.next_key_seed(key)?.is_none() {
                return Ok(());
            }
            map.next_value_seed(Value { out: self.out, depth: self.depth + 1, index: None })?;
        }
    }
}

/// Prints the key of a map on a line of its own. Saved types have strings there; numbers come from maps by number.
struct Key<'v, 'o, 'f> {
    map: &'v mut Value<'o, 'f>,
}

impl Key<'_, '_, '_> {
    fn print<E: Error>(self, key: impl fmt::Display) -> Result<(), E> {
        self.map.new_line().and_then(|()| write!(self.map.out, "{key}:")).map_err(output)
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, decoder: D) -> Result<(), D::Error> {
        decoder.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a number as the key of a map")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        self.print(key.escape_debug())
    }

    fn visit_u64<E: Error>(self, key: u64) -> Result<(), E> {
        self.print(key)
    }

    fn visit_i64<E: Error>(self, key: i64) -> Result<(), E> {
        self.print(key)
    }
}
