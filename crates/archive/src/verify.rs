//! Reading an archive: every byte is looked at, and what it holds is compared with what it says that
//! it holds.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    path::Path,
};

use flate2::bufread::GzDecoder;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::format::{ArchiveError, FORMAT, HEADER, Header, MANIFEST, Manifest, Part};

/// The most that a header may take; the longest has a few long names.
const LONGEST_HEADER: u64 = 64 << 10;
/// The most that a manifest may take: some 200 bytes for each of five million files.
const LONGEST_MANIFEST: u64 = 1 << 30;
/// What a gzip stream begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Reads an archive from its first byte to its last and compares it with its manifest.
///
/// # Errors
/// See [`ArchiveError`].
pub fn verify(path: &Path) -> Result<Manifest, ArchiveError> {
    walk(path, |_, _| Ok::<(), ArchiveError>(()))
}

/// The same; hands each part to `take`, which need not read all of it. It is handed what is not yet
/// compared with the manifest: what depends on that is verified first.
pub(crate) fn walk<E: From<ArchiveError>>(
    path: &Path,
    mut take: impl FnMut(&str, &mut dyn Read) -> Result<(), E>,
) -> Result<Manifest, E> {
    let mut archive = tar::Archive::new(open(path)?);
    let broken = |error: io::Error| damaged(path, in_words(&error));
    let (mut header, mut manifest) = (None::<Header>, None::<Manifest>);
    let mut parts = Vec::new();
    for entry in archive.entries().map_err(broken)? {
        let entry = match entry {
            Ok(entry) => entry,
            // What begins as no archive of ours is another program's file.
            Err(error) if header.is_none() && error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(foreign(path).into());
            }
            Err(error) => return Err(broken(error).into()),
        };
        if manifest.is_some() {
            return Err(damaged(path, "something follows its manifest").into());
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(damaged(path, format!("{name:?} in it is no file")).into());
        }
        if header.is_none() {
            header = Some(read_header(path, &name, entry)?);
        } else if name == MANIFEST {
            let bytes = small(entry, LONGEST_MANIFEST).map_err(broken)?;
            let read = serde_json::from_slice(&bytes);
            let read = read.map_err(|error| damaged(path, format!("its manifest: {error}")))?;
            manifest = Some(read);
        } else {
            parts.push(take_part(path, name, entry, &mut take)?);
        }
    }
    to_the_end(archive.into_inner()).map_err(broken)?;
    let (Some(header), Some(manifest)) = (header, manifest) else {
        return Err(damaged(path, "it ends before its manifest").into());
    };
    if manifest.header != header {
        return Err(damaged(path, "its header and its manifest differ").into());
    }
    if let Some(name) = first_difference(&manifest.parts, &parts) {
        return Err(damaged(path, format!("{name:?} in it is not as its manifest says")).into());
    }
    Ok(manifest)
}

fn open(path: &Path) -> Result<GzDecoder<BufReader<File>>, ArchiveError> {
    let file = File::open(path).map_err(ArchiveError::io(path, "open it"))?;
    let mut source = BufReader::new(file);
    let first = source
        .fill_buf()
        .map_err(ArchiveError::io(path, "read it"))?;
    if !first.starts_with(&GZIP) {
        return Err(foreign(path));
    }
    Ok(GzDecoder::new(source))
}

/// The form that every header of any format has.
#[derive(Deserialize)]
struct AnyHeader {
    format: u32,
    program: String,
}

fn read_header(path: &Path, name: &str, entry: impl Read) -> Result<Header, ArchiveError> {
    if name != HEADER {
        return Err(foreign(path));
    }
    let broken = |error: io::Error| damaged(path, in_words(&error));
    let bytes = small(entry, LONGEST_HEADER).map_err(broken)?;
    let wrong = |error: serde_json::Error| damaged(path, format!("its header: {error}"));
    let any: AnyHeader = serde_json::from_slice(&bytes).map_err(wrong)?;
    if any.format != FORMAT {
        return Err(ArchiveError::OtherFormat {
            path: path.to_owned(),
            found: any.format,
            // What it says of itself is shown, but not at any length.
            program: any
                .program
                .chars()
                .take(40)
                .filter(|c| !c.is_control())
                .collect(),
        });
    }
    serde_json::from_slice(&bytes).map_err(wrong)
}

/// Hashes what is read through it.
struct Hashing<R> {
    source: R,
    hash: Sha256,
    size: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.size += read as u64;
        Ok(read)
    }
}

fn take_part<E: From<ArchiveError>>(
    path: &Path,
    name: String,
    entry: impl Read,
    take: &mut impl FnMut(&str, &mut dyn Read) -> Result<(), E>,
) -> Result<Part, E> {
    let mut source = Hashing {
        source: entry,
        hash: Sha256::new(),
        size: 0,
    };
    take(&name, &mut source)?;
    io::copy(&mut source, &mut io::sink()).map_err(|error| damaged(path, in_words(&error)))?;
    Ok(Part {
        path: name,
        size: source.size,
        sha256: hex::encode(source.hash.finalize()),
    })
}

