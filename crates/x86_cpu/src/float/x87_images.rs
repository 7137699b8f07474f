//! The x87 state in memory: FXSAVE and the legacy region of XSAVE, FNSTENV and FNSAVE in all of their formats.

use super::f80::F80;
use super::x87_state::{LastInstruction, X87};

/// Bytes of an FXSAVE image.
pub(crate) const FXSAVE_SIZE: usize = 512;
/// Bytes of the longest image of FNSTENV.
pub(crate) const ENVIRONMENT_SIZE: usize = 28;
/// Bytes of the longest image of FNSAVE: the environment and eight registers.
pub(crate) const SAVE_SIZE: usize = ENVIRONMENT_SIZE + 80;

/// How FNSTENV, FLDENV, FNSAVE and FRSTOR lay out the environment: by operand size, and by mode (real-address and virtual-8086
/// mode store linear addresses, without selectors) (SDM 1 figures 8-9 to 8-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EnvironmentFormat {
    /// A 32-bit operand size, also that of 64-bit mode.
    pub(crate) wide: bool,
    /// Real-address or virtual-8086 mode.
    pub(crate) real: bool,
}

impl EnvironmentFormat {
    /// Bytes of the environment.
    #[must_use]
    pub(crate) const fn size(self) -> usize {
        if self.wide { 28 } else { 14 }
    }

    /// Bytes of the environment and the registers behind it.
    #[must_use]
    pub(crate) const fn save_size(self) -> usize {
        self.size() + 80
    }
}

fn word(image: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([image[at], image[at + 1]])
}

fn double_word(image: &[u8], at: usize) -> u32 {
    u32::from(word(image, at)) | u32::from(word(image, at + 2)) << 16
}

fn quad_word(image: &[u8], at: usize) -> u64 {
    u64::from(double_word(image, at)) | u64::from(double_word(image, at + 4)) << 32
}

fn register(image: &[u8], at: usize) -> F80 {
    F80 { mantissa: quad_word(image, at), sign_exp: word(image, at + 8) }
}

fn put<const N: usize>(image: &mut [u8], at: usize, bytes: [u8; N]) {
    image[at..at + N].copy_from_slice(&bytes);
}

impl X87 {
    /// Writes bytes 0 to 23 and 32 to 159 of an FXSAVE image (SDM 1 table 10-2); MXCSR and its mask, between them, and the XMM
    /// registers behind are the caller's. `wide`: with REX.W, instruction and operand pointers have 64 bits.
    pub(crate) fn write_fxsave(&self, image: &mut [u8; FXSAVE_SIZE], wide: bool) {
        let LastInstruction { ip, cs, dp, ds, opcode } = self.last;
        put(image, 0, self.control().to_le_bytes());
        put(image, 2, self.status().to_le_bytes());
        put(image, 4, u16::from(self.tags()).to_le_bytes());
        put(image, 6, opcode.to_le_bytes());
        put(image, 8, ip.to_le_bytes());
        put(image, 16, dp.to_le_bytes());
        if !wide {
            put(image, 12, u32::from(cs).to_le_bytes());
            put(image, 20, u32::from(ds).to_le_bytes());
        }
        for st in 0..8 {
            let at = 32 + 16 * usize::from(st);
            put(image, at, self.st(st).to_bytes());
            put(image, at + 10, [0; 6]);
        }
    }

    /// Loads what [`X87::write_fxsave`] writes.
    pub(crate) fn read_fxsave(&mut self, image: &[u8; FXSAVE_SIZE], wide: bool) {
        self.set_control(word(image, 0));
        self.set_status(word(image, 2));
        self.set_tags(image[4]);
        let pointers = if wide {
            LastInstruction { ip: quad_word(image, 8), cs: 0, dp: quad_word(image, 16), ds: 0, opcode: 0 }
        } else {
            LastInstruction {
                ip: u64::from(double_word(image, 8)),
                cs: word(image, 12),
                dp: u64::from(double_word(image, 16)),
                ds: word(image, 20),
                opcode: 0,
            }
        };
        self.last = LastInstruction { opcode: word(image, 6) & 0x7ff, ..pointers };
        for st in 0..8 {
            self.set_st_bits(st, register(image, 32 + 16 * usize::from(st)));
        }
    }

