//! PVH: an ELF kernel entered in 32-bit protected mode with a `hvm_start_info` (Xen, `docs/misc/pvh.pandoc` and `public/arch-x86/hvm/start_info.h`).

use x86_defs::gpr;

use super::elf::ElfImage;
use super::plan::Plan;
use super::{BootError, BootSource, InitialState};

/// `XEN_HVM_START_MAGIC_VALUE`.
const START_MAGIC: u32 = 0x336e_c578;
/// With a memory map.
const START_VERSION: u32 = 1;

pub(super) fn plan<'a>(source: &BootSource<'a>, plan: &mut Plan<'a>) -> Result<InitialState, BootError> {
    let image = ElfImage::parse(source.kernel)?;
    let entry = image.pvh_entry.ok_or_else(|| BootError::BadHeader {
        header: "ELF header",
        reason: "it has no PVH note, and no multiboot header that makes it a multiboot kernel (those are 32-bit ELF files: objcopy -O elf32-i386 makes one)".to_owned(),
    })?;
    let entry = image.entry_at(entry)?;
    image.plan(plan)?;

    let command_line = c_string(source.command_line);
    let command_line = plan.put_low("the command line", command_line, 1)?;

    // struct hvm_modlist_entry: address, size, command line, reserved.
    let mut modules = Vec::new();
    for (number, module) in source.all_modules().enumerate() {
        let what = format!("module {number}");
        if module.bytes.is_empty() {
            return Err(BootError::Empty { what });
        }
        let address = plan.place_high(what.as_str(), module.bytes.len() as u64, 0x1000, 1 << 32)?;
        plan.put(what, address, module.bytes);
        let text = plan.put_low("a module's command line", c_string(module.command_line), 1)?;
        modules.extend([address, module.bytes.len() as u64, text, 0]);
    }
    let count = (modules.len() / 4) as u32;
    let modules: Vec<u8> = modules.into_iter().flat_map(u64::to_le_bytes).collect();
    let modules = if count == 0 { 0 } else { plan.put_low("the list of modules", modules, 8)? };

    // struct hvm_memmap_table_entry: address, size, type, reserved.
    let mut map = Vec::new();
    for entry in plan.map() {
        map.extend(entry.start.to_le_bytes());
        map.extend(entry.len().to_le_bytes());
        map.extend((entry.kind as u32).to_le_bytes());
        map.extend([0; 4]);
    }
    let entries = plan.map().len() as u32;
    let map = plan.put_low("the memory map", map, 8)?;

    let mut info = Vec::new();
    for word in [START_MAGIC, START_VERSION, 0, count] {
        info.extend(word.to_le_bytes());
    }
    for address in [modules, command_line, plan.rsdp().unwrap_or(0), map] {
        info.extend(address.to_le_bytes());
    }
    for word in [entries, 0] {
        info.extend(word.to_le_bytes());
    }
    let info = plan.put_low("the start info", info, 8)?;

    let mut state = InitialState::protected_32(plan, entry)?;
    state.registers[gpr::RBX] = info;
    Ok(state)
}

/// Text as C has it; NULs within have been refused for the kernel, and end it for a module.
pub(super) fn c_string(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}
