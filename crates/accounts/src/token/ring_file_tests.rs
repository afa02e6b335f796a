//! The file of keys: kept over starts, closed to others, whole or refused.

use std::os::unix::fs::symlink;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const NOW: Wall = Wall(1_800_000_000_000);

fn open(folder: &Path, secret: Option<&str>) -> Result<KeyRing, RingFileError> {
    let secret = secret.map(Secret::from);
    RingFile::within(folder).open(secret.as_ref(), HOUR, NOW)
}

fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_ring_outlives_starts_with_everything_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let made = open(folder.path(), None).unwrap();
    assert_eq!(open(folder.path(), None).unwrap(), made);
    let set = open(folder.path(), Some(&"s".repeat(32))).unwrap();
    assert_eq!(set.kids().count(), 2);
    assert_eq!(open(folder.path(), Some(&"s".repeat(32))).unwrap(), set);
    let mut rotated = open(folder.path(), None).unwrap();
    rotated.rotate([7; 32], HOUR * 2, false, NOW).unwrap();
    RingFile::within(folder.path()).write(&rotated).unwrap();
    assert_eq!(open(folder.path(), None).unwrap(), rotated);
    // Nothing else lies there.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn nobody_else_may_read_it_and_one_that_others_can_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), None).unwrap();
    let path = path(folder.path());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o600);
    for open_to_others in [0o640, 0o604, 0o620, 0o602, 0o610, 0o666] {
        set_mode(&path, open_to_others);
        let error = open(folder.path(), None).unwrap_err().to_string();
        assert!(
            error.contains(&format!("mode {open_to_others:04o}")),
            "{error}"
        );
        assert!(error.contains("expected 0600"), "{error}");
    }
    set_mode(&path, 0o400);
    assert!(open(folder.path(), None).is_ok());
    // What a crash left under the name of the next one is not taken over with its mode.
    let left = folder.path().join("token-keys.new");
    fs::write(&left, "left").unwrap();
    set_mode(&left, 0o666);
    open(folder.path(), Some(&"s".repeat(32))).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert!(!left.exists());
}

#[test]
fn a_link_or_a_folder_in_its_place_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    open(elsewhere.path(), None).unwrap();
    symlink(path(elsewhere.path()), path(folder.path())).unwrap();
    let error = open(folder.path(), None).unwrap_err();
    assert!(matches!(error, RingFileError::Io { .. }), "{error}");
    fs::remove_file(path(folder.path())).unwrap();
    fs::create_dir(path(folder.path())).unwrap();
    let error = open(folder.path(), None).unwrap_err();
    assert!(matches!(error, RingFileError::Damaged { .. }), "{error}");
}

#[test]
fn cut_short_at_any_byte_or_changed_it_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let made = open(folder.path(), None).unwrap();
    let path = path(folder.path());
    let text = fs::read_to_string(&path).unwrap();
    let refused = |text: &str| {
        fs::write(&path, text).unwrap();
        let error = open(folder.path(), None).unwrap_err();
        assert!(matches!(error, RingFileError::Damaged { .. }), "{error}");
        assert!(
            !error
                .to_string()
                .contains(&hex::encode(made.current.secret.as_slice()))
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    };
    for len in 0..text.len() {
        refused(&text[..len]);
    }
    let secret = hex::encode(made.current.secret.as_slice());
    let other = if secret.starts_with('0') { "1" } else { "0" };
    refused(&text.replace(&secret, &format!("{other}{}", &secret[1..])));
    refused(&text.replace(&secret, &secret[..60]));
    refused(&text.replace("\"version\": 1", "\"version\": 2"));
    refused(&text.replace("\"version\"", "\"more\": 0, \"version\""));
    refused(&text.replace("\"retired_until_ms\": null", "\"retired_until_ms\": 5"));
    refused(r#"{"version": 1, "keys": []}"#);
    fs::write(&path, &text).unwrap();
    assert_eq!(open(folder.path(), None).unwrap(), made);
}

#[test]
fn a_folder_that_takes_nothing_is_said_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let error = open(&gone, None).unwrap_err();
    assert!(
        error.to_string().contains("gone/token-keys.json"),
        "{error}"
    );
}

#[test]
fn a_secret_that_is_too_short_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let made = open(folder.path(), None).unwrap();
    let error = open(folder.path(), Some("short")).unwrap_err();
    assert!(error.to_string().contains("expected 32"), "{error}");
    assert_eq!(open(folder.path(), None).unwrap(), made);
}
