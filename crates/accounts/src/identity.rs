//! Who somebody has turned out to be, and what they may do: the one place where that is decided.

use std::net::IpAddr;

use cloudai_model::{KeyScope, Now, Role, UserName, Wall};

/// Above this priority only an admin's tasks may be.
pub const HIGHEST_OWN_PRIORITY: i64 = 50;

/// How somebody has shown who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// With a token that a login gave.
    Token {
        /// Its `jti`.
        id: String,
        /// Names the key that signed it.
        key: String,
        /// The user's generation that it was made under.
        generation: u64,
        /// When it ends by itself.
        expires_at: Wall,
    },
    /// With a key.
    Key {
        /// The part of it that may be shown.
        id: String,
    },
    /// By being on the master's own machine: its console, or gRPC over loopback.
    Local,
}

/// Who somebody is, as of one instant. Not to be kept: [`crate::Accounts::recheck`] says whether it
/// still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserName,
    /// What the user may do.
    pub role: Role,
    /// What of that may be done in this way. A token is for everything.
    pub scope: KeyScope,
    /// How it was shown.
    pub how: How,
}

impl Identity {
    /// The master's own console, and callers over loopback that show nothing: an admin.
    #[must_use]
    pub fn local() -> Self {
        Self {
            user: UserName::admin(),
            role: Role::Admin,
            scope: KeyScope::All,
            how: How::Local,
        }
    }

    /// The id of the key, if it was a key.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match &self.how {
            How::Key { id } => Some(id),
            How::Token { .. } | How::Local => None,
        }
    }

    /// Whether this may be done.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn authorize(&self, wanted: Permission) -> Result<(), Forbidden> {
        let by_key = matches!(self.how, How::Key { .. });
        let needs = match wanted {
            Permission::Look | Permission::Act | Permission::OwnCredentials => Role::User,
            Permission::LookAtAll
            | Permission::ActForAll
            | Permission::Administer
            | Permission::Credentials => Role::Admin,
        };
        if needs > self.role {
            return Err(Forbidden::Role { needs });
        }
        let scopes: &'static [KeyScope] = match wanted {
            Permission::Look | Permission::LookAtAll => {
                &[KeyScope::Read, KeyScope::Tasks, KeyScope::All]
            }
            Permission::Act | Permission::ActForAll => &[KeyScope::Tasks, KeyScope::All],
            Permission::Administer => &[KeyScope::All],
            Permission::OwnCredentials | Permission::Credentials => {
                if by_key {
                    return Err(Forbidden::NotWithAKey);
                }
                &[KeyScope::All]
            }
        };
        if scopes.contains(&self.scope) {
            return Ok(());
        }
        // The least that would do stands first.
        let needs = scopes.first().copied().unwrap_or(KeyScope::All);
        let has = self.scope;
        Err(Forbidden::Scope { has, needs })
    }

    /// Whether what belongs to `owner` may be looked at: by the owner, and whoever may look at all. Where
    /// it may not, it isn't there (404). Whoever acts needs [`Permission::Act`] besides.
    #[must_use]
    pub fn reaches(&self, owner: &UserName) -> bool {
        self.user == *owner || self.authorize(Permission::LookAtAll).is_ok()
    }
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// To look at their own tasks, files and logs, and at workers.
    Look,
    /// To submit, change and cancel their own tasks, and to delete their own files.
    Act,
    /// To look at everybody's tasks, files and logs.
    LookAtAll,
    /// To change and cancel everybody's tasks, to delete everybody's files, and to submit for others.
    ActForAll,
    /// To register and drain workers, to list, approve, lock, limit and remove users, and to read the audit.
    Administer,
    /// To change their own password, and to make, list and delete their own keys.
    OwnCredentials,
    /// To make users, to set their passwords and roles, to list and delete their keys, and to rotate the
    /// tokens' key. With these one could become anybody, so no key opens them.
    Credentials,
}

