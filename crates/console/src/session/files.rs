//! Commands about what tasks left in `/output`.

use std::{
    path::{Path, PathBuf, absolute},
    time::Duration,
};

use cloudai_model::{TaskId, UserName};
use cloudai_operator::{DownloadProgress, FilesFilter, TaskFiles};
use tokio::sync::watch;

use super::{Failed, Session, as_json};
use crate::{
    output::Answer,
    render::{
        files,
        progress::bar,
        text::{counted, safe, size},
    },
};

/// How often the bar is drawn.
const BAR_INTERVAL: Duration = Duration::from_millis(100);

impl Session {
    pub(super) async fn files(
        &self,
        answer: &Answer,
        user: &UserName,
        limit: usize,
        json: bool,
    ) -> Result<(), Failed> {
        let filter = FilesFilter {
            user: user.clone(),
            before: None,
            // One more says whether there are more.
            limit: limit.saturating_add(1),
        };
        let mut records = self.operator.files_of_user(&filter).await?;
        let more = records.len() > limit;
        records.truncate(limit);
        if json {
            let list: Vec<_> = records.iter().map(cloudai_api::LeftFiles::from).collect();
            return as_json(answer, &list).await;
        }
        if records.is_empty() {
            answer
                .line(format!("No task of user {user} left files"))
                .await;
            return Ok(());
        }
        let now = self.operator.now().wall;
        let text = files::of_user(&records, now, self.output.style());
        answer.text(text).await;
        if more {
            let what = match limit {
                1 => "the newest task alone".to_owned(),
                count => format!("the newest {count} tasks"),
            };
            let note = format!("Note: {what}; -limit n shows others");
            answer.line(note).await;
        }
        Ok(())
    }

    pub(super) async fn task_files(
        &self,
        answer: &Answer,
        task: &TaskId,
        user: &UserName,
        json: bool,
    ) -> Result<(), Failed> {
        let left = self.operator.task_files(task, user).await;
        let left = left.map_err(Failed::to("list files"))?;
        if json {
            return as_json(answer, &cloudai_api::TaskFiles::from(&left)).await;
        }
        if let Some(removal) = &left.removed {
            let removal = safe(&removal.to_string());
            answer
                .line(format!("The files of task {task} were {removal}"))
                .await;
        } else if left.files.is_empty() {
            answer.line(format!("Task {task} left no files")).await;
        } else {
            let text = files::of_task(&left, self.output.style());
            answer.text(text).await;
        }
        self.note_gap(answer, &left).await;
        Ok(())
    }

    async fn note_gap(&self, answer: &Answer, left: &TaskFiles) {
        if let Some(reason) = left.whole.reason() {
            let note = format!("   Note: files not complete: {}", safe(reason));
            answer.line(note).await;
        }
    }

    pub(super) async fn download(
        &self,
        answer: &Answer,
        task: &TaskId,
        user: &UserName,
        folder: &str,
    ) -> Result<(), Failed> {
        let folder = place(folder)?;
        let (progress, watched) = watch::channel(DownloadProgress::default());
        let copying = self.operator.download(task, user, &folder, progress);
        let done = tokio::select! {
            done = copying => done,
            () = self.show_bar(answer, watched) => unreachable!("a bar is shown for ever"),
        };
        let done = done.map_err(Failed::to("download"))?;
        if done.left.files.is_empty() {
            answer.line(format!("✓ Task {task} left no files")).await;
            self.note_gap(answer, &done.left).await;
            return Ok(());
        }
        let summary = &done.summary;
        let there = match summary.unchanged {
            0 => String::new(),
            count => format!(", {count} there already"),
        };
        let text = format!(
            "✓ {} to {} ({}{there})",
            counted(summary.copied, "file"),
            safe(&folder.display().to_string()),
            size(summary.copied_bytes)
        );
        answer.line(text).await;
        self.note_gap(answer, &done.left).await;
        Ok(())
    }

    /// Draws how far it is, where there is a screen. Never returns.
    async fn show_bar(&self, answer: &Answer, mut watched: watch::Receiver<DownloadProgress>) {
        if self.output.style().rows.is_none() {
            return std::future::pending().await;
        }
        let began = self.operator.now().mono;
        // When the copy has ended the sender is gone, and so is whoever waits for this.
        while watched.changed().await.is_ok() {
            let progress = watched.borrow_and_update().clone();
            let elapsed = self.operator.now().mono.since(began);
            let row = bar(&progress, elapsed, self.output.style().width);
            answer.draw(&row, 1).await;
            tokio::time::sleep(BAR_INTERVAL).await;
        }
        std::future::pending::<()>().await;
    }
}

/// The folder that is meant: `~` as a shell would read it, and not from where the master was
/// started, which nobody sees.
fn place(folder: &str) -> Result<PathBuf, Failed> {
    let home = match folder.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            std::env::home_dir().map(|home| {
                let rest = rest.trim_start_matches('/');
                if rest.is_empty() {
                    home
                } else {
                    home.join(rest)
                }
            })
        }
        _ => None,
    };
    absolute(home.unwrap_or_else(|| Path::new(folder).to_owned())).map_err(Failed::to("download"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_told_from_the_root_and_a_tilde_is_home() {
        let place = |folder| place(folder).map_err(|Failed(why)| why).unwrap();
        let home = std::env::home_dir().unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(place("~"), home);
        assert_eq!(place("~/results"), home.join("results"));
        assert_eq!(place("~results"), here.join("~results"));
        assert_eq!(place("./a/../results"), here.join("a/../results"));
        assert_eq!(place("/tmp/results"), Path::new("/tmp/results"));
    }
}
