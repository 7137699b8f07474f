//! The SHA extensions (FIPS 180-4; SDM 2 SHA1RNDS4 and its kin). The most significant doubleword comes first in the
//! manual's naming: A, or the oldest message word, is doubleword 3.

/// Doubleword `i`, 0 being the least significant.
#[inline(always)]
fn dword(value: u128, i: u32) -> u32 {
    (value >> (32 * i)) as u32
}

/// Doublewords, least significant first, as one value.
#[inline(always)]
fn join(dwords: [u32; 4]) -> u128 {
    dwords.into_iter().rev().fold(0, |value, dword| value << 32 | u128::from(dword))
}

/// Ch of FIPS 180-4 4.1.
#[inline(always)]
fn choose(x: u32, y: u32, z: u32) -> u32 {
    x & y ^ !x & z
}

/// Maj of FIPS 180-4 4.1.
#[inline(always)]
fn majority(x: u32, y: u32, z: u32) -> u32 {
    x & y ^ x & z ^ y & z
}

/// Four rounds of SHA-1 on A to D in `state`; `message` is W0 to W3, E already added to W0. Bits 1:0 of `imm` choose
/// the function and the constant.
#[inline]
pub(crate) fn sha1rnds4(state: u128, message: u128, imm: u8) -> u128 {
    type Function = fn(u32, u32, u32) -> u32;
    let (f, constant): (Function, u32) = match imm & 3 {
        0 => (choose, 0x5a82_7999),
        1 => (|x, y, z| x ^ y ^ z, 0x6ed9_eba1),
        2 => (majority, 0x8f1b_bcdc),
        _ => (|x, y, z| x ^ y ^ z, 0xca62_c1d6),
    };
    let (mut a, mut b, mut c, mut d) = (dword(state, 3), dword(state, 2), dword(state, 1), dword(state, 0));
    // E of the first round is in W0.
    let mut e = 0u32;
    for round in 0..4 {
        let next = f(b, c, d)
            .wrapping_add(a.rotate_left(5))
            .wrapping_add(dword(message, 3 - round))
            .wrapping_add(e)
            .wrapping_add(constant);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    join([d, c, b, a])
}

/// E for the next four rounds (from A of `state`), added to W0 of `message`.
#[inline]
pub(crate) fn sha1nexte(state: u128, message: u128) -> u128 {
    let e = dword(state, 3).rotate_left(30);
    message & (u128::MAX >> 32) | u128::from(dword(message, 3).wrapping_add(e)) << 96
}

/// First step of the next four SHA-1 message words.
#[inline]
pub(crate) fn sha1msg1(a: u128, b: u128) -> u128 {
    // W0 ^ W2, W1 ^ W3, W2 ^ W4, W3 ^ W5, from the most significant down.
    a ^ (a << 64 | b >> 64)
}

/// Last step of the next four SHA-1 message words.
#[inline]
pub(crate) fn sha1msg2(a: u128, b: u128) -> u128 {
    let w16 = (dword(a, 3) ^ dword(b, 2)).rotate_left(1);
    let w17 = (dword(a, 2) ^ dword(b, 1)).rotate_left(1);
    let w18 = (dword(a, 1) ^ dword(b, 0)).rotate_left(1);
    let w19 = (dword(a, 0) ^ w16).rotate_left(1);
    join([w19, w18, w17, w16])
}

/// Two rounds of SHA-256. `state` holds C, D, G, H and `other` A, B, E, F (most significant first); `message` holds two
/// message words with their constants added, in its low half. The result is the new A, B, E, F.
#[inline]
pub(crate) fn sha256rnds2(state: u128, other: u128, message: u128) -> u128 {
    let (mut a, mut b, mut e, mut f) = (dword(other, 3), dword(other, 2), dword(other, 1), dword(other, 0));
    let (mut c, mut d, mut g, mut h) = (dword(state, 3), dword(state, 2), dword(state, 1), dword(state, 0));
    for round in 0..2 {
        let sum1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let sum0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t1 = choose(e, f, g).wrapping_add(sum1).wrapping_add(dword(message, round)).wrapping_add(h);
        let t2 = majority(a, b, c).wrapping_add(sum0);
        (a, b, c, d, e, f, g, h) = (t1.wrapping_add(t2), a, b, c, t1.wrapping_add(d), e, f, g);
    }
    join([f, e, b, a])
}

/// First step of the next four SHA-256 message words: `a` holds W0 to W3 from doubleword 0 up, `b` W4 first.
#[inline]
pub(crate) fn sha256msg1(a: u128, b: u128) -> u128 {
    let sigma0 = |x: u32| x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
    let words = [dword(a, 0), dword(a, 1), dword(a, 2), dword(a, 3), dword(b, 0)];
    join(std::array::from_fn(|i| words[i].wrapping_add(sigma0(words[i + 1]))))
}

/// Last step of the next four SHA-256 message words.
#[inline]
pub(crate) fn sha256msg2(a: u128, b: u128) -> u128 {
    let sigma1 = |x: u32| x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10);
    let w16 = dword(a, 0).wrapping_add(sigma1(dword(b, 2)));
    let w17 = dword(a, 1).wrapping_add(sigma1(dword(b, 3)));
    let w18 = dword(a, 2).wrapping_add(sigma1(w16));
    let w19 = dword(a, 3).wrapping_add(sigma1(w17));
    join([w16, w17, w18, w19])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one padded block of the message "abc", as big-endian words.
    fn abc() -> [u32; 16] {
        let mut block = [0; 16];
        block[0] = 0x6162_6380;
        block[15] = 24;
        block
    }

    /// FIPS 180-4's example: SHA-1 of "abc", with rounds and message schedule made by the instructions.
    #[test]
    fn sha1_of_abc() {
        let block = abc();
        // W of the lowest index is the most significant.
        let mut schedule: Vec<u128> = block.chunks(4).map(|w| join([w[3], w[2], w[1], w[0]])).collect();
        for i in 4..20 {
            let partial = sha1msg1(schedule[i - 4], schedule[i - 3]) ^ schedule[i - 2];
            schedule.push(sha1msg2(partial, schedule[i - 1]));
        }
        let abcd = join([0x1032_5476, 0x98ba_dcfe, 0xefcd_ab89, 0x6745_2301]);
        let (mut state, mut previous) = (abcd, 0);
        for (i, &message) in schedule.iter().enumerate() {
            let message = if i == 0 {
                join([
                    dword(message, 0),
                    dword(message, 1),
                    dword(message, 2),
                    dword(message, 3).wrapping_add(0xc3d2_e1f0),
                ])
            } else {
                sha1nexte(previous, message)
            };
            previous = state;
            state = sha1rnds4(state, message, (i / 5) as u8);
        }
        let e = dword(sha1nexte(previous, 0), 3).wrapping_add(0xc3d2_e1f0);
        let digest: Vec<u32> = (0..4).rev().map(|i| dword(state, i).wrapping_add(dword(abcd, i))).collect();
        assert_eq!(digest, [0xa999_3e36, 0x4706_816a, 0xba3e_2571, 0x7850_c26c]);
        assert_eq!(e, 0x9cd0_d89d);
    }

    /// The first 64 fractional bits' upper half of the cube roots of the first 64 primes (FIPS 180-4 4.2.2), computed.
    fn constants() -> Vec<u32> {
        let primes = (2u128..).filter(|n| (2..*n).all(|d| n % d != 0));
        primes
            .take(64)
            .map(|prime| {
                // floor(cbrt(prime) * 2^32), bit by bit; its low 32 bits are the fraction.
                let mut root = 0u128;
                for bit in (0..36).rev() {
                    let candidate = root | 1 << bit;
                    if candidate.pow(3) <= prime << 96 {
                        root = candidate;
                    }
                }
                root as u32
            })
            .collect()
    }

    /// FIPS 180-4's example: SHA-256 of "abc", with rounds and message schedule made by the instructions.
    #[test]
    fn sha256_of_abc() {
        let block = abc();
        // W of the lowest index is the least significant.
        let mut schedule: Vec<u128> = block.chunks(4).map(|w| join([w[0], w[1], w[2], w[3]])).collect();
        for i in 4..16 {
            let w9 = schedule[i - 2] >> 32 | schedule[i - 1] << 96;
            let partial = sha256msg1(schedule[i - 4], schedule[i - 3]);
            let sums = std::array::from_fn(|j| dword(partial, j as u32).wrapping_add(dword(w9, j as u32)));
            schedule.push(sha256msg2(join(sums), schedule[i - 1]));
        }
        let [a, b, c, d] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a];
        let [e, f, g, h] = [0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
        let (abef, cdgh) = (join([f, e, b, a]), join([h, g, d, c]));
        let (mut first, mut second) = (abef, cdgh);
        let constants = constants();
        for (i, &words) in schedule.iter().enumerate() {
            for pair in 0..2 {
                let word = |j: usize| {
                    let j = 2 * pair + j;
                    dword(words, j as u32).wrapping_add(constants[4 * i + j])
                };
                let message = join([word(0), word(1), 0, 0]);
                (first, second) = (sha256rnds2(second, first, message), first);
            }
        }
        let sum = |x: u128, y: u128, i| dword(x, i).wrapping_add(dword(y, i));
        let ab_cd = [sum(first, abef, 3), sum(first, abef, 2), sum(second, cdgh, 3), sum(second, cdgh, 2)];
        let ef_gh = [sum(first, abef, 1), sum(first, abef, 0), sum(second, cdgh, 1), sum(second, cdgh, 0)];
        assert_eq!(ab_cd, [0xba78_16bf, 0x8f01_cfea, 0x4141_40de, 0x5dae_2223]);
        assert_eq!(ef_gh, [0xb003_61a3, 0x9617_7a9c, 0xb410_ff61, 0xf200_15ad]);
    }
}
