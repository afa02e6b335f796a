//! A file that is said to be a backup: read to its end before anything is restored from it.
//!
//! The first byte says what the rest is: `z` a file as it lies on disk, `t` the tar archive in it,
//! which is zipped here (a change of a zipped file hardly ever gets beyond its own checksum), with the
//! sums of its headers put right. What holds: only what is as its manifest says is accepted, part by
//! part; a refusal is said with the file's name and what is wrong; reading it changes nothing.

use std::{fs, io::Write as _};

use cloudai_archive::{FORMAT, Header, fuzzing, verify};
use flate2::{Compression, write::GzEncoder};

use super::output_archive::with_right_sums;
use crate::{
    Seed, Verdict,
    said::{LONGEST, assert_said_within},
    scratch,
};

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let file = match bytes.split_first() {
        Some((b'z', file)) => file.to_vec(),
        Some((b't', tar)) => {
            let mut zip = GzEncoder::new(Vec::new(), Compression::fast());
            zip.write_all(&with_right_sums(tar))
                .expect("a vector takes all");
            zip.finish().expect("a vector takes all")
        }
        _ => return Verdict::Refused,
    };
    let folder = scratch::folder();
    let path = folder.path().join("backup.tar.gz");
    fs::write(&path, &file).expect("a small file can be written");
    let verdict = match verify(&path) {
        Ok(manifest) => {
            let (again, parts) = fuzzing::walk(&path).expect("it was read before");
            assert_eq!(again, manifest);
            assert_eq!(manifest.header.format, FORMAT);
            let said = manifest
                .parts
                .iter()
                .map(|part| (part.path.clone(), part.size));
            assert!(said.eq(parts), "each part is as the manifest says");
            Verdict::Accepted
        }
        Err(error) => {
            let words = error.to_string().replace(&*path.to_string_lossy(), "PATH");
            // It may name a part, whose name is up to an archive's own limit.
            assert_said_within(words, 8 * LONGEST);
            Verdict::Refused
        }
    };
    assert_eq!(fs::read(&path).expect("it is there"), file);
    verdict
}

fn header() -> Header {
    Header {
        format: FORMAT,
        program: "0.1.0".to_owned(),
        cluster: Some("c-1".to_owned()),
        made_at: "2026-01-31T08:00:00.000Z".to_owned(),
        made_at_ms: 1_769_846_400_000,
        store: "sqlite here".to_owned(),
        schema: 1,
        logs_and_files: true,
    }
}

/// The tar archive of a backup of these parts.
fn tar_of(header: Header, parts: &[(&str, &[u8])]) -> Vec<u8> {
    let folder = scratch::folder();
    let path = folder.path().join("it.tar.gz");
    fuzzing::make(&path, header, parts).expect("it is written");
    let file = fs::read(&path).expect("it is there");
    let mut tar = Vec::new();
    let mut zip = flate2::read::GzDecoder::new(&file[..]);
    std::io::Read::read_to_end(&mut zip, &mut tar).expect("it is zipped");
    tar
}

/// Backups whole, cut, changed and of others.
pub(super) fn seeds() -> Vec<Seed> {
    let parts: [(&str, &[u8]); 3] = [
        ("store/cloudai.db", b"abc"),
        ("secrets/worker-token.key", &[7; 32]),
        ("files/ann/task-7/two\nlines", b""),
    ];
    let whole = tar_of(header(), &parts);
    let as_tar = |tar: &[u8]| [b"t", tar].concat();
    let later = Header {
        format: FORMAT + 1,
        ..header()
    };
    let steering = Header {
        program: "\u{1b}[2J\n".repeat(2000),
        ..later.clone()
    };
    let mut changed = whole.clone();
    let place = changed.windows(3).position(|three| three == b"abc");
    changed[place.unwrap_or(0)] = b'x';
    vec![
        Seed::good("whole", as_tar(&whole)),
        Seed::good("empty", as_tar(&tar_of(header(), &[]))),
        Seed::good(
            "names-of-no-place",
            as_tar(&tar_of(header(), &[("elsewhere/x", b"1"), ("etc/y", b"2")])),
        ),
        Seed::bad("changed", as_tar(&changed)),
        Seed::bad("cut", as_tar(&whole[..2000])),
        Seed::bad("later-format", as_tar(&tar_of(later, &parts))),
        Seed::bad("later-format-that-steers", as_tar(&tar_of(steering, &[]))),
        Seed::bad("no-manifest", as_tar(&whole[..1024])),
        Seed::bad("no-zip", "zthis is no backup"),
        Seed::bad("zip-cut", &b"z\x1f\x8b\x08\0\0\0\0\0\0\xff"[..]),
        Seed::bad("nothing", ""),
    ]
}
