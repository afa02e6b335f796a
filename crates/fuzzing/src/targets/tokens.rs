//! The token that a call from another machine brings, as a worker and as a master judge it.
//!
//! The first line is the token that the worker was started with, the second the header of the call,
//! which may hold any bytes, the third what a master compares. What holds: a worker lets in nobody but
//! who brings exactly its token, and nobody at all while it has none, or an empty one; a master takes
//! for a worker's token nothing but that token, of that registration alone, or of an earlier one where
//! old attempts are reported; it lets in by a header whom the worker with that token would; and nobody
//! as another worker, as an old node or as a user.

use std::sync::{Arc, OnceLock};

use cloudai_core::{Snapshot, registry::Worker};
use cloudai_master::{
    fuzzing::{self, LetIn},
    grpc::Gate,
    snapshot::Snapshots,
    token::Tokens,
};
use cloudai_model::{ClusterId, Wall, WorkerId, record::WorkerRecord};
use cloudai_worker::fuzzing::lets_in;

use crate::{Seed, Verdict, scratch};

/// The registration that tokens are judged for.
const REGISTRATION: u64 = 7;
/// One that the worker had before, and still has attempts of.
const FORMER: u64 = 5;

/// A master that has one worker.
struct Known {
    tokens: Tokens,
    worker: WorkerId,
    gate: Gate,
}

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let folder = scratch::folder();
        std::fs::write(folder.path().join("worker-token.key"), [0x5a; 32]).expect("it is written");
        let tokens = Tokens::open(folder.path()).expect("a secret has 32 bytes");
        let worker: WorkerId = "worker-1".parse().expect("it is an id");
        let cluster: ClusterId = "c-1".parse().expect("it is an id");
        let snapshots = Snapshots::unready(cluster.clone());
        snapshots.publish(Snapshot {
            ready: true,
            workers: [(worker.clone(), Arc::new(registered(&worker)))].into(),
            former: Arc::new([(worker.clone(), [(FORMER, 1)].into())].into()),
            ..Snapshot::unready(cluster)
        });
        let gate = Gate::new(snapshots, tokens.clone(), fuzzing::no_accounts(), false);
        Known {
            tokens,
            worker,
            gate,
        }
    })
}

fn registered(worker: &WorkerId) -> Worker {
    Worker::from_record(WorkerRecord {
        worker: worker.clone(),
        address: "10.0.0.2:50052".parse().expect("it is an address"),
        capacity: None,
        version: None,
        labels: Default::default(),
        registration: REGISTRATION,
        registered_at: Wall(0),
        last_seen_at: None,
        draining: false,
    })
}

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let token = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let header = lines.next();
    let brought = lines.next().and_then(|line| std::str::from_utf8(line).ok());

    let gets_in_at_worker = worker_lets_in(token, header);
    let gets_in_at_master = master_lets_in(header);

    let Known { tokens, worker, .. } = known();
    let brought = brought.unwrap_or_default();
    let right = tokens.of(worker, REGISTRATION);
    let matches = tokens.matches(brought, worker, REGISTRATION);
    assert_eq!(matches, brought == right);
    assert!(!matches || !tokens.matches(brought, worker, REGISTRATION + 1));
    Verdict::accepted_if(gets_in_at_worker || gets_in_at_master || matches)
}

fn worker_lets_in(token: Option<&str>, header: Option<&[u8]>) -> bool {
    // Of a header that is no text a worker's program is told nothing.
    let header = header.and_then(|header| std::str::from_utf8(header).ok());
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
    gets_in
}

/// In any way.
fn master_lets_in(header: Option<&[u8]>) -> bool {
    let Known {
        tokens,
        worker,
        gate,
    } = known();
    let Some(judged) = fuzzing::lets_in(gate, worker, header) else {
        return false;
    };
    let text = header
        .filter(|header| header.is_ascii())
        .and_then(|header| std::str::from_utf8(header).ok());
    let of = |registration| lets_in(Some(&tokens.of(worker, registration)), text);
    let expected = LetIn {
        worker: of(REGISTRATION),
        reporter: of(REGISTRATION) || of(FORMER),
        unnamed: false,
        client: false,
    };
    assert_eq!(judged, expected, "{text:?}");
    let other: WorkerId = "worker-2".parse().expect("it is an id");
    let as_another = fuzzing::lets_in(gate, &other, header).expect("it is the same header");
    assert!(!as_another.worker && !as_another.reporter, "{text:?}");
    judged.reporter
}

/// Right tokens, and nearly right ones.
pub(super) fn seeds() -> Vec<Seed> {
    let Known { tokens, worker, .. } = known();
    let right = tokens.of(worker, REGISTRATION);
    let former = tokens.of(worker, FORMER);
    let later = tokens.of(worker, REGISTRATION + 1);
    vec![
        Seed::good("right", "secret\nBearer secret\n"),
        Seed::good("another-case", "secret\nbearer  secret \n"),
        Seed::good("of-a-master", format!("\n\n{right}")),
        Seed::good("to-a-master", format!("\nBearer {right}\n")),
        Seed::good(
            "to-a-master-in-another-case",
            format!("\nbearer  {right} \n"),
        ),
        Seed::good("of-a-former-registration", format!("\nBearer {former}\n")),
        Seed::bad("none", "\nBearer \n"),
        Seed::bad("blank", " \nBearer  \n"),
        Seed::bad("longer", "secret\nBearer secret2\n"),
        Seed::bad("no-scheme", "secret\nsecret\n"),
        Seed::bad("another-scheme", "secret\nBasic secret\n"),
        Seed::bad("cut", format!("\n\n{}", &right[..63])),
        Seed::bad("upper-case", format!("\n\n{}", right.to_ascii_uppercase())),
        Seed::bad("of-a-later-registration", format!("\nBearer {later}\n")),
        Seed::bad("cut-to-a-master", format!("\nBearer {}\n", &right[..63])),
        Seed::bad("no-scheme-to-a-master", format!("\n{right}\n")),
        Seed::bad("no-text", [b"\nBearer \xff", right.as_bytes()].concat()),
    ]
}
