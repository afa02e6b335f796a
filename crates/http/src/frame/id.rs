//! The id of a request: the client's own, if it is one, so that its log and ours can be held side
//! by side.

use std::sync::Arc;

use axum::http::HeaderMap;

use super::X_REQUEST_ID;

/// The longest id that is taken over.
const LONGEST: usize = 64;

/// The request's own id, or a new one.
pub(super) fn of(headers: &HeaderMap) -> Arc<str> {
    let own = headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    own.filter(|id| is_valid(id)).map_or_else(fresh, Into::into)
}

/// What can stand in a header and in a line of a log, and means nothing there.
fn is_valid(id: &str) -> bool {
    (1..=LONGEST).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn fresh() -> Arc<str> {
    let mut bytes = [0; 8];
    // Without randomness requests can't be told apart, and are answered all the same.
    let _ = getrandom::fill(&mut bytes).is_ok();
    hex::encode(bytes).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn answered(id: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_str(id).unwrap());
        of(&headers).to_string()
    }

    #[test]
    fn a_plain_id_is_taken_over_and_anything_else_is_not() {
        assert_eq!(answered("job-7.a_B"), "job-7.a_B");
        for strange in [
            "",
            "a b",
            "a\"b",
            "{}",
            "level=error x",
            "<b>",
            &"a".repeat(65),
        ] {
            let made = answered(strange);
            assert_ne!(made, strange);
            assert_eq!(made.len(), 16);
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
