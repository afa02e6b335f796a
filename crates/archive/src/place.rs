//! Where a store is: opened for reading, or to be filled.

use std::{path::PathBuf, sync::Arc};

use cloudai_store::{
    CommitError, DataDirLock, Export, MongoFilling, MongoOpenError, MongoReader, MongoSettings,
    OpenError, SqliteFilling, SqliteReader, Store, Unfinished,
};

/// A store, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// The SQLite store of this data directory.
    Sqlite(PathBuf),
    /// A MongoDB.
    Mongo(Box<MongoSettings>),
}

/// Why a store can't be read or filled.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It is SQLite's.
    #[error(transparent)]
    Sqlite(#[from] OpenError),
    /// It is MongoDB's.
    #[error(transparent)]
    Mongo(#[from] MongoOpenError),
    /// It can't be closed.
    #[error("the new store can't be closed")]
    Close(#[from] CommitError),
    /// The mark of the data directory can't be taken away.
    #[error("the data directory can't be marked as whole")]
    Mark(#[source] std::io::Error),
}

/// A store that nobody writes while this is held.
pub(crate) struct Idle {
    pub(crate) export: Arc<dyn Export>,
    /// Of a data directory.
    _lock: Option<DataDirLock>,
}

impl StorePlace {
    /// Reads it, whether or not a master is at work on it.
    pub(crate) async fn read(&self) -> Result<Arc<dyn Export>, PlaceError> {
        Ok(match self {
            Self::Sqlite(data_dir) => Arc::new(SqliteReader::open(data_dir)?),
            Self::Mongo(settings) => Arc::new(MongoReader::open(settings).await?),
        })
    }

    /// Reads it, if no master is at work on it.
    pub(crate) async fn read_idle(&self) -> Result<Idle, PlaceError> {
        Ok(match self {
            Self::Sqlite(data_dir) => {
                // Where there is none, none is made.
                let export = SqliteReader::open(data_dir)?;
                Idle {
                    export: Arc::new(export),
                    _lock: Some(DataDirLock::hold(data_dir)?),
                }
            }
            Self::Mongo(settings) => {
                let reader = MongoReader::open(settings).await?;
                Idle {
                    export: Arc::new(reader.unused().await?),
                    _lock: None,
                }
            }
        })
    }

    /// Begins to fill it; it must have no store yet. `what` says with what.
    pub(crate) async fn fill(&self, what: &str) -> Result<Filling, PlaceError> {
        Ok(match self {
            Self::Sqlite(data_dir) => {
                let (data_dir, what) = (data_dir.clone(), what.to_owned());
                let begun =
                    tokio::task::spawn_blocking(move || SqliteFilling::begin(&data_dir, &what));
                Filling::Sqlite(begun.await.expect("making a store does not panic")?)
            }
            Self::Mongo(settings) => Filling::Mongo(MongoFilling::begin(settings, what).await?),
        })
    }
}

/// A store that is being filled. No master takes it for one before it is finished.
pub(crate) enum Filling {
    Sqlite(SqliteFilling),
    Mongo(MongoFilling),
}

impl Filling {
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(filling) => filling.store(),
            Self::Mongo(filling) => filling.store(),
        }
    }

    /// Reads what it holds by now.
    pub(crate) fn reader(&self) -> Result<Arc<dyn Export>, PlaceError> {
        Ok(match self {
            Self::Sqlite(filling) => Arc::new(filling.reader()?),
            Self::Mongo(filling) => Arc::new(filling.reader()),
        })
    }

    /// It is whole; so is the data directory that `mark` is of, if that is another's.
    pub(crate) async fn finish(self, mark: Option<Unfinished>) -> Result<(), PlaceError> {
        let done = |mark: Unfinished| mark.done().map_err(PlaceError::Mark);
        match self {
            Self::Sqlite(filling) => done(filling.finish().await?)?,
            Self::Mongo(filling) => filling.finish().await?,
        }
        mark.map_or(Ok(()), done)
    }
}
