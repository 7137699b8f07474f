//! Operand values: random ones, and those at which implementations go wrong.

use crate::random::Random;

/// A 64-bit integer: an edge of some operand size, or random.
pub fn integer(random: &mut Random) -> u64 {
    match random.below(12) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << random.below(64),
        3 => !(1 << random.below(64)),
        4 => (1u64 << random.below(64)) - 1,
        5 => edge(random),
        6 => edge(random).wrapping_add(random.below(5)).wrapping_sub(2),
        7 => random.below(256),
        8 => random.below(256).wrapping_neg(),
        9 => random.bits() & 0xffff_ffff,
        _ => random.bits(),
    }
}

/// Smallest and largest values of every operand size, signed and unsigned.
fn edge(random: &mut Random) -> u64 {
    let bits = random.pick(&[8u32, 16, 32, 64]);
    let low = u64::MAX >> (64 - bits);
    let value = match random.below(4) {
        0 => low,
        1 => low >> 1,
        2 => (low >> 1) + 1,
        _ => (low >> 1).wrapping_add(1).wrapping_neg(), // sign-extended minimum
    };
    // The bits above the operand are often not what its sign extension would be.
    if random.percent(30) && bits < 64 { (value & low) | (random.bits() & !low) } else { value }
}

/// The layout of a binary floating-point format.
#[derive(Clone, Copy, Debug)]
struct Format {
    exponent_bits: u32,
    fraction_bits: u32,
}

const SINGLE: Format = Format { exponent_bits: 8, fraction_bits: 23 };
const DOUBLE: Format = Format { exponent_bits: 11, fraction_bits: 52 };

impl Format {
    fn bias(self) -> u64 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    fn pack(self, sign: u64, exponent: u64, fraction: u64) -> u64 {
        let exponent_mask = (1 << self.exponent_bits) - 1;
        let fraction_mask = (1 << self.fraction_bits) - 1;
        (sign & 1) << (self.exponent_bits + self.fraction_bits)
            | (exponent & exponent_mask) << self.fraction_bits
            | fraction & fraction_mask
    }

    /// A fraction: random, or with few bits set or clear, so that sums and products round in every way.
    fn fraction(self, random: &mut Random) -> u64 {
        match random.below(6) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << random.below(u64::from(self.fraction_bits)),
            3 => u64::MAX << random.below(u64::from(self.fraction_bits)),
            4 => random.below(4),
            _ => random.bits(),
        }
    }

    fn value(self, random: &mut Random) -> u64 {
        let sign = random.bits();
        let max = (1 << self.exponent_bits) - 1;
        let quiet = 1u64 << (self.fraction_bits - 1);
        match random.below(24) {
            0 | 1 => self.pack(sign, 0, 0),
            2 => self.pack(sign, 0, 1),
            3 => self.pack(sign, 0, u64::MAX),
            4 => self.pack(sign, 0, random.bits() >> random.below(64)),
            5 => self.pack(sign, 1, 0),
            6 => self.pack(sign, 1, self.fraction(random)),
            7 => self.pack(sign, max - 1, u64::MAX),
            8 => self.pack(sign, max - 1, self.fraction(random)),
            9 => self.pack(sign, max, 0),
            10 => self.pack(sign, max, quiet | random.bits()),
            11 => self.pack(sign, max, (random.bits() & (quiet - 1)) | 1),
            12 => self.pack(sign, self.bias(), 0),
            13 => {
                // Next to a power of two, among them the limits of the integer formats.
                let power = random.pick(&[0, 1, 7, 8, 15, 16, 31, 32, 52, 53, 63, 64]);
                self.pack(sign, self.bias() + power, 0).wrapping_add(random.below(5)).wrapping_sub(2)
            }
            14 | 15 => self.integral(sign, random.below(1000), random.below(3)),
            16 => self.integral(sign, random.bits() >> random.below(64), 0),
            17..=19 => self.pack(sign, self.bias() - 8 + random.below(17), self.fraction(random)),
            20 | 21 => self.pack(sign, self.bias() - 30 + random.below(95), self.fraction(random)),
            22 => self.pack(sign, random.bits(), self.fraction(random)),
            _ => random.bits() & (u64::MAX >> (63 - self.exponent_bits - self.fraction_bits)),
        }
    }

    /// `value / 2^halvings`, rounded towards zero.
    fn integral(self, sign: u64, value: u64, halvings: u64) -> u64 {
        if value == 0 {
            return self.pack(sign, 0, 0);
        }
        let top = 63 - u64::from(value.leading_zeros());
        let fraction = (value << (63 - top)) << 1 >> (64 - self.fraction_bits);
        self.pack(sign, self.bias() + top - halvings, fraction)
    }
}

