//! What happened when: faults, what the client did, what the programs said, what the engine did, in
//! one order. It goes to a file while it happens, so that it is there whatever becomes of the run.

use std::{
    fmt::Display,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cloudai_model::Mono;

/// See the module. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Chronicle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Mono,
    path: PathBuf,
    kept: Mutex<(File, Vec<Entry>)>,
}

#[derive(Debug)]
struct Entry {
    is_fault: bool,
    line: String,
}

/// Who writes down the faults.
pub const FAULT: &str = "fault";

impl Chronicle {
    /// An empty one that goes to this file.
    ///
    /// # Panics
    /// If the file can't be made.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("the folder can be made");
        }
        let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(Arc::new(Inner {
            began: cloudai_clock::now().mono,
            path: path.to_owned(),
            kept: Mutex::new((file, Vec::new())),
        }))
    }

    /// Where it goes.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The time since its beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        cloudai_clock::now().mono.since(self.0.began)
    }

    /// The same in seconds.
    #[must_use]
    pub fn elapsed_s(&self) -> f64 {
        self.elapsed().as_secs_f64()
    }

    /// Writes down what somebody said or did.
    pub fn note(&self, who: &str, what: impl Display) {
        let line = format!("{:9.3} {who:<9} {what}", self.elapsed_s());
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk costs the file, not the run.
        let _ = writeln!(kept.0, "{line}");
        kept.1.push(Entry {
            is_fault: who == FAULT,
            line,
        });
    }

    /// Everything about a task, with the faults that began or ended meanwhile.
    #[must_use]
    pub fn timeline(&self, task: &str) -> Vec<String> {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = &kept.1;
        let names = |entry: &Entry| names(&entry.line, task);
        let Some(first) = entries.iter().position(names) else {
            return Vec::new();
        };
        let last = entries.iter().rposition(names).unwrap_or(first);
        let told = entries[first..=last].iter();
        told.filter(|entry| entry.is_fault || names(entry))
            .map(|entry| entry.line.clone())
            .collect()
    }
}

/// Whether a line names a task, and not another one whose id only begins with the same figures.
fn names(line: &str, task: &str) -> bool {
    line.match_indices(task).any(|(at, _)| {
        let next = line[at + task.len()..].chars().next();
        !next.is_some_and(|next| next.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_has_the_task_and_the_faults_of_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let chronicle = Chronicle::new(&folder.path().join("run.log"));
        for (who, what) in [
            (FAULT, "before"),
            ("client", "task-12 submitted"),
            ("master", "task-123 submitted"),
            (FAULT, "meanwhile"),
            ("engine", "started task-12 attempt 1"),
            (FAULT, "after"),
        ] {
            chronicle.note(who, what);
        }

        let told = chronicle.timeline("task-12");

        let ends: Vec<&str> = told
            .iter()
            .filter_map(|line| line.rsplit(' ').next())
            .collect();
        assert_eq!(ends, ["submitted", "meanwhile", "1"], "{told:?}");
        let file = std::fs::read_to_string(chronicle.path()).unwrap();
        assert_eq!(file.lines().count(), 6);
    }
}
