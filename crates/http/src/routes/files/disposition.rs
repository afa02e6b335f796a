//! The name under which a download is saved. A container may call a file whatever it likes: no byte
//! of it leaves the header's value.

use axum::http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but what RFC 8187 lets stand as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// `attachment` with the name twice: for old programs in ASCII without anything that means something
/// in a quoted text, and whole (RFC 6266).
pub(super) fn attachment(name: &str) -> HeaderValue {
    let plain: String = name
        .chars()
        .map(|c| match c {
            '"' | '\\' | '/' | '%' => '_',
            c if c == ' ' || c.is_ascii_graphic() => c,
            _ => '_',
        })
        .collect();
    let whole = utf8_percent_encode(name, ESCAPED);
    let text = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_the_header() {
        for (name, expected) in [
            (
                "model.bin",
                r#"attachment; filename="model.bin"; filename*=UTF-8''model.bin"#,
            ),
            (
                "a\r\nSet-Cookie: x=y",
                r#"attachment; filename="a__Set-Cookie: x=y"; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x%3Dy"#,
            ),
            (
                r#"x"; filename=".bashrc"#,
                r#"attachment; filename="x_; filename=_.bashrc"; filename*=UTF-8''x%22%3B%20filename%3D%22.bashrc"#,
            ),
            (
                "größe\u{202e}.txt",
                r#"attachment; filename="gr__e_.txt"; filename*=UTF-8''gr%C3%B6%C3%9Fe%E2%80%AE.txt"#,
            ),
        ] {
            assert_eq!(attachment(name).to_str().unwrap(), expected);
        }
    }
}
