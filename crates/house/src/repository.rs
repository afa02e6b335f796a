//! Where the repository lies and what is in it. No rule stands here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand};

/// The folder of the root `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate lies two folders below the root")
        .to_path_buf()
}

/// What cargo knows, with the dependencies that this platform builds. Those of other platforms are not shipped, and
/// asking for them would download them.
pub(crate) fn metadata() -> Metadata {
    let version = Command::new("rustc")
        .arg("-vV")
        .output()
        .expect("rustc runs, it built this");
    let version = String::from_utf8(version.stdout).expect("rustc -vV prints text");
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc -vV names the host");
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--filter-platform".to_owned(), host.to_owned()])
        .exec()
        .expect("cargo metadata answers")
}

/// Every file that people wrote, as git sees it: tracked ones, and new ones that it wouldn't ignore.
pub(crate) fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()
        .expect("git runs: install it with `apt-get install git`");
    assert!(
        listed.status.success(),
        "git ls-files: {}; expected a clone of the repository",
        String::from_utf8_lossy(&listed.stderr)
    );
    let mut files: Vec<PathBuf> = String::from_utf8(listed.stdout)
        .expect("file names here are UTF-8")
        .split_terminator('\0')
        .map(PathBuf::from)
        // A file removed but not committed so is still listed.
        .filter(|path| root().join(path).is_file())
        .collect();
    files.sort();
    assert!(
        files.contains(&PathBuf::from("Cargo.toml")),
        "expected a listing from the root"
    );
    files
}

/// A file of the repository, as text; `None` for one that isn't.
pub(crate) fn text(path: &Path) -> Option<String> {
    let bytes = fs::read(root().join(path)).expect("a listed file can be read");
    String::from_utf8(bytes).ok()
}

/// Fails with all that is wrong at once, a line each.
pub(crate) fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n  {}\n", violations.join("\n  "));
}
