//! Commands about the cluster as a whole.

use std::time::Duration;

use cloudai_core::Event;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{sleep, timeout},
};

use super::{Failed, Session, as_json};
use crate::{
    output::Answer,
    render::{
        disks, inspection,
        json::{InspectionJson, StatusJson},
        status::{self, StoreStatus},
    },
};

/// How often `status -w` looks where nothing happens: ages and usage change silently.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long it lets things happen before it looks again.
const REST: Duration = Duration::from_millis(200);

impl Session {
    pub(super) async fn status(&self, answer: &Answer, json: bool) -> Result<(), Failed> {
        let store = self.store_status().await?;
        let (about, snapshot) = (self.operator.about(), self.operator.snapshot());
        let disks = self.operator.disks();
        if json {
            let status = StatusJson::new(&about, &snapshot, &disks, &store);
            return as_json(answer, &status).await;
        }
        let mut text = status::status(&about, &snapshot, &store);
        text.push_str(&disks::disks(
            &disks,
            self.operator.now().wall,
            self.output.style(),
        ));
        answer.text(text).await;
        Ok(())
    }

    /// What the store says of itself and of its tasks.
    async fn store_status(&self) -> Result<StoreStatus, Failed> {
        let counts = self.operator.counts().await;
        Ok(match (counts, self.operator.degraded()) {
            (Ok(counts), degraded) => StoreStatus {
                counts: Some(counts),
                degraded,
            },
            (Err(_), degraded @ Some(_)) => StoreStatus {
                counts: None,
                degraded,
            },
            (Err(error), None) => return Err(error.into()),
        })
    }

    /// Draws the cluster again and again, until nobody waits for it.
    pub(super) async fn watch(&self, answer: &Answer) -> Result<(), Failed> {
        if self.output.style().rows.is_none() {
            let why = "status -w needs a terminal: expected `status`, which shows it once";
            return Err(Failed(why.to_owned()));
        }
        let mut events = self.operator.events();
        loop {
            let store = self.store_status().await?;
            let (about, snapshot) = (self.operator.about(), self.operator.snapshot());
            let (now, style) = (self.operator.now(), self.output.style());
            let mut text = status::status(&about, &snapshot, &store);
            text.push_str(&disks::disks(&self.operator.disks(), now.wall, style));
            // The last row of a screen stays free for the cursor.
            let others = text.lines().count() + 2;
            let most = style.rows.unwrap_or(usize::MAX).saturating_sub(others);
            text.push_str(&status::workers(&snapshot, now, style, most));
            text.push_str("Any key ends this");
            answer.draw(&text, 1).await;
            sleep(REST).await;
            // Whether something happened or the time is over: look again.
            let _ = timeout(LOOK_INTERVAL - REST, something_happens(&mut events)).await;
        }
    }

    pub(super) async fn internal_state(&self, answer: &Answer, json: bool) -> Result<(), Failed> {
        let both = self.operator.inspect().await;
        let both = both.map_err(Failed::to("look inside"))?;
        if json {
            return as_json(answer, &InspectionJson::new(&both)).await;
        }
        let text = inspection::inspection(&both, self.output.style());
        answer.text(text).await;
        Ok(())
    }

    pub(super) async fn fix_resources(&self, answer: &Answer) -> Result<(), Failed> {
        let mended = self.operator.mend().await;
        let mended = mended.map_err(Failed::to("fix resources"))?;
        let snapshot = self.operator.snapshot();
        let text = inspection::mended(&mended, &snapshot, self.output.style());
        answer.text(text).await;
        Ok(())
    }
}

/// Waits for an event, and takes whatever others wait behind it.
async fn something_happens(events: &mut Receiver<Event>) {
    match events.recv().await {
        Ok(_) | Err(RecvError::Lagged(_)) => {}
        Err(RecvError::Closed) => return std::future::pending().await,
    }
    *events = events.resubscribe();
}
