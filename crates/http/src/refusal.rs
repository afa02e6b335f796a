//! From why something was not done to the problem that is answered: one exhaustive match for each
//! operation.

mod accounts;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use cloudai_api::{BodyError, Code, Mistake, Mistakes, Problem};
use cloudai_core::{
    AddWorkerError, ChangeError, DrainError, NotReady, RemoveWorkerError, SubmitError,
    SubmitManyError,
};
use cloudai_files::{log::FrameError, log::LogError, output::StoreError};
use cloudai_operator::{
    CancelFailure, ChangeFailure, DrainFailure, ExplainFailure, FilesFailure, LogFailure, NoAnswer,
    ReadFailure, RegisterFailure, RemoveFilesFailure, SubmitFailure, SubmitManyFailure,
    UnregisterFailure,
};
use tracing::error;

use crate::shares::Full;

/// What is told of a mistake of ours: paths and drivers' words are not for everybody.
pub(crate) const SEE_LOG: &str =
    "the master made a mistake; its log says more under this request's id";

/// A problem on its way out. The frame gives it the request's id.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) problem: Box<Problem>,
    pub(crate) headers: Box<HeaderMap>,
}

impl Refusal {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// The one answer for what there isn't, and for what is somebody else's: nobody can tell which.
    pub(crate) fn not_found() -> Self {
        Self::new(
            Code::NotFound,
            "nothing of this name is here for whoever asks",
        )
    }

    pub(crate) fn parameter(mistake: Mistake) -> Self {
        Problem::of_parameters(vec![mistake]).into()
    }

    pub(crate) fn mistakes(mistakes: Mistakes) -> Self {
        Problem::of_mistakes(mistakes).into()
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// All places are taken; `what` says by what.
    pub(crate) fn full(full: Full, what: &str) -> Self {
        let detail = match full {
            Full::All(most) => format!("{most} {what} already: try again when one has ended"),
            Full::Own(most) => {
                format!("{most} {what} already for whoever asks: end one first")
            }
        };
        Self::new(Code::Overloaded, detail)
    }

    /// Something that is nobody's mistake but ours: the log has all of it.
    pub(crate) fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        error!(error = cause, "a request failed");
        Self::new(Code::Internal, SEE_LOG)
    }

    /// The store is out of reach. What its database said, and where it is, the log has.
    pub(crate) fn store_away(what: &str) -> Self {
        let detail = format!("{what}; the master's log says more under this request's id");
        Self::new(Code::StoreAway, detail)
    }

    fn not_kept(cause: &(dyn std::error::Error + 'static)) -> Self {
        error!(error = cause, "a submit can't be kept");
        Self::store_away("the submit can't be kept just now")
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self {
            problem: Box::new(problem),
            headers: Box::default(),
        }
    }
}

impl IntoResponse for Refusal {
    /// Without a body: the frame makes it.
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.code().status());
        let mut response = status
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
        *response.headers_mut() = *self.headers;
        response.extensions_mut().insert(*self.problem);
        response
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Syntax(error) => Self::new(Code::InvalidJson, error),
            BodyError::Mistakes(mistakes) => Self::mistakes(mistakes),
        }
    }
}

impl From<NotReady> for Refusal {
    fn from(error: NotReady) -> Self {
        Self::new(Code::Starting, error.to_string())
    }
}

impl From<NoAnswer> for Refusal {
    fn from(error: NoAnswer) -> Self {
        match &error {
            NoAnswer::ShuttingDown => Self::new(Code::ShuttingDown, error.to_string()),
            NoAnswer::StoreUnread(_) | NoAnswer::StoreWaits(_) => {
                error!(
                    error = &error as &dyn std::error::Error,
                    "nothing can be changed"
                );
                Self::store_away("nothing can be changed just now")
            }
        }
    }
}

