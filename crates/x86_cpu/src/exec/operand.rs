//! Integer operands: the four widths, and how they lie in the general-purpose registers.

use guest_memory::Word;

use crate::Cpu;

/// An integer operand of 8, 16, 32 or 64 bits.
pub(crate) trait Int: Word + Eq {
    /// Bits.
    const BITS: u32;
    /// The low bits of `value`.
    fn cut(value: u64) -> Self;
    /// Zero-extended.
    fn zext(self) -> u64;
    /// Sign-extended.
    fn sext(self) -> u64;
    /// Reads a register.
    fn get(cpu: &Cpu, register: u8) -> Self;
    /// Writes a register: 32 bits clear the upper half, 8 and 16 keep the rest (SDM 1 3.4.1.1).
    fn set(cpu: &mut Cpu, register: u8, value: Self);
    /// Whether the most significant bit is set.
    #[inline(always)]
    fn negative(self) -> bool {
        self.sext() >> 63 != 0
    }
}

impl Int for u8 {
    const BITS: u32 = 8;
    #[inline(always)]
    fn cut(value: u64) -> Self {
        value as u8
    }
    #[inline(always)]
    fn zext(self) -> u64 {
        u64::from(self)
    }
    #[inline(always)]
    fn sext(self) -> u64 {
        i64::from(self.cast_signed()).cast_unsigned()
    }
    #[inline(always)]
    fn get(cpu: &Cpu, register: u8) -> Self {
        // HIGH_BYTE (0x20) becomes a shift by 8.
        (cpu.regs[(register & 31) as usize] >> ((register >> 2) & 8)) as u8
    }
    #[inline(always)]
    fn set(cpu: &mut Cpu, register: u8, value: Self) {
        let shift = (register >> 2) & 8;
        let full = &mut cpu.regs[(register & 31) as usize];
        *full = (*full & !(0xff << shift)) | (u64::from(value) << shift);
    }
}

impl Int for u16 {
    const BITS: u32 = 16;
    #[inline(always)]
    fn cut(value: u64) -> Self {
        value as u16
    }
    #[inline(always)]
    fn zext(self) -> u64 {
        u64::from(self)
    }
    #[inline(always)]
    fn sext(self) -> u64 {
        i64::from(self.cast_signed()).cast_unsigned()
    }
    #[inline(always)]
    fn get(cpu: &Cpu, register: u8) -> Self {
        cpu.regs[register as usize] as u16
    }
    #[inline(always)]
    fn set(cpu: &mut Cpu, register: u8, value: Self) {
        let full = &mut cpu.regs[register as usize];
        *full = (*full & !0xffff) | u64::from(value);
    }
}

impl Int for u32 {
    const BITS: u32 = 32;
    #[inline(always)]
    fn cut(value: u64) -> Self {
        value as u32
    }
    #[inline(always)]
    fn zext(self) -> u64 {
        u64::from(self)
    }
    #[inline(always)]
    fn sext(self) -> u64 {
        i64::from(self.cast_signed()).cast_unsigned()
    }
    #[inline(always)]
    fn get(cpu: &Cpu, register: u8) -> Self {
        cpu.regs[register as usize] as u32
    }
    #[inline(always)]
    fn set(cpu: &mut Cpu, register: u8, value: Self) {
        cpu.regs[register as usize] = u64::from(value);
    }
}

impl Int for u64 {
    const BITS: u32 = 64;
    #[inline(always)]
    fn cut(value: u64) -> Self {
        value
    }
    #[inline(always)]
    fn zext(self) -> u64 {
        self
    }
    #[inline(always)]
    fn sext(self) -> u64 {
        self
    }
    #[inline(always)]
    fn get(cpu: &Cpu, register: u8) -> Self {
        cpu.regs[register as usize]
    }
    #[inline(always)]
    fn set(cpu: &mut Cpu, register: u8, value: Self) {
        cpu.regs[register as usize] = value;
    }
}

/// The handler `$f` for the operand width `$size` (log2 of bytes), after the type arguments given.
macro_rules! sized {
    ($size:expr, $f:ident $(, $arg:ty)*) => {
        match $size {
            0 => $f::<$($arg,)* u8> as $crate::op::Handler,
            1 => $f::<$($arg,)* u16>,
            2 => $f::<$($arg,)* u32>,
            _ => $f::<$($arg,)* u64>,
        }
    };
}

/// The same with the addressing form as last type argument.
macro_rules! sized_memory {
    ($form:expr, $size:expr, $f:ident $(, $arg:ty)*) => {
        match ($size, $form.flat) {
            (0, true) => $f::<$($arg,)* u8, $crate::memory::Flat> as $crate::op::Handler,
            (1, true) => $f::<$($arg,)* u16, $crate::memory::Flat>,
            (2, true) => $f::<$($arg,)* u32, $crate::memory::Flat>,
            (_, true) => $f::<$($arg,)* u64, $crate::memory::Flat>,
            (0, false) => $f::<$($arg,)* u8, $crate::memory::Segmented>,
            (1, false) => $f::<$($arg,)* u16, $crate::memory::Segmented>,
            (2, false) => $f::<$($arg,)* u32, $crate::memory::Segmented>,
            (_, false) => $f::<$($arg,)* u64, $crate::memory::Segmented>,
        }
    };
}

/// The handler `$f` for the addressing form alone, after the type arguments given.
macro_rules! addressed {
    ($form:expr, $f:ident $(, $arg:ty)*) => {
        if $form.flat {
            $f::<$($arg,)* $crate::memory::Flat> as $crate::op::Handler
        } else {
            $f::<$($arg,)* $crate::memory::Segmented>
        }
    };
}

pub(crate) use {addressed, sized, sized_memory};
