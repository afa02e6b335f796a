//! Whether an engine has thrown away the end of what a container wrote.
//!
//! When a container has ended, the engine gives itself two seconds to carry over what is left in the
//! container's pipes: to whoever has attached, and into its log. Then it throws away the rest, and tells
//! nobody. That happens where a reader stands still, and where the engine's own disk is slow. But the
//! engine announces the end only after this, with the time; and the state has the time of the end itself.

use std::{collections::HashMap, time::Duration};

use bollard::{
    models::{EventMessage, EventMessageTypeEnum},
    query_parameters::EventsOptionsBuilder,
};
use cloudai_model::Wall;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::NANO_PER_MILLI;
use crate::{Engine, EngineError, memory_kill::seconds, plan::ContainerId};

/// An end that is announced later than this was held up by its outputs. The engine waits for two
/// seconds, and the two times are taken by two programs.
const IN_TIME_MS: i64 = 1_800;
/// Until then an end has been announced: where a reader stands still an engine takes ten seconds. It
/// answers when it has announced it, and waits for this only where it has forgotten.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(30);
/// What a query may take beyond that.
const MARGIN: Duration = Duration::from_secs(5);

impl Engine {
    /// Whether the last bytes that an ended container wrote may be missing in its outputs and in its log;
    /// `None` if the engine can't tell any more: it remembers some hundred events.
    ///
    /// # Errors
    /// If the engine doesn't answer, or there is no such container.
    pub async fn may_lack_the_end(&self, id: &ContainerId) -> Result<Option<bool>, EngineError> {
        let end = self.inspect(id).await?.end;
        let Some(finished) = end.and_then(|end| end.finished_at) else {
            return Ok(None);
        };
        let filters = HashMap::from([
            ("container".to_owned(), vec![id.as_str().to_owned()]),
            ("event".to_owned(), vec!["die".to_owned()]),
        ]);
        let options = EventsOptionsBuilder::new()
            .since(&seconds(finished))
            .until(&seconds(finished.after(ANNOUNCED_WITHIN)))
            .filters(&filters)
            .build();
        let mut events = std::pin::pin!(self.docker.events(Some(options)));
        let announced = timeout(ANNOUNCED_WITHIN + MARGIN, async {
            while let Some(event) = events.next().await {
                if let Some(at) = announced_at(&event?, id) {
                    return Ok(Some(at));
                }
            }
            Ok(None)
        });
        match announced.await {
            Ok(announced) => {
                let announced = announced.map_err(EngineError::from_bollard)?;
                Ok(announced.map(|at| is_late(finished, at)))
            }
            Err(_) => Ok(None),
        }
    }
}

fn is_late(finished: Wall, announced: Wall) -> bool {
    announced.0.saturating_sub(finished.0) >= IN_TIME_MS
}

/// When the engine announced the end of this container, if the event is that, whatever was asked for.
fn announced_at(event: &EventMessage, id: &ContainerId) -> Option<Wall> {
    let of = event.actor.as_ref().and_then(|actor| actor.id.as_deref());
    let is_its_end = event.typ == Some(EventMessageTypeEnum::CONTAINER)
        && event.action.as_deref() == Some("die")
        && of == Some(id.as_str());
    let at_ns = event.time_nano.filter(|_| is_its_end)?;
    Some(Wall(at_ns.div_euclid(NANO_PER_MILLI)))
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    fn event(action: &str, id: &str) -> EventMessage {
        EventMessage {
            typ: Some(EventMessageTypeEnum::CONTAINER),
            action: Some(action.to_owned()),
            actor: Some(EventActor {
                id: Some(id.to_owned()),
                attributes: None,
            }),
            time_nano: Some(7_000_000_123),
            ..EventMessage::default()
        }
    }

    #[test]
    fn another_event_or_another_container_announces_nothing() {
        let this = ContainerId::new("ab");
        assert_eq!(announced_at(&event("die", "ab"), &this), Some(Wall(7_000)));
        assert_eq!(announced_at(&event("die", "cd"), &this), None);
        assert_eq!(announced_at(&event("kill", "ab"), &this), None);
        assert_eq!(announced_at(&EventMessage::default(), &this), None);
    }

    #[test]
    fn an_end_that_was_announced_two_seconds_later_was_held_up() {
        assert!(is_late(Wall(5_000), Wall(7_000)));
        assert!(!is_late(Wall(5_000), Wall(5_900)));
        // A clock that was set back meanwhile tells nothing.
        assert!(!is_late(Wall(5_000), Wall(1_000)));
    }
}
