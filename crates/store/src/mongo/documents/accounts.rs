//! Users, as the Go master wrote them and with what it lacked; keys, ended tokens and the audit.

use cloudai_model::{
    AccountState, Role, UserLimits, Wall,
    account::{AuditRecord, EndedToken, KeyRecord, UserRecord},
};
use mongodb::bson::{Binary, Document, doc, spec::BinarySubtype};

use super::{Fields, bits, date, if_any};
use crate::ReadError;

pub(crate) const USERS: &str = "USERS";
pub(crate) const KEYS: &str = "API_KEYS";
pub(crate) const ENDED_TOKENS: &str = "ENDED_TOKENS";
pub(crate) const AUDIT: &str = "AUDIT";

pub(crate) fn write_user(record: &UserRecord) -> Document {
    let limits = &record.limits;
    doc! {
        "username": record.user.as_str(),
        "name": &record.name,
        "email": &record.email,
        "password_hash": &record.password_hash,
        "role": record.role.as_str(),
        "state": record.state.as_str(),
        "generation": bits(record.generation),
        "most_queued_tasks": if_any(limits.queued_tasks, bits),
        "most_cpu_milli": if_any(limits.cpu_milli, bits),
        "most_memory_bytes": if_any(limits.memory_bytes, bits),
        "most_gpu_milli": if_any(limits.gpu_milli, bits),
        "most_files_bytes": if_any(limits.files_bytes, bits),
        "created_at": date(record.created_at),
        "updated_at": date(record.updated_at),
    }
}

pub(crate) fn read_user(document: &Document) -> Result<UserRecord, ReadError> {
    let fields = Fields::new(USERS, document);
    let created_at = fields.wall("created_at")?.unwrap_or(Wall(0));
    // What is no word of ours is somebody with a word of another program's: no more than a user.
    let role = fields.text("role")?.and_then(|word| word.parse().ok());
    Ok(UserRecord {
        user: fields.must("username", Fields::parsed)?,
        name: fields.text("name")?.unwrap_or_default(),
        email: fields.text("email")?.unwrap_or_default(),
        password_hash: fields.text("password_hash")?.unwrap_or_default(),
        role: role.unwrap_or(Role::User),
        state: fields.parsed("state")?.unwrap_or(AccountState::Active),
        generation: fields.count("generation")?.unwrap_or(0),
        limits: UserLimits {
            queued_tasks: fields.count("most_queued_tasks")?,
            cpu_milli: fields.count("most_cpu_milli")?,
            memory_bytes: fields.count("most_memory_bytes")?,
            gpu_milli: fields.count("most_gpu_milli")?,
            files_bytes: fields.count("most_files_bytes")?,
        },
        created_at,
        updated_at: fields.wall("updated_at")?.unwrap_or(created_at),
    })
}

pub(crate) fn write_key(record: &KeyRecord) -> Document {
    let hash = Binary {
        subtype: BinarySubtype::Generic,
        bytes: record.hash.to_vec(),
    };
    doc! {
        "key_id": &record.id,
        "username": record.user.as_str(),
        "name": &record.name,
        "hash": hash,
        "scope": record.scope.as_str(),
        "created_at": date(record.created_at),
        "expires_at": if_any(record.expires_at, date),
    }
}

pub(crate) fn read_key(document: &Document) -> Result<KeyRecord, ReadError> {
    let fields = Fields::new(KEYS, document);
    Ok(KeyRecord {
        id: fields.must("key_id", Fields::text)?,
        user: fields.must("username", Fields::parsed)?,
        name: fields.text("name")?.unwrap_or_default(),
        hash: fields.must("hash", Fields::bytes)?,
        scope: fields.must("scope", Fields::parsed)?,
        created_at: fields.wall("created_at")?.unwrap_or(Wall(0)),
        expires_at: fields.wall("expires_at")?,
    })
}

pub(crate) fn write_token(record: &EndedToken) -> Document {
    doc! { "token_id": &record.id, "until": date(record.until) }
}

pub(crate) fn read_token(document: &Document) -> Result<EndedToken, ReadError> {
    let fields = Fields::new(ENDED_TOKENS, document);
    Ok(EndedToken {
        id: fields.must("token_id", Fields::text)?,
        until: fields.must("until", Fields::wall)?,
    })
}

/// The id of an entry's document. As text, it sorts as the number does.
pub(crate) fn audit_id(number: u64) -> String {
    format!("{number:020}")
}

pub(crate) fn write_audit(record: &AuditRecord) -> Document {
    doc! {
        "number": bits(record.number),
        "at": date(record.at),
        "username": record.user.as_ref().map(cloudai_model::UserName::as_str),
        "key_id": record.key.as_deref(),
        "from": &record.from,
        "action": &record.action,
        "target": &record.target,
        "done": record.done,
        "detail": &record.detail,
        "request_id": &record.request,
    }
}

pub(crate) fn read_audit(document: &Document) -> Result<AuditRecord, ReadError> {
    let fields = Fields::new(AUDIT, document);
    Ok(AuditRecord {
        number: fields.must("number", Fields::count)?,
        at: fields.must("at", Fields::wall)?,
        user: fields.parsed("username")?,
        key: fields.text("key_id")?,
        from: fields.text("from")?.unwrap_or_default(),
        action: fields.text("action")?.unwrap_or_default(),
        target: fields.text("target")?.unwrap_or_default(),
        done: fields.must("done", Fields::flag)?,
        detail: fields.text("detail")?.unwrap_or_default(),
        request: fields.text("request_id")?.unwrap_or_default(),
    })
}
