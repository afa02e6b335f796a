//! Which passwords are taken: length above all, as NIST SP 800-63B says, and none that is guessed first.

use crate::secret::Secret;

/// The most bytes of a password. Longer ones are refused before they are hashed.
pub const LONGEST_PASSWORD: usize = 1024;

/// The fewest characters of one.
pub const LEAST_PASSWORD_CHARS: usize = 8;

/// What everybody tries first, of eight characters or more.
const GUESSED_FIRST: &[&str] = &[
    "password",
    "password1",
    "passw0rd",
    "12345678",
    "123456789",
    "1234567890",
    "87654321",
    "qwertyui",
    "qwertyuiop",
    "1q2w3e4r",
    "1qaz2wsx",
    "abcdefgh",
    "abcd1234",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "superman",
    "trustno1",
    "letmein1",
    "changeme",
    "administrator",
    "cloudai1",
];

/// Everything that is wrong with a new password of the user of this name; empty: nothing.
#[must_use]
pub fn check_password(password: &Secret, user: &str, least_chars: usize) -> Vec<String> {
    let text = password.expose();
    let mut wrong = Vec::new();
    if text.len() > LONGEST_PASSWORD {
        wrong.push(format!(
            "is {} bytes long: expected at most {LONGEST_PASSWORD}",
            text.len()
        ));
        // The rest would only look at all of it.
        return wrong;
    }
    let chars = text.chars().count();
    if chars < least_chars {
        wrong.push(format!(
            "is {chars} characters long: expected at least {least_chars}"
        ));
    }
    if text.chars().any(char::is_control) {
        wrong.push("has control characters: expected what can be typed".to_owned());
    }
    let lower = text.to_lowercase();
    let first = lower.chars().next();
    if GUESSED_FIRST.contains(&lower.as_str()) || lower.chars().all(|c| Some(c) == first) {
        wrong.push("is among those that are guessed first: expected another one".to_owned());
    } else if lower == user.to_lowercase() {
        wrong.push("is the user name: expected another one".to_owned());
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        check_password(&text.into(), "Ada.Lovelace", 8).join("; ")
    }

    #[test]
    fn long_words_are_taken_whatever_they_are_of() {
        for good in [
            "correct horse battery staple",
            "größtenteils",
            "  spaces  ",
            "日本語日本語日本",
        ] {
            assert_eq!(wrong(good), "", "{good}");
        }
        assert_eq!(wrong(&"ab".repeat(512)), "");
    }

    #[test]
    fn all_that_is_wrong_is_said() {
        assert_eq!(
            wrong("tooshrt"),
            "is 7 characters long: expected at least 8"
        );
        assert!(wrong("a\u{7}b").contains("3 characters long"));
        assert!(wrong("a\u{7}b").contains("control characters"));
        assert!(wrong("PassWord").contains("guessed first"));
        assert!(wrong("xxxxxxxxxxxx").contains("guessed first"));
        assert!(wrong("ada.lovelace").contains("user name"));
        assert!(wrong(&"ab".repeat(513)).contains("at most 1024"));
        // Eight characters are counted, not eight bytes.
        assert!(wrong("ääää").contains("4 characters long"));
    }
}
