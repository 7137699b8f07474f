//! Files cut off and changed at random: an error or a guest, never a panic.

use super::*;

/// A kernel of every kind, with the length of what is not just content.
fn kernels() -> [(&'static str, Vec<u8>, usize); 5] {
    let multiboot = [files::multiboot_header(3), vec![0x90; 64]].concat();
    let entry = note(18, &0x10_0000_u64.to_le_bytes());
    [
        ("bzImage", bzimage(), 0x270),
        ("ELF64 for PVH", elf64(0, &[segment(0x10_0000, &[1; 64]), entry]), 264),
        (
            "ELF32 for PVH",
            elf32(0, &[note(18, &0x10_0000_u32.to_le_bytes()), segment(0x10_0000, &[1; 64])]),
            200,
        ),
        ("ELF32 for multiboot", elf32(0x10_000c, &[segment(0x10_0000, &multiboot)]), 110),
        ("multiboot with addresses", files::multiboot_flat(0x10_0000, &[0x90; 64]), 48),
    ]
}

#[test]
fn every_truncation_is_an_error() {
    let memory = memory(2 * MIB);
    for (name, kernel, _) in kernels() {
        for len in 0..kernel.len() {
            let source = BootSource::new(&kernel[..len], name);
            let error = load(&memory, &source).expect_err(name);
            assert!(!error.to_string().is_empty(), "{name} cut off at {len}");
        }
        load(&memory, &BootSource::new(&kernel, name))
            .unwrap_or_else(|error| panic!("{name}, whole: {error}"));
    }
}

#[test]
fn changed_headers_do_no_harm() {
    const EDGES: [u64; 10] = [
        0,
        1,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        1 << 32,
        1 << 63,
        u64::MAX,
        u64::MAX - 0xfff,
        0x10_0000,
    ];
    let memory = memory(2 * MIB);
    // A xorshift generator: the same files every time.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let (mut loaded, mut refused) = (0, 0);
    for (name, kernel, header) in kernels() {
        for _ in 0..4000 {
            let mut changed = kernel.clone();
            for _ in 0..1 + random(4) {
                let at = random(header.min(kernel.len()));
                let value = match random(3) {
                    0 => EDGES[random(EDGES.len())],
                    _ => random(usize::MAX) as u64,
                };
                let len = [1, 1, 2, 4, 8][random(5)];
                let len = len.min(changed.len() - at);
                patch(&mut changed, at, &value.to_le_bytes()[..len]);
            }
            let source = BootSource { initrd: Some(&[1; 100]), ..BootSource::new(&changed, name) };
            match load(&memory, &source) {
                Ok(_) => loaded += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(loaded > 1000 && refused > 1000, "both happen: {loaded} loaded, {refused} refused");
}
