//! The folder that a hostile container leaves as its `/output`, on the worker's own machine: it is
//! walked, read and sent to a master, measured and removed, while more may change in it.
//!
//! An input is lines, each of which makes something: `file PATH WORDS`, `sparse PATH BYTES`,
//! `folder PATH`, `link PATH TARGET`, `hard PATH OTHER`, `fifo PATH`, `socket PATH`, `move PATH OTHER`,
//! `remove PATH`. What stands behind `%%then` happens when the folder has been walked. What holds: the
//! walk finds each regular file beneath the folder and counts all else that is no folder; what is read
//! is what lies there, never what a link leads to; as long as nothing changes all of it is read, and a
//! master takes it as it is; what can't be read is said; and the folder is removed, with nothing else.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Component, Path, PathBuf},
};

use cloudai_files::output::{
    Checksum, Collected, CollectedFile, OutputStore, RelativePath, Zeros, collect, disk_usage,
    read_chunks, remove_tree,
};
use cloudai_master::fuzzing::{Uploaded, upload};
use cloudai_model::{AttemptId, TaskId, UserName};
use cloudai_proto::{FileDigest, UploadChunk, cluster::FileChunk};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sha2::{Digest as _, Sha256};

use crate::{
    Seed, Verdict,
    said::{LONGEST, assert_told},
    scratch, sections,
};

/// Lines that are taken of one input.
const MOST: usize = 64;
/// Some more than are sent.
const MOST_FOLDERS: usize = 140;
/// Of a sparse file.
const MOST_BYTES: u64 = 64 << 10;
/// Several of them are read of all but the smallest files.
const CHUNK_BYTES: usize = 1000;
const STRANGER: &str = "of somebody else";

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let outside = scratch::folder();
    let root = outside.path().join("output");
    fs::create_dir(&root).expect("a folder is made");
    let stranger = outside.path().join("stranger");
    fs::write(&stranger, STRANGER).expect("a small file can be written");
    let parts = sections::split(bytes);
    let act = |lines: &[u8]| {
        for line in lines.split(|byte| *byte == b'\n').take(MOST) {
            // What the system refuses doesn't happen.
            let _ = perform(&root, line).is_ok();
        }
    };
    act(parts[0].1);

    let collected = collect(&root).expect("the folder itself is there");
    is_all_that_is_there(&root, &collected);
    let then = parts.iter().find(|(name, _)| *name == "then");
    act(then.map_or(b"", |(_, lines)| lines));
    let mut all_read = true;
    let mut sent = Vec::new();
    for file in &collected.files {
        match read(&root, file) {
            Ok((chunks, content)) => {
                assert_eq!(content, held(&root, &file.path).expect("it is a file"));
                sent.extend(chunks);
            }
            Err(words) => {
                assert!(then.is_some(), "nothing has changed: {words}");
                assert_told(words, 4 * LONGEST);
                all_read = false;
            }
        }
    }
    if all_read && !sent.is_empty() {
        is_taken_by_a_master(outside.path(), &collected, sent);
    }

    let _ = disk_usage(&root).is_ok();
    remove_tree(&root).expect("all of it is ours");
    assert!(fs::symlink_metadata(&root).is_err(), "it is gone");
    assert_eq!(fs::read_to_string(stranger).ok().as_deref(), Some(STRANGER));
    Verdict::accepted_if(all_read && !collected.files.is_empty())
}

