//! What is known of tasks' output files. The files themselves lie elsewhere.
//!
//! A task may leave a million files and a document has an end at 16 MiB: the lists go on in pages.

use cloudai_model::{
    AttemptId, Wall,
    record::{FileRecord, FilesRecord},
};
use mongodb::bson::{Array, Bson, Document, doc};

use super::{Fields, ORDER, bits, date};
use crate::ReadError;

pub(crate) const COLLECTION: &str = "FILE_METADATA";

/// The pages after the first, under `<task>/<page>`; as many as the document's `pages` says.
pub(crate) const PAGES: &str = "FILE_METADATA_PAGES";

/// What the lists of one document may take, roughly.
const PAGE_BYTES: usize = 4 << 20;

/// What a file takes beside its path: size, checksum, and the places in three lists.
const FILE_BYTES: usize = 120;

/// The id of a page.
pub(crate) fn page_id(task: &str, page: i64) -> String {
    format!("{task}/{page}")
}

/// The document, and the further pages from the first on.
pub(crate) fn write(record: &FilesRecord, order: u64) -> (Document, Vec<Document>) {
    let mut pages = split(&record.files).into_iter();
    let mut document = doc! {
        "task_id": record.attempt.task.to_string(),
        ORDER: bits(order),
        "attempt": i64::from(record.attempt.number),
        "user_id": record.user.as_str(),
        "task_name": &record.task_name,
        "storage_path": &record.storage_path,
        "uploaded_at": date(record.uploaded_at),
        "bytes": i64::try_from(record.bytes()).unwrap_or(i64::MAX),
    };
    document.extend(lists(pages.next().unwrap_or_default()));
    let further: Vec<Document> = pages.map(lists).collect();
    document.insert("pages", i64::try_from(further.len()).unwrap_or(i64::MAX));
    (document, further)
}

fn split(files: &[FileRecord]) -> Vec<&[FileRecord]> {
    let mut pages = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (place, file) in files.iter().enumerate() {
        let size = file.path.len() + FILE_BYTES;
        if bytes + size > PAGE_BYTES && place > begin {
            pages.push(&files[begin..place]);
            (begin, bytes) = (place, 0);
        }
        bytes += size;
    }
    pages.push(&files[begin..]);
    pages
}

/// Three lists of one length.
fn lists(files: &[FileRecord]) -> Document {
    doc! {
        "file_paths": files.iter().map(|file| Bson::from(&file.path)).collect::<Array>(),
        "sizes": files.iter().map(|file| bits(file.size)).collect::<Array>(),
        "sha256": files.iter().map(|file| Bson::from(&file.sha256)).collect::<Array>(),
    }
}

/// How many pages follow the document.
pub(crate) fn pages(document: &Document) -> Result<i64, ReadError> {
    let fields = Fields::new(COLLECTION, document);
    Ok(fields.whole("pages")?.unwrap_or(0))
}

/// The record of a document and its pages, all of them in order.
pub(crate) fn read(document: &Document, pages: &[Document]) -> Result<FilesRecord, ReadError> {
    let fields = Fields::new(COLLECTION, document);
    let mut files = read_lists(&fields)?;
    for page in pages {
        files.extend(read_lists(&Fields::new(PAGES, page))?);
    }
    Ok(FilesRecord {
        attempt: AttemptId::new(
            fields.must("task_id", Fields::parsed)?,
            fields.small("attempt")?.unwrap_or(0),
        ),
        user: fields.must("user_id", Fields::parsed)?,
        task_name: fields.text("task_name")?.unwrap_or_default(),
        storage_path: fields.text("storage_path")?.unwrap_or_default(),
        files,
        uploaded_at: fields.wall("uploaded_at")?.unwrap_or(Wall(0)),
    })
}

fn read_lists(fields: &Fields<'_>) -> Result<Vec<FileRecord>, ReadError> {
    let paths = fields.texts("file_paths")?.unwrap_or_default();
    // The Go master kept neither sizes nor checksums.
    let sizes = match fields.list("sizes")? {
        None => vec![0; paths.len()],
        Some(list) => {
            let size = |item: &Bson| {
                let size = item.as_i64().map(i64::cast_unsigned);
                size.ok_or_else(|| fields.unreadable("sizes", "expected whole numbers"))
            };
            list.iter().map(size).collect::<Result<_, _>>()?
        }
    };
    let sums = match fields.texts("sha256")? {
        None => vec![String::new(); paths.len()],
        Some(sums) => sums,
    };
    if paths.len() != sizes.len() || paths.len() != sums.len() {
        let problem = "paths, sizes and checksums differ in number";
        return Err(fields.unreadable("sha256", problem));
    }
    let parts = paths.into_iter().zip(sizes).zip(sums);
    Ok(parts
        .map(|((path, size), sha256)| FileRecord { path, size, sha256 })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::sample;

    #[test]
    fn a_million_files_go_into_pages_that_fit_and_come_back_in_order() {
        // Given more files than one document can name,
        let mut record = sample(1).files;
        let path = |number| format!("results/fold-{number:06}/weights-and-more.bin");
        record.files = (0..200_000)
            .map(|number| FileRecord {
                path: path(number),
                size: number,
                sha256: "ab".repeat(32),
            })
            .collect();

        // when it is written,
        let (document, further) = write(&record, 1);

        // then each document has room to spare, and together they are what was written.
        assert!(further.len() > 5, "{} pages", further.len());
        for page in further.iter().chain([&document]) {
            let bytes = page.to_vec().unwrap().len();
            assert!(bytes < 8 << 20, "{bytes}");
        }
        assert_eq!(pages(&document).unwrap(), further.len() as i64);
        assert!(read(&document, &further).unwrap() == record);
    }
}
