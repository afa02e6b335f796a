//! Lists in pages. A cursor names the last item of a page, not a count: what is added meanwhile
//! moves nothing.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What `cursor` is for the next page; null on the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of `items`, of which one more than `limit` was asked for, to know whether there is a
    /// next page.
    #[must_use]
    pub fn cut<K: Serialize>(
        mut items: Vec<T>,
        limit: usize,
        list: &'static str,
        key: impl Fn(&T) -> K,
    ) -> Self {
        let next_cursor = (items.len() > limit).then(|| {
            items.truncate(limit);
            items.last().map(|last| Cursor::of(list, &key(last)))
        });
        Self {
            items,
            next_cursor: next_cursor.flatten(),
        }
    }

    /// A page behind which it goes on after the item of this key, if it does.
    #[must_use]
    pub fn ending_at<K: Serialize>(items: Vec<T>, list: &'static str, last: Option<K>) -> Self {
        Self {
            items,
            next_cursor: last.map(|last| Cursor::of(list, &last)),
        }
    }

    /// The same page of something else.
    #[must_use]
    pub fn map<U>(self, each: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(each).collect(),
            next_cursor: self.next_cursor,
        }
    }
}

/// A text that is no cursor of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorError;

/// A place in a list, as a text that nobody needs to understand.
pub struct Cursor;

impl Cursor {
    fn of<K: Serialize>(list: &str, key: &K) -> String {
        // A key is a number or a few of them, and a text: that has a form in JSON.
        let json = serde_json::to_vec(&(list, key)).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(json)
    }

    /// The key that a cursor of this list holds.
    ///
    /// # Errors
    /// It is another list's, or none.
    pub fn read<K: DeserializeOwned>(list: &str, text: &str) -> Result<K, CursorError> {
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let (of, key): (String, K) = serde_json::from_slice(&json).map_err(|_| CursorError)?;
        if of == list {
            Ok(key)
        } else {
            Err(CursorError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_there_if_there_is_more_and_names_the_last_item() {
        let page = Page::cut(vec![9_u64, 8, 7], 2, "tasks", |n| *n);
        assert_eq!(page.items, [9, 8]);
        let cursor = page.next_cursor.unwrap();
        assert_eq!(Cursor::read::<u64>("tasks", &cursor), Ok(8));
        assert_eq!(Cursor::read::<u64>("files", &cursor), Err(CursorError));
        let last = Page::cut(vec![7_u64], 2, "tasks", |n| *n);
        assert_eq!(last.next_cursor, None);
    }

    #[test]
    fn what_somebody_made_up_is_no_cursor() {
        for text in [
            "",
            "1",
            "....",
            "WyJ0YXNrcyIsLTFd",
            "WyJ0YXNrcyIsIngiXQ",
            "é",
        ] {
            assert_eq!(
                Cursor::read::<u64>("tasks", text),
                Err(CursorError),
                "{text}"
            );
        }
    }
}
