//! Writing a small file so that a crash leaves the old one or the new one, whole.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::{SpoolError, io_error};

/// Puts `text` into the file `name` in `folder`, in place of what is there. With `flush` it
/// survives the end of the machine, without it that of the process.
pub(crate) fn write_whole(
    folder: &Path,
    name: &str,
    text: &[u8],
    flush: bool,
) -> Result<(), SpoolError> {
    let path = folder.join(name);
    let fresh = folder.join(format!("{name}.new"));
    let written = write_fresh(&fresh, text, flush);
    if written.is_err() {
        // On a full disk it would take the room of the next try.
        let _ = fs::remove_file(&fresh).is_ok();
    }
    written?;
    fs::rename(&fresh, &path).map_err(io_error(&path, "replace"))?;
    if flush {
        sync_folder(folder)?;
    }
    Ok(())
}

fn write_fresh(fresh: &Path, text: &[u8], flush: bool) -> Result<(), SpoolError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(fresh)
        .map_err(io_error(fresh, "make"))?;
    file.write_all(text).map_err(io_error(fresh, "write"))?;
    if flush {
        file.sync_data().map_err(io_error(fresh, "flush"))?;
    }
    Ok(())
}

/// Makes the names in a folder survive the end of the machine.
pub(super) fn sync_folder(folder: &Path) -> Result<(), SpoolError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error(folder, "flush the folder"))
}
