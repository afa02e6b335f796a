//! A refusal: RFC 9457, with a code that stays the same whatever its words become.

use std::fmt;

use cloudai_model::DraftErrors;
use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::figures::words;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $title:literal;)+) => {
        /// What went wrong, for programs: each code belongs to one HTTP status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $name),+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code as it is sent.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }

            /// The HTTP status that it comes with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }

            /// What it says, whatever the case.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }
        }
    };
}

codes! {
    /// The request itself can't be read.
    BadRequest = "bad_request", 400, "The request can't be read";
    /// The body is no JSON.
    InvalidJson = "invalid_json", 400, "The body is no JSON";
    /// Fields of the body can't be as they are.
    InvalidBody = "invalid_body", 400, "Fields of the body can't be as they are";
    /// A parameter of the query, or a header, can't be as it is.
    InvalidParameter = "invalid_parameter", 400, "A parameter or header can't be as it is";
    /// Nobody is logged in, or not any more.
    Unauthenticated = "unauthenticated", 401, "A valid token or key is needed";
    /// Name and password don't go together.
    WrongPassword = "wrong_password", 401, "Name or password is wrong";
    /// The password of now is another one.
    WrongCurrentPassword = "wrong_current_password", 403, "The current password is wrong";
    /// Only admins may.
    AdminOnly = "admin_only", 403, "Only an admin may do this";
    /// The key is for less.
    KeyScope = "key_scope", 403, "The key's scope does not reach this far";
    /// Nobody registers here.
    RegistrationClosed = "registration_closed", 403, "Registration is closed";
    /// An admin has to say yes first.
    AwaitsApproval = "awaits_approval", 403, "An admin has not approved the account yet";
    /// An admin has locked the account.
    Locked = "account_locked", 403, "The account is locked";
    /// By cookie, and from another site's page.
    CrossOrigin = "cross_origin", 403, "The request comes from another site";
    /// Only an admin may set it so.
    NotAllowed = "not_allowed", 403, "What the body asks for is not allowed";
    /// There is none, or it is somebody else's.
    NotFound = "not_found", 404, "There is no such thing here";
    /// Not by this method.
    MethodNotAllowed = "method_not_allowed", 405, "The path does not take this method";
    /// It can't be had in this form.
    NotAcceptable = "not_acceptable", 406, "It can't be had in a form that the request accepts";
    /// The request came too slowly.
    RequestTimeout = "request_timeout", 408, "The request came too slowly";
    /// The task has ended.
    TaskFinal = "task_final", 409, "The task is final";
    /// The task is being stopped.
    TaskStopping = "task_stopping", 409, "The task is being stopped";
    /// The task has not ended.
    TaskNotFinal = "task_not_final", 409, "The task has not ended yet";
    /// It is too late for this change.
    TooLate = "too_late", 409, "The task is too far for this change";
    /// The task's id is in use.
    IdTaken = "id_taken", 409, "The id is taken";
    /// The user's name is in use.
    NameTaken = "name_taken", 409, "The name is taken";
    /// The same key came with another body.
    KeyReused = "idempotency_key_reused", 409, "The idempotency key was used with another body";
    /// The worker is registered elsewhere.
    WorkerElsewhere = "worker_elsewhere", 409, "The worker is registered at another address";
    /// There must be an admin.
    LastAdmin = "last_admin", 409, "There must be an admin who can log in";
    /// The log or files were removed.
    Removed = "removed", 410, "It was removed";
    /// It has changed since.
    PreconditionFailed = "precondition_failed", 412, "It has changed since it was read";
    /// The body is too large.
    TooLarge = "too_large", 413, "The body is too large";
    /// The body is no JSON, by its own word.
    UnsupportedMediaType = "unsupported_media_type", 415, "The body is in a form that is not read here";
    /// The file doesn't reach that far.
    RangeNotSatisfiable = "range_not_satisfiable", 416, "The file has no such range";
    /// It asks for a name that this server doesn't know.
    StrangeHost = "strange_host", 421, "The server is not known by this name";
    /// Too many wrong passwords.
    TooManyTries = "too_many_tries", 429, "Too many tries: wait before the next";
    /// The cluster's queue is full.
    QueueFull = "queue_full", 429, "The queue is full";
    /// There are as many as may be.
    TooMany = "too_many", 409, "There are as many as may be";
    /// It stands otherwise than it must for this.
    WrongState = "wrong_state", 409, "It can't be done as things stand";
    /// The user's own limit is reached.
    UserLimit = "user_limit", 429, "A limit of the user is reached";
    /// Something broke.
    Internal = "internal", 500, "Something went wrong here";
    /// The store is still being read.
    Starting = "starting", 503, "The master has just started";
    /// The store can't be asked.
    StoreAway = "store_away", 503, "The store is out of reach";
    /// There is no room for new tasks.
    HeldUp = "held_up", 503, "Nothing new is taken just now";
    /// It took too long.
    TimedOut = "timed_out", 503, "It took too long";
    /// Too much is asked at once.
    Overloaded = "overloaded", 503, "Too many requests at once";
    /// The master ends.
    ShuttingDown = "shutting_down", 503, "The master is shutting down";
}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        words(Self::ALL.iter().map(|code| code.as_str()))
            .description(Some("What went wrong, for programs; it never changes."))
            .into()
    }
}

