//! A flat binary: its bytes at an address, entered there in real mode.

use super::plan::Plan;
use super::{BootError, BootSource, InitialState, Protocol};

/// The segment is the address without its low four bits, the offset is those: `CS:IP = address >> 4 : address & 15`. There is no BIOS, no stack is set up
/// (SS:SP is 0:0, so the first push goes to 0:fffe), and no file or command line can be passed.
pub(super) fn plan<'a>(source: &BootSource<'a>, plan: &mut Plan<'a>) -> Result<InitialState, BootError> {
    let protocol = Protocol::Flat;
    for (given, what) in [
        (source.initrd.is_some(), "an initial RAM disk"),
        (!source.modules.is_empty(), "a module"),
        (!source.command_line.is_empty(), "a command line"),
    ] {
        if given {
            return Err(BootError::NotTaken { what, protocol });
        }
    }
    if source.kernel.is_empty() {
        return Err(BootError::Empty { what: "the flat binary".to_owned() });
    }
    let address = source.flat_address.unwrap_or(0);
    let low = u32::try_from(address).ok().filter(|&low| low < 1 << 20);
    let low = low.ok_or(BootError::FlatAddress { address })?;
    plan.claim("the flat binary", address, source.kernel.len() as u64)?;
    plan.put("the flat binary", address, source.kernel);
    // Below 1 MiB the segment has 16 bits.
    Ok(InitialState::real((low >> 4) as u16, (low & 0xf) as u16))
}
