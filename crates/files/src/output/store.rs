//! The master's side: the published files, `<root>/<user>/<task>/...`.
//!
//! Two folders beside the users' are the store's own; no user's name begins with a dot.
//! `.incoming` holds what is arriving, `.replaced/<user>/<task>` a set that is being replaced.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cloudai_model::{AttemptId, TaskId, UserName};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::{
    CollectedFile, StoreError,
    collect::walk_root,
    folder::Folder,
    kept::{KeptFiles, Readers, Reading},
    path::RelativePath,
    remove::remove_tree,
    staging::Staging,
    usage::disk_usage,
};

const INCOMING: &str = ".incoming";
const REPLACED: &str = ".replaced";

/// All output files of a master. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OutputStore {
    root: Arc<PathBuf>,
    begun: Arc<AtomicU64>,
    /// Held while a set takes its place, so that two attempts of a task do so one by one.
    placing: Arc<Mutex<()>>,
    readers: Readers,
}

impl OutputStore {
    /// Opens the files under the folder `root`, which is made if it is not there; removes what was
    /// arriving when the last process ended, and finishes or undoes a replacement it was at.
    ///
    /// Only one process at a time may have it open.
    ///
    /// # Errors
    ///
    /// A folder can't be made, read or removed.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self {
            root: Arc::new(root.into()),
            begun: Arc::default(),
            placing: Arc::default(),
            readers: Readers::default(),
        };
        make_folder(&store.root)?;
        store.heal_replaced()?;
        let incoming = store.root.join(INCOMING);
        remove(&incoming)?;
        make_folder(&incoming)?;
        Ok(store)
    }

    /// Looks at the files under the folder `root`, which another process may have open: for reading
    /// alone. Nothing is made or removed.
    #[must_use]
    pub fn of_another(root: impl Into<PathBuf>) -> Self {
        Self {
            root: Arc::new(root.into()),
            begun: Arc::default(),
            placing: Arc::default(),
            readers: Readers::default(),
        }
    }

    /// Begins to take in the files of `attempt`. Several may arrive at once, of one attempt too.
    ///
    /// # Errors
    ///
    /// Its folder can't be made.
    pub fn begin(&self, attempt: &AttemptId) -> Result<Staging, StoreError> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(INCOMING).join(format!("{attempt}-{number}"));
        make_folder(&path)?;
        Staging::new(self.clone(), attempt.clone(), path)
    }

    /// Opens a published file for reading.
    ///
    /// # Errors
    ///
    /// There is no such file (kind `NotFound`), or it can't be read.
    pub fn open_file(
        &self,
        user: &UserName,
        task: &TaskId,
        path: &RelativePath,
    ) -> Result<File, StoreError> {
        let opened = self.task_folder(user, task).and_then(|folder| {
            let (folder, name) = folder.holding(path)?;
            folder.open_file(name)
        });
        let full = self.place(user, task).join(path.to_os());
        opened.map_err(StoreError::io(&full, "open it"))
    }

    /// The published files of a task, sorted folder by folder; none if it has none.
    ///
    /// # Errors
    ///
    /// The task's folder can't be read.
    pub fn list(&self, user: &UserName, task: &TaskId) -> Result<Vec<CollectedFile>, StoreError> {
        let place = self.place(user, task);
        match walk_root(&place) {
            Ok(collected) => Ok(collected.files),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(StoreError::io(&place, "list it")(error)),
        }
    }

    /// The folder that holds them.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Goes over the tasks that left files, in no order. What arrives meanwhile may be missed.
    ///
    /// # Errors
    ///
    /// The folder can't be read.
    pub fn kept(&self) -> Result<KeptFiles, StoreError> {
        let users = fs::read_dir(&*self.root).map_err(StoreError::io(&self.root, "list it"))?;
        Ok(KeptFiles::new(users))
    }

    /// What the files of a task take on disk.
    #[must_use]
    pub fn disk_bytes(&self, user: &UserName, task: &TaskId) -> u64 {
        disk_usage(&self.place(user, task)).unwrap_or(0)
    }

    /// Whether there are files of the task, or a folder for them.
    #[must_use]
    pub fn has_any(&self, user: &UserName, task: &TaskId) -> bool {
        self.place(user, task).exists()
    }

    /// Says that files of a task are going to be read.
    #[must_use]
    pub fn reading(&self, task: &TaskId) -> Reading {
        self.readers.begin(task)
    }

    /// Whether somebody reads files of the task.
    #[must_use]
    pub fn is_read(&self, task: &TaskId) -> bool {
        self.readers.lock().contains_key(task)
    }

    /// Removes a task's published files. `false`: there were none.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub fn remove(&self, user: &UserName, task: &TaskId) -> Result<bool, StoreError> {
        let moved = {
            let _placing = lock(&self.placing);
            self.move_away(user, task)?
        };
        self.finish_removal(user, moved)
    }

    /// The same, unless somebody is [reading](Self::reading) them: `false`.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub fn remove_unless_read(&self, user: &UserName, task: &TaskId) -> Result<bool, StoreError> {
        let moved = {
            let _placing = lock(&self.placing);
            // Nobody begins to read meanwhile.
            let readers = self.readers.lock();
            if readers.contains_key(task) {
                return Ok(false);
            }
            self.move_away(user, task)?
        };
        self.finish_removal(user, moved)?;
        Ok(true)
    }

    /// Where a task's files were moved to: a set is there whole or not at all. `None`: there are
    /// none.
    fn move_away(&self, user: &UserName, task: &TaskId) -> Result<Option<PathBuf>, StoreError> {
        let place = self.place(user, task);
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let away = self.root.join(INCOMING).join(format!("removed-{number}"));
        match fs::rename(&place, &away) {
            Ok(()) => Ok(Some(away)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(&place, "remove it")(error)),
        }
    }

    fn finish_removal(&self, user: &UserName, moved: Option<PathBuf>) -> Result<bool, StoreError> {
        let Some(away) = moved else {
            return Ok(false);
        };
        remove(&away)?;
        sync_folder(&self.root.join(user.as_str()))?;
        Ok(true)
    }

    /// Puts the folder `arrived` where the task's files are, in one step where the file system
    /// can, in two that [`open`](Self::open) heals where it can't.
    pub(super) fn take_place(
        &self,
        arrived: &Path,
        user: &UserName,
        task: &TaskId,
    ) -> Result<(), StoreError> {
        let _placing = lock(&self.placing);
        let home = self.root.join(user.as_str());
        make_folder(&home)?;
        sync_folder(&self.root)?;
        let place = self.place(user, task);
        match renameat_with(CWD, arrived, CWD, &place, RenameFlags::EXCHANGE) {
            // What was replaced now lies where the new set arrived, and goes with the staging.
            Ok(()) => {}
            Err(Errno::NOENT) => rename(arrived, &place)?,
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                self.replace_in_two_steps(arrived, &place, user, task)?;
            }
            Err(error) => return Err(StoreError::io(&place, "replace it")(error.into())),
        }
        sync_folder(&home)
    }

    fn replace_in_two_steps(
        &self,
        arrived: &Path,
        place: &Path,
        user: &UserName,
        task: &TaskId,
    ) -> Result<(), StoreError> {
        let away_home = self.root.join(REPLACED).join(user.as_str());
        make_folder(&away_home)?;
        let away = away_home.join(task.to_string());
        remove(&away)?;
        if place.exists() {
            rename(place, &away)?;
        }
        if let Err(error) = rename(arrived, place) {
            // The earlier set goes back; if that fails too, the next start puts it back.
            let _ = fs::rename(&away, place).is_ok();
            return Err(error);
        }
        remove(&away)
    }

    /// A set that was moved away goes back, unless the new one has taken its place.
    fn heal_replaced(&self) -> Result<(), StoreError> {
        let replaced = self.root.join(REPLACED);
        for user in entries(&replaced)? {
            for task in entries(&replaced.join(&user))? {
                let away = replaced.join(&user).join(&task);
                let place = self.root.join(&user).join(&task);
                if !place.exists() {
                    rename(&away, &place)?;
                    sync_folder(&self.root.join(&user))?;
                }
            }
        }
        remove(&replaced)
    }

    /// The open folder of a task's published files.
    pub(super) fn task_folder(&self, user: &UserName, task: &TaskId) -> io::Result<Folder> {
        Folder::open(&self.place(user, task))
    }

    /// A user's name and a task's id hold no separator and begin with a letter or digit.
    pub(super) fn place(&self, user: &UserName, task: &TaskId) -> PathBuf {
        self.root.join(user.as_str()).join(task.to_string())
    }
}