impl ToSchema for Code {}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Where in a request a mistake is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the body, at this JSON pointer (RFC 6901).
    #[schema(example = "/cpu_cores")]
    Pointer(String),
    /// In this parameter of the query.
    Parameter(String),
    /// In this header.
    Header(String),
}

/// One thing that can't be as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Mistake {
    /// Where.
    #[serde(flatten)]
    pub at: Place,
    /// What is wrong, and what was expected.
    pub detail: String,
}

impl Mistake {
    /// A mistake in the body.
    #[must_use]
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            at: Place::Pointer(pointer.into()),
            detail: detail.into(),
        }
    }

    /// A mistake in a parameter of the query.
    #[must_use]
    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            at: Place::Parameter(name.into()),
            detail: detail.into(),
        }
    }

    /// A mistake in a header.
    #[must_use]
    pub fn header(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            at: Place::Header(name.into()),
            detail: detail.into(),
        }
    }
}

/// More mistakes than these are counted, not named: nobody reads a thousand.
const MOST_NAMED: usize = 100;

/// Everything that is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mistakes {
    named: Vec<Mistake>,
    more: usize,
}

impl Mistakes {
    /// One more.
    pub fn push(&mut self, mistake: Mistake) {
        if self.named.len() < MOST_NAMED {
            self.named.push(mistake);
        } else {
            self.more += 1;
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// Whether one more is counted, and not named.
    pub(crate) fn is_full(&self) -> bool {
        self.named.len() >= MOST_NAMED
    }

    /// So many more, which are not named.
    pub(crate) fn count_more(&mut self, more: usize) {
        self.more += more;
    }

    /// Those that are named.
    #[must_use]
    pub fn named(&self) -> &[Mistake] {
        &self.named
    }

    /// Adds what the model found wrong; `pointer` says where in the body each field is.
    pub fn extend(&mut self, errors: DraftErrors, pointer: impl Fn(&str) -> String) {
        for error in errors.0 {
            self.push(Mistake::at(pointer(error.field), error.message));
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.named.len() + self.more;
        let shown = self.named.len();
        match (count, self.more) {
            (1, _) => f.write_str("1 mistake"),
            (_, 0) => write!(f, "{count} mistakes"),
            _ => write!(f, "{count} mistakes, of which {shown} are named"),
        }
    }
}

/// Why a request was not carried out: RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem: `urn:cloudai:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:cloudai:problem:not_found")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// See the list of codes.
    code: Code,
    /// What happened this time, and what was expected.
    detail: String,
    /// The request's id, as in the header `X-Request-Id` and in the master's log.
    request_id: String,
    /// Each mistake of the request, where there are some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<Mistake>,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:cloudai:problem:{}", code.as_str()),
            title: code.title(),
            status: code.status(),
            code,
            detail: detail.into(),
            request_id: String::new(),
            errors: Vec::new(),
        }
    }

    /// A body with mistakes.
    #[must_use]
    pub fn of_mistakes(mistakes: Mistakes) -> Self {
        Self {
            detail: format!("the body has {mistakes}"),
            errors: mistakes.named,
            ..Self::new(Code::InvalidBody, "")
        }
    }

    /// The same, with each place in the body that is to blame.
    #[must_use]
    pub fn with_mistakes(mut self, mistakes: Mistakes) -> Self {
        self.errors = mistakes.named;
        self
    }

    /// A parameter or header that can't be as it is.
    #[must_use]
    pub fn of_parameters(errors: Vec<Mistake>) -> Self {
        let details = errors.iter().map(|error| match &error.at {
            Place::Pointer(name) | Place::Parameter(name) | Place::Header(name) => {
                format!("{name}: {}", error.detail)
            }
        });
        Self {
            detail: details.collect::<Vec<_>>().join("; "),
            errors,
            ..Self::new(Code::InvalidParameter, "")
        }
    }

    /// The same, as an answer to this request.
    #[must_use]
    pub fn of_request(mut self, request_id: impl Into<String>) -> Self {
        self.request_id = request_id.into();
        self
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// What happened.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn codes_are_unique_and_belong_to_an_error_status() {
        let codes: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{code:?}");
        }
    }

    #[test]
    fn a_problem_reads_as_the_rfc_has_it() {
        let mut mistakes = Mistakes::default();
        mistakes.push(Mistake::at("/cpu_cores", "expected a number"));
        let problem = Problem::of_mistakes(mistakes).of_request("r-1");
        assert_eq!(
            serde_json::to_value(problem).unwrap(),
            json!({
                "type": "urn:cloudai:problem:invalid_body",
                "title": "Fields of the body can't be as they are",
                "status": 400,
                "code": "invalid_body",
                "detail": "the body has 1 mistake",
                "request_id": "r-1",
                "errors": [{"pointer": "/cpu_cores", "detail": "expected a number"}],
            })
        );
    }

    #[test]
    fn a_thousand_mistakes_are_counted_and_a_hundred_named() {
        let mut mistakes = Mistakes::default();
        for n in 0..1000 {
            mistakes.push(Mistake::at(format!("/{n}"), "no"));
        }
        let problem = Problem::of_mistakes(mistakes);
        assert_eq!(problem.errors.len(), MOST_NAMED);
        assert!(
            problem.detail.contains("1000 mistakes"),
            "{}",
            problem.detail
        );
    }
}
