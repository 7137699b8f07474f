//! Numbers as people write them on a command line.

/// A size in bytes. As for QEMU's `-m`, a number alone counts MiB; a suffix says otherwise.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix.to_ascii_uppercase().as_str() {
        "B" => 0,
        "K" | "KIB" => 10,
        "" | "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        _ => return Err(format!("{suffix:?} is no unit; use K, M, G or T, as in 512M or 1G")),
    };
    if number.is_empty() {
        return Err("there is no number; give a size such as 512M or 1G".to_owned());
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "that is more than 64 bits can count".to_owned())
}

/// A count; `_` may group its digits, and K, M and G mean thousand, million and billion.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let plain: String = text.trim().chars().filter(|&character| character != '_').collect();
    let digits = plain.find(|character: char| !character.is_ascii_digit()).unwrap_or(plain.len());
    let (number, suffix) = plain.split_at(digits);
    let factor = match suffix {
        "" => 1,
        "k" | "K" => 1_000,
        "m" | "M" => 1_000_000,
        "g" | "G" => 1_000_000_000,
        _ => return Err(format!("{suffix:?} is no unit; use K, M or G (thousand, million, billion)")),
    };
    if number.is_empty() {
        return Err("there is no number; give a count such as 5000000 or 5M".to_owned());
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "that is more than 64 bits can count".to_owned())
}

/// An address, hexadecimal with `0x` and decimal without.
pub(crate) fn address(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| "that is no address; give one such as 0x10000".to_owned())
}

/// Bytes, for people: in the largest unit that leaves no fraction.
pub(crate) fn describe_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|&(shift, _)| bytes != 0 && bytes.is_multiple_of(1 << shift)) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

/// A number with its digits in groups of three.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512", 512 << 20),
            ("1G", 1 << 30),
            ("1g", 1 << 30),
            ("2GiB", 2 << 30),
            ("64K", 64 << 10),
            ("3T", 3 << 40),
            ("4097B", 4097),
            ("0", 0),
            ("16777215T", 16_777_215 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "1X", "-1", "1.5G", "1 000", "16777216T", "99999999999999999999"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!(count("5_000"), Ok(5_000));
        assert_eq!(count("5M"), Ok(5_000_000));
        for text in ["", "M", "5MiB", "-5", "18446744073709551616", "18446744073709551615K"] {
            assert!(count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(address("0x7c00"), Ok(0x7c00));
        assert_eq!(address("4096"), Ok(4096));
        for text in ["", "0x", "7c00", "0x+1", "-1", "0x10000000000000000"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(describe_size(1 << 30), "1 GiB");
        assert_eq!(describe_size(1 << 30 | 4096), "1048580 KiB");
        assert_eq!(describe_size(0), "0 bytes");
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(grouped(123_456), "123 456");
    }
}
