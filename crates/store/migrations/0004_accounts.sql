-- Who may come in and what they did; what of a task its user can change, and under which key it was
-- submitted.

-- Nothing wrote here before; what somebody put there by hand is kept all the same.
ALTER TABLE users RENAME TO users_of_before;
CREATE TABLE users (
    username          TEXT PRIMARY KEY,
    name              TEXT NOT NULL,
    email             TEXT NOT NULL,
    password_hash     TEXT NOT NULL,
    role              TEXT NOT NULL,
    state             TEXT NOT NULL,
    -- Tokens made under an earlier one count no more.
    generation        INTEGER NOT NULL,
    -- The user's own limits; NULL: as for everybody.
    most_queued_tasks INTEGER,
    most_cpu_milli    INTEGER,
    most_memory_bytes INTEGER,
    most_gpu_milli    INTEGER,
    most_files_bytes  INTEGER,
    created_at_ms     INTEGER NOT NULL,
    updated_at_ms     INTEGER NOT NULL,
    created_at        INTEGER AS (created_at_ms / 1000),
    updated_at        INTEGER AS (updated_at_ms / 1000)
) STRICT, WITHOUT ROWID;
INSERT INTO users (username, name, email, password_hash, role, state, generation,
                   created_at_ms, updated_at_ms)
    SELECT username, name, email, password_hash, role, 'active', 0,
           created_at * 1000, updated_at * 1000
    FROM users_of_before;
DROP TABLE users_of_before;

CREATE TABLE api_keys (
    key_id        TEXT PRIMARY KEY,
    username      TEXT NOT NULL,
    name          TEXT NOT NULL,
    -- SHA-256 of the key.
    hash          BLOB NOT NULL,
    scope         TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    -- NULL: until it is deleted.
    expires_at_ms INTEGER,
    created_at    INTEGER AS (created_at_ms / 1000),
    expires_at    INTEGER AS (expires_at_ms / 1000)
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_by_user ON api_keys (username);

-- Tokens that were ended before their time, until that.
CREATE TABLE ended_tokens (
    token_id TEXT PRIMARY KEY,
    until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX ended_tokens_by_end ON ended_tokens (until_ms);

CREATE TABLE audit (
    number       INTEGER PRIMARY KEY,
    at_ms        INTEGER NOT NULL,
    -- NULL: nobody who is known.
    username     TEXT,
    key_id       TEXT,
    from_address TEXT NOT NULL,
    action       TEXT NOT NULL,
    target       TEXT NOT NULL,
    done         INTEGER NOT NULL CHECK (done IN (0, 1)),
    detail       TEXT NOT NULL,
    request_id   TEXT NOT NULL,
    at           INTEGER AS (at_ms / 1000)
) STRICT;
-- Each holds the number as its last part.
CREATE INDEX audit_by_user ON audit (username) WHERE username IS NOT NULL;
CREATE INDEX audit_by_action ON audit (action);
CREATE INDEX audit_by_time ON audit (at_ms);

ALTER TABLE tasks ADD COLUMN hold INTEGER NOT NULL DEFAULT 0;
-- The key, SHA-256 of what was submitted under it, and the task's place in that: all or none.
ALTER TABLE tasks ADD COLUMN submit_key TEXT;
ALTER TABLE tasks ADD COLUMN submit_body BLOB;
ALTER TABLE tasks ADD COLUMN submit_index INTEGER;
CREATE INDEX tasks_by_submit_key ON tasks (user_id, submit_key) WHERE submit_key IS NOT NULL;

-- A user's tasks are asked for by status, too; those at any status are merged from all of them.
DROP INDEX tasks_by_user;
CREATE INDEX tasks_by_user_and_status ON tasks (user_id, status);

-- What a user's files take is read from an index alone.
ALTER TABLE file_metadata ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE file_metadata SET bytes =
    (SELECT CAST(total(size.value) AS INTEGER) FROM json_each(file_metadata.sizes) AS size);
CREATE INDEX file_metadata_bytes ON file_metadata (user_id, bytes) WHERE bytes > 0;
