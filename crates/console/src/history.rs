//! The lines typed so far, in a file that nobody else can read: they may hold secrets.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Lines that are kept; the file holds at most twice as many until the next start.
pub(crate) const KEPT: usize = 1000;

/// An open history.
#[derive(Debug)]
pub(crate) struct History {
    file: File,
    last: Option<String>,
}

impl History {
    /// Opens the file, makes it if need be, and answers the lines in it, oldest first.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<String>)> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        let lines: Vec<String> = all[all.len().saturating_sub(KEPT)..]
            .iter()
            .map(|line| (*line).to_owned())
            .collect();
        if all.len() > 2 * KEPT {
            // Written beside and renamed, so that a crash leaves one or the other.
            let beside = path.with_extension("new");
            let mut shorter = open_private(&beside, true)?;
            shorter.write_all((lines.join("\n") + "\n").as_bytes())?;
            fs::rename(&beside, path)?;
        }
        let history = Self {
            file: open_private(path, false)?,
            last: lines.last().cloned(),
        };
        Ok((history, lines))
    }

    /// Adds a line, unless it repeats the one before, or begins with a space to stay out.
    pub(crate) fn add(&mut self, line: &str) -> io::Result<()> {
        let line = line.trim_end();
        let repeated = self.last.as_deref() == Some(line);
        if line.is_empty() || line.starts_with(' ') || repeated {
            return Ok(());
        }
        self.last = Some(line.to_owned());
        self.file.write_all(format!("{line}\n").as_bytes())
    }
}

fn open_private(path: &Path, empty: bool) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(!empty)
        .write(true)
        .truncate(empty)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn lines_come_back_after_a_restart_and_nobody_else_can_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let (mut history, lines) = History::open(&path).unwrap();
        assert!(lines.is_empty());
        for line in ["status", "status ", " task secret", "", "workers"] {
            history.add(line).unwrap();
        }

        let (_, lines) = History::open(&path).unwrap();
        assert_eq!(lines, ["status", "workers"]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_long_history_is_cut_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let long: String = (0..2 * KEPT + 1)
            .map(|n| format!("cancel t{n}\n"))
            .collect();
        fs::write(&path, long).unwrap();

        let (_, lines) = History::open(&path).unwrap();
        assert_eq!(lines.len(), KEPT);
        assert_eq!(lines.last().unwrap(), &format!("cancel t{}", 2 * KEPT));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), KEPT);
    }
}
