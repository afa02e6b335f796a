//! The keys that sign tokens: which one signs, and which ones still count. No I/O here.

use std::time::Duration;

use cloudai_model::Wall;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The fewest bytes of a secret: as many as HS256 puts out (RFC 7518, 3.2).
pub const SHORTEST_SECRET: usize = 32;
/// The most bytes of one. More than a block of the hash makes nothing safer.
const LONGEST_SECRET: usize = 4096;

/// Why a ring can't be what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// A secret that could be guessed.
    #[error(
        "JWT_SECRET is {len} bytes long: expected {SHORTEST_SECRET} to {LONGEST_SECRET}, such as the output of \
         `openssl rand -hex 32`"
    )]
    SecretLength {
        /// How long it is.
        len: usize,
    },
    /// The current key is set from outside and would be back at the next start.
    #[error(
        "the tokens' key is JWT_SECRET: expected another JWT_SECRET and a restart, or none, for one that \
         is made here"
    )]
    FromSettings,
}

/// Whether this may be `JWT_SECRET`.
///
/// # Errors
/// If it is too short, or too long.
pub fn check_secret(secret: &[u8]) -> Result<(), RingError> {
    match secret.len() {
        SHORTEST_SECRET..=LONGEST_SECRET => Ok(()),
        len => Err(RingError::SecretLength { len }),
    }
}

/// Where a key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrigin {
    /// It was made here.
    Made,
    /// It is, or was, `JWT_SECRET`.
    Settings,
}

/// One key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SigningKey {
    /// Names it in the header of tokens; follows from the secret, and doesn't tell it.
    pub(super) kid: String,
    pub(super) secret: Zeroizing<Vec<u8>>,
    pub(super) origin: KeyOrigin,
    pub(super) created_at: Wall,
    /// The longest life of a token that it may have signed.
    pub(super) longest_life: Duration,
    /// When the last token that it signed has ended; `None` for the one that signs.
    pub(super) retired_until: Option<Wall>,
}

impl SigningKey {
    pub(super) fn new(secret: Vec<u8>, origin: KeyOrigin, life: Duration, now: Wall) -> Self {
        let secret = Zeroizing::new(secret);
        Self {
            kid: kid_of(&secret),
            secret,
            origin,
            created_at: now,
            longest_life: life,
            retired_until: None,
        }
    }

    fn retire(&mut self, now: Wall) {
        // A second more: tokens count in whole seconds.
        let longest = self.longest_life + Duration::from_secs(1);
        self.retired_until.get_or_insert(now.after(longest));
    }
}

/// Names a key by what nobody can get back to it from.
pub(super) fn kid_of(secret: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(b"cloudai token key id\0");
    let digest = mac.finalize().into_bytes();
    hex::encode(digest.get(..8).unwrap_or_default())
}

/// The key that signs, and those before it whose tokens haven't ended.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRing {
    pub(super) current: SigningKey,
    /// The last one to be retired first.
    pub(super) retired: Vec<SigningKey>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let retired: Vec<_> = self.retired.iter().map(|key| &key.kid).collect();
        f.debug_struct("KeyRing")
            .field("current", &self.current.kid)
            .field("retired", &retired)
            .finish()
    }
}

impl KeyRing {
    /// The ring for this start: the one that was kept, if one was, brought in line with the settings.
    ///
    /// `JWT_SECRET` signs if it is set. What signed before goes on counting until its tokens have ended.
    /// `fresh` is the secret of a key that is made here, should one be needed.
    ///
    /// # Errors
    /// If `JWT_SECRET` is too short, or too long.
    pub fn at_start(
        kept: Option<Self>,
        jwt_secret: Option<&[u8]>,
        token_lifetime: Duration,
        fresh: [u8; SHORTEST_SECRET],
        now: Wall,
    ) -> Result<Self, RingError> {
        jwt_secret.map_or(Ok(()), check_secret)?;
        let made = || match jwt_secret {
            Some(secret) => {
                SigningKey::new(secret.to_vec(), KeyOrigin::Settings, token_lifetime, now)
            }
            None => SigningKey::new(fresh.to_vec(), KeyOrigin::Made, token_lifetime, now),
        };
        let Some(mut ring) = kept else {
            return Ok(Self {
                current: made(),
                retired: Vec::new(),
            });
        };
        let goes_on = match jwt_secret {
            Some(secret) => ring.current.kid == kid_of(secret),
            // What was set from outside and is set no more is not wanted any more.
            None => ring.current.origin == KeyOrigin::Made,
        };
        if goes_on {
            let life = &mut ring.current.longest_life;
            *life = token_lifetime.max(*life);
            if jwt_secret.is_some() {
                ring.current.origin = KeyOrigin::Settings;
            }
        } else {
            ring.replace(made(), now);
        }
        ring.forget(now);
        Ok(ring)
    }

    /// Makes `fresh` the key that signs. What signed before counts until its tokens have ended; with
    /// `at_once`, for a key that somebody may have seen, all tokens end now.
    ///
    /// # Errors
    /// If the current key is `JWT_SECRET`.
    pub fn rotate(
        &mut self,
        fresh: [u8; SHORTEST_SECRET],
        token_lifetime: Duration,
        at_once: bool,
        now: Wall,
    ) -> Result<(), RingError> {
        if self.current.origin == KeyOrigin::Settings {
            return Err(RingError::FromSettings);
        }
        let key = SigningKey::new(fresh.to_vec(), KeyOrigin::Made, token_lifetime, now);
        self.replace(key, now);
        if at_once {
            self.retired.clear();
        }
        Ok(())
    }

    /// Drops the keys whose tokens have all ended; whether there were any.
    pub fn forget(&mut self, now: Wall) -> bool {
        let before = self.retired.len();
        self.retired.retain(|key| counts(key, now));
        self.retired.len() != before
    }

    /// When the key that signs was made, and how.
    #[must_use]
    pub fn current_since(&self) -> (Wall, KeyOrigin) {
        (self.current.created_at, self.current.origin)
    }

    /// The names of all keys, the one that signs first.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        let retired = self.retired.iter();
        std::iter::once(&self.current)
            .chain(retired)
            .map(|key| key.kid.as_str())
    }

    /// Whether there is a key of this name whose tokens count at this time.
    #[must_use]
    pub fn has(&self, kid: &str, now: Wall) -> bool {
        self.find(kid, now).is_some()
    }

    pub(super) fn current(&self) -> &SigningKey {
        &self.current
    }

    /// The key of this name, if its tokens count at this time.
    pub(super) fn find(&self, kid: &str, now: Wall) -> Option<&SigningKey> {
        let mut keys = std::iter::once(&self.current).chain(&self.retired);
        keys.find(|key| key.kid == kid && counts(key, now))
    }

    fn replace(&mut self, mut key: SigningKey, now: Wall) {
        // One that comes back may have tokens of its first time.
        if let Some(at) = self.retired.iter().position(|old| old.kid == key.kid) {
            let old = self.retired.remove(at);
            key.longest_life = key.longest_life.max(old.longest_life);
        }
        let mut before = std::mem::replace(&mut self.current, key);
        before.retire(now);
        self.retired.insert(0, before);
    }
}

fn counts(key: &SigningKey, now: Wall) -> bool {
    key.retired_until.is_none_or(|until| now < until)
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