/// The bits of a single-precision number.
pub fn single(random: &mut Random) -> u32 {
    SINGLE.value(random) as u32
}

/// The bits of a double-precision number.
pub fn double(random: &mut Random) -> u64 {
    DOUBLE.value(random)
}

/// The bits of a double-extended number, sometimes of a kind the 80387 and its successors do not support.
pub fn extended(random: &mut Random) -> u128 {
    const BIAS: u64 = 0x3fff;
    const INTEGER: u64 = 1 << 63;
    let significand = |random: &mut Random| match random.below(7) {
        0 => INTEGER,
        1 => u64::MAX,
        2 => INTEGER | 1 << random.below(63),
        3 => u64::MAX << random.below(64),
        4 => INTEGER | random.below(4),
        // Exact in single or double precision, or half way between two of their neighbours.
        5 => INTEGER | random.bits() << random.pick(&[10u32, 11, 39, 40]),
        _ => INTEGER | random.bits(),
    };
    let (exponent, significand) = match random.below(30) {
        0 | 1 => (0, 0),
        2 => (0, 1),
        3 => (0, INTEGER - 1),
        4 => (0, random.bits() >> (1 + random.below(63))),
        5 => (0, significand(random)), // pseudo-denormal
        6 => (1, significand(random)),
        7 => (0x7ffe, significand(random)),
        8 | 9 => (0x7fff, INTEGER),
        10 => (0x7fff, INTEGER | 1 << 62 | random.bits()),
        11 => (0x7fff, INTEGER | ((random.bits() & ((1 << 62) - 1)) | 1)),
        12 => (0x7fff, random.bits() & !INTEGER), // pseudo-NaN
        13 => (0x7fff, 0),                        // pseudo-infinity
        14 => (1 + random.below(0x7ffe), random.bits() & !INTEGER), // unnormal
        15 | 16 => (BIAS, INTEGER),
        17 => (BIAS + random.pick(&[0, 1, 14, 15, 16, 30, 31, 32, 62, 63, 64]), significand(random)),
        18 | 19 => {
            let value = random.below(1000) + 1;
            let top = 63 - u64::from(value.leading_zeros());
            (BIAS + top - random.below(3), value << (63 - top))
        }
        20 => {
            let value = (random.bits() >> random.below(64)) | 1;
            (BIAS + 63 - u64::from(value.leading_zeros()), value << value.leading_zeros())
        }
        21..=24 => (BIAS - 8 + random.below(17), significand(random)),
        25 | 26 => (BIAS - 70 + random.below(141), significand(random)),
        // The edges of the single and double exponent ranges.
        27 => (BIAS - 1080 + random.below(120), significand(random)),
        28 => (BIAS + random.pick(&[120, 1016]) + random.below(16), significand(random)),
        _ => (random.below(0x8000), significand(random)),
    };
    let sign = random.below(2);
    u128::from(sign << 15 | exponent) << 64 | u128::from(significand)
}

