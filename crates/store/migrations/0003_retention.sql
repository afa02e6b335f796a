-- What retention asks and keeps: which tasks ended first, what was removed of them, and the highest
-- numbers of those that are forgotten.

CREATE INDEX tasks_by_end ON tasks (status, completed_at_ms) WHERE completed_at_ms IS NOT NULL;

CREATE TABLE removed (
    order_number        INTEGER PRIMARY KEY,
    task_id             TEXT NOT NULL,
    -- Of each both or neither.
    log_removed_at_ms   INTEGER,
    log_removed_by      TEXT,
    files_removed_at_ms INTEGER,
    files_removed_by    TEXT
) STRICT;

-- Numbers are never given out twice, also when nothing is left of the task that had them.
CREATE TABLE forgotten (
    only_row     INTEGER PRIMARY KEY CHECK (only_row = 1),
    order_number INTEGER NOT NULL,
    -- The same 64 bits with a sign; NULL: no task with such an id was forgotten.
    task_number  INTEGER
) STRICT;
