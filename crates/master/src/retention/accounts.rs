//! Forgetting what nobody needs to know any more of who came in: tokens that were ended and would be
//! over by themselves, and the audit at its age.

use std::time::Duration;

use cloudai_model::{Now, Wall, account::AccountChange, record::Record};
use tracing::info;

use super::{Retention, STEP, sweep::Failure};
use crate::core_loop::KeepError;

/// Ended tokens are all read to be looked at: not more often than this.
const TOKENS_PAUSE: Duration = Duration::from_secs(3600);
/// So long an ended token is still known after it would have been over by itself: a clock that is set
/// back by less brings none back.
const TOKENS_MARGIN: Duration = Duration::from_secs(24 * 3600);

impl From<KeepError> for Failure {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::NotReady => Self::NotReady,
            KeepError::Stopped(stopped) => stopped.into(),
        }
    }
}

impl Retention {
    pub(super) async fn forget_accounts(&mut self) -> Result<(), Failure> {
        let now = cloudai_clock::now();
        self.forget_tokens(now).await?;
        self.forget_audit(now).await
    }

    async fn forget_tokens(&mut self, now: Now) -> Result<(), Failure> {
        let looked = self.looked_at_tokens;
        let is_due = looked.is_none_or(|at| now.mono.since(at) >= TOKENS_PAUSE);
        if !is_due || !self.ages.can_be_believed(now, self.grace, TOKENS_MARGIN) {
            return Ok(());
        }
        let before = ago(now, TOKENS_MARGIN);
        let ended = self.setup.store.accounts().await?.ended_tokens;
        if ended.iter().any(|token| token.until < before) {
            self.keep(AccountChange::TokensForgotten(before)).await?;
        }
        self.looked_at_tokens = Some(now.mono);
        Ok(())
    }

    /// In steps, so that no batch is large after a long time without sweeps.
    async fn forget_audit(&mut self, now: Now) -> Result<(), Failure> {
        let Some(span) = self.settings.keep_audit.span() else {
            return Ok(());
        };
        if !self.ages.can_be_believed(now, self.grace, span) {
            return Ok(());
        }
        let before = ago(now, span);
        let mut forgotten = 0;
        loop {
            let oldest = self.setup.store.oldest_audit(before, STEP).await?;
            let Some(Wall(last)) = oldest.last() else {
                break;
            };
            // The last one, too, and whatever else is of the same time.
            let up_to = Wall(last.saturating_add(1)).min(before);
            self.keep(AccountChange::AuditForgotten(up_to)).await?;
            forgotten += oldest.len();
        }
        if forgotten > 0 {
            info!(
                entries = forgotten,
                "retention forgot old entries of the audit"
            );
        }
        Ok(())
    }

    async fn keep(&self, change: AccountChange) -> Result<(), Failure> {
        let records = vec![Record::Account(change)];
        Ok(self.setup.core.keep(records).await?)
    }
}

fn ago(now: Now, span: Duration) -> Wall {
    let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Wall(now.wall.0.saturating_sub(span_ms))
}
