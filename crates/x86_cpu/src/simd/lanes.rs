//! Packed values seen as lanes.
//!
//! [`build`] makes every lane of a result from two packed operands through a closure. It is deliberately not inlined:
//! its operands then are bytes behind references, and LLVM vectorises the loop into the one or few vector instructions
//! that are meant. Inlined into a caller that holds the operands as `u128` values, the same loop is taken apart into
//! some hundred shifts and masks of general registers.

/// A value made of lanes: `u64` (MMX) or `u128` (XMM).
pub(crate) trait Packed:
    Copy
    + Eq
    + std::ops::BitAnd<Output = Self>
    + std::ops::BitOr<Output = Self>
    + std::ops::BitXor<Output = Self>
    + std::ops::Not<Output = Self>
{
    /// The value as bytes, lowest first.
    type Bytes: Copy + AsRef<[u8]> + AsMut<[u8]>;
    /// Number of bytes.
    const BYTES: usize;
    /// All bytes zero.
    const ZERO_BYTES: Self::Bytes;
    /// To bytes, lowest first.
    fn to_bytes(self) -> Self::Bytes;
    /// From bytes, lowest first.
    fn from_bytes(bytes: Self::Bytes) -> Self;
}

macro_rules! packed {
    ($($ty:ty),*) => {$(
        impl Packed for $ty {
            type Bytes = [u8; size_of::<$ty>()];
            const BYTES: usize = size_of::<$ty>();
            const ZERO_BYTES: Self::Bytes = [0; size_of::<$ty>()];
            #[inline(always)]
            fn to_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }
            #[inline(always)]
            fn from_bytes(bytes: Self::Bytes) -> Self {
                <$ty>::from_le_bytes(bytes)
            }
        }
    )*};
}
packed!(u64, u128);

/// A lane: an integer of 8 to 64 bits, signed or not.
pub(crate) trait Lane: Copy {
    /// Number of bytes.
    const BYTES: usize;
    /// Reads lane `index` of `bytes`.
    fn load(bytes: &[u8], index: usize) -> Self;
    /// Writes lane `index` of `bytes`.
    fn store(self, bytes: &mut [u8], index: usize);
}

macro_rules! lane {
    ($($ty:ty),*) => {$(
        impl Lane for $ty {
            const BYTES: usize = size_of::<$ty>();
            #[inline(always)]
            fn load(bytes: &[u8], index: usize) -> Self {
                const N: usize = size_of::<$ty>();
                let mut lane = [0; N];
                lane.copy_from_slice(&bytes[index * N..index * N + N]);
                <$ty>::from_le_bytes(lane)
            }
            #[inline(always)]
            fn store(self, bytes: &mut [u8], index: usize) {
                const N: usize = size_of::<$ty>();
                bytes[index * N..index * N + N].copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
lane!(u8, i8, u16, i16, u32, i32, u64, i64);

/// An operand of [`build`], to be read lane by lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand<'a, S> {
    bytes: &'a [u8],
    lane: std::marker::PhantomData<S>,
}

impl<S: Lane> Operand<'_, S> {
    /// Lane `index`, counted in lanes of `S`.
    #[inline(always)]
    pub(crate) fn get(self, index: usize) -> S {
        S::load(self.bytes, index)
    }
}

/// Builds a packed value: lane `i` (of type `D`) is `f(a, b, i)`, where the operands are read as lanes of type `S`.
#[inline(always)]
pub(crate) fn build<V: Packed, S: Lane, D: Lane>(
    a: V,
    b: V,
    f: impl Fn(Operand<'_, S>, Operand<'_, S>, usize) -> D,
) -> V {
    V::from_bytes(build_bytes::<V, S, D>(&a.to_bytes(), &b.to_bytes(), f))
}

#[inline(never)]
fn build_bytes<V: Packed, S: Lane, D: Lane>(
    a: &V::Bytes,
    b: &V::Bytes,
    f: impl Fn(Operand<'_, S>, Operand<'_, S>, usize) -> D,
) -> V::Bytes {
    let mut result = V::ZERO_BYTES;
    let a = Operand { bytes: a.as_ref(), lane: std::marker::PhantomData };
    let b = Operand { bytes: b.as_ref(), lane: std::marker::PhantomData };
    for i in 0..V::BYTES / D::BYTES {
        f(a, b, i).store(result.as_mut(), i);
    }
    result
}

/// Lane by lane: `f(a[i], b[i])`.
#[inline(always)]
pub(crate) fn zip<V: Packed, L: Lane>(a: V, b: V, f: impl Fn(L, L) -> L) -> V {
    build::<V, L, L>(a, b, |a, b, i| f(a.get(i), b.get(i)))
}

/// Lane by lane: `f(a[i])`.
#[inline(always)]
pub(crate) fn map<V: Packed, L: Lane>(a: V, f: impl Fn(L) -> L) -> V {
    build::<V, L, L>(a, a, |a, _, i| f(a.get(i)))
}

/// Number of lanes of type `L` in a value of type `V`.
#[inline(always)]
pub(crate) const fn count<V: Packed, L: Lane>() -> usize {
    V::BYTES / L::BYTES
}
