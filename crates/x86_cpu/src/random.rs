//! The generator behind RDRAND and RDSEED: seeded, and part of the saved state.

/// SplitMix64 (Steele, Lea, Flood 2014), one 64-bit word of state.
#[derive(Clone, Debug)]
pub(crate) struct Generator {
    pub(crate) state: u64,
}

impl Generator {
    /// A generator whose sequence depends on `seed` alone.
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(0x07e5_70d0) }
    }

    /// The next value.
    pub(crate) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
