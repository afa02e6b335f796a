//! From what a request shows to who it is. No I/O: every request comes by here.

use cloudai_model::{AccountState, KeyScope, UserName, Wall};

use crate::{
    accounts::Accounts,
    api_key,
    directory::Directory,
    identity::{How, Identity},
    token::{TokenError, read_signed},
};

/// What a request shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// A login's token.
    Token(&'a str),
    /// A key.
    Key(&'a str),
}

impl<'a> Credential<'a> {
    /// What stands behind `Bearer`: a key, or else a token. A cookie holds a token alone.
    #[must_use]
    pub fn bearer(text: &'a str) -> Self {
        if text.starts_with(api_key::PREFIX) {
            Self::Key(text)
        } else {
            Self::Token(text)
        }
    }
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(..)",
            Self::Key(_) => "Key(..)",
        })
    }
}

/// Why somebody is nobody. Callers are answered all alike (401): which it was is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticateError {
    /// It is no token, or counts no more by itself.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token was logged out.
    #[error("the token was logged out")]
    LoggedOut,
    /// All tokens of the user were ended since, as by a new password.
    #[error("the user's tokens were ended")]
    Ended,
    /// It is no key of anybody.
    #[error("the key is unknown")]
    UnknownKey,
    /// The key's time is over.
    #[error("the key has expired")]
    ExpiredKey,
    /// The user is there no more.
    #[error("the user was removed")]
    NoUser,
    /// The user is locked, or was never let in.
    #[error("the user may not come in: the account is {state}")]
    NotActive {
        /// What it is.
        state: AccountState,
    },
}

/// Whether whoever was let in a while ago still may watch what they do: a token ends, a user is locked,
/// an admin is none any more.
#[derive(Debug, Clone)]
pub struct StillMay {
    accounts: Accounts,
    identity: Identity,
    /// Whose it is that is watched.
    owner: Option<UserName>,
}

/// Why somebody may not watch any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MayNoMore {
    /// They are nobody any more.
    #[error(transparent)]
    Ended(#[from] AuthenticateError),
    /// It is somebody else's, and they may not look at all any more.
    #[error("what belongs to others may not be looked at any more")]
    Role,
}

impl StillMay {
    /// Somebody who watches what is `owner`'s, if it is anybody's.
    #[must_use]
    pub fn new(accounts: Accounts, identity: Identity, owner: Option<UserName>) -> Self {
        Self {
            accounts,
            identity,
            owner,
        }
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, now: Wall) -> Result<(), MayNoMore> {
        let identity = self.accounts.recheck(&self.identity, now)?;
        match self
            .owner
            .as_ref()
            .is_none_or(|owner| identity.reaches(owner))
        {
            true => Ok(()),
            false => Err(MayNoMore::Role),
        }
    }
}

impl Accounts {
    /// Who shows this.
    ///
    /// # Errors
    /// See [`AuthenticateError`].
    pub fn authenticate(
        &self,
        credential: Credential<'_>,
        now: Wall,
    ) -> Result<Identity, AuthenticateError> {
        match credential {
            Credential::Token(text) => {
                let read = read_signed(text, &self.ring(), &self.0.settings.issuer, now);
                let (claims, key) = read?;
                // A name that none of ours can have was signed by somebody else with our key.
                let user = claims.sub.parse().map_err(|_| TokenError::Claims)?;
                let how = How::Token {
                    expires_at: claims.expires_at(),
                    id: claims.jti,
                    key,
                    generation: claims.generation,
                };
                identify(&self.directory(), user, KeyScope::All, how)
            }
            Credential::Key(text) => {
                let id = api_key::id_of(text).ok_or(AuthenticateError::UnknownKey)?;
                let (user, scope) = {
                    let directory = self.directory();
                    let key = directory.key(id).ok_or(AuthenticateError::UnknownKey)?;
                    if !api_key::is_of(text, &key.hash) {
                        return Err(AuthenticateError::UnknownKey);
                    }
                    if key.expires_at.is_some_and(|at| now >= at) {
                        return Err(AuthenticateError::ExpiredKey);
                    }
                    (key.user.clone(), key.scope)
                };
                let id = id.to_owned();
                identify(&self.directory(), user, scope, How::Key { id })
            }
        }
    }

    /// Whether somebody who came in a while ago, and has been listening since, still is who they were.
    ///
    /// # Errors
    /// See [`AuthenticateError`].
    pub fn recheck(&self, identity: &Identity, now: Wall) -> Result<Identity, AuthenticateError> {
        self.recheck_in(&self.directory(), identity, now)
    }

    pub(crate) fn recheck_in(
        &self,
        directory: &Directory,
        identity: &Identity,
        now: Wall,
    ) -> Result<Identity, AuthenticateError> {
        match &identity.how {
            How::Local => return Ok(identity.clone()),
            How::Token { expires_at, .. } if now >= *expires_at => {
                return Err(TokenError::Expired.into());
            }
            How::Token { key, .. } if !self.ring().has(key, now) => {
                return Err(TokenError::UnknownKey.into());
            }
            How::Token { .. } => {}
            How::Key { id } => {
                let key = directory.key(id).ok_or(AuthenticateError::UnknownKey)?;
                if key.expires_at.is_some_and(|at| now >= at) {
                    return Err(AuthenticateError::ExpiredKey);
                }
            }
        }
        let (user, how) = (identity.user.clone(), identity.how.clone());
        identify(directory, user, identity.scope, how)
    }
}

fn identify(
    directory: &Directory,
    user: UserName,
    scope: KeyScope,
    how: How,
) -> Result<Identity, AuthenticateError> {
    let record = directory.user(&user).ok_or(AuthenticateError::NoUser)?;
    if let How::Token { id, generation, .. } = &how {
        if *generation != record.generation {
            return Err(AuthenticateError::Ended);
        }
        if directory.has_ended(id) {
            return Err(AuthenticateError::LoggedOut);
        }
    }
    let state = record.state;
    if state != AccountState::Active {
        return Err(AuthenticateError::NotActive { state });
    }
    let role = record.role;
    Ok(Identity {
        user,
        role,
        scope,
        how,
    })
}