impl From<ReadFailure> for Refusal {
    fn from(error: ReadFailure) -> Self {
        error!(
            error = &error as &dyn std::error::Error,
            "the store can't be read"
        );
        Self::store_away("the store can't be read just now")
    }
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        let detail = error.to_string();
        match error {
            SubmitError::NotReady(error) => error.into(),
            SubmitError::IdTaken(_) => Self::new(Code::IdTaken, detail),
            SubmitError::IdAhead(_) => one_mistake("/task_id", detail),
            SubmitError::UnknownTarget(_) => one_mistake("/worker_id", detail),
            SubmitError::QueueFull(_) => Self::new(Code::QueueFull, detail),
            SubmitError::UserQueueFull { .. } | SubmitError::BeyondLimit(_) => {
                Self::new(Code::UserLimit, detail)
            }
            SubmitError::HeldUp(_) => Self::new(Code::HeldUp, detail),
        }
    }
}

fn one_mistake(pointer: &str, detail: String) -> Refusal {
    let mut mistakes = Mistakes::default();
    mistakes.push(Mistake::at(pointer, detail));
    Refusal::mistakes(mistakes)
}

impl From<SubmitFailure> for Refusal {
    fn from(error: SubmitFailure) -> Self {
        match error {
            // Bodies are checked before; this is what only the master knows, as what is allowed.
            SubmitFailure::Draft(errors) => {
                let mut mistakes = Mistakes::default();
                mistakes.extend(errors, |field| format!("/{field}"));
                Self::mistakes(mistakes)
            }
            SubmitFailure::Refused(error) => error.into(),
            SubmitFailure::Read(error) => error.into(),
            SubmitFailure::KeyReused(_) => Self::new(Code::KeyReused, error.to_string()),
            SubmitFailure::NotKept(_) => Self::not_kept(&error),
            SubmitFailure::NoAnswer(error) => error.into(),
        }
    }
}

impl From<SubmitManyFailure> for Refusal {
    fn from(error: SubmitManyFailure) -> Self {
        match error {
            SubmitManyFailure::Count(_) => one_mistake("/tasks", error.to_string()),
            SubmitManyFailure::Drafts(drafts) => {
                let mut mistakes = Mistakes::default();
                for (index, errors) in drafts {
                    mistakes.extend(errors, |field| format!("/tasks/{index}/{field}"));
                }
                Self::mistakes(mistakes)
            }
            SubmitManyFailure::Refused(error) => error.into(),
            SubmitManyFailure::Read(error) => error.into(),
            SubmitManyFailure::KeyReused(_) | SubmitManyFailure::Forgotten { .. } => {
                Self::new(Code::KeyReused, error.to_string())
            }
            SubmitManyFailure::NotKept(_) => Self::not_kept(&error),
            SubmitManyFailure::NoAnswer(error) => error.into(),
        }
    }
}

impl From<SubmitManyError> for Refusal {
    fn from(error: SubmitManyError) -> Self {
        let detail = error.to_string();
        match error {
            SubmitManyError::NotReady(error) => error.into(),
            SubmitManyError::QueueFull { .. } => Self::new(Code::QueueFull, detail),
            SubmitManyError::HeldUp(_) => Self::new(Code::HeldUp, detail),
            SubmitManyError::Refused(tasks) => {
                let mut codes = tasks.iter().map(|task| Self::from(task.error.clone()));
                let code = codes
                    .next()
                    .map_or(Code::Internal, |one| one.problem.code());
                let mut mistakes = Mistakes::default();
                for task in &tasks {
                    let field = match task.error {
                        SubmitError::UnknownTarget(_) => "/worker_id",
                        SubmitError::IdTaken(_) | SubmitError::IdAhead(_) => "/task_id",
                        _ => "",
                    };
                    let at = format!("/tasks/{}{field}", task.index);
                    mistakes.push(Mistake::at(at, task.error.to_string()));
                }
                Problem::new(code, detail).with_mistakes(mistakes).into()
            }
        }
    }
}

impl From<CancelFailure> for Refusal {
    fn from(error: CancelFailure) -> Self {
        match error {
            CancelFailure::NotReady(error) => error.into(),
            CancelFailure::Unknown(_) => Self::not_found(),
            CancelFailure::Final(..) => Self::new(Code::TaskFinal, error.to_string()),
            CancelFailure::Read(error) => error.into(),
            CancelFailure::NoAnswer(error) => error.into(),
        }
    }
}

