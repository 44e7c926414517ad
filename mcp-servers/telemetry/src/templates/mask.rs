//! Replaces what varies from line to line by nature: numbers, identities, addresses, quoted text.

/// What stands where something varies.
pub const WILDCARD: &str = "<*>";

/// The line with a wildcard for each number, hexadecimal identity, UUID, IP address and quoted text.
///
/// Numbers inside a word stay (`http2`, `s3`), and so does a unit that follows a number (`<*>ms`).
#[must_use]
pub fn mask(line: &str) -> String {
    let bytes = line.as_bytes();
    let mut masked = String::with_capacity(line.len());
    let mut at = 0;
    while at < bytes.len() {
        let length = if at > 0 && is_word(bytes[at - 1]) {
            None
        } else {
            quoted(bytes, at)
                .or_else(|| identity(bytes, at))
                .or_else(|| numeric(bytes, at))
        };
        if let Some(length) = length {
            if !masked.ends_with(WILDCARD) {
                masked.push_str(WILDCARD);
            }
            at += length;
        } else {
            // Whole words are copied at once; everything below 0x80 is a boundary of UTF-8.
            let mut end = at + 1;
            while end < bytes.len()
                && (bytes[end] >= 0x80 || is_word(bytes[end - 1]) && is_word(bytes[end]))
            {
                end += 1;
            }
            masked.push_str(&line[at..end]);
            at = end;
        }
    }
    masked
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Text in double or single quotes; an apostrophe inside a word does not open any.
fn quoted(bytes: &[u8], at: usize) -> Option<usize> {
    let quote = bytes[at];
    if quote != b'"' && quote != b'\'' {
        return None;
    }
    let mut escaped = false;
    for (offset, &byte) in bytes[at + 1..].iter().enumerate() {
        if byte == quote && !escaped {
            return Some(offset + 2);
        }
        escaped = byte == b'\\' && !escaped;
    }
    None
}

/// `0x…`, a UUID, or at least eight hexadecimal digits of which one is decimal and no letter follows.
fn identity(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    if rest.starts_with(b"0x") {
        let digits = run(&rest[2..], |byte| byte.is_ascii_hexdigit());
        return (digits > 0).then_some(digits + 2);
    }
    let length = run(rest, |byte| byte.is_ascii_hexdigit() || byte == b'-');
    let token = &rest[..length];
    let ends = rest.get(length).is_none_or(|&byte| !is_word(byte));
    let digits = token.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    let decimal = token.iter().any(u8::is_ascii_digit);
    let whole = !token.contains(&b'-') || is_uuid(token);
    (ends && decimal && digits >= 8 && whole && token.iter().any(u8::is_ascii_alphabetic))
        .then_some(length)
}

fn is_uuid(token: &[u8]) -> bool {
    token
        .split(|&byte| byte == b'-')
        .map(<[u8]>::len)
        .eq([8, 4, 4, 4, 12])
}

/// Digits with dots, commas, colons, dashes and slashes between them: numbers, times, dates,
/// addresses with ports, prefixes.
fn numeric(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let signed = usize::from(rest[0] == b'-' || rest[0] == b'+');
    let mut length = signed + run(&rest[signed..], |byte| byte.is_ascii_digit());
    if length == signed {
        return None;
    }
    while let Some(&between) = rest.get(length) {
        let digits = match between {
            b'.' | b',' | b':' | b'-' | b'/' => run(&rest[length + 1..], |b| b.is_ascii_digit()),
            _ => 0,
        };
        if digits == 0 {
            break;
        }
        length += 1 + digits;
    }
    // A word that begins with a digit (`3rd`, `2xx`) is a word; a short unit after it is not.
    let after = run(&rest[length..], is_word);
    let unit = &rest[length..length + after];
    (after == 0 || UNITS.contains(&unit) || unit.first() == Some(&b'T')).then_some(length)
}

const UNITS: [&[u8]; 17] = [
    b"ns", b"us", b"ms", b"s", b"m", b"h", b"d", b"B", b"KB", b"MB", b"GB", b"KiB", b"MiB", b"GiB",
    b"k", b"rps", b"qps",
];

fn run(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|&&byte| belongs(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn what_varies_by_nature_becomes_a_wildcard() {
        for (line, masked) in [
            ("took 35ms for order 1042", "took <*>ms for order <*>"),
            ("user 3f2a9c1e77b04d55 unknown", "user <*> unknown"),
            (
                "id=7b1f6a04-3c1d-4a8e-9d2c-0a1b2c3d4e5f gone",
                "id=<*> gone",
            ),
            ("dial tcp 10.0.3.17:5432: refused", "dial tcp <*>: refused"),
            ("no route for \"/a/b c\" here", "no route for <*> here"),
            ("at 0xdeadbeef", "at <*>"),
            ("-3.5% of 1,000", "<*>% of <*>"),
            ("[12/30] done", "[<*>] done"),
            ("Größe 5 – café 7", "Größe <*> – café <*>"),
        ] {
            assert_eq!(mask(line), masked);
        }
    }

    #[test]
    fn words_stay_even_with_digits_in_them() {
        for line in [
            "http2 to s3 failed",
            "can't connect",
            "deadbeef cafe",
            "2xx and 3rd",
            "facade",
        ] {
            assert_eq!(mask(line), line);
        }
    }
}
