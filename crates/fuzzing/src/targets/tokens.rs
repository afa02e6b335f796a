//! The token that a call from another machine brings, as a worker and as a master judge it.
//!
//! The first line is the token that the worker was started with, the second the header of the call,
//! the third what a master is brought. What holds: a worker lets in nobody but who brings exactly its
//! token, and nobody at all while it has none, or an empty one; a master takes for a worker's token
//! nothing but that token, of that registration alone.

use std::sync::OnceLock;

use cloudai_master::token::Tokens;
use cloudai_model::WorkerId;
use cloudai_worker::fuzzing::lets_in;

use crate::{Seed, Verdict, scratch};

/// The registration that tokens are judged for.
const REGISTRATION: u64 = 7;

/// A master's secret, and a worker.
fn known() -> &'static (Tokens, WorkerId) {
    static KNOWN: OnceLock<(Tokens, WorkerId)> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let folder = scratch::folder();
        std::fs::write(folder.path().join("worker-token.key"), [0x5a; 32]).expect("it is written");
        let tokens = Tokens::open(folder.path()).expect("a secret has 32 bytes");
        (tokens, "worker-1".parse().expect("it is an id"))
    })
}

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let mut lines = text.split('\n');
    let token = lines.next();
    let header = lines.next();
    let brought = lines.next().unwrap_or_default();

    let gets_in = lets_in(token, header);
    if gets_in {
        let (scheme, given) = header
            .and_then(|header| header.split_once(' '))
            .unwrap_or_default();
        assert!(scheme.eq_ignore_ascii_case("bearer"), "{header:?}");
        assert!(
            !given.trim().is_empty() && Some(given.trim()) == token,
            "{header:?} for {token:?}"
        );
    }
    assert!(!lets_in(None, header) && !lets_in(Some(""), header) && !lets_in(token, None));

    let (tokens, worker) = known();
    let right = tokens.of(worker, REGISTRATION);
    let matches = tokens.matches(brought, worker, REGISTRATION);
    assert_eq!(matches, brought == right);
    assert!(!matches || !tokens.matches(brought, worker, REGISTRATION + 1));
    Verdict::accepted_if(gets_in || matches)
}

/// Right tokens, and nearly right ones.
pub(super) fn seeds() -> Vec<Seed> {
    let (tokens, worker) = known();
    let right = tokens.of(worker, REGISTRATION);
    vec![
        Seed::good("right", "secret\nBearer secret\n"),
        Seed::good("another-case", "secret\nbearer  secret \n"),
        Seed::good("of-a-master", format!("\n\n{right}")),
        Seed::bad("none", "\nBearer \n"),
        Seed::bad("blank", " \nBearer  \n"),
        Seed::bad("longer", "secret\nBearer secret2\n"),
        Seed::bad("no-scheme", "secret\nsecret\n"),
        Seed::bad("another-scheme", "secret\nBasic secret\n"),
        Seed::bad("cut", format!("\n\n{}", &right[..63])),
        Seed::bad("upper-case", format!("\n\n{}", right.to_ascii_uppercase())),
    ]
}
