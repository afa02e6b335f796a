//! Whether the kernel's memory killer struck a container whose end doesn't say so.
//!
//! The engine hears of a memory kill and of an exit in two messages. Where the exit comes first
//! its state says "not killed for memory" for ever; the kill is in its events a moment later.

use std::{collections::HashMap, time::Duration};

use bollard::{
    models::{EventMessage, EventMessageTypeEnum},
    query_parameters::EventsOptionsBuilder,
};
use cloudai_model::Wall;
use futures_util::StreamExt as _;

use crate::{
    Engine,
    end::{RawEnd, SIGKILL},
    error::EngineError,
    plan::ContainerId,
};

/// How long after a container's end its memory kill may be announced.
const LATE_BY: Duration = Duration::from_secs(1);
/// What a query may take beyond that.
const MARGIN: Duration = Duration::from_secs(5);

impl Engine {
    /// Completes an end with what the engine announced after it. Only a command that SIGKILL ended
    /// is in doubt, and waits for it, until a second after its end at the most.
    ///
    /// # Errors
    /// If the engine doesn't answer.
    pub(crate) async fn with_late_memory_kill(
        &self,
        id: &ContainerId,
        mut end: RawEnd,
    ) -> Result<RawEnd, EngineError> {
        let (Some(began), Some(ended)) = (end.started_at, end.finished_at) else {
            return Ok(end);
        };
        if end.oom_killed || end.exit_code != 128 + SIGKILL {
            return Ok(end);
        }
        let filters = HashMap::from([
            ("container".to_owned(), vec![id.as_str().to_owned()]),
            ("event".to_owned(), vec!["oom".to_owned()]),
        ]);
        let late = Wall(ended.0.saturating_add(LATE_BY.as_millis() as i64));
        let options = EventsOptionsBuilder::new()
            .since(&seconds(began))
            .until(&seconds(late))
            .filters(&filters)
            .build();
        let mut events = std::pin::pin!(self.docker.events(Some(options)));
        let announced = tokio::time::timeout(LATE_BY + MARGIN, async {
            while let Some(event) = events.next().await {
                if tells_of_kill(&event?, id) {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        // An engine whose clock has been set back answers late, or not at all.
        if let Ok(announced) = announced.await {
            end.oom_killed = announced.map_err(EngineError::from_bollard)?;
        }
        Ok(end)
    }
}

/// Whether an event is the memory kill of this container, whatever was asked for: not every engine
/// that speaks this API knows each filter.
pub(crate) fn tells_of_kill(event: &EventMessage, id: &ContainerId) -> bool {
    let of = event.actor.as_ref().and_then(|actor| actor.id.as_deref());
    event.typ == Some(EventMessageTypeEnum::CONTAINER)
        && event.action.as_deref() == Some("oom")
        && of == Some(id.as_str())
}

/// Seconds since 1970 with their fraction, as the engine reads them.
pub(crate) fn seconds(at: Wall) -> String {
    format!(
        "{}.{:03}000000",
        at.0.div_euclid(1000),
        at.0.rem_euclid(1000)
    )
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    #[test]
    fn a_kill_in_another_container_or_another_event_is_not_this_kill() {
        // Given what an engine announces that doesn't know the filters, or one of its containers
        let event = |action: &str, id: &str| EventMessage {
            typ: Some(EventMessageTypeEnum::CONTAINER),
            action: Some(action.to_owned()),
            actor: Some(EventActor {
                id: Some(id.to_owned()),
                attributes: None,
            }),
            ..EventMessage::default()
        };
        let this = ContainerId::new("ab");
        // then its own kill counts alone.
        assert!(tells_of_kill(&event("oom", "ab"), &this));
        assert!(!tells_of_kill(&event("oom", "cd"), &this));
        assert!(!tells_of_kill(&event("die", "ab"), &this));
        assert!(!tells_of_kill(&EventMessage::default(), &this));
    }

    #[test]
    fn an_instant_has_nine_digits_of_a_second() {
        assert_eq!(seconds(Wall(1_700_000_000_007)), "1700000000.007000000");
        assert_eq!(seconds(Wall(5_120)), "5.120000000");
    }
}
