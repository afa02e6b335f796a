//! Writing a log's file: its repair at opening, appending, and telling the watchers.

use std::{
    collections::VecDeque,
    fs::{DirBuilder, File, OpenOptions},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use tokio::sync::watch;

use super::{
    Frame, LogError, LogExtent, LogFollower, LogReader, LogWatch, encode, render::tail_text_from,
    walk::FrameWalk,
};

/// What opening a log found at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repair {
    /// The log's length, now that it ends with a whole frame.
    pub len: u64,
    /// Bytes behind the last whole frame that were cut off; 0 for a log that was closed in order.
    pub cut: u64,
}

/// The one writer of a log's file.
///
/// What it appended can be read at once, and survives the end of this process. What it
/// [synced](Self::sync) survives the end of the machine.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
    walk: FrameWalk,
    /// Some of the places near the end where a frame begins, rising.
    marks: Marks,
    /// The file's name may not have reached the disk yet.
    is_new: bool,
    extent: watch::Sender<LogExtent>,
}

impl LogWriter {
    /// Opens the log in the file `path`, or begins it, with the folder that holds it.
    ///
    /// Whatever follows the last whole frame, or is no frame, is cut off: it is what a write left
    /// that a crash came into.
    ///
    /// # Errors
    ///
    /// The file can't be made, read or shortened.
    pub fn open(path: &Path) -> Result<(Self, Repair), LogError> {
        let folder = folder_of(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(LogError::io(path, "make its folder"))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(LogError::io(path, "open it"))?;

        let reader = LogReader::open(path)?;
        let file_len = reader.file_len()?;
        let (walk, marks) = whole_frames(&reader)?;
        let len = walk.position();
        let cut = file_len - len;
        if cut > 0 {
            file.set_len(len)
                .map_err(LogError::io(path, "cut its torn end"))?;
        }
        let (extent, _) = watch::channel(LogExtent { len, sealed: false });
        let writer = Self {
            path: path.to_owned(),
            file,
            walk,
            marks,
            is_new: len == 0,
            extent,
        };
        Ok((writer, Repair { len, cut }))
    }

    /// Appends `frames` by one write and returns the log's new length.
    ///
    /// # Errors
    ///
    /// The log is sealed, its last bytes are no whole frame, or the disk refuses: then nothing was
    /// appended and the same may be tried again.
    pub fn append(&mut self, frames: &[Frame]) -> Result<u64, LogError> {
        if self.walk.whole() != self.walk.position() {
            return Err(LogError::MidFrame {
                path: self.path.clone(),
                whole: self.walk.whole(),
                len: self.len(),
            });
        }
        let mut bytes = Vec::new();
        for frame in frames {
            encode(frame, &mut bytes);
        }
        self.append_at(self.len(), &bytes)
    }

    /// Appends framed bytes that begin at `offset` of the log that this one is a copy of, and
    /// returns the new length. They may begin and end within a frame. What the log already holds
    /// of them is compared and skipped, so that a piece may safely come twice.
    ///
    /// # Errors
    ///
    /// The log is sealed; bytes before `offset` are missing; the part that is held already
    /// differs; what results is not framed; or the disk refuses. In each case nothing was appended.
    pub fn append_at(&mut self, offset: u64, bytes: &[u8]) -> Result<u64, LogError> {
        let len = self.len();
        if offset > len {
            return Err(LogError::Gap {
                path: self.path.clone(),
                len,
                offset,
            });
        }
        let held = usize::try_from(len - offset).unwrap_or(usize::MAX);
        let (repeated, fresh) = bytes.split_at(held.min(bytes.len()));
        self.compare(offset, repeated)?;
        if fresh.is_empty() {
            return Ok(len);
        }
        if self.extent.borrow().sealed {
            return Err(LogError::Sealed {
                path: self.path.clone(),
            });
        }

        let mut walk = self.walk.clone();
        walk.feed(fresh, |_, _| ())
            .map_err(|source| LogError::Malformed {
                path: self.path.clone(),
                source,
            })?;
        if let Err(error) = self.file.write_all_at(fresh, len) {
            // Half a piece must not stay behind the end. If this fails too, the next write covers
            // it or the next opening cuts it; watchers are bounded by what is published.
            let _ = self.file.set_len(len).is_ok();
            return Err(LogError::io(&self.path, "append to it")(error));
        }
        self.walk = walk;
        self.marks.pass(self.walk.whole());
        let len = self.len();
        self.extent.send_modify(|extent| extent.len = len);
        Ok(len)
    }

    /// Makes what was appended survive the end of the machine.
    ///
    /// # Errors
    ///
    /// The disk refuses. What was appended since the last success may then be lost with the machine.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.file
            .sync_data()
            .map_err(LogError::io(&self.path, "flush it"))?;
        if self.is_new {
            let folder = folder_of(&self.path);
            for folder in [folder, folder_of(folder)] {
                File::open(folder)
                    .and_then(|folder| folder.sync_all())
                    .map_err(LogError::io(folder, "flush the folder"))?;
            }
            self.is_new = false;
        }
        Ok(())
    }

