//! Commands about users: who is at the master's console is an admin that needs no password.

use cloudai_accounts::{Accounts, CallContext, Identity, Peer, UserChange};
use cloudai_model::{Role, UserName};

use super::{Failed, Session, as_json};
use crate::{output::Answer, render::users};

/// Where to look for the right name.
const ELSEWHERE: &str = ": `users` shows those that are";

impl Session {
    pub(super) async fn users(
        &self,
        answer: &Answer,
        limit: usize,
        json: bool,
    ) -> Result<(), Failed> {
        let listed = self.accounts()?.users(&Identity::local(), None, limit);
        let (list, next) = listed.map_err(Failed::to("list users"))?;
        if json {
            let list: Vec<_> = list.iter().map(cloudai_api::User::from).collect();
            return as_json(answer, &list).await;
        }
        if list.is_empty() {
            answer.line("No users").await;
            return Ok(());
        }
        let now = self.operator.now().wall;
        answer
            .text(users::users(&list, now, self.output.style()))
            .await;
        if next.is_some() {
            let note = format!("Note: the first {limit} by name; -limit n shows more");
            answer.line(note).await;
        }
        Ok(())
    }

    /// Makes another password: one that nobody has typed is in no history and on no screen before.
    pub(super) async fn reset_password(
        &self,
        answer: &Answer,
        user: &UserName,
    ) -> Result<(), Failed> {
        let (accounts, call) = (self.accounts()?, self.call());
        let made = accounts
            .reset_password(&call, &Identity::local(), user)
            .await;
        let made = made.map_err(self.of_user(&accounts, user, "reset the password"))?;
        let password = made.expose();
        answer
            .line(format!(
                "✓ The password of {user} is {password} from now on (shown this once)"
            ))
            .await;
        answer
            .line("   Note: all logins of that user have ended; keys go on")
            .await;
        if let Ok(user) = accounts.user(&Identity::local(), user)
            && user.state != cloudai_model::AccountState::Active
        {
            let note = format!("   Note: the account is {}, and stays so", user.state);
            answer.line(note).await;
        }
        Ok(())
    }

    pub(super) async fn set_role(
        &self,
        answer: &Answer,
        user: &UserName,
        role: Role,
    ) -> Result<(), Failed> {
        let (accounts, call) = (self.accounts()?, self.call());
        let change = UserChange {
            role: Some(role),
            ..UserChange::default()
        };
        let changed = accounts
            .change_user(&call, &Identity::local(), user, change)
            .await;
        changed.map_err(self.of_user(&accounts, user, "change the role"))?;
        let text = format!("✓ The role of {user} is {role} from the next request on");
        answer.line(text).await;
        Ok(())
    }

    fn accounts(&self) -> Result<Accounts, Failed> {
        let opened = self.accounts.as_ref().and_then(|it| it.borrow().clone());
        opened.ok_or_else(|| {
            let why = "nothing is known of users before the store has been read: try again in a \
                       moment";
            Failed(why.to_owned())
        })
    }

    fn call(&self) -> CallContext {
        CallContext {
            now: self.operator.now(),
            from: Peer::Console,
            request: String::new(),
        }
    }

    /// For `map_err`: as [`Failed::to`], and where to look if there is no such user.
    fn of_user<E: std::error::Error>(
        &self,
        accounts: &Accounts,
        user: &UserName,
        what: &'static str,
    ) -> impl FnOnce(E) -> Failed {
        let known = accounts.user(&Identity::local(), user).is_ok();
        move |error| {
            let Failed(why) = Failed::to(what)(error);
            Failed(if known { why } else { why + ELSEWHERE })
        }
    }
}
