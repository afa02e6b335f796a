//! How far a pull is, layer by layer, from what the engine tells while it fetches.

use std::fmt;

use bollard::models::CreateImageInfo;

/// Layers that are named in the text of a pull; the rest are counted.
const NAMED: usize = 3;
const MB: f64 = (1_u64 << 20) as f64;

/// How far a pull is. Its text is for people:
/// `1 of 3 layers; 9f8e7d6c5b4a downloading 12.4 of 35.0 MB, 0a1b2c3d4e5f extracting`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullProgress {
    /// Layers that are in.
    pub layers_done: usize,
    /// Layers known so far.
    pub layers_total: usize,
    /// The layers that something is being done about just now, as the image stacks them.
    pub under_way: Vec<(String, LayerStep)>,
}

/// What is being done about a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerStep {
    /// Its turn has not come.
    Waiting,
    /// It is being fetched.
    Downloading {
        /// Bytes that are here.
        bytes: u64,
        /// Bytes in all, compressed; 0 where the registry didn't say.
        of: u64,
    },
    /// The engine lost the registry and will ask again, in its own words (`in 4 seconds`).
    Retrying(String),
    /// It is here, and being checked or waiting to be unpacked.
    Downloaded,
    /// It is being unpacked.
    Extracting,
    /// It is in.
    Done,
}

impl fmt::Display for LayerStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting"),
            Self::Downloading { bytes, of: 0 } => {
                write!(f, "downloading {:.1} MB", *bytes as f64 / MB)
            }
            Self::Downloading { bytes, of } => write!(
                f,
                "downloading {:.1} of {:.1} MB",
                *bytes as f64 / MB,
                *of as f64 / MB
            ),
            Self::Retrying(when) => write!(f, "lost its registry, tried again {when}"),
            Self::Downloaded => f.write_str("downloaded"),
            Self::Extracting => f.write_str("extracting"),
            Self::Done => f.write_str("done"),
        }
    }
}

impl fmt::Display for PullProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} layers", self.layers_done, self.layers_total)?;
        for (place, (id, step)) in self.under_way.iter().take(NAMED).enumerate() {
            let before = if place == 0 { "; " } else { ", " };
            write!(f, "{before}{id} {step}")?;
        }
        match self.under_way.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// The layers of a pull in the order in which the engine names them, which is that of the image.
#[derive(Debug, Default)]
pub(crate) struct Layers(Vec<(String, LayerStep)>);

impl Layers {
    /// Takes one message; whether anything has changed.
    pub(crate) fn take(&mut self, message: &CreateImageInfo) -> bool {
        let (Some(id), Some(status)) = (&message.id, &message.status) else {
            return false;
        };
        let Some(step) = step_of(status, message) else {
            return false;
        };
        match self.0.iter_mut().find(|(known, _)| known == id) {
            Some((_, known)) if *known == step => false,
            Some((_, known)) => {
                *known = step;
                true
            }
            None => {
                self.0.push((id.clone(), step));
                true
            }
        }
    }

    pub(crate) fn progress(&self) -> PullProgress {
        let done = |step: &LayerStep| *step == LayerStep::Done;
        let under_way = self.0.iter();
        PullProgress {
            layers_done: self.0.iter().filter(|(_, step)| done(step)).count(),
            layers_total: self.0.len(),
            under_way: under_way
                .filter(|(_, step)| !done(step) && *step != LayerStep::Waiting)
                .cloned()
                .collect(),
        }
    }
}

/// `None` for what is no layer's: "Pulling from library/alpine" and the like name the tag as id.
fn step_of(status: &str, message: &CreateImageInfo) -> Option<LayerStep> {
    let detail = message.progress_detail.as_ref();
    let bytes = |count: Option<i64>| count.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    Some(match status {
        "Pull complete" | "Already exists" => LayerStep::Done,
        "Pulling fs layer" | "Waiting" => LayerStep::Waiting,
        "Downloading" => LayerStep::Downloading {
            bytes: bytes(detail.and_then(|detail| detail.current)),
            of: bytes(detail.and_then(|detail| detail.total)),
        },
        "Verifying Checksum" | "Download complete" => LayerStep::Downloaded,
        "Extracting" => LayerStep::Extracting,
        _ => LayerStep::Retrying(status.strip_prefix("Retrying ")?.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    fn message(id: &str, status: &str, bytes: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: bytes.map(|(current, total)| ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn a_layer_is_counted_once_and_followed_to_its_end() {
        let mut layers = Layers::default();
        let mut seen = Vec::new();
        for (id, status, bytes) in [
            ("3.20", "Pulling from library/alpine", None),
            ("aaa", "Pulling fs layer", None),
            ("bbb", "Already exists", None),
            ("aaa", "Downloading", Some((1 << 19, 3 << 20))),
            ("aaa", "Retrying in 4 seconds", None),
            ("aaa", "Download complete", None),
            ("aaa", "Extracting", Some((1, 2))),
            ("aaa", "Extracting", Some((2, 2))),
            ("aaa", "Pull complete", None),
            ("aaa", "Pull complete", None),
        ] {
            if layers.take(&message(id, status, bytes)) {
                seen.push(layers.progress().to_string());
            }
        }
        assert_eq!(
            seen,
            [
                "0 of 1 layers",
                "1 of 2 layers",
                "1 of 2 layers; aaa downloading 0.5 of 3.0 MB",
                "1 of 2 layers; aaa lost its registry, tried again in 4 seconds",
                "1 of 2 layers; aaa downloaded",
                "1 of 2 layers; aaa extracting",
                "2 of 2 layers",
            ]
        );
    }

    #[test]
    fn of_many_layers_the_first_few_are_named() {
        let mut layers = Layers::default();
        for number in 0..5 {
            layers.take(&message(&format!("l{number}"), "Extracting", None));
        }
        assert_eq!(
            layers.progress().to_string(),
            "0 of 5 layers; l0 extracting, l1 extracting, l2 extracting, and 2 more"
        );
    }
}
