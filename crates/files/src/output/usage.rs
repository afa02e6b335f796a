//! What a folder takes on disk.

use std::path::Path;

use rustix::fs::FileType;

use super::folder::Folder;

/// The unit in which the system counts blocks, whatever those of the file system are.
const BLOCK_BYTES: u64 = 512;
/// As deep as a [`RelativePath`](super::RelativePath) can be, and some more: what lies deeper can't be
/// kept, and a walk of it would take ever more open files.
const MAX_DEPTH: usize = 512;

/// What a folder takes can't be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its folders are nested more than {MAX_DEPTH} deep")]
pub struct TooDeep;

/// The bytes that everything beneath `root` takes on disk: holes in files take none, a file under
/// several names counts for each. What can't be read, or isn't there, counts as nothing.
///
/// # Errors
///
/// Folders are nested so deep that it can't be told.
pub fn disk_usage(root: &Path) -> Result<u64, TooDeep> {
    Folder::open(root).map_or(Ok(0), |folder| beneath(&folder, MAX_DEPTH))
}

fn beneath(folder: &Folder, depth: usize) -> Result<u64, TooDeep> {
    let Ok(names) = folder.names() else {
        return Ok(0);
    };
    let mut total = 0_u64;
    for name in names {
        let Ok(entry) = folder.kind_of(&name) else {
            continue;
        };
        total = total.saturating_add(entry.blocks.saturating_mul(BLOCK_BYTES));
        if entry.kind == FileType::Directory
            && let Ok(subfolder) = folder.subfolder(&name)
        {
            let deeper = depth.checked_sub(1).ok_or(TooDeep)?;
            total = total.saturating_add(beneath(&subfolder, deeper)?);
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_is_written_counts_and_holes_and_what_links_point_to_do_not() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(disk_usage(&root.path().join("none")), Ok(0));
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("big"), vec![1; 4 << 20]).unwrap();
        symlink(outside.path(), root.path().join("link")).unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/b/data"), vec![1; 1 << 20]).unwrap();
        let mut sparse = fs::File::create(root.path().join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        sparse.write_all(b"x").unwrap();
        for file in ["a/b/data", "sparse"] {
            fs::File::open(root.path().join(file))
                .unwrap()
                .sync_all()
                .unwrap();
        }
        let taken = disk_usage(root.path()).unwrap();
        assert!(((1 << 20)..(2 << 20)).contains(&taken), "{taken}");
    }

    #[test]
    fn what_lies_too_deep_is_no_way_to_hide() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("d/".repeat(MAX_DEPTH + 1));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(disk_usage(root.path()).is_ok());
        fs::create_dir_all(path).unwrap();
        assert_eq!(disk_usage(root.path()), Err(TooDeep));
    }
}
