-- Time-outs beside that of the run, which failures a task is run again after, and what became of
-- its tries so far. A task of before has none of the former, and counts nothing of the latter.

ALTER TABLE tasks ADD COLUMN pull_timeout_ns INTEGER;
ALTER TABLE tasks ADD COLUMN queue_timeout_ns INTEGER;
-- A list as `1,75,oom`; NULL: every failure but a time-out.
ALTER TABLE tasks ADD COLUMN retry_on TEXT;
-- Until when it waits after a failure.
ALTER TABLE tasks ADD COLUMN retry_at_ms INTEGER;
-- Ids of the workers that were lost or failed under it, one for each time; NULL: none.
ALTER TABLE tasks ADD COLUMN taken_down TEXT;
ALTER TABLE tasks ADD COLUMN first_started_at_ms INTEGER;
-- The time-out for which its attempt is to stop, or that ended it.
ALTER TABLE tasks ADD COLUMN time_out TEXT;

-- A task that has run in an earlier attempt, too, is known by its last start alone.
UPDATE tasks SET first_started_at_ms = started_at_ms;
