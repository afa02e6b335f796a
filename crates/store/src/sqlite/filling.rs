//! A store that is being filled with the records of another, in a data directory that had none.

use std::{fs, io, path::Path, sync::Arc};

use super::{
    SqliteReader, SqliteStore,
    migrate::MIGRATIONS,
    open::{DATABASE_FILE, OpenError, WhenUnfinished},
    unfinished::Unfinished,
};
use crate::{CommitError, Store as _};

/// A store that no master takes for one before it is [finished](Self::finish).
pub struct SqliteFilling {
    store: Arc<SqliteStore>,
    mark: Unfinished,
}

impl SqliteFilling {
    /// Marks the data directory, makes an empty store in it, and holds it against others. What an
    /// earlier filling that was broken off left of a store is removed.
    ///
    /// # Errors
    /// See [`OpenError`]; [`OpenError::Occupied`] if there is a store already.
    pub fn begin(data_dir: &Path, what: &str) -> Result<Self, OpenError> {
        let failed = |cause: io::Error| OpenError::Directory {
            path: data_dir.to_owned(),
            cause,
        };
        fs::create_dir_all(data_dir).map_err(failed)?;
        // Held by the store afterwards; until then nobody else may look at what is being removed.
        let lock = super::DataDirLock::hold(data_dir)?;
        let files = ["", "-wal", "-shm", ".unfinished"]
            .map(|suffix| data_dir.join(format!("{DATABASE_FILE}{suffix}")));
        if Unfinished::find(data_dir)?.is_some() {
            for file in &files {
                match fs::remove_file(file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed(error));
                    }
                    Ok(()) | Err(_) => {}
                }
            }
        } else if let Some(path) = files.into_iter().find(|file| file.exists()) {
            return Err(OpenError::Occupied { path });
        }
        let mark = Unfinished::begin(data_dir, what).map_err(failed)?;
        let store = SqliteStore::open_with(lock, data_dir, MIGRATIONS, WhenUnfinished::GoOn)?;
        Ok(Self {
            store: Arc::new(store),
            mark,
        })
    }

    /// The store, to be filled.
    #[must_use]
    pub fn store(&self) -> Arc<SqliteStore> {
        self.store.clone()
    }

    /// Reads what it holds by now.
    ///
    /// # Errors
    /// If it can't be opened once more.
    pub fn reader(&self) -> Result<SqliteReader, OpenError> {
        SqliteReader::at(self.mark.data_dir())
    }

    /// Closes the store, which is whole now. The mark stays until its owner takes it away.
    ///
    /// # Errors
    /// If it can't be closed.
    pub async fn finish(self) -> Result<Unfinished, CommitError> {
        self.store.close().await?;
        Ok(self.mark)
    }
}