impl Permission {
    /// Every one of them.
    pub const ALL: &'static [Self] = &[
        Self::Look,
        Self::Act,
        Self::LookAtAll,
        Self::ActForAll,
        Self::Administer,
        Self::OwnCredentials,
        Self::Credentials,
    ];
}

/// Why somebody who is known may not do a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The user's role doesn't reach.
    #[error("this needs the role {needs}")]
    Role {
        /// The one that would.
        needs: Role,
    },
    /// The key's scope doesn't reach.
    #[error("this needs a key of the scope {needs}, and this one has {has}")]
    Scope {
        /// What it has.
        has: KeyScope,
        /// The least that would do.
        needs: KeyScope,
    },
    /// No key reaches.
    #[error("passwords, roles and keys can't be managed with a key: expected the token of a login")]
    NotWithAKey,
    /// It was ended, locked or removed while what was asked for waited its turn.
    #[error("who asks may not come in any more")]
    Ended,
}

/// Where a call came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The master's own console.
    Console,
    /// A network address: that of the client, not of a proxy before it.
    Address(IpAddr),
}

/// The circumstances of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallContext {
    /// When.
    pub now: Now,
    /// From where.
    pub from: Peer,
    /// Its id, as in the answer and in the log; empty if it has none.
    pub request: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(role: Role, scope: KeyScope, how: How) -> Identity {
        let user = "ada".parse().unwrap();
        Identity {
            user,
            role,
            scope,
            how,
        }
    }

    fn token() -> How {
        How::Token {
            id: "t".into(),
            key: "k".into(),
            generation: 1,
            expires_at: Wall(1),
        }
    }

    /// The table in docs/accounts.md, as code says it.
    #[test]
    fn who_may_what_is_this_table() {
        let key = || How::Key { id: "k".into() };
        let table: &[(Role, KeyScope, How, &str)] = &[
            (
                Role::User,
                KeyScope::All,
                token(),
                "Look Act OwnCredentials",
            ),
            (Role::User, KeyScope::Read, key(), "Look"),
            (Role::User, KeyScope::Tasks, key(), "Look Act"),
            (Role::User, KeyScope::All, key(), "Look Act"),
            (
                Role::Admin,
                KeyScope::All,
                token(),
                "Look Act LookAtAll ActForAll Administer OwnCredentials Credentials",
            ),
            (Role::Admin, KeyScope::Read, key(), "Look LookAtAll"),
            (
                Role::Admin,
                KeyScope::Tasks,
                key(),
                "Look Act LookAtAll ActForAll",
            ),
            (
                Role::Admin,
                KeyScope::All,
                key(),
                "Look Act LookAtAll ActForAll Administer",
            ),
            (
                Role::Admin,
                KeyScope::All,
                How::Local,
                "Look Act LookAtAll ActForAll Administer OwnCredentials Credentials",
            ),
        ];
        for (role, scope, how, expected) in table {
            let who = identity(*role, *scope, how.clone());
            let may = Permission::ALL
                .iter()
                .filter(|it| who.authorize(**it).is_ok());
            let may: Vec<String> = may.map(|it| format!("{it:?}")).collect();
            assert_eq!(may.join(" "), *expected, "{role} {scope} {how:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_would_do() {
        let reader = identity(Role::User, KeyScope::Read, How::Key { id: "k".into() });
        let error = reader.authorize(Permission::Act).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this needs a key of the scope tasks, and this one has read"
        );
        let error = reader.authorize(Permission::Administer).unwrap_err();
        assert_eq!(error.to_string(), "this needs the role admin");
    }

    #[test]
    fn what_is_anothers_is_reached_by_admins_alone() {
        let other: UserName = "bob".parse().unwrap();
        assert!(!identity(Role::User, KeyScope::All, token()).reaches(&other));
        assert!(identity(Role::User, KeyScope::All, token()).reaches(&"ada".parse().unwrap()));
        assert!(identity(Role::Admin, KeyScope::Read, token()).reaches(&other));
    }
}
