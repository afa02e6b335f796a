//! What a batch comes to: what each document is to be afterwards, as bytes that can be kept and as
//! commands that can be sent.
//!
//! Every document says which batch wrote it last, and a write finds only what an earlier batch
//! wrote. So a write may be sent any number of times, late ones too: it changes nothing that a newer
//! one wrote. What a newer one removed says nothing any more: a document of an earlier batch that is
//! written as a whole, outside of a transaction, comes back if the server takes it up only then. It
//! gives a command up after `Limits::work`, so this takes a server that let one lie unread for
//! longer than the removal took to come.

use std::io;

use mongodb::bson::{Array, Bson, Document, doc};

use super::failure::Failure;

/// Which batch wrote a document last.
pub(super) const BATCH: &str = "batch";

/// What one command, and one kept chunk, may hold. A document ends at 16 MiB.
const CHUNK_BYTES: usize = 8 << 20;

/// The most statements in one command; the server takes 100,000.
const COMMAND_STATEMENTS: usize = 10_000;

/// What becomes of one document.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Write {
    pub(super) collection: String,
    pub(super) id: String,
    pub(super) change: Change,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// It is this, whatever was there.
    Put(Document),
    /// It has these fields; the others stay.
    Set(Document),
    /// It is gone.
    Remove,
}

impl Write {
    /// Whether the document is gone afterwards.
    pub(super) fn removes(&self) -> bool {
        self.change == Change::Remove
    }

    fn encode(&self) -> Result<Vec<u8>, Failure> {
        let (kind, document) = match &self.change {
            Change::Put(document) => ("put", Some(document.clone())),
            Change::Set(document) => ("set", Some(document.clone())),
            Change::Remove => ("remove", None),
        };
        let whole = doc! { "in": &self.collection, "id": &self.id, "do": kind, "with": document };
        whole
            .to_vec()
            .map_err(|error| Failure::Driver(error.into()))
    }

    fn decode(mut whole: Document) -> Option<Self> {
        let mut take = |field: &str| whole.remove(field);
        let text = |value| match value {
            Some(Bson::String(text)) => Some(text),
            _ => None,
        };
        let (collection, id) = (text(take("in"))?, text(take("id"))?);
        let change = match (text(take("do"))?.as_str(), take("with")) {
            ("put", Some(Bson::Document(document))) => Change::Put(document),
            ("set", Some(Bson::Document(document))) => Change::Set(document),
            ("remove", _) => Change::Remove,
            _ => return None,
        };
        Some(Self {
            collection,
            id,
            change,
        })
    }

