//! What is written down of who did what: words from a fixed set, and never a secret.

use cloudai_model::{
    Now, UserName, Wall,
    account::{AuditRecord, KeyScope, Role},
};

use crate::identity::{CallContext, Identity, Peer};

/// The most characters of a target or a detail.
const LONGEST_WORDS: usize = 512;

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $word:literal),+ $(,)?) => {
        /// What can be done that is written down.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Action { $($(#[$doc])* $name),+ }

        impl Action {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word for it, as it is stored and asked for.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }
        }
    };
}

actions! {
    /// The first start made `admin`.
    FirstStart = "auth.first-start",
    /// Somebody registered.
    Register = "auth.register",
    /// Somebody logged in.
    Login = "auth.login",
    /// Somebody logged out.
    Logout = "auth.logout",
    /// Somebody changed their password.
    ChangePassword = "auth.password",
    /// An admin made a user.
    UserCreate = "user.create",
    /// An admin let a user in who had registered.
    UserApprove = "user.approve",
    /// An admin locked a user out.
    UserLock = "user.lock",
    /// An admin let a user in again.
    UserUnlock = "user.unlock",
    /// An admin changed a user's role.
    UserRole = "user.role",
    /// An admin changed a user's limits.
    UserLimits = "user.limits",
    /// An admin set a user's password.
    UserPassword = "user.password",
    /// An admin removed a user.
    UserDelete = "user.delete",
    /// Somebody made a key.
    KeyCreate = "key.create",
    /// Somebody deleted a key.
    KeyDelete = "key.delete",
    /// Another key signs tokens.
    TokenKeyRotate = "token-key.rotate",
    /// Tasks were submitted.
    TaskSubmit = "task.submit",
    /// A task was changed, held or released.
    TaskChange = "task.change",
    /// A task was placed on a worker, as an agent chose.
    TaskPlace = "task.place",
    /// A task was cancelled.
    TaskCancel = "task.cancel",
    /// A task's files were deleted.
    FilesDelete = "files.delete",
    /// A worker was registered.
    WorkerRegister = "worker.register",
    /// A worker was unregistered.
    WorkerUnregister = "worker.unregister",
    /// A worker was drained, or is used again.
    WorkerDrain = "worker.drain",
    /// Records were lost, for the store took none for so long.
    AuditLost = "audit.lost",
}

/// One thing that was done, or refused, before it has a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    at: Wall,
    user: Option<UserName>,
    key: Option<String>,
    from: String,
    action: Action,
    target: String,
    done: bool,
    detail: String,
    request: String,
}

impl AuditEntry {
    /// Somebody did this. `who` is `None` for somebody who isn't known.
    #[must_use]
    pub fn new(call: &CallContext, who: Option<&Identity>, action: Action) -> Self {
        Self {
            at: call.now.wall,
            user: who.map(|who| who.user.clone()),
            key: who.and_then(Identity::key).map(str::to_owned),
            from: match call.from {
                Peer::Console => "console".to_owned(),
                Peer::Address(address) => address.to_canonical().to_string(),
            },
            action,
            target: String::new(),
            done: true,
            detail: String::new(),
            request: words(&call.request),
        }
    }

    /// To what: a task, a worker, a user.
    #[must_use]
    pub fn target(mut self, target: impl AsRef<str>) -> Self {
        self.target = words(target.as_ref());
        self
    }

    /// More, and no secrets.
    #[must_use]
    pub fn detail(mut self, detail: impl AsRef<str>) -> Self {
        self.detail = words(detail.as_ref());
        self
    }

    /// It was refused, or failed.
    #[must_use]
    pub fn refused(mut self, why: impl AsRef<str>) -> Self {
        self.done = false;
        self.detail(why)
    }

    /// So many records found no room to wait for the store, the last of them then.
    pub(crate) fn lost(count: u64, at: Wall) -> Self {
        let call = CallContext {
            now: Now {
                wall: at,
                ..Now::default()
            },
            from: Peer::Console,
            request: String::new(),
        };
        Self::new(&call, None, Action::AuditLost).detail(format!("{count} records were lost"))
    }

    pub(crate) fn at(&self) -> Wall {
        self.at
    }

    pub(crate) fn by(mut self, user: &UserName) -> Self {
        self.user = Some(user.clone());
        self
    }

    pub(crate) fn numbered(self, number: u64) -> AuditRecord {
        AuditRecord {
            number,
            at: self.at,
            user: self.user,
            key: self.key,
            from: self.from,
            action: self.action.as_str().to_owned(),
            target: self.target,
            done: self.done,
            detail: self.detail,
            request: self.request,
        }
    }
}

/// How a key is told of.
pub(crate) fn key_words(scope: KeyScope, expires_at: Option<Wall>) -> String {
    match expires_at {
        Some(at) => format!("scope {scope}, until {at}"),
        None => format!("scope {scope}, until it is deleted"),
    }
}

/// How a change of role is told of.
pub(crate) fn role_words(from: Role, to: Role) -> String {
    format!("from {from} to {to}")
}

/// One line of bearable length, whatever somebody sent: nothing forges another line of a log.
fn words(text: &str) -> String {
    let shown = |c: char| if is_shown(c) { c } else { '\u{fffd}' };
    text.chars().take(LONGEST_WORDS).map(shown).collect()
}

/// Neither a control character nor one that turns the writing round or hides.
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Whether a text may be shown as it is, as a person's name.
pub(crate) fn is_one_line(text: &str) -> bool {
    text.chars().all(is_shown)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn call() -> CallContext {
        CallContext {
            now: Now::default(),
            from: Peer::Address("::ffff:192.0.2.7".parse().unwrap()),
            request: "r-1\r\nforged".into(),
        }
    }

    #[test]
    fn every_action_has_a_word_of_its_own() {
        let words: BTreeSet<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
        assert_eq!(words.len(), Action::ALL.len());
    }

    #[test]
    fn a_record_is_one_line_whatever_was_sent() {
        let entry = AuditEntry::new(&call(), Some(&Identity::local()), Action::TaskCancel)
            .target("task-1\nadmin did it\u{202e}")
            .refused("x".repeat(10_000));
        let record = entry.numbered(7);
        assert_eq!(record.target, "task-1\u{fffd}admin did it\u{fffd}");
        assert_eq!(record.detail.len(), 512);
        assert_eq!(record.request, "r-1\u{fffd}\u{fffd}forged");
        assert_eq!(record.from, "192.0.2.7");
        assert_eq!(record.action, "task.cancel");
        assert!(!record.done);
    }
}
