//! The tar stream in which an engine elsewhere hands over what a hostile container left.
//!
//! An input is a tar stream; sums of headers are put right first, or hardly any change would get
//! further. What holds: whatever the stream says, nothing but files and folders is made, and nothing
//! outside the folder; all of it together is within the limit; each name is one that can be sent on;
//! what is left out is counted; and a stream that breaks off is no success.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use cloudai_files::output::{LeftOut, RelativePath, unpack};

use crate::{
    Seed, Verdict,
    said::{LONGEST, assert_said, assert_told},
    scratch,
};

const BLOCK: usize = 512;
/// The most that is unpacked.
const MOST_BYTES: u64 = 64 << 10;

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let stream = with_right_sums(bytes);
    let outside = scratch::folder();
    let root = outside.path().join("output");
    fs::create_dir(&root).expect("a folder is made");
    let unpacked = unpack(&stream[..], &root, MOST_BYTES);
    let mut found = Found::default();
    walk(&root, &root, &mut found);
    assert!(found.bytes <= MOST_BYTES, "{} bytes", found.bytes);
    let beside: Vec<_> = fs::read_dir(outside.path()).expect("it is there").collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
    match unpacked {
        Ok(LeftOut { notes, count }) => {
            assert!(notes.len() as u64 <= count);
            for note in notes {
                assert_told(note, 4 * LONGEST);
            }
            Verdict::accepted_if(found.files > 0)
        }
        Err(error) => {
            let root = root.to_string_lossy();
            assert_said(error.to_string().replace(&*root, "ROOT"));
            Verdict::Refused
        }
    }
}

#[derive(Default)]
struct Found {
    files: usize,
    bytes: u64,
    /// Files with several names count once.
    inodes: Vec<u64>,
}

fn walk(root: &Path, folder: &Path, found: &mut Found) {
    for entry in fs::read_dir(folder).expect("what was made can be read") {
        let path = entry.expect("it is listed").path();
        let within = path.strip_prefix(root).expect("it lies beneath");
        RelativePath::from_os(within).expect("each name can be sent on");
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        if metadata.is_dir() {
            walk(root, &path, found);
            continue;
        }
        assert!(
            metadata.is_file(),
            "{} is {:?}",
            path.display(),
            metadata.file_type()
        );
        found.files += 1;
        if !found.inodes.contains(&metadata.ino()) {
            found.inodes.push(metadata.ino());
            found.bytes += metadata.len();
        }
    }
}

/// The stream with the sum of each header as it must be, as far as sizes lead from one to the next.
pub(super) fn with_right_sums(bytes: &[u8]) -> Vec<u8> {
    let mut stream = bytes.to_vec();
    let mut at = 0;
    while let Some(header) = stream.get_mut(at..at + BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        header[148..156].fill(b' ');
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let has_bytes = matches!(header[156], b'0' | 0 | b'7' | b'x' | b'g' | b'L' | b'K');
        let digits = header[124..136]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        let size = digits.fold(0, |size: usize, digit| {
            size.saturating_mul(8)
                .saturating_add(usize::from(digit - b'0'))
        });
        let blocks = if has_bytes { size.div_ceil(BLOCK) } else { 0 };
        at = at
            .saturating_add(BLOCK)
            .saturating_add(blocks.saturating_mul(BLOCK));
        if at > stream.len() {
            break;
        }
    }
    stream
}

fn entry(
    tar: &mut tar::Builder<Vec<u8>>,
    kind: tar::EntryType,
    name: &[u8],
    link: &[u8],
    data: &[u8],
) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    // Past what the writer would refuse.
    let old = header.as_old_mut();
    let name = &name[..name.len().min(100)];
    old.name[..name.len()].copy_from_slice(name);
    old.linkname[..link.len()].copy_from_slice(link);
    header.set_cksum();
    tar.append(&header, data).expect("a vector takes all");
}

fn stream(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    fill(&mut tar);
    tar.into_inner().expect("a vector takes all")
}

/// What containers leave, plain and hostile.
pub(super) fn seeds() -> Vec<Seed> {
    use tar::EntryType as Kind;
    let file = |tar: &mut _, name: &[u8], data: &[u8]| entry(tar, Kind::Regular, name, b"", data);
    let plain = stream(|tar| {
        entry(tar, Kind::Directory, b"output/", b"", b"");
        file(tar, b"output/a.txt", b"hello");
        file(tar, b"output/b/c", &[0; 600]);
        file(tar, b"output/two\nlines \xff", b"");
    });
    let pax = stream(|tar| {
        let record = b"30 path=output/long\nname/file\n";
        entry(tar, Kind::XHeader, b"x", b"", record);
        file(tar, b"output/short", b"1");
        entry(tar, Kind::XHeader, b"x", b"", b"9 size=2\n");
        file(tar, b"output/other", b"22");
    });
    let gnu = stream(|tar| {
        entry(
            tar,
            Kind::GNULongName,
            b"././@LongLink",
            b"",
            &[b"output/".as_slice(), &[b'n'; 200], b"\0"].concat(),
        );
        file(tar, b"output/n", b"long");
    });
    let links = stream(|tar| {
        file(tar, b"output/a", b"1");
        entry(tar, Kind::Link, b"output/b", b"output/a", b"");
        entry(
            tar,
            Kind::Link,
            b"output/c",
            b"output/../../etc/passwd",
            b"",
        );
        entry(tar, Kind::Symlink, b"output/d", b"/etc", b"");
        file(tar, b"output/d/passwd", b"through a link");
        entry(tar, Kind::Fifo, b"output/e", b"", b"");
        entry(tar, Kind::Char, b"output/f", b"", b"");
    });
    let hostile = stream(|tar| {
        file(tar, b"output/../../x", b"1");
        file(tar, b"/etc/x", b"2");
        file(tar, b"output//a/./b", b"3");
        file(tar, b"output/a", b"4");
        file(tar, b"output/a/b", b"5");
        file(tar, b"output/a", b"6");
        file(
            tar,
            &[b"output/".as_slice(), &[b'd'; 90], b"/e"].concat(),
            b"7",
        );
    });
    let large = stream(|tar| {
        file(tar, b"output/a", b"1");
        file(tar, b"output/b", &[7; 66_000]);
        file(tar, b"output/c", b"not read");
    });
    let mut huge = stream(|tar| file(tar, b"output/a", b"1"));
    huge[124..136].copy_from_slice(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    vec![
        Seed::good("plain", plain.clone()),
        Seed::good("pax", pax),
        Seed::good("gnu", gnu),
        Seed::good("links", links),
        Seed::good("hostile", hostile),
        Seed::good("large", large[..4096].to_vec()),
        Seed::bad("huge", huge),
        Seed::bad("empty", [0; 1024]),
        Seed::bad("cut", plain[..700].to_vec()),
        Seed::bad("no-tar", "this is no tar stream"),
        Seed::bad("nothing", ""),
    ]
}
