//! One password to its hash and back: argon2id as PHC strings. Slow on purpose; never on an async thread.

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _},
};

use super::cost::PasswordCost;
use crate::secret::{NoRandomness, Secret, random};

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    /// No salt.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// Such as no memory.
    #[error("argon2 failed: {0}")]
    Argon2(String),
}

/// The hash of a password under a salt of its own, as `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
pub(super) fn hash(password: &Secret, cost: PasswordCost) -> Result<String, HashError> {
    let failed = |error: String| HashError::Argon2(error);
    let salt: [u8; 16] = random()?;
    let params = cost.params().map_err(|error| failed(error.to_string()))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2
        .hash_password_with_salt(password.expose().as_bytes(), &salt)
        .map_err(|error| failed(error.to_string()))?;
    Ok(hash.to_string())
}

/// A stored hash that can be told from a password.
pub(super) struct Stored {
    hash: PasswordHash,
    cost: PasswordCost,
}

impl Stored {
    /// Reads a PHC string. `None` for what no password can match: another algorithm or version, no
    /// salt, or parameters under which a login would take the machine down.
    pub(super) fn read(text: &str) -> Option<Self> {
        let hash = PasswordHash::new(text).ok()?;
        // What lacks a version is of the first one, which the crate would take for the current one.
        let ours = hash.algorithm == Algorithm::Argon2id.ident()
            && hash.version == Some(Version::V0x13.into())
            && hash.salt.is_some()
            && hash.hash.is_some();
        let cost = PasswordCost::of(&Params::try_from(&hash).ok()?);
        (ours && cost.is_bearable()).then_some(Self { hash, cost })
    }

    /// Whether this is the password. Compared in constant time by the crate.
    pub(super) fn is_of(&self, password: &Secret) -> bool {
        Argon2::default()
            .verify_password(password.expose().as_bytes(), &self.hash)
            .is_ok()
    }

    /// Whether a guess at it is cheaper than at one made under `cost`.
    pub(super) fn is_cheaper_than(&self, cost: PasswordCost) -> bool {
        let length = self
            .hash
            .hash
            .as_ref()
            .map_or(0, |hash| hash.as_bytes().len());
        self.cost.work() < cost.work() || length < Params::DEFAULT_OUTPUT_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the reference implementation; `tests/vectors/NOTICE-argon2.txt` says whence.
    #[derive(serde::Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        version: u32,
        #[serde(rename = "type")]
        kind: String,
        t_cost: u32,
        m_cost_kib: u32,
        lanes: u32,
        password: String,
        salt: String,
        hash_hex: String,
        encoded: String,
    }

    fn vectors() -> Vec<Vector> {
        let text = include_str!("../../tests/vectors/argon2_vectors.json");
        serde_json::from_str::<Vectors>(text).unwrap().vectors
    }

    #[test]
    fn argon2_computes_what_the_reference_does() {
        let vectors = vectors();
        assert_eq!(vectors.len(), 26);
        for vector in vectors {
            let params =
                Params::new(vector.m_cost_kib, vector.t_cost, vector.lanes, Some(32)).unwrap();
            let algorithm = Algorithm::new(&vector.kind).unwrap();
            let version = Version::try_from(vector.version).unwrap();
            let mut out = [0; 32];
            Argon2::new(algorithm, version, params)
                .hash_password_into(vector.password.as_bytes(), vector.salt.as_bytes(), &mut out)
                .unwrap();
            assert_eq!(hex::encode(out), vector.hash_hex, "{}", vector.encoded);
        }
    }

    #[test]
    fn of_the_references_hashes_those_of_argon2id_open_with_their_password() {
        let mut read = 0;
        for vector in vectors() {
            let stored = Stored::read(&vector.encoded);
            if vector.kind != "argon2id" {
                assert!(stored.is_none(), "{}", vector.encoded);
                continue;
            }
            read += 1;
            let stored = stored.unwrap();
            assert!(
                stored.is_of(&vector.password.as_str().into()),
                "{}",
                vector.encoded
            );
            // A wrong one costs as much; one of them shows that it is refused.
            if vector.m_cost_kib == 256 {
                assert!(!stored.is_of(&"Password".into()), "{}", vector.encoded);
            }
        }
        assert_eq!(read, 8);
    }

    #[test]
    fn a_hash_opens_with_its_password_alone_and_is_another_each_time() {
        let cost = PasswordCost::for_tests();
        let text = hash(&"correct horse".into(), cost).unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{text}");
        let stored = Stored::read(&text).unwrap();
        assert!(stored.is_of(&"correct horse".into()));
        assert!(!stored.is_of(&"correct horse ".into()));
        assert!(!stored.is_of(&"".into()));
        assert_ne!(text, hash(&"correct horse".into(), cost).unwrap());
    }

    #[test]
    fn what_no_password_can_match_is_not_tried() {
        let good = hash(&"x".into(), PasswordCost::for_tests()).unwrap();
        assert!(Stored::read(&good).is_some());
        for bad in [
            String::new(),
            "!".to_owned(),
            "$2b$12$abcdefghijklmnopqrstuv".to_owned(),
            good.replace("argon2id", "argon2i"),
            good.replace("argon2id", "argon2d"),
            good.replace("$v=19", ""),
            good.replace("$v=19", "$v=16"),
            good.replace("m=8,", "m=4194304,"),
            good.replace("t=1,", "t=4000000,"),
            good.replace("p=1$", "p=16777215$"),
            good.rsplit_once('$').unwrap().0.to_owned(),
            good[..good.len() / 2].to_owned(),
        ] {
            assert!(Stored::read(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_hash_is_cheaper_by_work_and_not_by_one_figure_of_it() {
        let weak = Stored::read(&hash(&"x".into(), PasswordCost::for_tests()).unwrap()).unwrap();
        assert!(weak.is_cheaper_than(PasswordCost::OWASP));
        assert!(!weak.is_cheaper_than(PasswordCost::for_tests()));
        // As the Go master made them: fewer passes, over more memory.
        let go = "$argon2id$v=19$m=65536,t=1,p=4$c29tZXNhbHRzb21lc2FsdA$\
                  9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ";
        assert!(
            !Stored::read(go)
                .unwrap()
                .is_cheaper_than(PasswordCost::OWASP)
        );
    }
}
