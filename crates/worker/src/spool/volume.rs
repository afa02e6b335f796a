//! The place of an attempt whose `/output` is a volume of the engine: that it is one, and what was
//! fetched from it.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

use cloudai_files::output::{LeftOut, remove_tree};

use super::{
    SpoolError, SpoolPlace, format, io_error,
    write::{sync_folder, write_whole},
};

const VOLUME: &str = "volume";
const PART: &str = "output.part";
const LEFT_OUT: &str = "left-out.json";

impl SpoolPlace {
    /// Notes, before the container is made, that its `/output` is a volume.
    pub(crate) fn mark_volume(&self) -> Result<(), SpoolError> {
        let path = self.folder.join(VOLUME);
        let made = File::create(&path).and_then(|file| file.sync_all());
        made.map_err(io_error(&path, "write"))?;
        // From an earlier try that was set otherwise.
        let output = self.output();
        remove_tree(&output).map_err(io_error(&output, "remove"))?;
        sync_folder(&self.folder)
    }

    /// Whether its `/output` is a volume.
    pub(crate) fn has_volume(&self) -> bool {
        self.folder.join(VOLUME).exists()
    }

    /// An empty folder for what is fetched; `None` if all of it is here.
    pub(crate) fn begin_fetch(&self) -> Result<Option<PathBuf>, SpoolError> {
        if self.output().exists() {
            return Ok(None);
        }
        let part = self.folder.join(PART);
        remove_tree(&part).map_err(io_error(&part, "remove"))?;
        fs::create_dir(&part).map_err(io_error(&part, "make the folder"))?;
        Ok(Some(part))
    }

    /// What was fetched becomes the output, with what was left out of it.
    pub(crate) fn end_fetch(&self, left_out: &LeftOut) -> Result<(), SpoolError> {
        let text = format::left_out_to_json(left_out);
        write_whole(&self.folder, LEFT_OUT, &text, true)?;
        let part = self.folder.join(PART);
        fs::rename(&part, self.output()).map_err(io_error(&part, "rename"))?;
        sync_folder(&self.folder)
    }

    /// What was left out when it was fetched.
    pub(crate) fn left_out(&self) -> Result<LeftOut, SpoolError> {
        let path = self.folder.join(LEFT_OUT);
        match fs::read(&path) {
            Ok(text) => format::left_out_from_json(&path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LeftOut::default()),
            Err(error) => Err(io_error(&path, "read")(error)),
        }
    }
}