/// A panic elsewhere leaves these values whole: each is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_folder(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(StoreError::io(path, "make it"))
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(StoreError::io(to, "put the files there"))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    remove_tree(path).map_err(StoreError::io(path, "remove it"))
}

fn sync_folder(path: &Path) -> Result<(), StoreError> {
    Folder::open(path)
        .and_then(|folder| folder.sync())
        .map_err(StoreError::io(path, "flush it"))
}

/// The names in a folder of the store's own; none if it is not there.
fn entries(path: &Path) -> Result<Vec<std::ffi::OsString>, StoreError> {
    match Folder::open(path).and_then(|folder| folder.names()) {
        Ok(names) => Ok(names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StoreError::io(path, "list it")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set of one file, where sets arrive.
    fn arrived(root: &Path, content: &str) -> PathBuf {
        let path = root.join(INCOMING).join(content);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("model"), content).unwrap();
        path
    }

    #[test]
    fn where_the_file_system_cannot_exchange_two_steps_replace_a_set() {
        // Given a published set and one that has arrived.
        let root = tempfile::tempdir().unwrap();
        let store = OutputStore::open(root.path()).unwrap();
        let (user, task) = (UserName::admin(), TaskId::numbered(7));
        store
            .take_place(&arrived(root.path(), "1"), &user, &task)
            .unwrap();
        let place = store.place(&user, &task);
        let model = || fs::read_to_string(place.join("model")).unwrap();
        assert_eq!(model(), "1");

        // When the second can't be moved in, then the first is there as before.
        let missing = root.path().join("missing");
        store
            .replace_in_two_steps(&missing, &place, &user, &task)
            .unwrap_err();
        assert_eq!(model(), "1");

        // When it can, then it is there, and nothing of the first is left.
        let second = arrived(root.path(), "2");
        store
            .replace_in_two_steps(&second, &place, &user, &task)
            .unwrap();
        assert_eq!(model(), "2");
        let away = root.path().join(REPLACED).join(user.as_str());
        assert_eq!(fs::read_dir(away).unwrap().count(), 0);
    }
}
