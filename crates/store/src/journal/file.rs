//! The journal's file, and the one thread that writes it: whatever waits goes into one frame and
//! one flush. It is made with the first entry and removed when nothing in it is owed any more.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    mem,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
};

use mongodb::bson::oid::ObjectId;
use tokio::sync::oneshot;
use tracing::warn;

use super::{
    content::{Batch, Content, Place},
    disk::Disk,
    entry::{self, Entry, Placed},
    error::JournalError,
    frame::{self, FILE_MAGIC, FIRST_FRAME, Found, SALT_BYTES, Salt},
};
use crate::CommitError;

/// The journal's name in the data directory.
pub(super) const FILE: &str = "store-journal";

/// Entries that go into one frame at most, so that one flush doesn't grow without bound.
const ENTRIES_AT_ONCE: usize = 4096;

/// Why something was not written down. Nothing of it is kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// There is no room for it.
    #[error("the disk of the journal {path:?} is full: free some space")]
    Full {
        /// The journal's file.
        path: PathBuf,
    },
    /// The file can't be written.
    #[error("the journal {path:?} can't be written: {problem}")]
    Failed {
        /// The journal's file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
}

impl AppendError {
    /// As the failure of a commit.
    pub(super) fn at_commit(self) -> CommitError {
        match &self {
            Self::Full { path } => CommitError::Full {
                place: format!("the journal {}", path.display()),
                is_here: true,
                cause: io::Error::from(io::ErrorKind::StorageFull).into(),
            },
            Self::Failed { path, .. } => CommitError::Failed {
                place: format!("the journal {}", path.display()),
                cause: self.into(),
            },
        }
    }
}

type Reply = oneshot::Sender<Result<(), AppendError>>;

enum Ask {
    /// To write these down, all or none.
    Append(Vec<Entry>, Reply),
    /// To remove the file if nothing in it is owed.
    Clear(Reply),
}

/// The way to the journal. Its thread ends when this is dropped, after what was asked before.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    asks: mpsc::Sender<Ask>,
    content: Arc<Mutex<Content>>,
    #[cfg(any(test, feature = "fakes"))]
    disk: Disk,
}

impl Journal {
    /// Reads what an earlier process left in this directory, and starts the thread. Blocks.
    pub(super) fn open(data_dir: &Path) -> Result<Self, JournalError> {
        let path = data_dir.join(FILE);
        let unreadable = |cause| JournalError::Unreadable {
            path: path.clone(),
            cause,
        };
        let mut writer = Writer::new(path.clone());
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => writer.take_up(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(error)),
        }
        let (asks, asked) = mpsc::channel();
        let content = Arc::clone(&writer.content);
        #[cfg(any(test, feature = "fakes"))]
        let disk = writer.disk.clone();
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&asked))
            .map_err(unreadable)?;
        Ok(Self {
            path,
            asks,
            content,
            #[cfg(any(test, feature = "fakes"))]
            disk,
        })
    }

    /// What of its disk fails.
    #[cfg(any(test, feature = "fakes"))]
    pub(super) fn faults(&self) -> &super::disk::Faults {
        self.disk.faults()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it says so far, all of it on the disk.
    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        lock(&self.content)
    }

    /// Writes these down, all or none: on the disk when it returns.
    pub(super) async fn append(&self, entries: Vec<Entry>) -> Result<(), AppendError> {
        self.ask(|reply| Ask::Append(entries, reply)).await
    }

    /// Removes the file if nothing in it is owed any more.
    pub(super) async fn clear(&self) -> Result<(), AppendError> {
        self.ask(Ask::Clear).await
    }

    async fn ask(&self, ask: impl FnOnce(Reply) -> Ask) -> Result<(), AppendError> {
        let (reply, answer) = oneshot::channel();
        let ended = || AppendError::Failed {
            path: self.path.clone(),
            problem: "its thread has ended".to_owned(),
        };
        self.asks.send(ask(reply)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Reads a batch back.
    pub(super) async fn batch(&self, batch: Batch) -> io::Result<Entry> {
        let (at, bytes) = (batch.at, batch.bytes);
        let file = self.content().file.clone();
        read(file, move |file| {
            let mut content = vec![0; bytes];
            file.read_exact_at(&mut content, at)?;
            let entries = entry::decode(&content).map_err(io::Error::other)?;
            let first = entries.into_iter().next().map(|placed| placed.entry);
            first.ok_or_else(|| io::Error::other("expected a batch"))
        })
        .await
    }

    /// Reads records back from the file in which they were found.
    pub(super) async fn records(
        file: Option<Arc<File>>,
        places: Vec<Place>,
    ) -> io::Result<Vec<cloudai_model::record::Record>> {
        read(file, move |file| {
            let read = |place: Place| {
                let mut bytes = vec![0; 4];
                file.read_exact_at(&mut bytes, place)?;
                let length = i32::from_le_bytes(bytes[..].try_into().unwrap_or_default());
                let length = usize::try_from(length).unwrap_or(0);
                bytes.resize(length.max(4), 0);
                file.read_exact_at(&mut bytes, place)?;
                entry::decode_record(&bytes).map_err(io::Error::other)
            };
            places.into_iter().map(read).collect()
        })
        .await
    }
}

/// Reads from a file, also when it has been removed since.
async fn read<T: Send + 'static>(
    file: Option<Arc<File>>,
    read: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let file = file.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let work = tokio::task::spawn_blocking(move || read(&file));
    work.await.map_err(io::Error::other)?
}