    /// The initial configuration of XSAVE's x87 component: as FNINIT, and the registers hold zero (SDM 1 13.6).
    pub(crate) fn init_component(&mut self) {
        self.init();
        for st in 0..8 {
            self.set_st_bits(st, F80::ZERO);
        }
    }

    /// Whether the x87 component is in its initial configuration (XINUSE bit 0).
    #[must_use]
    pub(crate) fn is_initial_component(&self) -> bool {
        let mut initial = Self::default();
        initial.init_component();
        *self == initial
    }

    /// The environment as FNSTENV stores it; only the format's size counts.
    #[must_use]
    pub(crate) fn environment(&self, format: EnvironmentFormat) -> [u8; ENVIRONMENT_SIZE] {
        let LastInstruction { ip, cs, dp, ds, opcode } = self.last;
        let (ip, dp) = (ip as u32, dp as u32);
        let linear = |selector: u16, offset: u32| (u32::from(selector) << 4).wrapping_add(offset);
        let (real_ip, real_dp) = (linear(cs, ip), linear(ds, dp));
        let words = [self.control(), self.status(), self.full_tags()];
        let mut image = [0; ENVIRONMENT_SIZE];
        if format.wide {
            const RESERVED: u32 = 0xffff_0000;
            let pointers = if format.real {
                [
                    RESERVED | (real_ip & 0xffff),
                    (real_ip & RESERVED) >> 4 | u32::from(opcode),
                    RESERVED | (real_dp & 0xffff),
                    (real_dp & RESERVED) >> 4,
                ]
            } else {
                [ip, u32::from(cs) | u32::from(opcode) << 16, dp, RESERVED | u32::from(ds)]
            };
            for (index, value) in
                words.map(|word| RESERVED | u32::from(word)).into_iter().chain(pointers).enumerate()
            {
                put(&mut image, 4 * index, value.to_le_bytes());
            }
        } else {
            let pointers = if format.real {
                let high = |linear: u32| (linear >> 4) as u16 & 0xf000;
                [real_ip as u16, high(real_ip) | opcode, real_dp as u16, high(real_dp)]
            } else {
                [ip as u16, cs, dp as u16, ds]
            };
            for (index, value) in words.into_iter().chain(pointers).enumerate() {
                put(&mut image, 2 * index, value.to_le_bytes());
            }
        }
        image
    }

    /// Loads an environment as FLDENV does.
    pub(crate) fn load_environment(&mut self, image: &[u8; ENVIRONMENT_SIZE], format: EnvironmentFormat) {
        let step = if format.wide { 4 } else { 2 };
        self.set_control(word(image, 0));
        self.set_status(word(image, step));
        self.set_full_tags(word(image, 2 * step));
        self.last = if format.wide {
            let [ip, selector, dp, high] = [12, 16, 20, 24].map(|at| double_word(image, at));
            if format.real {
                let joined = |low: u32, high: u32| u64::from((low & 0xffff) | (high << 4 & 0xffff_0000));
                let opcode = selector as u16 & 0x7ff;
                LastInstruction { ip: joined(ip, selector), cs: 0, dp: joined(dp, high), ds: 0, opcode }
            } else {
                let opcode = (selector >> 16) as u16 & 0x7ff;
                LastInstruction { ip: ip.into(), cs: selector as u16, dp: dp.into(), ds: high as u16, opcode }
            }
        } else {
            let [ip, selector, dp, high] = [6, 8, 10, 12].map(|at| word(image, at));
            if format.real {
                let joined = |low: u16, high: u16| u64::from(low) | u64::from(high & 0xf000) << 4;
                let opcode = selector & 0x7ff;
                LastInstruction { ip: joined(ip, selector), cs: 0, dp: joined(dp, high), ds: 0, opcode }
            } else {
                // This format has no room for the opcode.
                let opcode = self.last.opcode;
                LastInstruction { ip: ip.into(), cs: selector, dp: dp.into(), ds: high, opcode }
            }
        };
    }

    /// The image of FNSAVE: the environment, and behind it the registers from ST(0); only the format's size counts.
    #[must_use]
    pub(crate) fn save_image(&self, format: EnvironmentFormat) -> [u8; SAVE_SIZE] {
        let mut image = [0; SAVE_SIZE];
        put(&mut image, 0, self.environment(format));
        for st in 0..8 {
            put(&mut image, format.size() + 10 * usize::from(st), self.st(st).to_bytes());
        }
        image
    }

