//! The tables of what tasks left in `/output`.

use cloudai_model::{Wall, record::FilesRecord};
use cloudai_operator::{LeftFiles, TaskFiles};

use super::{
    table::{Cut, table},
    text::{counted, safe, size},
};
use crate::{output::Style, time::short_span};

/// Tasks that left files, in the order given; `task-files` says when some were removed, and why.
pub(crate) fn of_user(tasks: &[LeftFiles], now: Wall, style: Style) -> String {
    let rows: Vec<_> = tasks
        .iter()
        .map(
            |LeftFiles {
                 record, removed, ..
             }| {
                let (count, size) = match removed {
                    Some(_) => ("removed".to_owned(), String::new()),
                    None => (record.files.len().to_string(), size(total(record))),
                };
                [
                    record.attempt.task.to_string(),
                    safe(&record.task_name),
                    count,
                    size,
                    short_span(now.since(record.uploaded_at)),
                ]
            },
        )
        .collect();
    let heads = [
        ("TASK", Cut::Never),
        ("NAME", Cut::End(8)),
        ("FILES", Cut::Never),
        ("SIZE", Cut::Never),
        ("AGE", Cut::Never),
    ];
    table(heads, &rows, style.width, |_, _, cell| cell)
}

/// Bytes of all files of a task.
fn total(record: &FilesRecord) -> u64 {
    record.files.iter().map(|file| file.size).sum()
}

/// The files of one task, by path.
pub(crate) fn of_task(files: &TaskFiles, style: Style) -> String {
    let rows: Vec<_> = files
        .files
        .iter()
        .map(|file| [size(file.size), file.sha256.clone(), safe(&file.path)])
        .collect();
    let heads = [
        ("SIZE", Cut::Never),
        ("SHA-256", Cut::End(13)),
        ("PATH", Cut::Start(24)),
    ];
    let mut text = table(heads, &rows, style.width, |_, _, cell| cell);
    let bytes = files.files.iter().map(|file| file.size).sum();
    text.push_str(&format!(
        "{}, {}\n",
        counted(rows.len(), "file"),
        size(bytes)
    ));
    text
}

#[cfg(test)]
mod tests {
    use cloudai_model::{
        AttemptId, TaskId, UserName, Whole,
        record::{FileRecord, Removal},
    };

    use super::*;
    use crate::{render::text::columns, testing::NOW};

    fn files() -> Vec<FileRecord> {
        let file = |path: &str, size| FileRecord {
            path: path.to_owned(),
            size,
            sha256: "0123456789abcdef".repeat(4),
        };
        vec![
            file("model/a folder/with a long name/weights.bin", 3 << 20),
            file("result.txt", 12),
        ]
    }

    #[test]
    fn tasks_with_files_are_counted_and_summed() {
        let record = FilesRecord {
            attempt: AttemptId::new(TaskId::numbered(7), 1),
            user: UserName::admin(),
            task_name: "train\ning".to_owned(),
            storage_path: String::new(),
            files: files(),
            uploaded_at: Wall(NOW.wall.0 - 3000),
        };
        let there = LeftFiles {
            order: 1,
            record: record.clone(),
            removed: None,
        };
        let gone = LeftFiles {
            order: 1,
            record: FilesRecord {
                files: Vec::new(),
                ..record
            },
            removed: Some(Removal {
                at: NOW.wall,
                by: "retention".to_owned(),
            }),
        };
        assert_eq!(
            of_user(&[there, gone], NOW.wall, Style::PLAIN),
            "TASK    NAME        FILES    SIZE    AGE\n\
             task-7  train\\ning  2        3.0 MB  3s\n\
             task-7  train\\ning  removed          3s\n"
        );
    }

    #[test]
    fn a_checksum_gives_way_at_eighty_columns_and_is_whole_at_two_hundred() {
        let files = TaskFiles {
            files: files(),
            whole: Whole::Complete,
            removed: None,
        };
        let at = |width| {
            of_task(
                &files,
                Style {
                    width,
                    ..Style::PLAIN
                },
            )
        };
        let (narrow, wide) = (at(80), at(200));
        assert!(narrow.lines().all(|line| columns(line) <= 80), "{narrow}");
        assert!(narrow.contains("weights.bin\n12 B    0123456"), "{narrow}");
        assert!(wide.contains(&files.files[0].sha256), "{wide}");
        assert!(wide.ends_with("\n2 files, 3.0 MB\n"), "{wide}");
    }
}