/// A packed decimal integer, sometimes with digits that are none.
pub fn decimal(random: &mut Random) -> [u8; 10] {
    let mut bytes = [0; 10];
    let digits = random.index(10);
    for byte in &mut bytes[..digits] {
        *byte = (random.below(10) << 4 | random.below(10)) as u8;
    }
    bytes[9] = (random.below(2) << 7) as u8;
    if random.percent(20) {
        let i = random.index(10);
        bytes[i] = random.bits() as u8;
    }
    bytes
}

/// How the lanes of a vector are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// Integers of this many bytes.
    Integer(usize),
    /// Single-precision numbers.
    Single,
    /// Double-precision numbers.
    Double,
    /// Characters from a small alphabet, zero among them.
    Characters(usize),
    /// Anything.
    Bits,
}

/// A store of lane values of one kind: vectors drawn from the same pool have lanes in common, so that they compare equal and
/// cancel each other now and then.
#[derive(Debug)]
pub struct Pool {
    lanes: Lanes,
    values: [u64; 5],
}

impl Pool {
    /// A pool for vectors of this kind.
    pub fn new(random: &mut Random, lanes: Lanes) -> Self {
        let values = std::array::from_fn(|_| Self::fresh(random, lanes));
        Self { lanes, values }
    }

    fn fresh(random: &mut Random, lanes: Lanes) -> u64 {
        match lanes {
            Lanes::Integer(_) => integer(random),
            Lanes::Single => u64::from(single(random)),
            Lanes::Double => double(random),
            Lanes::Characters(_) => {
                if random.percent(15) {
                    0
                } else {
                    random.pick(&[1, 2, 3, 4, 0x61, 0x62, 0x7f, 0x80, 0xff, 0x8000, 0xffff])
                }
            }
            Lanes::Bits => random.bits(),
        }
    }

    fn lane(&self, random: &mut Random) -> u64 {
        let value =
            if random.percent(45) { random.pick(&self.values) } else { Self::fresh(random, self.lanes) };
        match self.lanes {
            // The negative of a number of the pool, or its neighbour.
            Lanes::Single if random.percent(10) => value ^ 1 << 31,
            Lanes::Double if random.percent(10) => value ^ 1 << 63,
            Lanes::Single | Lanes::Double if random.percent(8) => value.wrapping_add(1),
            _ => value,
        }
    }

    /// 16 bytes of lanes.
    pub fn vector(&self, random: &mut Random) -> u128 {
        let size = match self.lanes {
            Lanes::Integer(size) | Lanes::Characters(size) => size,
            Lanes::Single => 4,
            Lanes::Double | Lanes::Bits => 8,
        };
        let mut bytes = [0; 16];
        for lane in bytes.chunks_mut(size) {
            let value = self.lane(random).to_le_bytes();
            lane.copy_from_slice(&value[..lane.len()]);
        }
        u128::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floating_point_values_cover_every_class() {
        use std::num::FpCategory::{Infinite, Nan, Normal, Subnormal, Zero};
        let mut random = Random::new(1);
        let mut singles = Vec::new();
        let mut doubles = Vec::new();
        for _ in 0..2000 {
            singles.push(f32::from_bits(single(&mut random)).classify());
            doubles.push(f64::from_bits(double(&mut random)).classify());
        }
        for class in [Infinite, Nan, Normal, Subnormal, Zero] {
            assert!(singles.contains(&class) && doubles.contains(&class), "{class:?}");
        }
    }

    #[test]
    fn integers_become_the_floating_point_numbers_they_are() {
        assert_eq!(SINGLE.integral(0, 3, 0) as u32, 3f32.to_bits());
        assert_eq!(DOUBLE.integral(1, 5, 1), (-2.5f64).to_bits());
        assert_eq!(DOUBLE.integral(0, 1, 0), 1f64.to_bits());
    }

    #[test]
    fn vectors_of_one_pool_share_lanes() {
        let mut random = Random::new(1);
        let shared = (0..100).any(|_| {
            let pool = Pool::new(&mut random, Lanes::Double);
            pool.vector(&mut random) as u64 == pool.vector(&mut random) as u64
        });
        assert!(shared);
    }
}
