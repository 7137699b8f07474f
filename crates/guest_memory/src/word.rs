//! What can be read and written in one access.

/// A little-endian value of a fixed size that any bytes are valid for.
///
/// # Safety
/// Implemented for plain integers only: no padding, every bit pattern valid.
pub unsafe trait Word: Copy + Default + 'static {
    /// Bytes.
    const SIZE: u64 = size_of::<Self>() as u64;

    /// The low bytes of `value`.
    fn truncate(value: u128) -> Self;

    /// The value with zeros above.
    fn widen(self) -> u128;
}

macro_rules! word {
    ($($integer:ty),*) => {$(
        // SAFETY: integers have neither padding nor invalid values.
        unsafe impl Word for $integer {
            #[inline(always)]
            fn truncate(value: u128) -> Self {
                value as Self
            }

            #[inline(always)]
            fn widen(self) -> u128 {
                u128::from(self)
            }
        }
    )*};
}

word!(u8, u16, u32, u64, u128);
