//! Where the programs under test are; builds them first, so that no test runs an old one.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The programs of this build.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `master-node`.
    pub master: PathBuf,
    /// `worker-node`.
    pub worker: PathBuf,
}

/// Builds the programs once and says where they are.
///
/// # Panics
/// If they can't be built.
pub fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let release = !cfg!(debug_assertions);
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--quiet",
            "-p",
            "cloudai-master",
            "-p",
            "cloudai-worker",
        ]);
        if release {
            cargo.arg("--release");
        }
        // What cargo tells a test of its own package. A build script that asks for it, as ring's does, would run
        // again, and all that is built on it, the MongoDB driver too: here, and then again in the next build.
        let of_a_package = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if of_a_package.iter().any(|prefix| text.starts_with(prefix)) {
                cargo.env_remove(&name);
            }
        }
        let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
        let built = status.is_ok_and(|status| status.success());
        assert!(
            built,
            "the programs can't be built: run `cargo build` and see why"
        );
        let folder = target_folder();
        Programs {
            master: folder.join("master-node"),
            worker: folder.join("worker-node"),
        }
    })
}

/// The folder that this very test was built into: `target/debug` or `target/release`.
fn target_folder() -> PathBuf {
    let this = std::env::current_exe().expect("a running program has a path");
    this.ancestors()
        .find(|folder| folder.join("deps").is_dir())
        .map(Path::to_path_buf)
        .expect("cargo puts test programs into target/<profile>/deps")
}
