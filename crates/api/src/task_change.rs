//! The body of a change: what of a task may be changed after its submit.

use std::collections::BTreeMap;

use cloudai_model::{ChangeDraft, Setting, Wall};
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    new_task::{Deadline, labels_schema},
    problem::{Mistake, Mistakes},
    read::{FromJson, Object, below},
};

/// What of a task is to be changed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskPatch {
    name: Setting<String>,
    priority: Setting<i64>,
    deadline: Setting<Deadline>,
    timeout_s: Setting<f64>,
    labels: Setting<BTreeMap<String, String>>,
    hold: Setting<bool>,
}

/// What is missing stays as it is; what is null is taken away, or gets its default.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    dead_code,
    reason = "a schema: null and missing are told apart by hand"
)]
struct TaskPatchSchema {
    /// Shown to people.
    #[schema(max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    name: Option<String>,
    /// Its place in the queue; above 50 only by an admin.
    #[schema(minimum = 0, maximum = 100)]
    priority: Option<i64>,
    /// When it should be done.
    deadline: Option<Deadline>,
    /// Longest run in seconds.
    #[schema(minimum = 0.001, maximum = 315_360_000.0)]
    timeout_s: Option<f64>,
    /// All labels anew.
    #[schema(schema_with = labels_schema, required = false)]
    labels: Option<BTreeMap<String, String>>,
    /// Whether it waits until somebody releases it.
    hold: Option<bool>,
}

impl PartialSchema for TaskPatch {
    fn schema() -> RefOr<Schema> {
        TaskPatchSchema::schema()
    }
}

impl ToSchema for TaskPatch {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        TaskPatchSchema::schemas(schemas);
    }
}

impl FromJson for TaskPatch {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Object::of(value, at, mistakes)?;
        let patch = Self {
            name: fields.take_setting("name"),
            priority: fields.take_setting("priority"),
            deadline: fields.take_setting("deadline"),
            timeout_s: fields.take_setting("timeout_s"),
            labels: fields.take_setting("labels"),
            hold: fields.take_setting("hold"),
        };
        fields.finish();
        // What can be read can be wrong all the same: all of it is told at once.
        let draft = patch.clone().into_draft(Wall(0), &mut Mistakes::default());
        if let Err(errors) = draft.check() {
            mistakes.extend(errors, |field| below(at, field));
        }
        Some(patch)
    }
}

impl TaskPatch {
    /// The priority that it sets, if it sets one.
    #[must_use]
    pub fn priority(&self) -> Option<i64> {
        match self.priority {
            Setting::To(level) => Some(level),
            Setting::Keep | Setting::Clear => None,
        }
    }

    /// A draft, which was checked when the body was read. A deadline that is over, or too far, is added
    /// to the mistakes.
    pub fn into_draft(self, now: Wall, mistakes: &mut Mistakes) -> ChangeDraft {
        let deadline = match self.deadline {
            Setting::Keep => Setting::Keep,
            Setting::Clear => Setting::Clear,
            Setting::To(deadline) => deadline.instant(now).map_or_else(
                |detail| {
                    mistakes.push(Mistake::at("/deadline", detail));
                    Setting::Keep
                },
                Setting::To,
            ),
        };
        ChangeDraft {
            name: self.name,
            priority: self.priority,
            deadline,
            timeout_s: self.timeout_s,
            labels: self.labels,
            hold: self.hold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BodyError, parse};

    #[test]
    fn missing_null_and_a_value_are_three_things() {
        let patch: TaskPatch = parse(br#"{"name": null, "priority": 7}"#).unwrap();
        assert_eq!((&patch.name, patch.priority()), (&Setting::Clear, Some(7)));
        let draft = patch.into_draft(Wall(0), &mut Mistakes::default());
        assert_eq!(
            draft,
            ChangeDraft {
                name: Setting::Clear,
                priority: Setting::To(7),
                ..ChangeDraft::default()
            }
        );
    }

    #[test]
    fn what_can_not_be_changed_is_named() {
        let body = br#"{"docker_image": "x", "timeout_s": "long"}"#;
        let Err(BodyError::Mistakes(mistakes)) = parse::<TaskPatch>(body) else {
            panic!("it was taken");
        };
        assert_eq!(mistakes.named().len(), 2);
    }

    #[test]
    fn the_schema_names_just_the_fields_that_are_read() {
        let schema = serde_json::to_value(TaskPatch::schema()).unwrap();
        let fields = schema["properties"].as_object().unwrap();
        let body: serde_json::Map<_, _> = fields
            .keys()
            .map(|field| (field.clone(), Value::Null))
            .collect();
        let patch: TaskPatch = parse(&serde_json::to_vec(&body).unwrap()).unwrap();
        let TaskPatch {
            name,
            priority,
            deadline,
            timeout_s,
            labels,
            hold,
        } = patch;
        assert_eq!(
            (name, priority, deadline, timeout_s, labels, hold),
            (
                Setting::Clear,
                Setting::Clear,
                Setting::Clear,
                Setting::Clear,
                Setting::Clear,
                Setting::Clear
            )
        );
        assert_eq!(schema["additionalProperties"], false);
    }
}
