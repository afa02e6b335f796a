//! Keys for programs: how one is made, read and told from others. Only its hash is kept.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::secret::{NoRandomness, Secret, random};

/// What every key begins with, so that people and scanners of repositories know one.
pub(crate) const PREFIX: &str = "cak_";
/// Hex digits that name a key, and may be shown.
const ID_LEN: usize = 16;
/// Hex digits that nobody may see: 256 bits.
const SECRET_LEN: usize = 64;

/// A new key: its id, the whole of it, and what is kept.
pub(crate) struct NewKey {
    pub(crate) id: String,
    pub(crate) whole: Secret,
    pub(crate) hash: [u8; 32],
}

/// Makes a key: `cak_<16 hex digits>_<64 hex digits>`.
pub(crate) fn make() -> Result<NewKey, NoRandomness> {
    let id = hex::encode(random::<{ ID_LEN / 2 }>()?);
    let secret = Secret::new(hex::encode(random::<{ SECRET_LEN / 2 }>()?));
    let whole = Secret::new(format!("{PREFIX}{id}_{}", secret.expose()));
    let hash = hash(whole.expose());
    Ok(NewKey { id, whole, hash })
}

/// Whether a text has the form of a key's id.
pub(crate) fn is_id(text: &str) -> bool {
    is_hex(text, ID_LEN)
}

/// The id in a text that has the form of a key.
pub(crate) fn id_of(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    (is_hex(id, ID_LEN) && is_hex(secret, SECRET_LEN)).then_some(id)
}

/// Whether a text is the key of this hash, in a time that doesn't tell how much of it is right.
pub(crate) fn is_of(text: &str, kept: &[u8; 32]) -> bool {
    hash(text).ct_eq(kept).into()
}

fn is_hex(text: &str, len: usize) -> bool {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == len && text.bytes().all(is_digit)
}

fn hash(whole: &str) -> [u8; 32] {
    Sha256::digest(whole.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_id_and_matches_itself_alone() {
        let (one, other) = (make().unwrap(), make().unwrap());
        assert_eq!(id_of(one.whole.expose()), Some(one.id.as_str()));
        assert!(is_of(one.whole.expose(), &one.hash));
        assert!(!is_of(other.whole.expose(), &one.hash));
        assert_ne!(one.id, other.id);
    }

    #[test]
    fn what_has_not_the_form_is_not_looked_up() {
        let whole = make().unwrap().whole;
        let whole = whole.expose();
        for len in 0..whole.len() {
            assert_eq!(id_of(&whole[..len]), None);
        }
        assert_eq!(id_of(&format!("{whole}0")), None);
        assert_eq!(id_of(&whole.to_uppercase()), None);
        assert_eq!(id_of(&whole.replacen('_', "-", 1)), None);
    }
}