fn lock(content: &Mutex<Content>) -> MutexGuard<'_, Content> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer {
    path: PathBuf,
    salt: Salt,
    last_frame: u64,
    file: Option<Arc<File>>,
    /// Whether the file ends where `content.length` says.
    is_cut: bool,
    content: Arc<Mutex<Content>>,
    disk: Disk,
}

/// Reads the file as a start does: how many frames it has.
pub(super) fn taken_up(path: &Path) -> Result<u64, JournalError> {
    let unreadable = |cause| JournalError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    let file = OpenOptions::new().read(true).write(true).open(path);
    let mut writer = Writer::new(path.to_owned());
    writer.take_up(file.map_err(unreadable)?)?;
    Ok(writer.last_frame)
}

impl Writer {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            salt: [0; SALT_BYTES],
            last_frame: 0,
            file: None,
            is_cut: true,
            content: Arc::default(),
            disk: Disk::default(),
        }
    }

    /// Reads a file that is there. A last frame that a crash has cut short is cut off; nobody was
    /// told that it is kept.
    fn take_up(&mut self, file: File) -> Result<(), JournalError> {
        let path = self.path.clone();
        let unreadable = |cause| JournalError::Unreadable {
            path: path.clone(),
            cause,
        };
        let length = file.metadata().map_err(unreadable)?.len();
        if length < FIRST_FRAME {
            // Its making was cut short.
            return fs::remove_file(&path).map_err(unreadable);
        }
        let mut magic = [0; FILE_MAGIC.len()];
        file.read_exact_at(&mut magic, 0).map_err(unreadable)?;
        file.read_exact_at(&mut self.salt, magic.len() as u64)
            .map_err(unreadable)?;
        if magic != FILE_MAGIC {
            return Err(JournalError::Foreign { path });
        }
        let mut content = Content::default();
        let mut at = FIRST_FRAME;
        let damaged = |at, problem: &str| JournalError::Damaged {
            path: path.clone(),
            at,
            problem: problem.to_owned(),
        };
        loop {
            let found = frame::look(&file, &self.salt, length, at).map_err(unreadable)?;
            let (number, bytes) = match found {
                Found::Frame(number, bytes) => (number, bytes),
                Found::End => break,
                Found::Broken => {
                    if frame::follows(&file, &self.salt, length, at).map_err(unreadable)? {
                        return Err(damaged(at, "it is not what was written, and more follows"));
                    }
                    warn!(
                        journal = ?path,
                        bytes = length - at,
                        "cut off what a crash left unfinished at the end of the journal"
                    );
                    file.set_len(at).map_err(unreadable)?;
                    file.sync_all().map_err(unreadable)?;
                    break;
                }
            };
            if number != self.last_frame + 1 {
                return Err(damaged(at, "a part before it is missing"));
            }
            let base = frame::content_at(at);
            for placed in entry::decode(&bytes).map_err(|problem| damaged(at, &problem))? {
                content.apply(placed, base);
            }
            self.last_frame = number;
            at = base + bytes.len() as u64;
        }
        let file = Arc::new(file);
        content.length = at;
        content.file = Some(Arc::clone(&file));
        self.file = Some(file);
        self.content = Arc::new(Mutex::new(content));
        Ok(())
    }

    fn run(mut self, asked: &mpsc::Receiver<Ask>) {
        while let Ok(first) = asked.recv() {
            let mut appends = Vec::new();
            let mut next = Some(first);
            let mut count = 0;
            while let Some(ask) = next.take() {
                match ask {
                    Ask::Append(entries, reply) => {
                        count += entries.len();
                        appends.push((entries, reply));
                        if count < ENTRIES_AT_ONCE {
                            next = asked.try_recv().ok();
                        }
                    }
                    Ask::Clear(reply) => {
                        self.append(mem::take(&mut appends));
                        // Whoever stopped waiting has no use for the answer.
                        let _ = reply.send(self.clear().map_err(|error| self.said(&error)));
                    }
                }
            }
            self.append(appends);
        }
    }

    fn append(&mut self, appends: Vec<(Vec<Entry>, Reply)>) {
        if appends.is_empty() {
            return;
        }
        let (mut entries, mut replies) = (Vec::new(), Vec::new());
        for (some, reply) in appends {
            entries.extend(some);
            replies.push(reply);
        }
        let written = self.write(entries).map_err(|error| self.said(&error));
        for reply in replies {
            let _ = reply.send(written.clone());
        }
    }

    fn write(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        let mut content = Vec::new();
        let placed = entries
            .into_iter()
            .map(|entry| entry::encode(entry, &mut content))
            .collect::<Result<Vec<Placed>, _>>()
            .map_err(io::Error::other)?;
        // With a new file numbers begin anew, and so does its salt.
        let file = self.file()?;
        let number = self.last_frame + 1;
        let frame = frame::encode(&self.salt, number, &content)
            .ok_or_else(|| io::Error::other("a batch is longer than the 4 GiB of a frame"))?;
        let length = lock(&self.content).length;
        self.cut(&file, length)?;
        self.is_cut = false;
        if let Err(error) = self.disk.write(&file, &frame, length) {
            // What can't be cut off now is cut off before the next is written.
            let _ = self.cut(&file, length);
            return Err(error);
        }
        self.is_cut = true;
        self.last_frame = number;
        let mut known = lock(&self.content);
        known.length = length + frame.len() as u64;
        known.file = Some(file);
        for placed in placed {
            known.apply(placed, frame::content_at(length));
        }
        Ok(())
    }

    fn cut(&mut self, file: &File, length: u64) -> io::Result<()> {
        if !self.is_cut {
            file.set_len(length)?;
            self.is_cut = true;
        }
        Ok(())
    }

    /// The file, made if there is none.
    fn file(&mut self) -> io::Result<Arc<File>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.path)?;
        self.salt = ObjectId::new().bytes();
        let begun = file
            .write_all(&FILE_MAGIC)
            .and_then(|()| file.write_all(&self.salt))
            .and_then(|()| file.sync_all())
            .and_then(|()| self.disk.sync_folder_of(&self.path));
        if let Err(error) = begun {
            // One of these few bytes is none at the next start as well.
            let _ = fs::remove_file(&self.path);
            return Err(error);
        }
        let file = Arc::new(file);
        self.last_frame = 0;
        self.is_cut = true;
        lock(&self.content).length = FIRST_FRAME;
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    fn clear(&mut self) -> io::Result<()> {
        {
            let known = lock(&self.content);
            if !known.is_settled() || self.file.is_none() {
                return Ok(());
            }
        }
        match self.disk.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // Whatever comes next: nothing more may be written to a file that has no name.
        self.file = None;
        {
            let mut known = lock(&self.content);
            let highest_submitted = known.highest_submitted;
            *known = Content {
                highest_submitted,
                ..Content::default()
            };
        }
        // If a crash brings it back, it says itself that nothing in it is owed.
        self.disk.sync_folder_of(&self.path)
    }

    fn said(&self, error: &io::Error) -> AppendError {
        let path = self.path.clone();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::Full { path },
            _ => AppendError::Failed {
                path,
                problem: error.to_string(),
            },
        }
    }
}
