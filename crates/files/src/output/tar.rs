//! Reads a tar stream entry by entry: ustar with the PAX and GNU extensions for long names, as
//! the Docker Engine writes it. Nothing here touches a disk; what an entry's name may do is for
//! whoever unpacks it.
//!
//! Of our own, because a name may hold a newline, at which the readers of others split the PAX
//! records (POSIX.1-2017, `pax`, "pax Extended Header": a record says its length).

use std::io::{self, Read};

const BLOCK: usize = 512;
/// The longest extended header taken: some names of the longest path that there is.
const LONGEST_EXTENSION: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    HardLink,
    SymbolicLink,
    Device,
    Folder,
    Fifo,
    Other,
}

/// An entry; its bytes are read from the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    /// What a link points to.
    pub(super) link: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) size: u64,
}

/// What an extended header says of the entry that follows it.
#[derive(Debug, Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Reads the bytes of the entry that [`next_entry`](Self::next_entry) gave last.
#[derive(Debug)]
pub(super) struct TarReader<R> {
    source: R,
    /// Bytes of the entry that are not read yet.
    left: u64,
    /// Bytes that fill its last block.
    padding: u64,
}

impl<R: Read> TarReader<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            left: 0,
            padding: 0,
        }
    }

    /// The next entry; `None` at the end of the archive.
    pub(super) fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let mut extension = Extension::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = number(&header[124..136])?;
            match header[156] {
                b'x' => self.take_pax(size, &mut extension)?,
                // What holds for all that follow: comments, in practice.
                b'g' => drop(self.small(size)?),
                b'L' => extension.path = Some(until_nul(&self.small(size)?).to_vec()),
                b'K' => extension.link = Some(until_nul(&self.small(size)?).to_vec()),
                kind => {
                    let size = extension.size.unwrap_or(size);
                    let kind = kind_of(kind);
                    // Only files have bytes, whatever else says it has.
                    self.expect(if kind == EntryKind::File { size } else { 0 });
                    return Ok(Some(Entry {
                        path: extension.path.unwrap_or_else(|| name(&header)),
                        link: extension
                            .link
                            .unwrap_or_else(|| until_nul(&header[157..257]).to_vec()),
                        kind,
                        size: self.left,
                    }));
                }
            }
        }
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        let block = BLOCK as u64;
        self.padding = (block - size % block) % block;
    }

    /// Reads over whatever is left of the entry.
    fn skip(&mut self) -> io::Result<()> {
        let rest = self.left.saturating_add(self.padding);
        let skipped = io::copy(&mut (&mut self.source).take(rest), &mut io::sink())?;
        if skipped < rest {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.expect(0);
        Ok(())
    }

    /// The next header; `None` at the block of zeros that ends an archive. One that ends without
    /// it was cut off.
    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut header = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut header[filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        if header == [0; BLOCK] {
            return Ok(None);
        }
        let said = number(&header[148..156])?;
        // Counted with blanks in the place of the sum itself.
        let blank = u64::from(b' ') * 8;
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        if said != sum(&header[..148]) + blank + sum(&header[156..]) {
            return Err(malformed("a header's checksum is wrong"));
        }
        Ok(Some(header))
    }

    fn small(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > LONGEST_EXTENSION {
            return Err(malformed("an extended header is too long"));
        }
        self.expect(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn take_pax(&mut self, size: u64, extension: &mut Extension) -> io::Result<()> {
        let bytes = self.small(size)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (key, value, after) =
                record(rest).ok_or_else(|| malformed("an extended header is malformed"))?;
            match key {
                b"path" => extension.path = Some(value.to_vec()),
                b"linkpath" => extension.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                    extension.size = Some(size.ok_or_else(|| malformed("a size is no number"))?);
                }
                _ => {}
            }
            rest = after;
        }
        Ok(())
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// The record `LENGTH KEY=VALUE\n` that `bytes` begin with, and what follows it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

fn kind_of(flag: u8) -> EntryKind {
    match flag {
        b'0' | 0 | b'7' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::SymbolicLink,
        b'3' | b'4' => EntryKind::Device,
        b'5' => EntryKind::Folder,
        b'6' => EntryKind::Fifo,
        _ => EntryKind::Other,
    }
}

fn name(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    let prefix = until_nul(&header[345..500]);
    // GNU's own format has times in the prefix's place.
    if &header[257..263] != b"ustar\0" || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, name].join(&b'/')
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

/// Octal digits, or GNU's big-endian bytes with the top bit set.
fn number(field: &[u8]) -> io::Result<u64> {
    let wrong = || malformed("a number in a header is malformed");
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len().saturating_sub(8));
        let mut high = high.to_vec();
        if let Some(first) = high.first_mut() {
            *first &= 0x7f;
        }
        let low: [u8; 8] = match (low.try_into(), high.iter().all(|byte| *byte == 0)) {
            (Ok(low), true) => low,
            _ => return Err(wrong()),
        };
        return Ok(u64::from_be_bytes(low));
    }
    let text = std::str::from_utf8(until_nul(field)).map_err(|_| wrong())?;
    match text.trim() {
        "" => Ok(0),
        digits => u64::from_str_radix(digits, 8).map_err(|_| wrong()),
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
