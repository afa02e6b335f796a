//! A tar stream of `/output` becomes a folder: odd names, holes, links, and streams that are made
//! to get out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::Path};

use cloudai_files::output::{LeftOut, disk_usage, unpack};
use tar::{EntryType, Header};

/// An archive that a test puts together, hostile names too.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    /// An entry whose name is written as it is.
    fn add(mut self, kind: EntryType, name: &[u8], link: &[u8], bytes: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        let raw = header.as_mut_bytes();
        if name.len() > 100 || !name.is_ascii() {
            self = self.extension(b"path", name);
        }
        let most = name.len().min(100);
        raw[..most].copy_from_slice(&name[..most]);
        raw[157..157 + link.len()].copy_from_slice(link);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.data(bytes);
        self
    }

    fn file(self, name: &[u8], bytes: &[u8]) -> Self {
        self.add(EntryType::Regular, name, b"", bytes)
    }

    fn extension(mut self, key: &[u8], value: &[u8]) -> Self {
        let content = key.len() + value.len() + 3;
        // The length counts its own digits.
        let length = (1..).find(|n| *n == content + n.to_string().len()).unwrap();
        let mut record = format!("{length} ").into_bytes();
        record.extend_from_slice(key);
        record.push(b'=');
        record.extend_from_slice(value);
        record.push(b'\n');
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(record.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.data(&record);
        self
    }

    fn data(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn unpack(self, root: &Path) -> LeftOut {
        self.unpack_at_most(root, u64::MAX)
    }

    fn unpack_at_most(mut self, root: &Path, most: u64) -> LeftOut {
        self.0.resize(self.0.len() + 1024, 0);
        unpack(&self.0[..], root, most).unwrap()
    }
}

fn read(root: &Path, name: &[u8]) -> Vec<u8> {
    let path = root.join(OsStr::from_bytes(name));
    fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

#[test]
fn files_of_any_name_come_out_as_they_went_in() {
    let root = tempfile::tempdir().unwrap();
    let long = [b"output/".as_slice(), &[b'n'; 255]].concat();
    let mixed = [b"output/\xff\nnew ".as_slice(), &[b'm'; 120]].concat();
    let unpacked = Archive::default()
        .add(EntryType::Directory, b"output/", b"", b"")
        .add(EntryType::Directory, b"output/empty/", b"", b"")
        .file(b"output/plain", b"abc")
        .file(b"output/nothing", b"")
        .file(b"output/a/b/c", &[7; 1000])
        .file(b"output/new\nline", b"1")
        .file(b"output/-rf", b"2")
        .file(b"output/not-utf8-\xff", b"3")
        .file(&long, b"4")
        .file(&mixed, b"5")
        .unpack(root.path());
    assert_eq!(unpacked, LeftOut::default());
    assert_eq!(read(root.path(), b"plain"), b"abc");
    assert_eq!(read(root.path(), b"nothing"), b"");
    assert_eq!(read(root.path(), b"a/b/c"), [7; 1000]);
    assert_eq!(read(root.path(), b"new\nline"), b"1");
    assert_eq!(read(root.path(), b"-rf"), b"2");
    assert_eq!(read(root.path(), b"not-utf8-\xff"), b"3");
    assert_eq!(read(root.path(), &long[7..]), b"4");
    assert_eq!(read(root.path(), &mixed[7..]), b"5");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 8);
}

#[test]
fn nothing_gets_out_and_what_is_no_file_is_told() {
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let unpacked = Archive::default()
        .file(b"output/../escaped", b"x")
        .file(b"output//etc/passwd", b"x")
        .add(EntryType::Symlink, b"output/out", b"..", b"")
        .file(b"output/out/escaped", b"kept within")
        .add(EntryType::Link, b"output/hard", b"output/../secret", b"")
        .add(EntryType::Link, b"output/absolute", b"/etc/passwd", b"")
        .file(b"output/file", b"1")
        .file(b"output/file", b"2")
        .file(b"output/file/beneath", b"3")
        .add(EntryType::Link, b"output/again", b"output/file", b"")
        .add(EntryType::Fifo, b"output/pipe", b"", b"")
        .add(EntryType::Char, b"output/null", b"", b"")
        .unpack(&root);

    // A link was not made, so that what lies beneath its name is a folder's.
    assert_eq!(read(&root, b"out/escaped"), b"kept within");
    assert_eq!(read(&root, b"file"), b"1");
    assert_eq!(read(&root, b"again"), b"1");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 3);
    let names: Vec<_> = fs::read_dir(outside.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(unpacked.count, 9);
    let told = unpacked.notes.join("\n");
    for words in [
        "left out out: is a symbolic link",
        "left out pipe: is a FIFO",
        "left out null: is a device",
        "left out file: can't be written: ",
        "left out file/beneath: can't be written: ",
        "left out hard: is a link to what isn't kept: ",
        "left out absolute: is a link to what isn't kept: ",
        "'.' and '..' are no names of files",
        "it begins with '/'",
    ] {
        assert!(told.contains(words), "{words:?} in {told}");
    }
}

#[test]
fn holes_stay_holes() {
    let root = tempfile::tempdir().unwrap();
    let mut bytes = vec![0; 8 << 20];
    bytes[5 << 20] = 1;
    Archive::default()
        .file(b"output/sparse", &bytes)
        .unpack(root.path());
    assert!(read(root.path(), b"sparse") == bytes);
    assert!(disk_usage(root.path()).unwrap() < 1 << 20);
}

#[test]
fn a_stream_that_breaks_off_or_is_none_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let whole = Archive::default().file(b"output/a", &[1; 2000]).0;
    // A cut between two entries is one, too: the blocks that end an archive are missing.
    for length in [0, 100, 512, 1500, whole.len() - 500, whole.len()] {
        let error = unpack(&whole[..length], root.path(), u64::MAX).unwrap_err();
        assert!(error.to_string().contains("cannot unpack"), "{error}");
        let _ = fs::remove_file(root.path().join("a"));
    }
    assert!(unpack(&[b'x'; 1024][..], root.path(), u64::MAX).is_err());
}

#[test]
fn what_is_more_than_may_be_kept_is_not_even_read() {
    let root = tempfile::tempdir().unwrap();
    let left_out = Archive::default()
        .file(b"output/first", &[1; 600])
        .file(b"output/fits", &[2; 400])
        .file(b"output/hole", &[0; 1])
        .file(b"output/behind", b"")
        .unpack_at_most(root.path(), 1000);
    assert_eq!(read(root.path(), b"first"), [1; 600]);
    assert_eq!(read(root.path(), b"fits"), [2; 400]);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    assert_eq!(left_out.count, 1);
    assert_eq!(
        left_out.notes,
        ["left out hole and what follows it: together more than 1000 bytes"]
    );
}
