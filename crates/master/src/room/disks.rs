//! Looking at disks: each once, whatever lies on it, and not taken for well again at the first byte.

use std::path::PathBuf;

use cloudai_config::Bytes;
use cloudai_files::space::DiskSpace;
use cloudai_operator::Disk;

use super::Watermark;

/// A disk that was low is well again when so much more than the watermark is free: an eighth of it.
const EASE: u64 = 8;
/// Logs and files wait when less than this part of the watermark is free.
const HELD_PART: u64 = 2;

/// The disks that these folders are on; one that can't be asked is left out.
pub(super) fn look(
    folders: &[(&'static str, PathBuf)],
    watermark: Watermark,
    before: &[Disk],
) -> Vec<Disk> {
    let mut disks: Vec<(u64, Disk)> = Vec::new();
    for (what, folder) in folders {
        let Ok(space) = DiskSpace::of(folder) else {
            continue;
        };
        let known = disks.iter_mut().find(|(device, _)| *device == space.device);
        if let Some((_, disk)) = known {
            disk.holds.push(what);
            continue;
        }
        let was = before.iter().find(|disk| disk.folder == *folder);
        disks.push((space.device, of(what, folder, space, watermark, was)));
    }
    disks.into_iter().map(|(_, disk)| disk).collect()
}

fn of(
    what: &'static str,
    folder: &std::path::Path,
    space: DiskSpace,
    watermark: Watermark,
    was: Option<&Disk>,
) -> Disk {
    let keep_free = watermark.of(space.total_bytes);
    let held_below = keep_free / HELD_PART;
    let below = |mark: u64, was: bool| {
        let ease = if was { keep_free / EASE } else { 0 };
        space.free_bytes < mark.saturating_add(ease).min(space.total_bytes)
    };
    Disk {
        holds: vec![what],
        folder: folder.to_owned(),
        total_bytes: space.total_bytes,
        free_bytes: space.free_bytes,
        keep_free_bytes: keep_free,
        is_low: keep_free > 0 && below(keep_free, was.is_some_and(|disk| disk.is_low)),
        is_held: keep_free > 0 && below(held_below, was.is_some_and(|disk| disk.is_held)),
    }
}

/// What is wrong with a disk that is low, and what to do.
pub(super) fn told(disk: &Disk) -> String {
    format!(
        "the master's disk for {} ({}) is nearly full: {} of {} free, {} must stay free; free some \
         space there, or let retention keep less (-keep-logs, -keep-files, -keep-bytes)",
        disk.holds.join(", "),
        disk.folder.display(),
        Bytes(disk.free_bytes),
        Bytes(disk.total_bytes),
        Bytes(disk.keep_free_bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::watermark;

    fn at(free_bytes: u64, was: Option<&Disk>) -> Disk {
        let space = DiskSpace {
            device: 1,
            total_bytes: 1000,
            free_bytes,
        };
        let mark = watermark("10%").unwrap();
        of("logs", "/srv/logs".as_ref(), space, mark, was)
    }

    #[test]
    fn new_work_waits_below_the_mark_and_logs_and_files_below_half_of_it() {
        let steps = [
            (100, (false, false)),
            (99, (true, false)),
            (50, (true, false)),
            (49, (true, true)),
            (0, (true, true)),
            // On the way up it takes an eighth more.
            (61, (true, true)),
            (62, (true, false)),
            (111, (true, false)),
            (112, (false, false)),
            (100, (false, false)),
        ];
        let mut was = None;
        for (free, expected) in steps {
            let disk = at(free, was.as_ref());
            assert_eq!((disk.is_low, disk.is_held), expected, "{free} free");
            was = Some(disk);
        }
    }

    #[test]
    fn folders_on_one_disk_are_one_disk() {
        let root = tempfile::tempdir().unwrap();
        let folders = [
            ("store", root.path().to_owned()),
            ("logs", root.path().join("not/yet/there")),
        ];
        let found = look(&folders, watermark("0").unwrap(), &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].holds, ["store", "logs"]);
        assert!(!found[0].is_low && !found[0].is_held, "0 is off");
    }

    #[test]
    fn what_is_full_is_told_with_how_much_is_free_and_what_to_do() {
        assert_eq!(
            told(&at(40, None)),
            "the master's disk for logs (/srv/logs) is nearly full: 40 B of 1000 B free, 100 B must \
             stay free; free some space there, or let retention keep less (-keep-logs, -keep-files, \
             -keep-bytes)"
        );
    }
}
