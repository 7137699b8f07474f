//! What stands behind the `;` of a `code` line is what iced-x86 makes of its bytes, so that the text cannot lie.

use std::path::Path;

use iced_x86::{Decoder, DecoderOptions, Formatter, NasmFormatter};

use crate::machine::{CodeLine, Machine};
use crate::text::{self, Case};

fn disassemble(code: &CodeLine) -> Result<String, String> {
    let mut decoder =
        Decoder::with_ip(code.bits, &code.bytes, code.offset, DecoderOptions::FORCE_RESERVED_NOP);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return Ok("(bad)".to_owned());
    }
    if instruction.len() != code.bytes.len() {
        return Err(format!("one instruction of {} bytes and more behind it", instruction.len()));
    }
    let mut formatter = NasmFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    let mut text = String::new();
    formatter.format(&instruction, &mut text);
    Ok(text)
}

/// Comments of `case` that say something else than its bytes.
pub(crate) fn differences(case: &Case) -> Vec<String> {
    let machine = match Machine::new(case) {
        Ok(machine) => machine,
        Err(message) => return vec![message],
    };
    let told = |code: &CodeLine| match disassemble(code) {
        Ok(text) if text == code.comment => None,
        Ok(text) => Some(code.line.error(format!("the bytes are {text:?}"))),
        Err(message) => Some(code.line.error(message)),
    };
    machine.code.iter().filter_map(told).collect()
}

/// Writes what the bytes are behind every `;` of a `code` line.
pub(crate) fn accept(folder: &Path) {
    for (name, text) in text::files(folder) {
        let cases = text::parse(&name, &text).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for case in &cases {
            let machine = Machine::new(case).unwrap_or_else(|message| panic!("{message}"));
            for code in &machine.code {
                let line = &mut lines[code.line.place.line - 1];
                if let (Ok(text), Some(at)) = (disassemble(code), line.find(';')) {
                    line.truncate(at);
                    line.push_str("; ");
                    line.push_str(&text);
                }
            }
        }
        std::fs::write(folder.join(&name), lines.join("\n") + "\n").expect("the folder can be written");
    }
}