    /// The statement of an `update` or `delete` command.
    fn statement(self, batch: i64) -> (Kind, Document) {
        let older = doc! { "_id": self.id, BATCH: { "$not": { "$gte": batch } } };
        match self.change {
            Change::Put(mut document) => {
                document.insert(BATCH, batch);
                (
                    Kind::Update,
                    doc! { "q": older, "u": document, "upsert": true },
                )
            }
            Change::Set(mut document) => {
                document.insert(BATCH, batch);
                (Kind::Update, doc! { "q": older, "u": { "$set": document } })
            }
            Change::Remove => (Kind::Delete, doc! { "q": older, "limit": 1 }),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Update,
    Delete,
}

/// Cuts writes into chunks of whole ones, each as bytes that fit in a document.
pub(super) fn encode(writes: &[Write]) -> Result<Vec<Vec<u8>>, Failure> {
    let mut chunks = Vec::new();
    let mut chunk = Vec::new();
    for write in writes {
        let bytes = write.encode()?;
        if !chunk.is_empty() && chunk.len() + bytes.len() > CHUNK_BYTES {
            chunks.push(std::mem::take(&mut chunk));
        }
        chunk.extend(bytes);
    }
    chunks.push(chunk);
    Ok(chunks)
}

/// Reads a chunk back. The error says what is wrong with it.
pub(super) fn decode(chunk: &[u8]) -> Result<Vec<Write>, String> {
    let mut rest = io::Cursor::new(chunk);
    let mut writes = Vec::new();
    while rest.position() < chunk.len() as u64 {
        let whole = Document::from_reader(&mut rest).map_err(|error| error.to_string())?;
        writes.push(Write::decode(whole).ok_or("expected what becomes of a document")?);
    }
    Ok(writes)
}

/// The commands that carry out a chunk, without concerns and time-outs.
pub(super) fn commands(writes: Vec<Write>, batch: i64, ordered: bool) -> Vec<Document> {
    let mut groups: std::collections::BTreeMap<(String, Kind), Vec<Bson>> = Default::default();
    for write in writes {
        let collection = write.collection.clone();
        let (kind, statement) = write.statement(batch);
        let group = groups.entry((collection, kind)).or_default();
        group.push(statement.into());
    }
    let mut commands = Vec::new();
    for ((collection, kind), statements) in groups {
        for some in statements.chunks(COMMAND_STATEMENTS) {
            let some: Array = some.to_vec();
            commands.push(match kind {
                Kind::Update => doc! { "update": &collection, "updates": some, "ordered": ordered },
                Kind::Delete => doc! { "delete": &collection, "deletes": some, "ordered": ordered },
            });
        }
    }
    commands
}

/// What a server says to such a command, beside "ok". A document that stands there already, as
/// this batch or a newer one wrote it, is none: it was looked for as an older one and not found.
pub(super) fn check(reply: &Document) -> Result<(), Failure> {
    let refused = |error: &Document| Failure::Refused {
        code: error.get_i32("code").unwrap_or_default(),
        message: error
            .get_str("errmsg")
            .unwrap_or("no reason given")
            .to_owned(),
    };
    let errors = reply.get_array("writeErrors").map(Vec::as_slice);
    for error in errors.unwrap_or_default() {
        let Some(error) = error.as_document() else {
            continue;
        };
        let by_id = error
            .get_document("keyPattern")
            .is_ok_and(|keys| keys.contains_key("_id"));
        let code = error.get_i32("code").unwrap_or_default();
        if !(by_id && Failure::is_duplicate(code)) {
            return Err(refused(error));
        }
    }
    match reply.get_document("writeConcernError") {
        Ok(error) => Err(refused(error)),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(number: usize, bytes: usize) -> Write {
        Write {
            collection: "TASKS".to_owned(),
            id: format!("task-{number}"),
            change: Change::Put(doc! { "logs": "x".repeat(bytes) }),
        }
    }

    #[test]
    fn chunks_fit_in_documents_and_give_back_what_went_in() {
        let mut writes: Vec<Write> = (0..30).map(|number| put(number, 1 << 20)).collect();
        writes.push(Write {
            change: Change::Set(doc! { "status": "running" }),
            ..put(31, 0)
        });
        writes.push(Write {
            change: Change::Remove,
            ..put(32, 0)
        });

        let chunks = encode(&writes).unwrap();

        assert!(chunks.len() > 3, "{}", chunks.len());
        assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
        let back: Vec<Write> = chunks
            .iter()
            .flat_map(|chunk| decode(chunk).unwrap())
            .collect();
        assert!(back == writes);
        decode(&chunks[0][..chunks[0].len() - 1]).unwrap_err();
    }

    #[test]
    fn a_command_holds_a_bounded_number_of_statements_of_one_collection() {
        let mut writes: Vec<Write> = (0..25_000).map(|number| put(number, 1)).collect();
        writes[7].change = Change::Remove;
        writes[8].collection = "RESULTS".to_owned();
        assert_eq!(commands(writes, 1, false).len(), 5);
    }

    #[test]
    fn only_a_document_that_is_there_already_is_no_failure() {
        let reply = |code: i32, key: &str| {
            let error = doc! { "code": code, "keyPattern": { key: 1 }, "errmsg": "no" };
            doc! { "ok": 1, "writeErrors": [error] }
        };
        check(&doc! { "ok": 1, "n": 1 }).unwrap();
        check(&reply(11_000, "_id")).unwrap();
        for bad in [
            reply(11_000, "order_number"),
            reply(2, "_id"),
            doc! { "writeConcernError": { "code": 64, "errmsg": "waiting" } },
        ] {
            check(&bad).unwrap_err();
        }
    }
}
