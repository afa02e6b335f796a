//! Who may come in: users, their keys, tokens that no longer count, and the record of what was done.

use std::fmt;

use crate::{ids::UserName, resources::Resources, status::words, time::Wall};

words!(
    /// What a user may do.
    Role, "role" {
        /// Own tasks and files.
        User = "user",
        /// Everything.
        Admin = "admin",
    }
);

words!(
    /// Whether a user may log in.
    AccountState, "account state" {
        /// Yes.
        Active = "active",
        /// Not before an admin has said yes: who registered where registration is by approval.
        AwaitsApproval = "awaits-approval",
        /// Not any more: an admin has locked the account.
        Locked = "locked",
    }
);

/// The most that a user may have at a time; `None`: as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserLimits {
    /// Tasks that wait.
    pub queued_tasks: Option<u64>,
    /// Thousandths of a core that are given to the user's attempts.
    pub cpu_milli: Option<u64>,
    /// Bytes of memory that are given to them.
    pub memory_bytes: Option<u64>,
    /// Thousandths of a GPU that are given to them.
    pub gpu_milli: Option<u64>,
    /// Bytes of output files that are kept.
    pub files_bytes: Option<u64>,
}

/// A user, whole.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The name; never changes.
    pub user: UserName,
    /// The name of the person, shown.
    pub name: String,
    /// Address, shown.
    pub email: String,
    /// The password as a PHC string (`$argon2id$v=19$…`); empty: nobody can log in with one.
    pub password_hash: String,
    /// What they may do.
    pub role: Role,
    /// Whether they may log in.
    pub state: AccountState,
    /// Rises whenever all tokens of the user end, as with a new password. A token names the one that
    /// it was made under.
    pub generation: u64,
    /// The user's own limits; what is `None` here is as the settings say for everybody.
    pub limits: UserLimits,
    /// When the user was made.
    pub created_at: Wall,
    /// When something of it changed last.
    pub updated_at: Wall,
}

impl fmt::Debug for UserRecord {
    /// Without the hash: what is logged is not for guessing passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRecord")
            .field("user", &self.user)
            .field("role", &self.role)
            .field("state", &self.state)
            .field("generation", &self.generation)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

words!(
    /// What a key may be used for.
    KeyScope, "scope" {
        /// To look at what the user may see.
        Read = "read",
        /// That, and to submit, change and cancel tasks, and to delete files.
        Tasks = "tasks",
        /// Whatever the user may do, but for passwords and keys.
        All = "all",
    }
);

/// A key with which a program comes in as its user.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Names it; the part of the key that may be shown.
    pub id: String,
    /// Whose it is.
    pub user: UserName,
    /// What the user calls it.
    pub name: String,
    /// SHA-256 of the key. A key is 256 random bits, which no slow hash makes harder to guess.
    pub hash: [u8; 32],
    /// What it may be used for.
    pub scope: KeyScope,
    /// When it was made.
    pub created_at: Wall,
    /// From when on it counts no more; `None`: until it is deleted.
    pub expires_at: Option<Wall>,
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRecord")
            .field("id", &self.id)
            .field("user", &self.user)
            .field("scope", &self.scope)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A token that was logged out before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedToken {
    /// Its `jti`.
    pub id: String,
    /// When it would have ended by itself: from then on nobody needs to know.
    pub until: Wall,
}

/// What somebody did, or tried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Rises with each.
    pub number: u64,
    /// When.
    pub at: Wall,
    /// Who: a user, or `None` for somebody who is not known.
    pub user: Option<UserName>,
    /// With which key, if with one.
    pub key: Option<String>,
    /// From which address; `console` for the master's own.
    pub from: String,
    /// What, in one of a fixed set of words such as `task.cancel`.
    pub action: String,
    /// To what: a task, a worker, a user.
    pub target: String,
    /// Whether it was done.
    pub done: bool,
    /// More, such as why it was refused; no secrets.
    pub detail: String,
    /// The request's id, as in the answer and in the log.
    pub request: String,
}

/// One change to what is stored of accounts. A list of them is one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountChange {
    /// A user, new or changed, whole.
    User(Box<UserRecord>),
    /// A user is there no more, with all of their keys.
    UserRemoved(UserName),
    /// A key, new or changed, whole.
    Key(Box<KeyRecord>),
    /// The key of this id is there no more.
    KeyRemoved(String),
    /// A token counts no more.
    TokenEnded(EndedToken),
    /// Ended tokens that would have ended by themselves before this are forgotten.
    TokensForgotten(Wall),
    /// What somebody did. Never changed, and forgotten only as [`Self::AuditForgotten`] says.
    Audit(Box<AuditRecord>),
    /// What was done before this is forgotten.
    AuditForgotten(Wall),
}

/// All that is stored of accounts, but for the audit, of which there is no end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredAccounts {
    /// Every user, by name.
    pub users: Vec<UserRecord>,
    /// Every key, by id.
    pub keys: Vec<KeyRecord>,
    /// Every token that was ended before its time and isn't forgotten, by id.
    pub ended_tokens: Vec<EndedToken>,
    /// The highest [`AuditRecord::number`]; 0 before the first. It never falls: the last record is not
    /// forgotten.
    pub highest_audit: u64,
}

/// Which records of the audit are wanted, those of the highest numbers first. What is `None` doesn't
/// matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only those with a lower number: where the page before ended.
    pub before: Option<u64>,
    /// Only what this user did.
    pub user: Option<UserName>,
    /// Only this action, as its whole word.
    pub action: Option<String>,
    /// Only what was done then or later.
    pub since: Option<Wall>,
    /// Only what was done before that.
    pub until: Option<Wall>,
    /// At most so many.
    pub limit: usize,
}

impl AuditQuery {
    /// The newest records, at most `limit` of them.
    #[must_use]
    pub fn newest(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Whether a record is one of those wanted, the limit apart.
    #[must_use]
    pub fn wants(&self, record: &AuditRecord) -> bool {
        self.before.is_none_or(|before| record.number < before)
            && (self.user.is_none() || self.user == record.user)
            && self.action.as_ref().is_none_or(|it| *it == record.action)
            && self.since.is_none_or(|since| record.at >= since)
            && self.until.is_none_or(|until| record.at < until)
    }
}

impl UserLimits {
    /// These where they say something, else the others.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            queued_tasks: self.queued_tasks.or(others.queued_tasks),
            cpu_milli: self.cpu_milli.or(others.cpu_milli),
            memory_bytes: self.memory_bytes.or(others.memory_bytes),
            gpu_milli: self.gpu_milli.or(others.gpu_milli),
            files_bytes: self.files_bytes.or(others.files_bytes),
        }
    }

    /// Whether a task of this size could ever be given to a worker under them.
    #[must_use]
    pub fn admit(&self, wanted: &Resources) -> bool {
        let within = |wanted: u64, limit: Option<u64>| limit.is_none_or(|limit| wanted <= limit);
        within(wanted.cpu_milli, self.cpu_milli)
            && within(wanted.memory_bytes, self.memory_bytes)
            && within(u64::from(wanted.gpu.milli()), self.gpu_milli)
    }
}
