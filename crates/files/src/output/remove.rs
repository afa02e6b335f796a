//! Removes whatever a container left behind.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use rustix::fs::FileType;

use super::folder::Folder;

/// Removes a folder and all that is in it, or finds it gone. A symbolic link in its place is
/// refused.
///
/// However deep a container nested its folders, this takes neither more stack nor more open files:
/// the folders in a folder are moved up before it is removed.
///
/// # Errors
///
/// The system refuses; part of it may be gone.
pub fn remove_tree(root: &Path) -> io::Result<()> {
    let folder = match fs::symlink_metadata(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if metadata.is_dir() => Folder::open(root)?,
        Ok(_) => return Err(ErrorKind::NotADirectory.into()),
    };
    let mut moved = 0_u64;
    loop {
        let folders = remove_files(&folder)?;
        if folders.is_empty() {
            break;
        }
        for name in folders {
            let emptied = folder.subfolder(&name)?;
            for inner in remove_files(&emptied)? {
                move_up(&emptied, &inner, &folder, &mut moved)?;
            }
            folder.remove_folder(&name)?;
        }
    }
    fs::remove_dir(root)
}

/// Removes everything in a folder but its folders, whose names it returns; makes them its owner's to
/// change.
fn remove_files(folder: &Folder) -> io::Result<Vec<OsString>> {
    let mut folders = Vec::new();
    for name in folder.names()? {
        if folder.kind_of(&name)?.kind == FileType::Directory {
            folder.make_accessible(&name)?;
            folders.push(name);
        } else {
            folder.remove_file(&name)?;
        }
    }
    Ok(folders)
}

/// Moves a folder to where no other is. One that is empty may be replaced: it goes anyway.
fn move_up(from: &Folder, name: &OsStr, to: &Folder, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        let fresh = OsString::from(format!("removed-{moved}"));
        match from.rename(name, to, &fresh) {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                ) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rustix::fs::Mode;

    use super::*;

    #[test]
    fn what_is_not_there_is_removed_and_what_links_point_to_stays() {
        let root = tempfile::tempdir().unwrap();
        remove_tree(&root.path().join("none")).unwrap();
        let outside = root.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();

        let tree = root.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::create_dir_all(tree.join("removed-1/x/y")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        symlink(&outside, tree.join("a/link")).unwrap();
        let closed = tree.join("a/b");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());

        symlink(&outside, &tree).unwrap();
        assert!(remove_tree(&tree).is_err(), "a link is no folder");
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn folders_may_lie_deeper_than_the_stack_and_the_limit_of_open_files() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut deepest = Folder::open(&tree).unwrap();
        for _ in 0..20_000 {
            let name = OsStr::new("d");
            deepest.make_folder(name, Mode::RWXU).unwrap();
            deepest = deepest.subfolder(name).unwrap();
        }
        drop(deepest);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }
}
