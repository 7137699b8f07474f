//! The container against truncation, damage, and payloads that are hostile but correctly sealed.

use serde::{Deserialize, Serialize};

use crate::format::{ENTRY_LEN, Entry, HEADER_LEN, Header};
use crate::{
    Container, ContainerError, Encoding, RAW_ALIGNMENT, SavedState, SectionError, WriteError, Writer,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Phase {
    Idle,
    Counting { left: u16 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct InnerV1 {
    levels: [u8; 5],
    wide: u128,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ChipStateV1 {
    on: bool,
    deadline: Option<u64>,
    offset: i64,
    fifo: Vec<u8>,
    words: Vec<u32>,
    name: String,
    phase: Phase,
    inner: InnerV1,
}

impl SavedState for ChipStateV1 {
    const KIND: &'static str = "test.chip";
    const VERSION: u16 = 1;
}

fn chip() -> ChipStateV1 {
    ChipStateV1 {
        on: true,
        deadline: Some(0x1234_5678_9abc_def0),
        offset: -77,
        fifo: (0..70).collect(),
        words: vec![1, 0x10000, u32::MAX],
        name: "a chip".to_owned(),
        phase: Phase::Counting { left: 99 },
        inner: InnerV1 { levels: [1, 2, 3, 4, 5], wide: 1 << 100 },
    }
}

fn sample() -> Vec<u8> {
    let ram = [0xa5; 300];
    let mut writer = Writer::new();
    writer.put(0, &chip()).unwrap();
    writer.put_raw("ram", 3, 0, 300, &ram[..]).unwrap();
    writer.put(1, &ChipStateV1 { phase: Phase::Idle, deadline: None, ..chip() }).unwrap();
    writer.into_vec().unwrap()
}

/// A container with one section of any bytes, correctly sealed.
fn sealed(version: u16, payload: &[u8]) -> Vec<u8> {
    let entry = Entry {
        kind: ChipStateV1::KIND.to_owned(),
        instance: 0,
        version,
        encoding: Encoding::MessagePack,
        offset: (HEADER_LEN + ENTRY_LEN) as u64,
        length: payload.len() as u64,
        checksum: *blake3::hash(payload).as_bytes(),
    };
    sealed_entries(&[entry], payload)
}

fn sealed_entries(entries: &[Entry], rest: &[u8]) -> Vec<u8> {
    let table: Vec<u8> = entries.iter().flat_map(Entry::to_bytes).collect();
    let total = HEADER_LEN + table.len() + rest.len();
    let count = entries.len().try_into().unwrap();
    let mut out = Header::bytes_for(count, total as u64, &table).to_vec();
    out.extend_from_slice(&table);
    out.extend_from_slice(rest);
    out
}

/// xorshift64: the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

#[test]
fn what_is_written_is_read() {
    let bytes = sample();
    let container = Container::parse(&bytes).unwrap();
    assert_eq!(container.section::<ChipStateV1>(0).unwrap(), chip());
    assert_eq!(container.section::<ChipStateV1>(1).unwrap().phase, Phase::Idle);
    assert_eq!(container.raw("ram", 3, 0).unwrap(), [0xa5; 300]);
    let ram = container.sections().find(|s| s.kind() == "ram").unwrap();
    assert_eq!(ram.offset() % RAW_ALIGNMENT, 0);
    assert_eq!((ram.length(), ram.version(), ram.encoding()), (300, 3, Encoding::Raw));
    assert_eq!(container.sections().map(|s| s.instance()).collect::<Vec<_>>(), [0, 0, 1]);
    assert_eq!(sample(), bytes, "the layout is canonical");
}

#[test]
fn an_empty_container_is_a_container() {
    let bytes = Writer::new().into_vec().unwrap();
    assert_eq!(bytes.len(), HEADER_LEN);
    assert_eq!(Container::parse(&bytes).unwrap().sections().count(), 0);
}

#[test]
fn a_container_can_start_inside_a_file() {
    let mut file = std::io::Cursor::new(vec![7; 100]);
    file.set_position(100);
    let mut writer = Writer::new();
    writer.put(0, &chip()).unwrap();
    let length = writer.write_to(&mut file).unwrap();
    assert_eq!(file.position(), 100 + length);
    let bytes = file.into_inner();
    assert_eq!(Container::parse(&bytes[100..]).unwrap().section::<ChipStateV1>(0).unwrap(), chip());
}

#[test]
fn every_truncation_and_every_addition_is_refused() {
    let bytes = sample();
    for len in 0..bytes.len() {
        assert!(Container::parse(&bytes[..len]).is_err(), "cut to {len} of {}", bytes.len());
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(Container::parse(&longer), Err(ContainerError::WrongLength { .. })));
}

#[test]
fn every_flipped_bit_is_refused() {
    let mut bytes = sample();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Container::parse(&bytes).is_err(), "bit {} of byte {}", bit % 8, bit / 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    Container::parse(&bytes).unwrap();
}

#[test]
fn random_damage_is_refused() {
    let good = sample();
    let mut numbers = Numbers(0x5eed);
    for round in 0..5_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + numbers.below(8) {
            let at = numbers.below(bytes.len());
            bytes[at] = numbers.next() as u8;
        }
        if numbers.below(4) == 0 {
            bytes.truncate(numbers.below(bytes.len()));
        }
        assert!(bytes == good || Container::parse(&bytes).is_err(), "round {round}");
    }
}

#[test]
fn sealed_but_hostile_payloads_are_errors_and_dump_as_text() {
    let good = crate::payload::encode(&chip()).unwrap();
    let mut numbers = Numbers(0xbad_5eed);
    for _ in 0..20_000 {
        let mut payload = good.clone();
        for _ in 0..1 + numbers.below(4) {
            let at = numbers.below(payload.len());
            match numbers.below(3) {
                0 => payload[at] = numbers.next() as u8,
                1 => drop(payload.remove(at)),
                _ => payload.insert(at, numbers.next() as u8),
            }
        }
        let bytes = sealed(1, &payload);
        let container = Container::parse(&bytes).unwrap();
        if let Ok(state) = container.section::<ChipStateV1>(0) {
            assert_eq!(crate::payload::encode(&state).unwrap(), payload);
        }
        assert!(container.dump().to_string().starts_with("test.chip/0 version 1"));
    }
}

#[test]
fn lengths_and_depths_in_payloads_are_not_believed() {
    let cases: &[(&str, Vec<u8>)] = &[
        ("array of 4 Gi", vec![0xdd, 0xff, 0xff, 0xff, 0xff]),
        ("map of 4 Gi", vec![0xdf, 0xff, 0xff, 0xff, 0xff]),
        ("binary of 4 Gi", vec![0xc6, 0xff, 0xff, 0xff, 0xff]),
        ("string of 4 Gi", vec![0xdb, 0xff, 0xff, 0xff, 0xff]),
        ("extension", vec![0xc7, 0xff, 0x01]),
        ("100000 arrays deep", vec![0x91; 100_000]),
        ("100000 maps deep", [0x81, 0xa1, b'a'].repeat(100_000)),
        ("reserved marker", vec![0xc1]),
        ("nothing", vec![]),
    ];
    for (what, payload) in cases {
        let bytes = sealed(1, payload);
        let container = Container::parse(&bytes).unwrap();
        let section = container.section::<ChipStateV1>(0);
        assert!(matches!(section, Err(SectionError::NotDecodable { .. })), "{what}: {section:?}");
        assert!(container.dump().to_string().contains("does not decode"), "{what}");
    }
}

#[test]
fn only_the_canonical_encoding_is_accepted() {
    let good = crate::payload::encode(&chip()).unwrap();
    let trailing = [&good[..], &[0xc0]].concat();
    let mut extra = good.clone();
    extra[0] += 1;
    extra.extend_from_slice(&[0xa3, b'n', b'e', b'w', 1]);
    for payload in [trailing, extra] {
        let bytes = sealed(1, &payload);
        let error = Container::parse(&bytes).unwrap().section::<ChipStateV1>(0).unwrap_err();
        assert!(matches!(error, SectionError::NotCanonical { .. }), "{error}");
    }
}

#[test]
fn sealed_tables_that_lie_are_refused() {
    let entry = |instance, offset, length, payload: &[u8]| Entry {
        kind: "a".to_owned(),
        instance,
        version: 1,
        encoding: Encoding::MessagePack,
        offset,
        length,
        checksum: *blake3::hash(payload).as_bytes(),
    };
    let first = (HEADER_LEN + 2 * ENTRY_LEN) as u64;
    let rest = [1; 16];
    let good = [entry(0, first, 8, &[1; 8]), entry(1, first + 8, 8, &[1; 8])];
    Container::parse(&sealed_entries(&good, &rest)).unwrap();
    let cases = [
        ("overlap", [entry(0, first, 16, &[1; 16]), entry(1, first + 8, 8, &[1; 8])]),
        ("gap", [entry(0, first, 0, &[]), entry(1, first + 8, 8, &[1; 8])]),
        ("past the end", [good[0].clone(), entry(1, first + 8, 9, &[1; 8])]),
        ("huge", [good[0].clone(), entry(1, first + 8, u64::MAX, &[1; 8])]),
        ("huge offset", [good[0].clone(), entry(1, u64::MAX - 7, 8, &[1; 8])]),
        ("over the table", [entry(0, 0, 8, &[1; 8]), good[1].clone()]),
        ("twice", [good[0].clone(), entry(0, first + 8, 8, &[1; 8])]),
        ("wrong sum", [good[0].clone(), entry(1, first + 8, 8, &[2; 8])]),
        ("unused end", [good[0].clone(), entry(1, first + 8, 0, &[])]),
    ];
    for (what, entries) in cases {
        assert!(Container::parse(&sealed_entries(&entries, &rest)).is_err(), "{what}");
    }
    let mut many = sealed_entries(&[], &rest);
    let header = Header::bytes_for(u32::MAX, many.len() as u64, &[]);
    many[..HEADER_LEN].copy_from_slice(&header);
    assert!(matches!(Container::parse(&many), Err(ContainerError::TableOutOfBounds { .. })));
}

#[test]
fn errors_say_what_is_wrong() {
    let bytes = sample();
    let container = Container::parse(&bytes).unwrap();
    let missing = container.section::<ChipStateV1>(9).unwrap_err();
    assert!(missing.to_string().contains("no section test.chip/9"), "{missing}");
    let wrong = container.raw("ram", 2, 0).unwrap_err();
    assert!(wrong.to_string().contains("version 3, this program reads up to 2"), "{wrong}");
    let wrong = container.raw("test.chip", 1, 0).unwrap_err();
    assert!(wrong.to_string().contains("is MessagePack, not raw"), "{wrong}");

    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let error = Container::parse(&damaged).unwrap_err();
    assert!(error.to_string().contains("checksum of section test.chip/1"), "{error}");
    let mut newer = bytes.clone();
    newer[8] = 9;
    let error = Container::parse(&newer).unwrap_err();
    assert!(error.to_string().contains("format 9, this program reads 1"), "{error}");
    let error = Container::parse(&[b'x'; 64]).unwrap_err();
    assert!(matches!(error, ContainerError::BadMagic { .. }), "{error}");
}

#[test]
fn a_writer_refuses_what_cannot_be_read() {
    let mut writer = Writer::new();
    writer.put(0, &chip()).unwrap();
    assert!(matches!(writer.put(0, &chip()), Err(WriteError::DuplicateSection { .. })));
    for kind in ["", "Upper", "a b", "ä", "a123456789012345678901234567890123"] {
        let error = writer.put_raw(kind, 1, 0, 0, &[][..]).unwrap_err();
        assert!(matches!(error, WriteError::BadKind { .. }), "{kind}");
    }
    writer.put_raw("ram", 1, 0, 10, &[0; 9][..]).unwrap();
    assert!(matches!(writer.into_vec(), Err(WriteError::ShortSource { announced: 10, given: 9, .. })));
}

#[test]
fn older_versions_are_upgraded_step_by_step() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct ChipStateV2 {
        on: bool,
        label: String,
    }
    impl SavedState for ChipStateV2 {
        const KIND: &'static str = ChipStateV1::KIND;
        const VERSION: u16 = 2;
    }
    impl From<ChipStateV1> for ChipStateV2 {
        fn from(old: ChipStateV1) -> Self {
            Self { on: old.on, label: format!("was {}", old.name) }
        }
    }

    let v1 = sealed(1, &crate::payload::encode(&chip()).unwrap());
    let v2_state = ChipStateV2 { on: false, label: "new".to_owned() };
    let v2 = sealed(2, &crate::payload::encode(&v2_state).unwrap());
    let v3 = sealed(3, &[0xc0]);
    let read = |bytes: &[u8]| {
        let container = Container::parse(bytes).unwrap();
        container.upgradable::<ChipStateV2>(0)?.or::<ChipStateV1>()?.get()
    };
    assert_eq!(read(&v2).unwrap(), v2_state);
    assert_eq!(read(&v1).unwrap(), ChipStateV2 { on: true, label: "was a chip".to_owned() });
    let error = read(&v3).unwrap_err();
    assert!(matches!(error, SectionError::UnsupportedVersion { found: 3, supported: 2, .. }), "{error}");
    let error = Container::parse(&v1).unwrap().section::<ChipStateV2>(0).unwrap_err();
    assert!(matches!(error, SectionError::UnsupportedVersion { found: 1, supported: 2, .. }), "{error}");
}

#[test]
fn the_dump_shows_every_field_by_name() {
    let bytes = sealed(1, &crate::payload::encode(&chip()).unwrap());
    let expected = "\
test.chip/0 version 1: 205 bytes at 0xa0, MessagePack
  on: true
  deadline: 1311768467463790320 (0x123456789abcdef0)
  offset: -77
  fifo: 70 bytes
    000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
    202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f
    404142434445
  words: 1, 65536 (0x10000), 4294967295 (0xffffffff)
  name: \"a chip\"
  phase:
    Counting:
      left: 99 (0x63)
  inner:
    levels: 1, 2, 3, 4, 5
    wide: 16 bytes
      00000010000000000000000000000000
";
    assert_eq!(Container::parse(&bytes).unwrap().dump().to_string(), expected);
}