    /// Says that the log is complete: watchers end when they have read it. Does not sync.
    pub fn seal(&mut self) {
        self.extent.send_modify(|extent| extent.sealed = true);
    }

    /// The log's length in framed bytes.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a length on disk, not a collection"
    )]
    pub fn len(&self) -> u64 {
        self.walk.position()
    }

    /// Where the last whole frame ends; less than the length while a copied frame is incomplete.
    #[must_use]
    pub fn whole_len(&self) -> u64 {
        self.walk.whole()
    }

    /// Tells how far the log reaches.
    #[must_use]
    pub fn watch(&self) -> LogWatch {
        LogWatch(self.extent.subscribe())
    }

    /// The last `limit` bytes that the task printed, as [`tail_text`](super::tail_text); reads
    /// little more than those.
    ///
    /// # Errors
    ///
    /// The file can't be read.
    pub fn tail_text(&self, limit: usize) -> Result<String, LogError> {
        let start = self
            .marks
            .before(self.len().saturating_sub(2 * limit as u64));
        tail_text_from(&self.path, start, limit)
    }

    /// Follows the log from `offset` on.
    ///
    /// # Errors
    ///
    /// The file can't be opened for reading.
    pub fn follow(&self, offset: u64) -> Result<LogFollower, LogError> {
        let reader = LogReader::open(&self.path)?;
        Ok(LogFollower::new(reader, self.watch(), offset))
    }

    fn compare(&self, offset: u64, expected: &[u8]) -> Result<(), LogError> {
        if expected.is_empty() {
            return Ok(());
        }
        let mut held = vec![0; expected.len()];
        self.file
            .read_exact_at(&mut held, offset)
            .map_err(LogError::io(&self.path, "read it"))?;
        let differs = held.iter().zip(expected).position(|(a, b)| a != b);
        differs.map_or(Ok(()), |index| {
            Err(LogError::Differs {
                path: self.path.clone(),
                offset,
                at: offset + index as u64,
            })
        })
    }
}

/// Places where a frame begins: the last few, some way apart.
#[derive(Debug)]
struct Marks(VecDeque<u64>);

impl Marks {
    /// How far apart they are, at least, in bytes.
    const APART: u64 = 64 << 10;
    const MOST: usize = 32;

    /// A frame begins at `offset`, which is the end so far.
    fn pass(&mut self, offset: u64) {
        if self
            .0
            .back()
            .is_none_or(|last| offset - last >= Self::APART)
        {
            self.0.push_back(offset);
            if self.0.len() > Self::MOST {
                self.0.pop_front();
            }
        }
    }

    /// One that is not behind `offset`.
    fn before(&self, offset: u64) -> u64 {
        let all = self.0.iter().rev();
        all.copied().find(|mark| *mark <= offset).unwrap_or(0)
    }
}

