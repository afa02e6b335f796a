//! The bodies of the REST interface: what is sent, what is answered, and how a refusal looks.
//!
//! Values of the model become JSON here, by the contract's names, and JSON becomes drafts for the
//! model to check. Nothing here knows a server; the console shows its `--json` with the same types.

mod account;
mod audit;
mod events;
mod figures;
mod files;
mod health;
mod new_task;
mod page;
mod problem;
mod read;
mod standing;
mod task;
mod task_change;
mod telemetry;
mod worker;

pub use self::{
    account::{
        ChangePassword, Key, Limits, LoggedIn, Login, MadeKey, NewKey, NewUser, Register,
        RotateTokenKey, User, UserChange,
    },
    audit::AuditEntry,
    events::{TimelineEvent, timeline},
    figures::{Time, gb, rounded},
    files::{LeftFile, LeftFiles, Removal, TaskFiles},
    health::{Degraded, DiskHealth, Health, Readiness},
    new_task::{Batch, CommandText, Container, Deadline, MOST_IN_BATCH, NewTask},
    page::{Cursor, CursorError, Page},
    problem::{Code, Mistake, Mistakes, Place, Problem},
    read::{BodyError, FromJson, parse},
    standing::{Standing, outlook},
    task::{Accepted, QueueEntry, Task},
    task_change::TaskPatch,
    telemetry::{
        MetricsPoint, Telemetry, UsedFigures, WorkerMetrics, WorkerTelemetry, Workers,
        resolution_word,
    },
    worker::{Drain, Drained, NewWorker, RegisteredWorker, Unregistered, Worker},
};
