//! The marker: one document that says which batch was the last, and whose the database is.
//!
//! A batch is there from the moment when the head names it. Where there is no transaction, the head
//! holds what the batch does, or names the chunks that do, so that it can be carried out to its end
//! after a crash. Chunks that the head doesn't name don't exist.

use std::future::IntoFuture as _;

use mongodb::{
    ClientSession,
    bson::{Binary, Bson, Document, doc, spec::BinarySubtype},
    options::ReadConcern,
};

use super::{
    failure::Failure,
    link::Link,
    writes::{self, Write},
};

pub(super) const COLLECTION: &str = "BATCHES";
pub(super) const CHUNKS: &str = "BATCH_CHUNKS";

/// The version of what is stored; rises with each change that an older program must not meet.
pub(super) const SCHEMA: i64 = 2;

pub(super) const ID: &str = "head";

/// As it stands in the database.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    pub(super) schema: i64,
    /// The master that may write.
    pub(super) owner: String,
    /// The last batch.
    pub(super) number: i64,
    /// What was in it; empty before the first.
    pub(super) digest: String,
    redo: Redo,
}

/// As whom a database is taken.
pub(super) struct Claim {
    pub(super) owner: String,
    /// Who may have had it before; empty: anyone, also nobody.
    pub(super) former: Vec<String>,
}

impl Claim {
    pub(super) fn of(owner: &str, former: &[String]) -> Self {
        Self {
            owner: owner.to_owned(),
            former: former.to_vec(),
        }
    }

    /// Whether it may be taken from whoever has it.
    pub(super) fn may_follow(&self, head: Option<&Head>) -> bool {
        self.former.is_empty() || head.is_some_and(|head| self.former.contains(&head.owner))
    }
}

/// What must be carried out again, because it is not known whether it was.
#[derive(Debug, Clone, PartialEq)]
enum Redo {
    Nothing,
    Here(Vec<u8>),
    Chunks(i64),
}

impl Head {
    pub(super) fn read(document: &Document) -> Self {
        let chunks = document.get_i64("chunks").unwrap_or(0);
        Self {
            schema: document.get_i64("schema").unwrap_or(0),
            owner: document.get_str("owner").unwrap_or_default().to_owned(),
            number: document.get_i64("number").unwrap_or(0),
            digest: document.get_str("digest").unwrap_or_default().to_owned(),
            redo: match document.get("redo") {
                Some(Bson::Binary(binary)) => Redo::Here(binary.bytes.clone()),
                _ if chunks > 0 => Redo::Chunks(chunks),
                _ => Redo::Nothing,
            },
        }
    }

    /// As a majority has it, now: what this says can't be taken back.
    pub(super) async fn find(link: &Link) -> Result<Option<Self>, Failure> {
        let collection = link.plain_collection(COLLECTION);
        let mut find = collection
            .find_one(doc! { "_id": ID })
            .max_time(link.limits.work);
        if link.replica_set {
            find = find.read_concern(ReadConcern::linearizable());
        }
        let found = link.within(find.into_future()).await?;
        Ok(found.as_ref().map(Self::read))
    }

    /// Makes the database the claim's; whoever had it before can write no more. Makes the head if
    /// there is none and none is expected.
    pub(super) async fn claim(link: &Link, claim: &Claim) -> Result<Self, Failure> {
        let mut session = link.session().await?;
        let anyone = claim.former.is_empty();
        let mut query = doc! { "_id": ID };
        if !anyone {
            query.insert("owner", doc! { "$in": claim.former.clone() });
        }
        let take = doc! {
            "findAndModify": COLLECTION,
            "query": query,
            "update": {
                // From here on documents are written that an older program must not meet.
                "$set": { "owner": &claim.owner, "schema": SCHEMA },
                "$setOnInsert": { "number": 0_i64 },
                "$currentDate": { "opened_at": true },
            },
            "upsert": anyone,
            "new": true,
        };
        let reply = link.write(take, Some(&mut session)).await?;
        match reply.get_document("value") {
            Ok(head) => Ok(Self::read(head)),
            Err(_) if !anyone => Err(Failure::TakenOver),
            Err(_) => Err(Failure::HeadMoved),
        }
    }

    /// Writes the head anew without a change, and so after all that was written before; `false` if
    /// it is not this owner's.
    pub(super) async fn touch(
        link: &Link,
        owner: &str,
        session: &mut ClientSession,
    ) -> Result<bool, Failure> {
        let query = doc! { "_id": ID, "owner": owner };
        let update = doc! { "$currentDate": { "loaded_at": true } };
        let touch = doc! { "update": COLLECTION, "updates": [{ "q": query, "u": update }] };
        let reply = link.write(touch, Some(session)).await?;
        Ok(matched(&reply) == 1)
    }

