//! The worker's side on a real disk: odd trees, links that lead out, files that change.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
};

use cloudai_files::output::{
    Checksum, Chunk, CollectedFile, ReadError, Zeros, collect, read_chunks,
};
use rustix::{
    fs::{CWD, Mode, mkfifoat},
    thread::{CapabilitySet, capabilities, set_capabilities},
};

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const ABC_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn put(root: &Path, path: impl AsRef<Path>, bytes: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn paths(files: &[CollectedFile]) -> Vec<&str> {
    files.iter().map(|file| file.path.as_str()).collect()
}

fn only_file(root: &Path) -> CollectedFile {
    let mut files = collect(root).unwrap().files;
    assert_eq!(files.len(), 1);
    files.remove(0)
}

#[test]
fn a_tree_is_found_whole_and_in_the_same_order_each_time() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "b/deep/er/x", "12345");
    put(root.path(), "a.txt", "");
    put(root.path(), "b.txt", "1");
    put(root.path(), OsStr::from_bytes(b"caf\xe9"), "1");
    put(root.path(), r"back\slash", "1");
    put(root.path(), "new\nline", "1");
    put(root.path(), ".hidden", "1");
    fs::create_dir_all(root.path().join("empty/folders")).unwrap();

    let collected = collect(root.path()).unwrap();
    assert_eq!(
        paths(&collected.files),
        [
            ".hidden",
            "a.txt",
            "b/deep/er/x",
            "b.txt",
            r"back\slash",
            "caf%E9",
            "new\nline"
        ]
    );
    let sizes: Vec<u64> = collected.files.iter().map(|file| file.size).collect();
    assert_eq!(sizes, [1, 0, 5, 1, 1, 1, 1]);
    assert_eq!(collected.left_out.notes, [""; 0]);
    assert_eq!(collect(root.path()).unwrap(), collected);
}

#[test]
fn ten_thousand_small_files_are_found() {
    let root = tempfile::tempdir().unwrap();
    for folder in 0..100 {
        for file in 0..100 {
            put(root.path(), format!("{folder:02}/{file:02}"), "x");
        }
    }
    let files = collect(root.path()).unwrap().files;
    assert_eq!(files.len(), 10_000);
    assert!(files.is_sorted_by(|a, b| a.path < b.path));
}

#[test]
fn what_is_no_regular_file_is_left_out_with_a_note() {
    // Given links to a secret outside and to a folder outside, a FIFO and a socket.
    let outside = tempfile::tempdir().unwrap();
    put(outside.path(), "secret", "secret");
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "kept", "abc");
    symlink(outside.path().join("secret"), root.path().join("link")).unwrap();
    symlink(outside.path(), root.path().join("linked")).unwrap();
    symlink("kept", root.path().join("link-within")).unwrap();
    mkfifoat(CWD, root.path().join("pipe"), Mode::RWXU).unwrap();
    let _socket = UnixListener::bind(root.path().join("socket")).unwrap();

    let collected = collect(root.path()).unwrap();
    assert_eq!(paths(&collected.files), ["kept"]);
    assert_eq!(
        collected.left_out.notes,
        [
            "left out link: is a symbolic link",
            "left out link-within: is a symbolic link",
            "left out linked: is a symbolic link",
            "left out pipe: is a FIFO",
            "left out socket: is a socket",
        ]
    );
}

#[test]
fn what_the_worker_may_not_read_is_left_out_with_a_note() {
    // Given files without any permission, and a worker without root's right to read them still.
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "closed", "abc");
    put(root.path(), "folder/inside", "abc");
    put(root.path(), "open", "abc");
    let close = |path: &str, mode| {
        fs::set_permissions(root.path().join(path), Permissions::from_mode(mode)).unwrap();
    };
    close("closed", 0o000);
    close("folder", 0o000);

    // Capabilities are a thread's own.
    let collected = std::thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
            set_capabilities(None, sets).unwrap();
            collect(root.path()).unwrap()
        });
        collecting.join().unwrap()
    });
    close("folder", 0o700);

    assert_eq!(paths(&collected.files), ["open"]);
    assert_eq!(collected.left_out.count, 2);
    for (note, name) in collected.left_out.notes.iter().zip(["closed", "folder"]) {
        assert!(note.starts_with(&format!("left out {name}: ")), "{note}");
        assert!(note.contains("Permission denied"), "{note}");
    }
}

#[test]
fn a_tree_too_deep_for_a_path_ends_with_a_note() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "a", "");
    put(root.path(), "d/".repeat(200) + "x", "abc");
    let collected = collect(root.path()).unwrap();
    assert_eq!(paths(&collected.files), ["a"]);
    assert_eq!(collected.left_out.count, 1);
    assert!(
        collected.left_out.notes[0].contains("more than 128 folders deep"),
        "{:?}",
        collected.left_out.notes
    );
}

#[test]
fn a_million_links_would_make_no_million_notes() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..150 {
        symlink("x", root.path().join(number.to_string())).unwrap();
    }
    let collected = collect(root.path()).unwrap();
    assert_eq!(
        (collected.left_out.count, collected.left_out.notes.len()),
        (150, 100)
    );
}

