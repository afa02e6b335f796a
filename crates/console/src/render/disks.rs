//! What the master's disks hold, and what they have no room for: the last lines of `status`.

use cloudai_model::Wall;
use cloudai_operator::{Disk, Disks, Sweep};

use super::text::{counted, safe, size, wrapped};
use crate::{output::Style, time::short_span};

/// A line for each disk, one for what retention did last, and why nothing new is taken.
pub(crate) fn disks(disks: &Disks, now: Wall, style: Style) -> String {
    let mut text = String::new();
    let mut fact = |name: &str, what: &str| {
        let first = format!("  {name:<11}");
        text.push_str(&wrapped(&first, &" ".repeat(13), what, style.width));
    };
    let several = disks.disks.len() > 1;
    for disk in &disks.disks {
        fact("Disk:", &free(disk, several));
    }
    if let Some(kept) = kept(disks) {
        fact("Kept:", &kept);
    }
    if let Some(sweep) = &disks.last_sweep {
        fact("Retention:", &removed(sweep, now));
    }
    if let Some(why) = &disks.held_up {
        fact("⚠️ Full:", &format!("no new task is taken: {}", safe(why)));
    }
    text
}

fn free(disk: &Disk, several: bool) -> String {
    let room = format!(
        "{} of {} free",
        size(disk.free_bytes),
        size(disk.total_bytes)
    );
    match several {
        true => format!("{room} for {}", disk.holds.join(", ")),
        false => room,
    }
}

fn kept(disks: &Disks) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(bytes) = disks.store_bytes {
        parts.push(format!("store {}", size(bytes)));
    }
    if let Some(kept) = &disks.kept {
        let limit = disks.limit_bytes.map_or_else(String::new, |limit| {
            format!(" (together at most {})", size(limit))
        });
        parts.push(format!(
            "logs {}, files {}{limit}",
            size(kept.logs_bytes),
            size(kept.files_bytes)
        ));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn removed(sweep: &Sweep, now: Wall) -> String {
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    for (number, what) in [(sweep.logs, "the logs of"), (sweep.files, "the files of")] {
        if number > 0 {
            parts.push(format!("{what} {}", counted(count(number), "task")));
        }
    }
    if sweep.forgotten > 0 {
        let tasks = counted(count(sweep.forgotten), "task");
        parts.push(format!("all that was known of {tasks}"));
    }
    format!(
        "removed {} {} ago, {}",
        parts.join(", "),
        short_span(now.since(sweep.at)),
        size(sweep.bytes)
    )
}

#[cfg(test)]
mod tests {
    use cloudai_operator::KeptBytes;

    use super::*;
    use crate::testing::NOW;

    fn disk(holds: &[&'static str], free: u64) -> Disk {
        Disk {
            holds: holds.to_vec(),
            folder: "/srv".into(),
            total_bytes: 100 << 30,
            free_bytes: free,
            keep_free_bytes: 2 << 30,
            is_low: false,
            is_held: false,
        }
    }

    #[test]
    fn one_disk_is_told_in_two_lines() {
        let told = Disks {
            disks: vec![disk(&["store", "logs", "files"], 35 << 30)],
            store_bytes: Some(12 << 20),
            kept: Some(KeptBytes {
                logs_bytes: 1 << 30,
                files_bytes: 3 << 30,
                at: NOW.wall,
            }),
            ..Disks::default()
        };
        assert_eq!(
            disks(&told, NOW.wall, Style::PLAIN),
            "  Disk:      35.0 GB of 100.0 GB free\n  \
             Kept:      store 12.0 MB, logs 1.0 GB, files 3.0 GB\n"
        );
    }

    #[test]
    fn several_disks_what_was_removed_and_what_is_full() {
        let told = Disks {
            disks: vec![
                disk(&["store"], 35 << 30),
                disk(&["logs", "files"], 1 << 30),
            ],
            store_bytes: None,
            kept: Some(KeptBytes {
                logs_bytes: 0,
                files_bytes: 3 << 30,
                at: NOW.wall,
            }),
            limit_bytes: Some(4 << 30),
            last_sweep: Some(Sweep {
                at: Wall(NOW.wall.0 - 3000),
                logs: 12,
                files: 1,
                forgotten: 2,
                bytes: 5 << 20,
            }),
            held_up: Some("the disk is nearly full".to_owned()),
        };
        assert_eq!(
            disks(&told, NOW.wall, Style::PLAIN),
            "  Disk:      35.0 GB of 100.0 GB free for store\n  \
             Disk:      1.0 GB of 100.0 GB free for logs, files\n  \
             Kept:      logs 0 B, files 3.0 GB (together at most 4.0 GB)\n  \
             Retention: removed the logs of 12 tasks, the files of 1 task, all that was known of \
             2 tasks 3s ago, 5.0 MB\n  \
             ⚠️ Full:   no new task is taken: the disk is nearly full\n"
        );
    }

    #[test]
    fn where_nothing_is_known_nothing_is_told() {
        assert_eq!(disks(&Disks::default(), NOW.wall, Style::PLAIN), "");
    }
}
