//! A state to MessagePack and back.

use rmp_serde::config::BytesMode;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Deepest nesting a section may have. Saved types are flat; the limit bounds the stack a hostile section can take.
const MAX_DEPTH: usize = 64;

/// Structs as maps of named fields, bytes as binary.
pub(crate) fn encode<S: Serialize>(state: &S) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut out = Vec::new();
    let mut serializer =
        rmp_serde::Serializer::new(&mut out).with_struct_map().with_bytes(BytesMode::ForceAll);
    state.serialize(&mut serializer)?;
    Ok(out)
}

/// A decoder over `payload`. It borrows: lengths inside are checked against what is there, and serde reserves no more
/// than a fixed amount ahead of elements it has seen.
pub(crate) fn decoder(payload: &[u8]) -> rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'_, [u8]>> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(payload);
    decoder.set_max_depth(MAX_DEPTH);
    decoder
}

pub(crate) fn decode<S: DeserializeOwned>(payload: &[u8]) -> Result<S, rmp_serde::decode::Error> {
    S::deserialize(&mut decoder(payload))
}