    /// Loads an image as FRSTOR does.
    pub(crate) fn load_image(&mut self, image: &[u8; SAVE_SIZE], format: EnvironmentFormat) {
        let mut environment = [0; ENVIRONMENT_SIZE];
        environment.copy_from_slice(&image[..ENVIRONMENT_SIZE]);
        self.load_environment(&environment, format);
        for st in 0..8 {
            self.set_st_bits(st, register(image, format.size() + 10 * usize::from(st)));
        }
    }

    /// Masks all exceptions, as FNSTENV does once it has stored the environment.
    pub(crate) const fn mask_exceptions(&mut self) {
        self.set_control(self.control() | super::exception::ALL as u16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state in which every field has another value.
    fn state() -> X87 {
        let mut x87 = X87::default();
        x87.init();
        x87.set_control(0x0b7e);
        x87.set_status(5 << 11 | 0x4500);
        for st in 0..8 {
            x87.set_st_bits(st, F80 { mantissa: 1 << 63 | u64::from(st), sign_exp: 0x4000 + u16::from(st) });
        }
        x87.set_tags(0b1010_0110);
        x87.last = LastInstruction { ip: 0x1_2345, cs: 0x0678, dp: 0x2_9abc, ds: 0x0def, opcode: 0x5d1 };
        x87
    }

    #[test]
    fn fxsave_has_a_byte_for_everything() {
        let x87 = state();
        for wide in [false, true] {
            let mut image = [0x55; FXSAVE_SIZE];
            x87.write_fxsave(&mut image, wide);
            assert_eq!(image[..8], [0x7e, 0x0b, 0x00, 0x6d, 0xa6, 0, 0xd1, 0x05]);
            assert_eq!(quad_word(&image, 8), if wide { 0x1_2345 } else { 0x678_0001_2345 });
            assert_eq!(image[24..32], [0x55; 8]);
            assert_eq!(image[160], 0x55);
            assert_eq!(image[48..58], x87.st(1).to_bytes());
            let mut loaded = X87::default();
            loaded.read_fxsave(&image, wide);
            let mut expected = x87.clone();
            if wide {
                (expected.last.cs, expected.last.ds) = (0, 0);
            }
            assert_eq!(loaded, expected);
        }
    }

    #[test]
    fn environments_come_back() {
        let x87 = state();
        for (wide, real) in [(false, false), (true, false), (false, true), (true, true)] {
            let format = EnvironmentFormat { wide, real };
            let image = x87.save_image(format);
            let mut loaded = X87::default();
            loaded.last.opcode = 0x123;
            loaded.load_image(&image, format);
            let mut expected = x87.clone();
            if real {
                // Segment and offset became one linear address.
                expected.last = LastInstruction { ip: 0x1_8ac5, cs: 0, dp: 0x3_79ac, ds: 0, opcode: 0x5d1 };
            } else if !wide {
                let last = LastInstruction { ip: 0x2345, dp: 0x9abc, opcode: 0x123, ..expected.last };
                expected.last = last;
            }
            assert_eq!(loaded, expected, "{format:?}");
        }
    }

    #[test]
    fn layout_of_the_protected_formats() {
        let x87 = state();
        let image = x87.save_image(EnvironmentFormat { wide: true, real: false });
        let tags = x87.full_tags();
        assert_eq!(double_word(&image, 8), 0xffff_0000 | u32::from(tags));
        assert_eq!(double_word(&image, 16), 0x05d1_0678);
        assert_eq!(double_word(&image, 24), 0xffff_0def);
        assert_eq!(image[28..38], x87.st(0).to_bytes());
        let image = x87.save_image(EnvironmentFormat { wide: false, real: true });
        assert_eq!(word(&image, 8), 0x1000 | 0x5d1);
        assert_eq!(image[14..24], x87.st(0).to_bytes());
    }

    #[test]
    fn only_the_initial_component_is_initial() {
        let mut x87 = X87::default();
        assert!(!x87.is_initial_component());
        x87.init_component();
        assert!(x87.is_initial_component());
        x87.set_st_bits(3, F80::ONE);
        assert!(!x87.is_initial_component());
    }
}