    /// Whether it says that its batch is carried out.
    pub(super) fn is_settled(&self) -> bool {
        self.redo == Redo::Nothing
    }

    /// What its batch comes to, where the head itself holds that.
    pub(super) fn writes_here(&self) -> Result<Option<Vec<Write>>, Failure> {
        match &self.redo {
            Redo::Here(chunk) => writes::decode(chunk)
                .map(Some)
                .map_err(|problem| self.unreadable(&problem)),
            Redo::Nothing | Redo::Chunks(_) => Ok(None),
        }
    }

    pub(super) fn has_chunks(&self) -> bool {
        matches!(self.redo, Redo::Chunks(_))
    }

    /// Carries the head's batch out to its end, whatever of it was already.
    pub(super) async fn redo(&self, link: &Link) -> Result<(), Failure> {
        match &self.redo {
            Redo::Nothing => Ok(()),
            Redo::Here(chunk) => self.carry_out(link, chunk).await,
            Redo::Chunks(count) => {
                for chunk in 0..*count {
                    let id = chunk_id(self.number, &self.digest, chunk);
                    let found = link.get(CHUNKS, &id).await?;
                    let chunk = found.as_ref().map(|chunk| chunk.get_binary_generic("redo"));
                    let Some(Ok(chunk)) = chunk else {
                        return Err(self.unreadable("a chunk of it is missing"));
                    };
                    self.carry_out(link, chunk).await?;
                }
                Ok(())
            }
        }
    }

    async fn carry_out(&self, link: &Link, chunk: &[u8]) -> Result<(), Failure> {
        let writes = writes::decode(chunk).map_err(|problem| self.unreadable(&problem))?;
        carry_out(link, writes, self.number).await
    }

    fn unreadable(&self, problem: &str) -> Failure {
        Failure::Document(crate::ReadError::Unreadable {
            table: COLLECTION,
            key: self.number.to_string(),
            column: "redo",
            problem: problem.to_owned(),
        })
    }
}

/// Writes a batch's documents, outside of a transaction.
pub(super) async fn carry_out(link: &Link, writes: Vec<Write>, batch: i64) -> Result<(), Failure> {
    let commands = writes::commands(writes, batch, false);
    let sent = commands
        .into_iter()
        .map(|command| link.write(command, None));
    futures_util::future::try_join_all(sent).await?;
    Ok(())
}

/// The command that names `number` the last batch, if the owner's last one was the one before.
pub(super) fn advance(
    owner: &str,
    number: i64,
    digest: &str,
    redo: Option<&[u8]>,
    chunks: i64,
) -> Document {
    let redo = redo.map(|bytes| Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    });
    let query = doc! { "_id": ID, "owner": owner, "number": number - 1 };
    let update = doc! {
        "$set": { "number": number, "digest": digest, "redo": redo, "chunks": chunks },
    };
    doc! { "update": COLLECTION, "updates": [{ "q": query, "u": update }] }
}

/// How many documents an `update` found.
pub(super) fn matched(reply: &Document) -> i64 {
    let n = reply.get("n");
    n.and_then(|n| n.as_i64().or_else(|| n.as_i32().map(i64::from)))
        .unwrap_or(0)
}

/// The command that keeps a chunk.
pub(super) fn keep_chunk(number: i64, digest: &str, chunk: i64, bytes: &[u8]) -> Document {
    let id = chunk_id(number, digest, chunk);
    let redo = Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    };
    let document = doc! { "number": number, "redo": redo };
    doc! { "update": CHUNKS, "updates": [{ "q": { "_id": id }, "u": document, "upsert": true }] }
}

/// The same batch has the same chunks, also when it is sent again.
fn chunk_id(number: i64, digest: &str, chunk: i64) -> String {
    format!("{number}-{digest}-{chunk}")
}

/// Says that the head's batch is carried out, and drops all chunks.
pub(super) async fn clear(link: &Link, owner: &str, number: i64) -> Result<(), Failure> {
    let mut session = link.session().await?;
    let query = doc! { "_id": ID, "owner": owner, "number": number };
    let update = doc! { "$set": { "redo": Bson::Null, "chunks": 0_i64 } };
    let done = doc! { "update": COLLECTION, "updates": [{ "q": query, "u": update }] };
    let reply = link.write(done, Some(&mut session)).await?;
    if matched(&reply) == 0 {
        return Err(Failure::HeadMoved);
    }
    let all = doc! { "number": { "$lte": number } };
    let drop = doc! { "delete": CHUNKS, "deletes": [{ "q": all, "limit": 0 }] };
    link.write(drop, Some(&mut session)).await?;
    Ok(())
}