/// Does what a line says, beneath the folder and never through a link.
fn perform(root: &Path, line: &[u8]) -> std::io::Result<()> {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let mut next = || words.next().unwrap_or_default();
    let (what, path, rest) = (next(), next(), next());
    let Some(path) = inside(root, path) else {
        return Ok(());
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let node = |kind| mknodat(CWD, &path, kind, Mode::RUSR, 0).map_err(Into::into);
    match what {
        b"file" if !is_there(&path) => fs::write(&path, rest),
        b"sparse" if !is_there(&path) => {
            let size = std::str::from_utf8(rest)
                .ok()
                .and_then(|size| size.parse().ok());
            let file = fs::File::create(&path)?;
            file.set_len(MOST_BYTES.min(size.unwrap_or(0)))
        }
        b"folder" => fs::create_dir(&path),
        b"link" => symlink(OsStr::from_bytes(rest), &path),
        b"fifo" => node(FileType::Fifo),
        b"socket" => node(FileType::Socket),
        b"remove" => fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)),
        b"hard" | b"move" => match inside(root, rest) {
            // No link is followed on the way to either.
            Some(other) if what == b"hard" => fs::hard_link(&path, other),
            Some(other) => fs::rename(&path, other),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// The path, if it names something beneath the folder by way of folders that are there, or may be
/// made.
fn inside(root: &Path, path: &[u8]) -> Option<PathBuf> {
    let path = Path::new(OsStr::from_bytes(path));
    let is_plain = |name: Component<'_>| matches!(name, Component::Normal(_));
    let count = path.components().count();
    if !(1..=MOST_FOLDERS).contains(&count) || !path.components().all(is_plain) {
        return None;
    }
    let full = root.join(path);
    let above = full.ancestors().skip(1).take(count - 1);
    let is_folder = |above: &Path| match fs::symlink_metadata(above) {
        Ok(found) => found.is_dir(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    above.into_iter().all(is_folder).then_some(full)
}

fn is_all_that_is_there(root: &Path, collected: &Collected) {
    let (mut files, mut others) = (Vec::new(), 0);
    walk(root, root, &mut files, &mut others);
    assert_eq!(collected.files, files);
    assert_eq!(collected.left_out.count, others);
    assert!(collected.left_out.notes.len() as u64 <= others);
    for note in &collected.left_out.notes {
        assert_told(note, 4 * LONGEST);
    }
}

/// By the names of the system alone, in their order.
fn walk(root: &Path, folder: &Path, files: &mut Vec<CollectedFile>, others: &mut u64) {
    let entries = fs::read_dir(folder).expect("it can be read");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it is listed").path())
        .collect();
    paths.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    for full in paths {
        let within = full.strip_prefix(root).expect("it lies beneath");
        let path = RelativePath::from_os(within);
        let found = fs::symlink_metadata(&full).expect("it is there");
        match path {
            Ok(_) if found.is_dir() => walk(root, &full, files, others),
            Ok(path) if found.is_file() => files.push(CollectedFile {
                path,
                size: found.len(),
            }),
            _ => *others += 1,
        }
    }
}

/// What lies at a path, by way of folders alone.
fn held(root: &Path, path: &RelativePath) -> Option<Vec<u8>> {
    let full = inside(root, path.to_os().as_os_str().as_bytes())?;
    let is_file = fs::symlink_metadata(&full).is_ok_and(|found| found.is_file());
    is_file.then(|| fs::read(full).expect("it can be read"))
}

/// The messages that a file is sent in, and its bytes.
fn read(root: &Path, file: &CollectedFile) -> Result<(Vec<FileChunk>, Vec<u8>), String> {
    let (_, told) = read_so(root, file, Zeros::Told)?;
    let (chunks, content) = read_so(root, file, Zeros::LeftOut)?;
    assert_eq!(content, told, "zeros that are left out are zeros");
    Ok((chunks, content))
}

fn read_so(
    root: &Path,
    file: &CollectedFile,
    zeros: Zeros,
) -> Result<(Vec<FileChunk>, Vec<u8>), String> {
    let (mut content, mut chunks, mut ended) = (Vec::new(), Vec::new(), false);
    let pieces = read_chunks(root, file, CHUNK_BYTES, zeros).map_err(|error| error.to_string())?;
    for piece in pieces {
        let piece = piece.map_err(|error| error.to_string())?;
        assert!(!ended, "nothing comes behind the last");
        let offset = piece.offset as usize;
        let goes_on =
            offset >= content.len() && (zeros == Zeros::LeftOut || offset == content.len());
        assert!(goes_on, "{offset} behind {} bytes", content.len());
        content.resize(offset, 0);
        content.extend_from_slice(&piece.data);
        ended = piece.checksum.is_some();
        if let Some(Checksum { size, sha256 }) = &piece.checksum {
            assert_eq!((*size, content.len() as u64), (file.size, file.size));
            assert_eq!(*sha256, hex::encode(Sha256::digest(&content)));
        }
        let finish = piece.checksum.map(|sum| FileDigest {
            size: sum.size,
            sha256: sum.sha256,
        });
        let chunk = UploadChunk {
            attempt: attempt(),
            worker: "worker-1".parse().ok(),
            user_text: String::new(),
            task_name: String::new(),
            path_text: file.path.to_string(),
            offset: Some(piece.offset),
            data: piece.data,
            last_chunk: ended,
            finish,
            last_file: false,
            empty_set: false,
        };
        chunks.push(chunk.into_wire());
    }
    assert!(ended, "there is a last piece");
    Ok((chunks, content))
}

fn attempt() -> AttemptId {
    AttemptId::new(TaskId::numbered(7), 1)
}

fn is_taken_by_a_master(outside: &Path, collected: &Collected, mut sent: Vec<FileChunk>) {
    if let Some(last) = sent.last_mut() {
        last.is_last_file = true;
    }
    let store = OutputStore::open(outside.join("files")).expect("a folder is made");
    let user = UserName::admin();
    let published = match upload(&store, (&user, &attempt()), u64::MAX, sent) {
        Uploaded::Published(records) => Ok(records),
        Uploaded::Refused(words) => Err(words),
    };
    let published = published.expect("what a worker sends is taken");
    let mut sizes: Vec<(String, u64)> = collected
        .files
        .iter()
        .map(|file| (file.path.to_string(), file.size))
        .collect();
    let mut records: Vec<(String, u64)> = published
        .into_iter()
        .map(|record| (record.path, record.size))
        .collect();
    sizes.sort();
    records.sort();
    assert_eq!(records, sizes);
}

/// What containers leave, plain and hostile, and what they do while it is read.
pub(super) fn seeds() -> Vec<Seed> {
    let deep = |depth: usize| vec!["d"; depth].join("/");
    let many: String = (0..60).map(|n| format!("link {n} ../stranger\n")).collect();
    vec![
        Seed::good("plain", "file a.txt hello\nfile b/c 1\nfile b/d\nfolder e"),
        Seed::good("sparse", "sparse a 65536\nsparse b/c 2500\nfile d x"),
        Seed::good(
            "names",
            &b"file caf\xe9 1\nfile 100%25 2\nfile %FF 3\nfile \x1b[2J 4\nfile -rf 5"[..],
        ),
        Seed::good(
            "links",
            "file a 1\nlink b ../stranger\nlink c /etc\nlink d a\nlink e ..\nlink f f\nfile e/x 2",
        ),
        Seed::good("kinds", "fifo a\nsocket b\nfile c 1\nhard c d/e"),
        Seed::good(
            "order",
            "file a/b 1\nfile a.b 2\nfile a/a/a 3\nfile b 4\nfile a0 5",
        ),
        Seed::good("deepest", format!("file {} 1", deep(128))),
        Seed::good("too-deep-beside", format!("file {} 1\nfile a 2", deep(130))),
        Seed::good("many-links", format!("{many}file a 1")),
        Seed::good(
            "grows-beside",
            "file a 1\n%%then\nfile b 2\nlink c ../stranger",
        ),
        Seed::bad("nothing", ""),
        Seed::bad("links-alone", "link a ../stranger\nlink b .."),
        Seed::bad("gone", "file a 1\n%%then\nremove a"),
        Seed::bad(
            "becomes-a-link",
            "file a of nobody in here\n%%then\nremove a\nlink a ../stranger",
        ),
        Seed::bad(
            "folder-becomes-a-link",
            "file a/stranger of somebody else\n%%then\nmove a b\nlink a ..",
        ),
        Seed::bad("becomes-a-fifo", "file a 1\n%%then\nremove a\nfifo a"),
        Seed::bad("becomes-a-folder", "file a 1\n%%then\nremove a\nfolder a"),
        Seed::bad("longer", "file a 1\n%%then\nremove a\nfile a 22"),
    ]
}
