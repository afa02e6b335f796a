//! Who may call this worker: programs of this machine, and whoever has its token.

use std::{net::IpAddr, sync::Arc};

use subtle::ConstantTimeEq as _;
use tonic::{Request, Status, service::Interceptor};

/// Lets a call in, or says why not.
#[derive(Clone)]
pub(crate) struct Gate {
    token: Option<Arc<str>>,
    insecure: bool,
}

/// What a call brings.
#[derive(Debug, Clone, Copy)]
struct Caller<'a> {
    from: Option<IpAddr>,
    authorization: Option<&'a str>,
}

impl Gate {
    /// A gate for this token; with `insecure` everyone is let in.
    pub(crate) fn new(token: Option<&str>, insecure: bool) -> Self {
        Self {
            // One that is empty would be brought by everybody.
            token: token.filter(|token| !token.is_empty()).map(Into::into),
            insecure,
        }
    }

    fn check(&self, caller: Caller<'_>) -> Result<(), Status> {
        let local = caller
            .from
            .is_some_and(|from| from.to_canonical().is_loopback());
        if local || self.insecure {
            return Ok(());
        }
        let Some(token) = &self.token else {
            return Err(Status::permission_denied(
                "this worker has no token and takes calls from its own machine only: \
                 start it with -token and what the master's `register` printed, or with -insecure",
            ));
        };
        let given = caller.authorization.and_then(bearer);
        let given = given.ok_or_else(|| {
            Status::unauthenticated(
                "this worker takes calls from other machines with its token only: expected \
                 `authorization: Bearer <token>` (what the master's `register` printed)",
            )
        })?;
        if bool::from(given.as_bytes().ct_eq(token.as_bytes())) {
            return Ok(());
        }
        Err(Status::permission_denied(
            "the token is not this worker's: expected what `register` printed on the master; \
             if the worker was registered anew, start it with the new token",
        ))
    }
}

/// Whether a call from another machine with this header is let in by a gate for this token.
pub(crate) fn lets_in_from_afar(token: Option<&str>, authorization: Option<&str>) -> bool {
    let caller = Caller {
        from: None,
        authorization,
    };
    Gate::new(token, false).check(caller).is_ok()
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let header = request.metadata().get("authorization");
        self.check(Caller {
            from: request.remote_addr().map(|address| address.ip()),
            authorization: header.and_then(|value| value.to_str().ok()),
        })?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn check(gate: &Gate, from: &str, authorization: Option<&str>) -> Result<(), (Code, String)> {
        let from = Some(from.parse().unwrap());
        gate.check(Caller {
            from,
            authorization,
        })
        .map_err(|status| (status.code(), status.message().to_owned()))
    }

    #[test]
    fn this_machine_needs_no_token() {
        for gate in [Gate::new(Some("t"), false), Gate::new(None, false)] {
            for from in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
                assert_eq!(check(&gate, from, None), Ok(()), "{from}");
            }
        }
    }

    #[test]
    fn another_machine_needs_the_right_one() {
        let gate = Gate::new(Some("secret"), false);
        for from in ["192.168.1.10", "::ffff:192.168.1.10", "fe80::1"] {
            assert_eq!(check(&gate, from, Some("Bearer secret")), Ok(()));
            assert_eq!(check(&gate, from, Some("bearer secret")), Ok(()));
            for wrong in ["Bearer secreT", "Bearer secret2", "Bearer ", "Bearer s"] {
                let (code, message) = check(&gate, from, Some(wrong)).unwrap_err();
                assert_eq!(code, Code::PermissionDenied, "{wrong}");
                assert!(message.contains("what `register` printed"), "{message}");
            }
            for missing in [None, Some("secret"), Some("Basic secret")] {
                let (code, message) = check(&gate, from, missing).unwrap_err();
                assert_eq!(code, Code::Unauthenticated, "{missing:?}");
                assert!(message.contains("Bearer <token>"), "{message}");
            }
        }
    }

    #[test]
    fn a_worker_without_a_token_says_how_to_get_one() {
        let gate = Gate::new(None, false);
        let (code, message) = check(&gate, "10.0.0.1", Some("Bearer x")).unwrap_err();
        assert_eq!(code, Code::PermissionDenied);
        assert!(message.contains("-token"), "{message}");
        assert_eq!(check(&Gate::new(None, true), "10.0.0.1", None), Ok(()));
    }

    #[test]
    fn an_empty_token_is_none() {
        let gate = Gate::new(Some(""), false);
        let (code, message) = check(&gate, "10.0.0.1", Some("Bearer ")).unwrap_err();
        assert_eq!(code, Code::PermissionDenied);
        assert!(message.contains("has no token"), "{message}");
    }

    #[test]
    fn a_caller_from_nowhere_is_not_from_here() {
        let gate = Gate::new(Some("t"), false);
        let nobody = Caller {
            from: None,
            authorization: None,
        };
        assert!(gate.check(nobody).is_err());
    }
}
