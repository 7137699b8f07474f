//! What can be read and written in one access.

/// A little-endian value of a fixed size that any bytes are valid for.
///
/// # Safety
/// Implemented for plain integers only: no padding, every bit pattern valid.
pub unsafe trait Word: Copy + Default + 'static {
    /// Bytes.
    const SIZE: u64 = size_of::<Self>() as u64;
}

// SAFETY: integers have neither padding nor invalid values.
unsafe impl Word for u8 {}
// SAFETY: as above.
unsafe impl Word for u16 {}
// SAFETY: as above.
unsafe impl Word for u32 {}
// SAFETY: as above.
unsafe impl Word for u64 {}
// SAFETY: as above.
unsafe impl Word for u128 {}
