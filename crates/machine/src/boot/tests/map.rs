//! Where RAM is.

use super::*;

fn told(memory: &GuestMemory, tables: Option<(u64, u64)>) -> Vec<(u64, u64, MapKind)> {
    memory_map(memory, tables).into_iter().map(|entry| (entry.start, entry.end, entry.kind)).collect()
}

#[test]
fn ram_leaves_the_last_gib_below_four_free() {
    const GIB: u64 = 1 << 30;
    for (bytes, expected) in [
        (MIB, vec![(0, MIB)]),
        (3 * GIB, vec![(0, 3 * GIB)]),
        (3 * GIB + 4096, vec![(0, 3 * GIB), (4 * GIB, 4096)]),
        (8 * GIB, vec![(0, 3 * GIB), (4 * GIB, 5 * GIB)]),
    ] {
        let slots: Vec<_> = ram_layout(bytes).iter().map(|slot| (slot.base, slot.len)).collect();
        assert_eq!(slots, expected, "{bytes:#x} bytes");
    }
}

#[test]
fn the_map_is_that_of_a_pc() {
    use MapKind::{Reserved, Usable};
    let low = [(0, 0x9_fc00, Usable), (0x9_fc00, 0xa_0000, Reserved), (0xe_0000, MIB, Reserved)];
    let with = |more: &[(u64, u64, MapKind)]| [&low[..], more].concat();
    let split = GuestMemory::new(&[
        Slot { base: 0, len: 0xa_0000 },
        Slot { base: MIB, len: MIB },
        Slot { base: 2 * MIB, len: MIB },
        Slot { base: 4 << 30, len: MIB },
    ])
    .expect("the host has this little");
    let four_gib = 4 << 30;
    for (memory, tables, expected, why) in [
        (&memory(2 * MIB), None, with(&[(MIB, 2 * MIB, Usable)]), "2 MiB"),
        (&memory(2 * MIB), Some((0xe_0000, 0xe_1000)), with(&[(MIB, 2 * MIB, Usable)]), "tables of the BIOS"),
        (
            &memory(4 * MIB),
            Some((2 * MIB, 3 * MIB)),
            with(&[(MIB, 2 * MIB, Usable), (2 * MIB, 3 * MIB, Reserved), (3 * MIB, 4 * MIB, Usable)]),
            "tables amid RAM",
        ),
        (&memory(MIB), None, low.to_vec(), "nothing above 1 MiB"),
        (
            &split,
            None,
            with(&[(MIB, 3 * MIB, Usable), (four_gib, four_gib + MIB, Usable)]),
            "slots that touch are one range",
        ),
    ] {
        assert_eq!(told(memory, tables), expected, "{why}");
    }
}