/// How long the log in the file `path` is up to the end of its last whole frame. The file may grow
/// meanwhile, and is left as it is.
///
/// # Errors
///
/// There is no such file (an I/O error of kind `NotFound`), or it can't be read.
pub fn whole_len(path: &Path) -> Result<u64, LogError> {
    let (walk, _) = whole_frames(&LogReader::open(path)?)?;
    Ok(walk.whole())
}

/// Walks the file and stands at the end of its last whole frame.
fn whole_frames(reader: &LogReader) -> Result<(FrameWalk, Marks), LogError> {
    let mut walk = FrameWalk::new();
    let mut marks = Marks(VecDeque::new());
    reader
        .for_each_piece(0, |piece| {
            // What is no frame ends the log, like a torn one.
            let framed = walk.feed(piece, |_, _| ()).is_ok();
            marks.pass(walk.whole());
            if framed { Ok(()) } else { Err(Stop::Unframed) }
        })
        .or_else(|stop| match stop {
            Stop::Unframed => Ok(()),
            Stop::Failed(error) => Err(error),
        })?;
    walk.rewind_to_whole();
    Ok((walk, marks))
}

enum Stop {
    Unframed,
    Failed(LogError),
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Failed(error)
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{frame::tests::stdout, tail_text},
        *,
    };

    #[test]
    fn the_tail_of_a_long_log_is_the_same_however_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.log");
        let (mut writer, _) = LogWriter::open(&path).unwrap();
        for number in 0..3000 {
            let line = format!("{number} {}\n", "x".repeat(2000));
            writer.append(&[stdout(number, &line)]).unwrap();
        }
        let whole = tail_text(&path, 64 << 10).unwrap();
        assert_eq!(writer.tail_text(64 << 10).unwrap(), whole);
        let (opened, _) = LogWriter::open(&path).unwrap();
        assert_eq!(opened.tail_text(64 << 10).unwrap(), whole);
        // It does not begin at the log's first byte.
        assert!(opened.marks.before(opened.len() - (128 << 10)) > 5 << 20);
        assert_eq!(
            opened.tail_text(usize::MAX / 4).unwrap(),
            tail_text(&path, usize::MAX / 4).unwrap()
        );
    }

    #[test]
    fn a_log_is_whole_up_to_its_last_frame_and_looking_mends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.log");
        let (mut writer, _) = LogWriter::open(&path).unwrap();
        let whole = writer.append(&[stdout(1, "kept")]).unwrap();
        let mut torn = Vec::new();
        encode(&stdout(2, "torn"), &mut torn);
        writer.append_at(whole, &torn[..torn.len() - 1]).unwrap();

        assert_eq!(whole_len(&path).unwrap(), whole);

        assert_eq!(std::fs::metadata(&path).unwrap().len(), writer.len());
        assert!(writer.len() > whole);
        assert!(whole_len(&folder.path().join("2.log")).is_err());
    }

    #[test]
    fn after_a_full_disk_the_same_append_can_be_tried_again() {
        // Given a log whose disk has become full.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.log");
        let (mut writer, _) = LogWriter::open(&path).unwrap();
        let len = writer.append(&[stdout(1, "kept")]).unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let disk = std::mem::replace(&mut writer.file, full);

        // When a frame is appended, then that fails, and neither writer nor watchers move.
        let error = writer.append(&[stdout(2, "more")]).unwrap_err();
        assert!(matches!(error, LogError::Io { .. }), "{error}");
        assert_eq!(writer.len(), len);
        assert_eq!(writer.watch().now().len, len);

        // When there is room again, then the same frame goes in.
        writer.file = disk;
        writer.append(&[stdout(2, "more")]).unwrap();
        let frames = LogReader::open(&path).unwrap();
        let frames: Vec<_> = frames.frames_from(0).map(Result::unwrap).collect();
        assert_eq!(frames, [stdout(1, "kept"), stdout(2, "more")]);
    }
}
