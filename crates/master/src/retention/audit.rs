//! Forgetting the audit at its age. Tokens that were ended are forgotten by whoever has them in memory,
//! too: the accounts themselves.

use std::time::Duration;

use cloudai_model::{Now, Wall, account::AccountChange, record::Record};
use tracing::info;

use super::{Retention, STEP, sweep::Failure};
use crate::core_loop::KeepError;

impl From<KeepError> for Failure {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::NotReady => Self::NotReady,
            KeepError::Stopped(stopped) => stopped.into(),
        }
    }
}

impl Retention {
    /// In steps, so that no batch is large after a long time without sweeps.
    pub(super) async fn forget_audit(&mut self) -> Result<(), Failure> {
        let now = cloudai_clock::now();
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