impl From<ChangeFailure> for Refusal {
    fn from(error: ChangeFailure) -> Self {
        let detail = error.to_string();
        match error {
            ChangeFailure::Draft(errors) => {
                let mut mistakes = Mistakes::default();
                mistakes.extend(errors, |field| format!("/{field}"));
                Self::mistakes(mistakes)
            }
            ChangeFailure::Unknown(_) => Self::not_found(),
            ChangeFailure::Final(..) => Self::new(Code::TaskFinal, detail),
            ChangeFailure::Refused(ChangeError::NotReady(error)) => error.into(),
            // It ended in this moment.
            ChangeFailure::Refused(ChangeError::NotLive(_)) => Self::new(Code::TaskFinal, detail),
            ChangeFailure::Refused(ChangeError::BeingStopped(..)) => {
                Self::new(Code::TaskStopping, detail)
            }
            ChangeFailure::Refused(ChangeError::WaitsNoMore { .. }) => {
                Self::new(Code::TooLate, detail)
            }
            ChangeFailure::Read(error) => error.into(),
            ChangeFailure::NoAnswer(error) => error.into(),
        }
    }
}

impl From<ExplainFailure> for Refusal {
    fn from(error: ExplainFailure) -> Self {
        match error {
            ExplainFailure::Unknown(_) => Self::not_found(),
            ExplainFailure::NotReady(error) => error.into(),
            ExplainFailure::Read(error) => error.into(),
            ExplainFailure::NoAnswer(error) => error.into(),
        }
    }
}

impl From<LogFailure> for Refusal {
    fn from(error: LogFailure) -> Self {
        match error {
            LogFailure::Removed { .. } => Self::new(Code::Removed, error.to_string()),
            LogFailure::Log(error) => error.into(),
            LogFailure::Frame(error) => error.into(),
            LogFailure::Read(error) => error.into(),
            LogFailure::NoAnswer(error) => error.into(),
        }
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        Self::internal(&error)
    }
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        Self::internal(&error)
    }
}

impl From<FilesFailure> for Refusal {
    fn from(error: FilesFailure) -> Self {
        match error {
            FilesFailure::Unknown { .. } => Self::not_found(),
            FilesFailure::NotFinal { .. } => Self::new(Code::TaskNotFinal, error.to_string()),
            FilesFailure::Removed { .. } => Self::new(Code::Removed, error.to_string()),
            FilesFailure::Read(error) => error.into(),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl From<RemoveFilesFailure> for Refusal {
    fn from(error: RemoveFilesFailure) -> Self {
        match error {
            RemoveFilesFailure::Files(error) => error.into(),
            RemoveFilesFailure::NotReady(error) => error.into(),
            RemoveFilesFailure::Store(error) => error.into(),
            RemoveFilesFailure::NoAnswer(error) => error.into(),
        }
    }
}

impl From<RegisterFailure> for Refusal {
    fn from(error: RegisterFailure) -> Self {
        let detail = error.to_string();
        match error {
            RegisterFailure::Elsewhere { .. } => Self::new(Code::WorkerElsewhere, detail),
            RegisterFailure::Refused(AddWorkerError::NotReady(error)) => error.into(),
            RegisterFailure::Refused(AddWorkerError::AlreadyRegistered(_)) => {
                Self::new(Code::WorkerElsewhere, detail)
            }
            RegisterFailure::Random(_) => Self::internal(&error),
            RegisterFailure::NoAnswer(error) => error.into(),
        }
    }
}

impl From<UnregisterFailure> for Refusal {
    fn from(error: UnregisterFailure) -> Self {
        match error {
            UnregisterFailure::Refused(RemoveWorkerError::NotReady(error)) => error.into(),
            UnregisterFailure::Refused(RemoveWorkerError::UnknownWorker(_)) => Self::not_found(),
            UnregisterFailure::NoAnswer(error) => error.into(),
        }
    }
}

impl From<DrainFailure> for Refusal {
    fn from(error: DrainFailure) -> Self {
        match error {
            DrainFailure::Refused(DrainError::NotReady(error)) => error.into(),
            DrainFailure::Refused(DrainError::UnknownWorker(_)) => Self::not_found(),
            DrainFailure::NoAnswer(error) => error.into(),
        }
    }
}
