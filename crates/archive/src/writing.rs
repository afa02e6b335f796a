//! Writing an archive: entry by entry, under another name until it is whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::format::{ArchiveError, HEADER, Header, MANIFEST, Manifest, Part};

/// An archive that is being made.
pub(crate) struct ArchiveWriter {
    /// Its name until it is whole.
    unfinished: PathBuf,
    tar: tar::Builder<GzEncoder<BufWriter<File>>>,
    header: Header,
    parts: Vec<Part>,
}

/// Hashes what is read through it, up to so many bytes.
struct Hashing<R> {
    source: io::Take<R>,
    hash: Sha256,
    read: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.read += read as u64;
        Ok(read)
    }
}

impl ArchiveWriter {
    /// Begins an archive that will be `path`, readable for its owner alone.
    pub(crate) fn begin(path: &Path, header: Header) -> Result<Self, ArchiveError> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ArchiveError::io(&unfinished, "remove it")(error));
            }
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
            .map_err(ArchiveError::io(&unfinished, "make it"))?;
        let zip = GzEncoder::new(BufWriter::new(file), Compression::fast());
        let mut writer = Self {
            unfinished,
            tar: tar::Builder::new(zip),
            header,
            parts: Vec::new(),
        };
        let header = json(&writer.header);
        writer.entry(HEADER, header.len() as u64, &header[..])?;
        Ok(writer)
    }

    /// Adds the first `size` bytes that `source` gives as a part; its SHA-256.
    pub(crate) fn add(
        &mut self,
        path: &str,
        size: u64,
        source: impl Read,
    ) -> Result<String, ArchiveError> {
        let sha256 = self.entry(path, size, source)?;
        self.parts.push(Part {
            path: path.to_owned(),
            size,
            sha256: sha256.clone(),
        });
        Ok(sha256)
    }

    fn entry(&mut self, path: &str, size: u64, source: impl Read) -> Result<String, ArchiveError> {
        let failed = |source| ArchiveError::Io {
            path: self.unfinished.clone(),
            doing: "write it",
            source,
        };
        let mut head = tar::Header::new_gnu();
        head.set_size(size);
        head.set_mode(0o600);
        head.set_mtime(u64::try_from(self.header.made_at_ms / 1000).unwrap_or(0));
        head.set_entry_type(tar::EntryType::Regular);
        let mut source = Hashing {
            source: source.take(size),
            hash: Sha256::new(),
            read: 0,
        };
        self.tar
            .append_data(&mut head, path, &mut source)
            .map_err(failed)?;
        if source.read < size {
            let problem = format!("{path} was cut short while it was read");
            return Err(failed(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                problem,
            )));
        }
        Ok(hex::encode(source.hash.finalize()))
    }

    /// Adds the manifest and flushes everything to disk, still under the other name.
    pub(crate) fn finish(
        mut self,
        records: std::collections::BTreeMap<String, u64>,
        missing: Vec<String>,
    ) -> Result<Unnamed, ArchiveError> {
        let manifest = Manifest {
            header: self.header.clone(),
            records,
            parts: std::mem::take(&mut self.parts),
            missing,
        };
        let bytes = json(&manifest);
        self.entry(MANIFEST, bytes.len() as u64, &bytes[..])?;
        let path = self.unfinished;
        let flush = || -> io::Result<()> {
            let mut file = self.tar.into_inner()?.finish()?;
            file.flush()?;
            file.get_ref().sync_all()
        };
        flush().map_err(ArchiveError::io(&path, "flush it"))?;
        Ok(Unnamed { path, manifest })
    }
}

/// An archive that is whole and doesn't have its name yet.
pub(crate) struct Unnamed {
    pub(crate) path: PathBuf,
    pub(crate) manifest: Manifest,
}

impl Unnamed {
    /// Gives it its name, on disk when it returns; never that of something that is there.
    pub(crate) fn name(self, path: &Path) -> Result<(), ArchiveError> {
        let place = || -> io::Result<()> {
            match renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE) {
                // The file system can't promise it: whoever calls has looked that nothing is there.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    fs::rename(&self.path, path)?;
                }
                renamed => renamed?,
            }
            sync_folder_of(path)
        };
        place().map_err(ArchiveError::io(path, "put it there"))
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("texts and numbers are always JSON")
}

/// Makes the names in the folder that holds `path` last.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// The folder that holds `path`.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
