//! Inputs of several parts, written so that people can read them: each part begins with a line
//! `%%name`, and what stands before the first has no name.

/// The parts of an input, in order, each with its name and its bytes. The line break before a
/// part's line belongs to that line.
#[must_use]
pub fn split(bytes: &[u8]) -> Vec<(&str, &[u8])> {
    let mut parts = vec![("", bytes)];
    while let Some((_, last)) = parts.last().copied() {
        let Some((before, name, after)) = next(last) else {
            break;
        };
        if let Some(last) = parts.last_mut() {
            last.1 = before;
        }
        parts.push((name, after));
    }
    parts
}

/// The bytes before the first line `%%name`, the name, and the bytes behind that line.
fn next(bytes: &[u8]) -> Option<(&[u8], &str, &[u8])> {
    let mut from = 0;
    loop {
        let at = from + bytes[from..].windows(2).position(|two| two == b"%%")?;
        from = at + 2;
        if at > 0 && bytes[at - 1] != b'\n' {
            continue;
        }
        let rest = &bytes[from..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (name, after) = match end {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &[][..]),
        };
        if let Ok(name) = std::str::from_utf8(name) {
            return Some((&bytes[..at.saturating_sub(1)], name.trim(), after));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_taken_apart_at_its_lines() {
        let bytes = b"first\n%%one\n1\n100%% two\n%%two\n%%three";
        let expected: [(&str, &[u8]); 4] = [
            ("", b"first"),
            ("one", b"1\n100%% two"),
            ("two", b""),
            ("three", b""),
        ];
        assert_eq!(split(bytes), expected);
        assert_eq!(split(b""), [("", &b""[..])]);
        assert_eq!(split(b"%%a\nx"), [("", &b""[..]), ("a", b"x")]);
    }
}
