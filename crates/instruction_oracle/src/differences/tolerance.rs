//! How close two results have to be that the manual does not define to the last bit.

/// Largest distance in units of the last place between two results of a transcendental instruction.
const TRANSCENDENTAL_ULPS: u128 = 2;

/// The largest relative distance of two approximations, as a power of two and a factor.
const APPROXIMATION: f32 = 3.0 / 4096.0;

/// Whether two double-extended numbers are as close as the manual asks two transcendental results to be.
pub fn close_extended(a: u128, b: u128) -> bool {
    let (sign_a, key_a) = extended_key(a);
    let (sign_b, key_b) = extended_key(b);
    a == b || sign_a == sign_b && key_a.abs_diff(key_b) <= TRANSCENDENTAL_ULPS
}

/// Sign, and magnitude in units of the last place of its binade.
fn extended_key(value: u128) -> (bool, u128) {
    let exponent = (value >> 64) & 0x7fff;
    let fraction = value & ((1 << 63) - 1);
    (value >> 79 & 1 != 0, exponent << 63 | fraction)
}

/// Whether the lanes of two vectors are as close as the manual asks two approximations to be.
pub fn close_approximations(a: u128, b: u128) -> bool {
    (0..4).all(|lane| {
        let [a, b] = [a, b].map(|vector| (vector >> (32 * lane)) as u32);
        let [x, y] = [a, b].map(f32::from_bits);
        let close = x.is_normal() && y.is_normal() && ((x - y) / x).abs() <= APPROXIMATION;
        // Just above the smallest normal number the result may be flushed to zero or not (SDM 2B, RCPPS).
        let tiny = |z: f32| z.abs() < 1.001 * f32::MIN_POSITIVE;
        let flushed = (x == 0.0 || y == 0.0) && tiny(x) && tiny(y) && (a ^ b) >> 31 == 0;
        a == b || close || flushed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_close_across_a_power_of_two() {
        let one = 0x3fff_8000_0000_0000_0000;
        let below_one = 0x3ffe_ffff_ffff_ffff_ffff;
        assert!(close_extended(one, below_one) && close_extended(one, one + 2));
        assert!(!close_extended(one, one + 3) && !close_extended(one, one | 1 << 79));
    }

    #[test]
    fn approximations_differ_by_little() {
        let vector = |x: f32| u128::from(x.to_bits());
        assert!(close_approximations(vector(1.0), vector(1.0005)));
        assert!(!close_approximations(vector(1.0), vector(1.001)));
        assert!(close_approximations(vector(0.0), vector(f32::MIN_POSITIVE)));
        assert!(!close_approximations(vector(0.0), vector(2.0 * f32::MIN_POSITIVE)));
    }
}