fn small(entry: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Behind the last entry there is nothing but the end, and that is whole: its checksum is only
/// compared when it has been read.
fn to_the_end(mut zip: GzDecoder<BufReader<File>>) -> io::Result<()> {
    let mut rest = [0; 4096];
    loop {
        match zip.read(&mut rest)? {
            0 => break,
            read if rest[..read].iter().all(|byte| *byte == 0) => {}
            _ => return Err(io::Error::other("something follows its end")),
        }
    }
    match zip.into_inner().fill_buf()? {
        [] => Ok(()),
        _ => Err(io::Error::other("something follows its end")),
    }
}

fn first_difference<'a>(expected: &'a [Part], found: &'a [Part]) -> Option<&'a str> {
    let differs = expected.iter().zip(found).find(|(one, other)| one != other);
    let longer = expected.get(found.len());
    let further = found.get(expected.len());
    let part = differs.map(|(one, _)| one).or(longer).or(further);
    part.map(|part| part.path.as_str())
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        // It may quote what is in the archive, as it is.
        _ => error.to_string().replace(char::is_control, "\u{fffd}"),
    }
}

fn foreign(path: &Path) -> ArchiveError {
    ArchiveError::Foreign {
        path: path.to_owned(),
    }
}

fn damaged(path: &Path, problem: impl Into<String>) -> ArchiveError {
    ArchiveError::Damaged {
        path: path.to_owned(),
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::writing::ArchiveWriter;

    fn header() -> Header {
        Header {
            format: FORMAT,
            program: "1.2.3".to_owned(),
            cluster: Some("c-1".to_owned()),
            made_at: "2026-01-31T08:00:00.000Z".to_owned(),
            made_at_ms: 1_769_846_400_000,
            store: "sqlite here".to_owned(),
            schema: 1,
            logs_and_files: true,
        }
    }

    /// An archive of two parts.
    fn made(path: &Path, header: Header) -> Manifest {
        let mut writer = ArchiveWriter::begin(path, header).unwrap();
        writer.add("store/cloudai.db", 3, &b"abc"[..]).unwrap();
        let long = format!("files/admin/{}", "name/".repeat(60));
        let long = format!("{long}\nwith a newline");
        let content: Vec<u8> = (0..9_999_u32).flat_map(u32::to_le_bytes).collect();
        writer.add(&long, 30_000, &content[..]).unwrap();
        let whole = writer.finish([].into(), vec![]).unwrap();
        let manifest = whole.manifest.clone();
        whole.name(path).unwrap();
        manifest
    }

    #[test]
    fn what_was_written_is_read_back_part_by_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.tar.gz");
        let manifest = made(&path, header());
        assert_eq!(manifest.parts.len(), 2);
        assert_eq!(verify(&path).unwrap(), manifest);

        let mut seen = Vec::new();
        let walked = walk::<ArchiveError>(&path, |name, source| {
            let mut first = [0; 2];
            source.read_exact(&mut first).unwrap();
            seen.push((name.to_owned(), first));
            Ok(())
        });
        assert_eq!(walked.unwrap(), manifest);
        assert_eq!(seen[0], ("store/cloudai.db".to_owned(), *b"ab"));
        assert!(seen[1].0.ends_with("\nwith a newline"));
        // It belongs to its owner, and nothing else is left.
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_that_is_cut_or_changed_anywhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.tar.gz");
        made(&path, header());
        let whole = fs::read(&path).unwrap();
        let refused = |bytes: &[u8], what: &str| {
            fs::write(&path, bytes).unwrap();
            let error = verify(&path).expect_err(what);
            let clear = matches!(
                error,
                ArchiveError::Damaged { .. } | ArchiveError::Foreign { .. }
            );
            assert!(clear, "{what}: {error}");
        };
        let mut step = 0;
        while step < whole.len() {
            refused(&whole[..step], &format!("cut at {step}"));
            let mut changed = whole.clone();
            changed[step] ^= 0x10;
            // Of the ten bytes that gzip begins with, some tell a time and a system.
            if step >= 10 {
                refused(&changed, &format!("changed at {step}"));
            }
            step += whole.len() / 97;
        }
        refused(&whole[..whole.len() - 1], "cut by one");
        refused(&[&whole[..], b"x"].concat(), "one more");
        refused(&[&whole[..], &whole[..]].concat(), "twice");
        fs::write(&path, &whole).unwrap();
        verify(&path).unwrap();
    }

    #[test]
    fn another_format_and_another_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.tar.gz");
        made(
            &path,
            Header {
                format: 7,
                program: "9.8.7".to_owned(),
                ..header()
            },
        );
        let error = verify(&path).unwrap_err();
        assert!(
            matches!(error, ArchiveError::OtherFormat { found: 7, .. }),
            "{error}"
        );
        let shown = error.to_string();
        assert!(
            shown.contains("9.8.7") && shown.contains("format 1"),
            "{shown}"
        );

        for other in [&b""[..], b"hello", &GZIP, b"{\"format\":1}"] {
            fs::write(&path, other).unwrap();
            verify(&path).unwrap_err();
        }
        let file = File::create(&path).unwrap();
        let zip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        let mut tar = tar::Builder::new(zip);
        let mut head = tar::Header::new_gnu();
        head.set_size(2);
        tar.append_data(&mut head, "photos/1.jpg", &b"hi"[..])
            .unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        let error = verify(&path).unwrap_err();
        assert!(matches!(error, ArchiveError::Foreign { .. }), "{error}");
    }

    #[test]
    fn a_source_that_is_too_short_makes_no_archive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.tar.gz");
        let mut writer = ArchiveWriter::begin(&path, header()).unwrap();
        let error = writer.add("logs/a/1.log", 4, &b"abc"[..]).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("cut short"), "{error}: {cause}");
        assert!(!path.exists());
    }
}
