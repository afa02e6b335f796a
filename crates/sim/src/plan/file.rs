//! A plan as a file: JSON, an item a line, so that a person can read it, cut it and compare it.

use super::{Item, Offer, Plan};
use serde::{Deserialize, Serialize};

/// A text that is no plan.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the plan can't be read: expected what `cloudai-sim shrink --write` wrote")]
pub struct FileError {
    line: usize,
    #[source]
    cause: serde_json::Error,
}

#[derive(Serialize, Deserialize)]
struct Head {
    seed: u64,
    horizon_ms: u64,
    workers: Vec<Offer>,
}

/// A plan as text.
///
/// # Errors
/// Never, as far as is known: everything in a plan has a form in JSON.
pub fn write(plan: &Plan) -> Result<String, serde_json::Error> {
    let head = Head {
        seed: plan.seed,
        horizon_ms: plan.horizon_ms,
        workers: plan.workers.clone(),
    };
    let mut text = serde_json::to_string(&head)? + "\n";
    for item in &plan.items {
        text += &(serde_json::to_string(item)? + "\n");
    }
    Ok(text)
}

/// The plan that a text holds.
///
/// # Errors
/// With the line that can't be read.
pub fn read(text: &str) -> Result<Plan, FileError> {
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let head: Head = serde_json::from_str(head).map_err(|cause| FileError { line: 1, cause })?;
    let items = (2..)
        .zip(lines)
        .filter(|(_, text)| !text.trim().is_empty())
        .map(|(line, text)| serde_json::from_str(text).map_err(|cause| FileError { line, cause }));
    Ok(Plan {
        seed: head.seed,
        horizon_ms: head.horizon_ms,
        workers: head.workers,
        items: items.collect::<Result<Vec<Item>, FileError>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Generator, generate};

    #[test]
    fn a_plan_survives_the_way_through_a_file() {
        for seed in 0..50 {
            let plan = generate(seed, &Generator::default());
            let text = write(&plan).unwrap();
            assert_eq!(text.lines().count(), plan.items.len() + 1);
            assert_eq!(read(&text).unwrap(), plan);
        }
    }

    #[test]
    fn a_line_that_can_not_be_read_is_named() {
        let mut text = write(&generate(1, &Generator::default())).unwrap();
        text += "rubbish\n";
        let error = read(&text).unwrap_err().to_string();
        let line = text.lines().count();
        assert!(
            error.starts_with(&format!("line {line} of the plan")),
            "{error}"
        );
    }
}
