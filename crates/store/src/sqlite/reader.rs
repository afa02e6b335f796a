//! All of a database, read beside the master that may be at work on it. Nothing is written, no lock
//! is taken, nothing is brought to another version.

use std::{fs, io, path::Path};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{
    export,
    migrate::{self, MIGRATIONS},
    open::{self, DATABASE_FILE, OpenError},
    readers::Readers,
    unfinished::Unfinished,
};
use crate::{Export, Holdings, Piece, ReadError};

/// Reads the database of a data directory, whoever holds that.
pub struct SqliteReader {
    place: String,
    readers: Readers,
}

impl SqliteReader {
    /// Looks at the store of a data directory. Blocks while it does.
    ///
    /// # Errors
    /// If there is none, it isn't whole, or it has another version than this program's.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        if let Some(what) = Unfinished::find(data_dir)? {
            return Err(OpenError::Unfinished {
                path: data_dir.to_owned(),
                what,
            });
        }
        Self::at(data_dir)
    }

    /// The same of a store that is being filled.
    pub(super) fn at(data_dir: &Path) -> Result<Self, OpenError> {
        let path = data_dir.join(DATABASE_FILE);
        match fs::metadata(&path) {
            Ok(found) if found.len() == 0 => return Err(open::damaged(&path, "it is empty")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::Missing { path });
            }
            Err(cause) => {
                return Err(OpenError::Failed {
                    path,
                    cause: Box::new(cause),
                });
            }
        }
        let known = migrate::newest(MIGRATIONS);
        let found = open::recognise(&path, known)?;
        if found < known {
            return Err(OpenError::Older { path, found, known });
        }
        let place = format!("sqlite {}", path.display());
        Ok(Self {
            readers: Readers::new(path, place.clone()),
            place,
        })
    }
}

#[async_trait]
impl Export for SqliteReader {
    fn describe(&self) -> String {
        self.place.clone()
    }

    fn schema(&self) -> i64 {
        i64::from(migrate::newest(MIGRATIONS))
    }

    async fn holdings(&self) -> Result<Holdings, ReadError> {
        self.readers.read(export::holdings).await
    }

    async fn export(&self, sink: mpsc::Sender<Piece>) -> Result<(), ReadError> {
        self.readers.read(move |db| export::export(db, &sink)).await
    }

    async fn integrity(&self) -> Result<Vec<String>, ReadError> {
        self.readers.read(export::integrity).await
    }
}