#[test]
fn a_file_is_read_in_chunks_of_which_the_last_tells_what_they_amount_to() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "n/abc", "abc");
    let file = only_file(root.path());
    let chunks: Vec<Chunk> = read_chunks(root.path(), &file, 2, Zeros::Told)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let checksum = Checksum {
        size: 3,
        sha256: ABC_SHA256.to_owned(),
    };
    let expected = [
        Chunk {
            offset: 0,
            data: "ab".into(),
            checksum: None,
        },
        Chunk {
            offset: 2,
            data: "c".into(),
            checksum: Some(checksum.clone()),
        },
    ];
    assert_eq!(chunks, expected);

    // A size that is a multiple of the chunk's ends with a full chunk, not with an empty one.
    let mut whole = read_chunks(root.path(), &file, 3, Zeros::Told).unwrap();
    assert_eq!(whole.next().unwrap().unwrap().checksum, Some(checksum));
    assert!(whole.next().is_none());
}

#[test]
fn of_zeros_only_a_sign_now_and_then_and_the_end_are_read_if_so_wished() {
    let root = tempfile::tempdir().unwrap();
    let mut content = vec![0_u8; 5000];
    content[3] = 1;
    fs::write(root.path().join("sparse"), &content).unwrap();
    let file = only_file(root.path());
    let read = |zeros| {
        let chunks = read_chunks(root.path(), &file, 2, zeros).unwrap();
        chunks.map(Result::unwrap).collect::<Vec<Chunk>>()
    };
    let all = read(Zeros::Told);
    assert_eq!(all.len(), 2500);
    let few = read(Zeros::LeftOut);
    let offsets: Vec<u64> = few.iter().map(|chunk| chunk.offset).collect();
    assert_eq!(offsets.len(), 2 + (2500 - 3) / 32);
    assert_eq!((offsets[0], offsets[1]), (2, 2 + 2 * 32));
    assert_eq!(offsets.last(), Some(&4998));
    assert_eq!(few.last(), all.last(), "the checksum is that of all bytes");
}

#[test]
fn an_empty_file_has_one_empty_chunk() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "empty", "");
    let mut chunks = read_chunks(root.path(), &only_file(root.path()), 100, Zeros::Told).unwrap();
    let chunk = chunks.next().unwrap().unwrap();
    assert!(chunk.data.is_empty());
    assert_eq!(chunk.checksum.unwrap().sha256, EMPTY_SHA256);
    assert!(chunks.next().is_none());
}

#[test]
fn a_file_that_changes_or_vanishes_is_an_error_that_names_it() {
    type Change = fn(&Path);
    let before: [(&str, Change); 4] = [
        ("grown", |path| {
            fs::write(path, "longer than before").unwrap();
        }),
        ("gone", |path| fs::remove_file(path).unwrap()),
        ("now a link", |path| {
            fs::rename(path, path.with_extension("away")).unwrap();
            symlink(path.with_extension("away"), path).unwrap();
        }),
        ("now a FIFO", |path| {
            fs::remove_file(path).unwrap();
            mkfifoat(CWD, path, Mode::RWXU).unwrap();
        }),
    ];
    for (what, change) in before {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "model.bin", "abcdef");
        let file = only_file(root.path());
        change(&root.path().join("model.bin"));
        let error = read_chunks(root.path(), &file, 2, Zeros::Told).expect_err(what);
        assert!(error.to_string().contains("model.bin"), "{what}: {error}");
    }

    let within: [(&str, Change); 3] = [
        ("cut short", |path| fs::write(path, "abc").unwrap()),
        ("grown", |path| fs::write(path, "abcdefg").unwrap()),
        ("written to", |path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }),
    ];
    for (what, change) in within {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "model.bin", "abcdef");
        let mut chunks = read_chunks(root.path(), &only_file(root.path()), 2, Zeros::Told).unwrap();
        assert_eq!(&chunks.next().unwrap().unwrap().data[..], b"ab");
        change(&root.path().join("model.bin"));
        let error = chunks.find_map(Result::err).expect(what);
        assert!(
            matches!(error, ReadError::Changed { expected: 6, .. }),
            "{what}: {error}"
        );
        assert!(chunks.next().is_none(), "nothing follows an error");
    }
}

#[test]
fn a_folder_that_became_a_link_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    put(outside.path(), "x", "abc");
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "n/x", "abc");
    let file = only_file(root.path());
    fs::remove_dir_all(root.path().join("n")).unwrap();
    symlink(outside.path(), root.path().join("n")).unwrap();
    let error = read_chunks(root.path(), &file, 2, Zeros::Told).unwrap_err();
    assert!(matches!(error, ReadError::Io { .. }), "{error}");
}

#[test]
fn a_folder_that_is_not_there_says_so() {
    let root = tempfile::tempdir().unwrap();
    let error = collect(&root.path().join("none")).unwrap_err().to_string();
    assert!(
        error.contains("expected a folder that can be read"),
        "{error}"
    );
}
