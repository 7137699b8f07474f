//! Operands for the tests of this module, and lanes by the plainest means: wide integers and shifts.

/// A generator of operands, half of them full of edge values.
pub(super) struct Operands(u64);

impl Operands {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    pub(super) fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(super) fn u128(&mut self) -> u128 {
        let random = u128::from(self.u64()) << 64 | u128::from(self.u64());
        let bits = [8, 16, 32, 64][(self.u64() % 4) as usize];
        if self.u64().is_multiple_of(2) {
            return random;
        }
        let top = 1i128 << (bits - 1);
        let edges = [0, -1, 1, top, top - 1, top + 1, 0x55];
        join(bits, (0..128 / bits).map(|_| edges[(self.u64() % 7) as usize]))
    }
}

/// The lanes as unsigned numbers, least significant first.
pub(super) fn unsigned(value: u128, bits: u32) -> Vec<i128> {
    (0..128 / bits).map(|i| (value >> (i * bits) & ((1 << bits) - 1)).cast_signed()).collect()
}

/// The lanes as signed numbers, least significant first.
pub(super) fn signed(value: u128, bits: u32) -> Vec<i128> {
    let top = 1 << (bits - 1);
    unsigned(value, bits).into_iter().map(|lane| (lane ^ top) - top).collect()
}

/// Joins lanes, wrapping each to `bits`.
pub(super) fn join(bits: u32, lanes: impl IntoIterator<Item = i128>) -> u128 {
    lanes
        .into_iter()
        .enumerate()
        .fold(0, |value, (i, lane)| value | (lane.cast_unsigned() & ((1 << bits) - 1)) << (i as u32 * bits))
}

/// Clamps to what a signed number of `bits` holds.
pub(super) fn saturate(bits: u32, value: i128) -> i128 {
    value.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
}

/// Clamps to what an unsigned number of `bits` holds.
pub(super) fn saturate_unsigned(bits: u32, value: i128) -> i128 {
    value.clamp(0, (1 << bits) - 1)
}
