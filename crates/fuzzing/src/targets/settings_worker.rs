//! The settings of a worker: flags, environment, `.env`, `cloudai.toml`, defaults.
//!
//! An input is made of the parts that [`settings`](super::settings) tells of. What holds: the same
//! surroundings give the same settings; with those that are accepted a worker starts: its log's filter is
//! one, its token can be brought, what it offers can be meant, each address of a master is dialled as it
//! was written, and a master reads what it registers with; no refusal is without words, and none shows
//! the worker's token.

use cloudai_proto::WorkerHello;
use cloudai_worker::fuzzing::{self, Start};

use super::settings::{is_shown_elsewhere, refused, surroundings};
use crate::{Seed, Verdict};

/// Stands for a token: wherever it comes from but the command line, no error may show it.
const SECRET: &str = "hunter2secret";

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let (surroundings, _folder) = surroundings("worker-node", bytes);
    let loaded = fuzzing::settings(&surroundings);
    let again = fuzzing::settings(&surroundings);
    assert_eq!(loaded.as_ref().ok(), again.as_ref().ok());
    match loaded {
        Ok(start) => {
            is_usable(start);
            Verdict::Accepted
        }
        Err(error) => {
            let names = ["WORKER_TOKEN=", "token ="];
            let shown = is_shown_elsewhere(bytes, SECRET, &names);
            refused(&error, if shown { &[] } else { &[SECRET] })
        }
    }
}

fn is_usable(start: Start) {
    assert_eq!(start.problems, Vec::<String>::new(), "{}", start.shown);
    let hello = start
        .registers_with
        .expect("nothing is wrong with the offer");
    let labels = hello.labels.clone();
    let read = WorkerHello::from_wire(hello).map_err(|error| error.to_string());
    let read = read.expect("every master takes what it registers with");
    assert_eq!(read.labels, labels);
    for (address, dialled) in start.dials {
        let (host, port) = address.rsplit_once(':').expect("an address has a port");
        let expected = (host.to_owned(), port.parse().expect("it is a number"));
        assert_eq!(dialled, Some(expected), "{address}");
    }
}

/// Each source by itself, all together, and mistakes in each.
pub(super) fn seeds() -> Vec<Seed> {
    vec![
        Seed::good("nothing", ""),
        Seed::good(
            "flags",
            "%%args\n-id\nworker-7\n-master\n10.0.0.1:50051,[::1]:50051\n-port\n:0\n-cpu=0.5\n-mem\n\
             16\n-labels\nzone=a,gpu=h200\n-stop-tasks\n-output\nvolume",
        ),
        Seed::good(
            "environment",
            format!(
                "%%env\nWORKER_ID=w\nWORKER_TOKEN={SECRET}\nCLOUDAI_IMAGE_GB=50\n\
                     CLOUDAI_PIDS_LIMIT=1024\nDOCKER_HOST=tcp://10.0.0.3:2375"
            ),
        ),
        Seed::good(
            "env-file",
            format!("%%dotenv\nWORKER_TOKEN='{SECRET}'\nWORKER_IP=10.0.0.2\n"),
        ),
        Seed::good(
            "toml",
            "%%toml\n[worker]\nid = 'w'\nmaster = ['a:1', 'b:2']\ncpu = 2\nstop-grace = '10s'\n\
             image-disk-percent = 85.5\ninsecure = false\n[master]\nanything = 1\n",
        ),
        Seed::bad("id", "%%env\nWORKER_ID=a b"),
        Seed::bad("master", "%%args\n-master\nlocalhost"),
        Seed::bad("label", "%%args\n-labels\nzone"),
        Seed::bad("master-with-a-path", "%%args\n-master\nuser@host?x#y:50051"),
        Seed::bad("amount", "%%args\n-cpu\n-1"),
        Seed::bad("hardly-a-core", "%%args\n-cpu\n0.0001"),
        Seed::bad("too-many-devices", "%%args\n-gpu\n1001"),
        Seed::bad("log-level", "%%env\nLOG_LEVEL=a=b=c"),
        Seed::bad("token-of-a-file", "%%dotenv\nWORKER_TOKEN=\"two\\nlines\""),
        Seed::bad("empty-token", "%%args\n-token="),
        Seed::bad("percent", "%%env\nCLOUDAI_IMAGE_DISK_PERCENT=101"),
        Seed::bad("pids", "%%toml\n[worker]\npids-limit = 0"),
        Seed::bad(
            "token-no-utf8",
            &b"%%env\nWORKER_TOKEN=\xffhunter2secret"[..],
        ),
        Seed::bad("toml", format!("%%toml\n[worker]\ntoken = ['{SECRET}']")),
    ]
}
