//! What is mounted into a container: named volumes and file systems in memory. Never a host path.

use std::{fmt, str::FromStr};

use super::{OUTPUT_PATH, SettingError, is_engine_name};
use crate::resources::{bytes_to_gb, gb_to_bytes};

/// Folders that are the kernel's, the engine's or CloudAI's; nothing is mounted there or beneath.
const RESERVED: &[&str] = &[OUTPUT_PATH, "/dev", "/proc", "/sys"];
/// The longest path of a mount, in bytes.
const PATH_LIMIT: usize = 1024;

/// An absolute path in a container, without `.`, `..` and doubled slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountPath(String);

impl MountPath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MountPath {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let error = |expected: &str| Err(SettingError::new("path", text, expected));
        let plain = text.strip_suffix('/').unwrap_or(text);
        let Some(relative) = plain.strip_prefix('/') else {
            return error("an absolute path in the container other than /, such as /data");
        };
        let is_whole = relative
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
        if !is_whole || text.len() > PATH_LIMIT || text.contains([':', ',', '\\']) {
            return error(
                "an absolute path without '..', ':', ',' or '\\', at most 1024 bytes, such as /data",
            );
        }
        if text.contains(char::is_control) {
            return error("a path without control characters");
        }
        let beneath = |reserved: &&&str| {
            plain == **reserved
                || plain
                    .strip_prefix(**reserved)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        match RESERVED.iter().find(beneath) {
            Some(reserved) => error(&format!("a path outside {reserved}, such as /data")),
            None => Ok(Self(plain.to_owned())),
        }
    }
}

impl fmt::Display for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name of a volume of the worker's engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeName(String);

impl VolumeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VolumeName {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        if is_engine_name(text) {
            return Ok(Self(text.to_owned()));
        }
        let expected = if text.contains('/') {
            "the name of a volume that the admin allows, such as datasets; folders of a worker's \
             machine are not mounted"
        } else {
            "2 to 128 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        };
        Err(SettingError::new("volume", text, expected))
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A volume at a path: `name:/path` or `name:/path:ro`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeMount {
    /// Which volume.
    pub name: VolumeName,
    /// Where it is in the container.
    pub path: MountPath,
    /// Whether the task can't write to it.
    pub read_only: bool,
}

impl FromStr for VolumeMount {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let form = || SettingError::new("volume", text, "name:/path or name:/path:ro");
        let (name, rest) = text.split_once(':').ok_or_else(form)?;
        let (path, read_only) = match rest.split_once(':') {
            None => (rest, false),
            Some((path, "ro")) => (path, true),
            Some((path, "rw")) => (path, false),
            Some(_) => return Err(form()),
        };
        Ok(Self {
            name: name.parse()?,
            path: path.parse()?,
            read_only,
        })
    }
}

impl fmt::Display for VolumeMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.read_only { ":ro" } else { "" };
        write!(f, "{}:{}{mode}", self.name, self.path)
    }
}

/// A file system in memory at a path: `/path` or `/path:GB`. What is in it counts as the task's
/// memory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tmpfs {
    /// Where it is in the container.
    pub path: MountPath,
    /// How much it holds; the task's memory if none.
    pub size_bytes: Option<u64>,
}

impl FromStr for Tmpfs {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (path, size) = match text.split_once(':') {
            None => (text, None),
            Some((path, size)) => (path, Some(size)),
        };
        let size_bytes = size.map(|size| {
            let gb = size.parse::<f64>().ok();
            gb.and_then(|gb| gb_to_bytes(gb).ok())
                .filter(|bytes| *bytes > 0)
                .ok_or_else(|| {
                    SettingError::new(
                        "tmpfs",
                        text,
                        "/path or /path:GB, the size a number above 0, such as /scratch:0.25",
                    )
                })
        });
        Ok(Self {
            path: path.parse()?,
            size_bytes: size_bytes.transpose()?,
        })
    }
}

impl fmt::Display for Tmpfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size_bytes {
            Some(size) => write!(f, "{}:{}", self.path, bytes_to_gb(size)),
            None => write!(f, "{}", self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_a_name_a_path_and_perhaps_ro() {
        for (text, shown, read_only) in [
            ("datasets:/data", "datasets:/data", false),
            ("datasets:/data/:ro", "datasets:/data:ro", true),
            ("d.1_x:/a/b:rw", "d.1_x:/a/b", false),
        ] {
            let mount: VolumeMount = text.parse().unwrap();
            assert_eq!(
                (mount.to_string().as_str(), mount.read_only),
                (shown, read_only)
            );
        }
    }

    #[test]
    fn no_folder_of_the_host_and_no_path_of_the_system() {
        for (text, expected) in [
            (
                "/etc:/data",
                "folders of a worker's machine are not mounted",
            ),
            (
                "../x:/data",
                "folders of a worker's machine are not mounted",
            ),
            ("x:/data", "2 to 128 letters"),
            ("datasets", "name:/path"),
            ("datasets:/data:exec", "name:/path"),
            ("datasets:data", "an absolute path in the container"),
            ("datasets:/", "other than /"),
            ("datasets:/a/../etc", "without '..'"),
            ("datasets:/a//b", "without '..'"),
            ("datasets:/output", "outside /output"),
            ("datasets:/output/sub", "outside /output"),
            ("datasets:/proc/1", "outside /proc"),
            ("datasets:/dev/shm", "outside /dev"),
            ("datasets:/a\nb", "control characters"),
        ] {
            let error = text.parse::<VolumeMount>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!("datasets:/outputs".parse::<VolumeMount>().is_ok());
    }

    #[test]
    fn a_tmpfs_has_a_path_and_perhaps_a_size_in_gb() {
        for text in ["/scratch", "/scratch:0.25", "/a/b:0.0001"] {
            let tmpfs: Tmpfs = text.parse().unwrap();
            assert_eq!(tmpfs.to_string().parse(), Ok(tmpfs), "{text}");
        }
        for text in [
            "/a:0", "/a:-1", "/a:NaN", "/a:inf", "/a:1e9", "/a:64m", "/a:", "a:1", "/a:1:2",
        ] {
            assert!(text.parse::<Tmpfs>().is_err(), "{text}");
        }
    }
}
