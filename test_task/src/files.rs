//! What the test task leaves in `/output`: deterministic bytes, very many files, very odd ones.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cloudai_test_task::{SeededBytes, many_file_content, many_file_path};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::Outcome;
use crate::ending::{announce, arriving_signals, ended_by};

fn output_dir() -> PathBuf {
    env::var_os("OUTPUT_DIR").map_or_else(|| "/output".into(), PathBuf::from)
}

/// Deterministic bytes in one file, folders made as needed.
pub(crate) fn output(name: &str, bytes: usize, seed: u64) -> Outcome {
    let path = output_dir().join(name);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = BufWriter::with_capacity(1 << 16, File::create(&path)?);
    let mut content = SeededBytes::new(seed).take(bytes);
    let mut piece = Vec::with_capacity(1 << 16);
    loop {
        piece.clear();
        piece.extend(content.by_ref().take(1 << 16));
        if piece.is_empty() {
            break;
        }
        file.write_all(&piece)?;
    }
    file.flush()?;
    announce(&format!("wrote {bytes} bytes to {}", path.display()));
    Ok(ExitCode::SUCCESS)
}

/// Very many small files.
pub(crate) fn many(count: usize) -> Outcome {
    let dir = output_dir();
    for index in 0..count {
        let path = dir.join(many_file_path(index));
        if index % 100 == 0 {
            fs::create_dir_all(path.parent().unwrap_or(&dir))?;
        }
        fs::write(path, many_file_content(index))?;
    }
    announce(&format!("wrote {count} files"));
    Ok(ExitCode::SUCCESS)
}

/// Every odd thing that a file system lets a task leave behind.
pub(crate) fn odd() -> Outcome {
    let dir = output_dir();
    fs::create_dir_all(&dir)?;

    // Names.
    fs::write(dir.join("plain.txt"), "plain\n")?;
    fs::write(dir.join("with some spaces.txt"), "spaces\n")?;
    fs::write(dir.join("grüße-世界-🦀.txt"), "unicode\n")?;
    fs::write(dir.join("new\nline.txt"), "newline in the name\n")?;
    fs::write(dir.join("-rf"), "looks like an option\n")?;
    fs::write(dir.join("100%25.txt"), "looks percent-encoded\n")?;
    fs::write(dir.join("back\\slash.txt"), "backslash\n")?;
    fs::write(dir.join(".hidden"), "hidden\n")?;
    fs::write(
        dir.join(OsStr::from_bytes(b"not-utf8-\xff\xfe.bin")),
        "not UTF-8\n",
    )?;
    // The longest name that a file system takes.
    fs::write(dir.join("n".repeat(255)), "long name\n")?;

    // Places.
    let deep = (0..30).fold(dir.join("deep"), |path, level| {
        path.join(format!("level-{level}"))
    });
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("bottom.txt"), "deep\n")?;
    fs::create_dir_all(dir.join("empty-folder"))?;

    // Kinds.
    File::create(dir.join("empty"))?;
    let sparse = File::create(dir.join("sparse.bin"))?;
    sparse.set_len(8 << 20)?;
    symlink("plain.txt", dir.join("link-inside"))?;
    symlink("/etc/passwd", dir.join("link-outside"))?;
    symlink("../../../../etc/passwd", dir.join("link-upwards"))?;
    symlink("/", dir.join("link-to-root"))?;
    symlink("nowhere", dir.join("link-dangling"))?;
    symlink("link-to-itself", dir.join("link-to-itself"))?;
    fs::hard_link(dir.join("plain.txt"), dir.join("hard-link.txt"))?;
    mknodat(
        CWD,
        dir.join("fifo"),
        FileType::Fifo,
        Mode::from_raw_mode(0o644),
        0,
    )?;
    // A socket's path has room for 108 bytes, so it is bound from within.
    env::set_current_dir(&dir)?;
    drop(UnixListener::bind("socket")?);

    // Rights.
    fs::write(dir.join("unreadable.txt"), "mode 000\n")?;
    fs::set_permissions(
        dir.join("unreadable.txt"),
        fs::Permissions::from_mode(0o000),
    )?;
    fs::write(dir.join("executable"), "#!/bin/sh\n")?;
    fs::set_permissions(dir.join("executable"), fs::Permissions::from_mode(0o4755))?;

    announce("wrote odd files");
    Ok(ExitCode::SUCCESS)
}

/// Makes a file, so that a test sees it run, and waits until the test makes `FILE.go`.
pub(crate) fn touch_and_wait(name: &str) -> Outcome {
    let path = output_dir().join(name);
    let mut go = path.clone().into_os_string();
    go.push(".go");
    let go = PathBuf::from(go);

    let signals = arriving_signals()?;
    File::create(&path)?;
    announce(&format!("waiting for {}", go.display()));
    while !go.exists() {
        if let Ok(signal) = signals.recv_timeout(Duration::from_millis(20)) {
            return Ok(ended_by(signal));
        }
    }
    announce("going on");
    Ok(ExitCode::SUCCESS)
}
