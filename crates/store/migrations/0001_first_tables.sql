-- The six tables of the contract, and what CloudAI needs beside them.
--
-- Exact integers are what is written and read back (`*_milli`, `*_bytes`, `*_ms`, `*_ns`; a number
-- of 64 bits without sign is kept as the same 64 bits with one). The contract's columns in cores,
-- GB, devices and Unix seconds are generated from them, so the two can't disagree.
--
-- Everything that belongs to a task hangs on its `order_number`, which rises with each submit:
-- rows are appended at the end of each tree whatever ids clients choose.

CREATE TABLE schema (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    applied_at INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

CREATE TABLE cluster (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    cluster_id TEXT NOT NULL,
    epoch      INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    username      TEXT PRIMARY KEY,
    name          TEXT NOT NULL DEFAULT '',
    email         TEXT NOT NULL DEFAULT '',
    password_hash TEXT NOT NULL,
    role          TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE worker_registry (
    worker_id         TEXT PRIMARY KEY,
    worker_ip         TEXT NOT NULL,
    -- NULL until the worker was seen.
    cpu_milli         INTEGER,
    memory_bytes      INTEGER,
    storage_bytes     INTEGER,
    gpus              INTEGER,
    version           TEXT,
    labels            TEXT NOT NULL,
    registration      INTEGER NOT NULL,
    registered_at_ms  INTEGER NOT NULL,
    last_seen_at_ms   INTEGER,
    -- Whether it is given nothing new, by an admin's wish.
    draining          INTEGER NOT NULL CHECK (draining IN (0, 1)),
    updated_at        INTEGER NOT NULL DEFAULT (unixepoch()),
    -- Known to a running master only, which answers with them; NULL means "not kept".
    is_active         INTEGER,
    allocated_cpu     REAL,
    allocated_memory  REAL,
    allocated_storage REAL,
    allocated_gpu     REAL,
    total_cpu         REAL    AS (cpu_milli / 1000.0),
    total_memory      REAL    AS (memory_bytes / 1073741824.0),
    total_storage     REAL    AS (storage_bytes / 1073741824.0),
    total_gpu         REAL    AS (CAST(gpus AS REAL)),
    last_heartbeat    INTEGER AS (last_seen_at_ms / 1000),
    registered_at     INTEGER AS (registered_at_ms / 1000)
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    order_number     INTEGER PRIMARY KEY,
    task_id          TEXT NOT NULL UNIQUE,
    -- The number in an id of the master's making; NULL for an id that a client chose.
    task_number      INTEGER,
    user_id          TEXT NOT NULL,
    task_name        TEXT NOT NULL,
    docker_image     TEXT NOT NULL,
    -- A shell line, or a list in `args`; both NULL: the image's own command.
    command          TEXT,
    args             TEXT,
    cpu_milli        INTEGER NOT NULL,
    memory_bytes     INTEGER NOT NULL,
    storage_bytes    INTEGER NOT NULL,
    gpu_milli        INTEGER NOT NULL,
    target_worker_id TEXT,
    env              TEXT NOT NULL,
    priority         INTEGER NOT NULL,
    deadline_ms      INTEGER,
    timeout_ns       INTEGER,
    estimate_ns      INTEGER,
    max_retries      INTEGER NOT NULL,
    labels           TEXT NOT NULL,
    tag              TEXT NOT NULL,
    task_type        TEXT,
    sla_multiplier   REAL NOT NULL,
    -- How its container is set up, as texts by field; NULL: nothing was asked for.
    container        TEXT,
    submitted_at_ms  INTEGER NOT NULL,
    status           TEXT NOT NULL,
    phase            TEXT NOT NULL,
    attempt          INTEGER NOT NULL,
    worker_id        TEXT,
    reason           TEXT NOT NULL,
    exit_code        INTEGER,
    started_at_ms    INTEGER,
    completed_at_ms  INTEGER,
    cancel_requested INTEGER NOT NULL,
    failures         INTEGER NOT NULL,
    req_cpu          REAL    AS (cpu_milli / 1000.0),
    req_memory       REAL    AS (memory_bytes / 1073741824.0),
    req_storage      REAL    AS (storage_bytes / 1073741824.0),
    req_gpu          REAL    AS (gpu_milli / 1000.0),
    deadline         INTEGER AS (deadline_ms / 1000),
    submitted_at     INTEGER AS (submitted_at_ms / 1000),
    created_at       INTEGER AS (submitted_at_ms / 1000),
    started_at       INTEGER AS (started_at_ms / 1000),
    completed_at     INTEGER AS (completed_at_ms / 1000)
) STRICT;

CREATE INDEX tasks_by_number ON tasks (task_number) WHERE task_number IS NOT NULL;
-- Each holds the order number as its last part: a status, a user or a worker is read in order.
CREATE INDEX tasks_by_status ON tasks (status);
CREATE INDEX tasks_by_user ON tasks (user_id);
CREATE INDEX tasks_by_worker ON tasks (worker_id) WHERE worker_id IS NOT NULL;

CREATE TABLE assignments (
    order_number   INTEGER NOT NULL,
    attempt        INTEGER NOT NULL,
    task_id        TEXT NOT NULL,
    worker_id      TEXT NOT NULL,
    sequence       INTEGER NOT NULL,
    cpu_milli      INTEGER NOT NULL,
    memory_bytes   INTEGER NOT NULL,
    storage_bytes  INTEGER NOT NULL,
    -- [[device, milli], ...]
    devices        TEXT NOT NULL,
    assigned_at_ms INTEGER NOT NULL,
    -- Both NULL while the attempt is open.
    ended_at_ms    INTEGER,
    ended_reason   TEXT,
    ass_id         TEXT    AS (task_id || '-' || attempt),
    assigned_at    INTEGER AS (assigned_at_ms / 1000),
    ended_at       INTEGER AS (ended_at_ms / 1000),
    PRIMARY KEY (order_number, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE results (
    order_number      INTEGER PRIMARY KEY,
    task_id           TEXT NOT NULL,
    attempt           INTEGER NOT NULL,
    worker_id         TEXT,
    status            TEXT NOT NULL,
    reason            TEXT NOT NULL,
    -- How the container ended; all of it NULL if there was none.
    exit_kind         TEXT,
    -- The code or the signal, for the kinds that have one.
    exit_number       INTEGER,
    -- The reason, for the kinds that have one.
    exit_reason       TEXT,
    started_at_ms     INTEGER,
    finished_at_ms    INTEGER,
    peak_memory_bytes INTEGER,
    cpu_time_ns       INTEGER,
    image_digest      TEXT,
    -- Why it is not whole; NULL: it is.
    log_missing       TEXT,
    files_missing     TEXT,
    -- The last 64 KiB.
    logs              TEXT NOT NULL,
    completed_at_ms   INTEGER NOT NULL,
    sla_success       INTEGER,
    -- As a shell would show it.
    exit_code         INTEGER,
    completed_at      INTEGER AS (completed_at_ms / 1000)
) STRICT;

CREATE TABLE file_metadata (
    order_number   INTEGER PRIMARY KEY,
    task_id        TEXT NOT NULL,
    attempt        INTEGER NOT NULL,
    user_id        TEXT NOT NULL,
    task_name      TEXT NOT NULL,
    storage_path   TEXT NOT NULL,
    -- Three lists of one length.
    file_paths     TEXT NOT NULL,
    sizes          TEXT NOT NULL,
    sha256         TEXT NOT NULL,
    uploaded_at_ms INTEGER NOT NULL,
    uploaded_at    INTEGER AS (uploaded_at_ms / 1000)
) STRICT;

CREATE INDEX file_metadata_by_user ON file_metadata (user_id);

CREATE TABLE stop_orders (
    task_id      TEXT NOT NULL,
    attempt      INTEGER NOT NULL,
    worker_id    TEXT NOT NULL,
    worker_ip    TEXT NOT NULL,
    registration INTEGER NOT NULL,
    PRIMARY KEY (task_id, attempt)
) STRICT, WITHOUT ROWID;
