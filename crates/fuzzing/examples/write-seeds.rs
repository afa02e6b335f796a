//! Writes the seeds of every target to `fuzz/corpus`, anew: what is there and is no seed goes.

use std::{fs, io};

use cloudai_fuzzing::{TARGETS, corpus};

fn main() -> io::Result<()> {
    for target in TARGETS {
        let folder = corpus::seeds(target.name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        for seed in (target.seeds)() {
            fs::write(folder.join(&seed.name), &seed.bytes)?;
        }
    }
    Ok(())
}
