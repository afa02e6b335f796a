//! The small grammars: ids, images, addresses, amounts, spans and the like, wherever they come from.
//!
//! The first line names a grammar, the rest is a text. What holds: what was read and is written is
//! read again as the same; values are within the limits of the contract; and a refusal is a line that
//! says what was expected.

use std::{
    fmt::{Debug, Display},
    str::FromStr,
    time::Duration,
};

use cloudai_config::{Keep, ListenAddr, bytes, duration, keep, switch};
use cloudai_master::room::watermark;
use cloudai_model::{
    AttemptId, ClusterId, FailureKind, ImageRef, Phase, RetryOn, TaskId, TaskStatus, TaskType,
    UserName, Wall, WorkerAddress, WorkerId,
    attempt::ExitKind,
    container::{
        allowed::AllowedVolume,
        capability::Capability,
        hosts::{ExtraHost, HostName},
        mount::{MountPath, Tmpfs, VolumeMount, VolumeName},
        network::{Network, NetworkName},
        process::{RunAs, StopSignal},
    },
    old_node, rfc3339,
};

use crate::{Seed, Verdict, said::assert_said};

/// A grammar: its name, what holds of any text, and texts that it takes and doesn't.
struct Grammar {
    name: &'static str,
    check: fn(&str) -> Verdict,
    good: &'static [&'static str],
    bad: &'static [&'static str],
}

const fn grammar(
    name: &'static str,
    check: fn(&str) -> Verdict,
    good: &'static [&'static str],
    bad: &'static [&'static str],
) -> Grammar {
    Grammar {
        name,
        check,
        good,
        bad,
    }
}

const DIGEST: &str = "a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const GRAMMARS: &[Grammar] = &[
    grammar(
        "task-id",
        task_id,
        &["task-1697123456000001", "task-007", "a-2", "task-"],
        &["", "-a", "a b"],
    ),
    grammar("worker-id", round::<WorkerId>, &["worker-1"], &["a/b"]),
    grammar("user-name", round::<UserName>, &["ann.b_c"], &[".."]),
    grammar(
        "cluster-id",
        round::<ClusterId>,
        &["c-5f2a90d1"],
        &["\u{e9}"],
    ),
    grammar(
        "image",
        image,
        &[
            "alpine",
            "localhost/a/b__c:1.0",
            "EVIL/app",
            DIGEST,
            "[::1]:5000/a-b",
        ],
        &["", "Alpine", "a:", "a@sha256:x"],
    ),
    grammar(
        "retry-on",
        retry_on,
        &["any", " 3-3 , 3, oom", "1-255,timeout"],
        &["", "0", "5-3", "+1"],
    ),
    grammar(
        "address",
        address,
        &["10.0.0.2", "[::1]:50052", "::1", "h:1"],
        &["", "h:0", "[::1", ".x", "a:b:c"],
    ),
    grammar("task-status", round::<TaskStatus>, &["queued"], &["Queued"]),
    grammar("phase", round::<Phase>, &["pulling"], &[""]),
    grammar("task-type", round::<TaskType>, &["mixed"], &["big"]),
    grammar("failure-kind", round::<FailureKind>, &["oom"], &["OOM"]),
    grammar(
        "exit-kind",
        round::<ExitKind>,
        &["not-started"],
        &["exited "],
    ),
    grammar(
        "network",
        network,
        &["bridge", "none", "lab-1.x"],
        &["host", "container:x", "x"],
    ),
    grammar("allowed-network", allowed_network, &["lab"], &["bridge"]),
    grammar("volume-name", round::<VolumeName>, &["datasets"], &["/etc"]),
    grammar(
        "volume",
        round::<VolumeMount>,
        &["vv:/data/:ro", "vv:/a:rw"],
        &["vv:data", "vv:/a/../b", "vv:/dev/x"],
    ),
    grammar(
        "allowed-volume",
        round::<AllowedVolume>,
        &["vv", "vv:ro"],
        &["vv:rw"],
    ),
    grammar(
        "mount-path",
        round::<MountPath>,
        &["/data/"],
        &["/", "/a//b", "/output"],
    ),
    grammar(
        "tmpfs",
        round::<Tmpfs>,
        &["/t", "/t:0.25", "/t:1e-9"],
        &["/t:0", "/t:NaN", "t"],
    ),
    grammar(
        "run-as",
        round::<RunAs>,
        &["0", "1000:100"],
        &["root", "4294967295", "+1"],
    ),
    grammar(
        "stop-signal",
        round::<StopSignal>,
        &["SIGINT", "int", "2", "64"],
        &["", "SIG", "32"],
    ),
    grammar(
        "host-name",
        round::<HostName>,
        &["node.lab"],
        &["a..b", "-a"],
    ),
    grammar(
        "extra-host",
        round::<ExtraHost>,
        &["db:10.0.0.5", "db:[fd00::5]"],
        &["db:", "db:host-gateway"],
    ),
    grammar(
        "capability",
        round::<Capability>,
        &["cap_net_raw", "CHOWN"],
        &["ALL", ""],
    ),
    grammar(
        "attempt-of-an-old-node",
        old_attempt,
        &["task-7-2", "a--4294967295"],
        &["a-1", "a-02", "a"],
    ),
    grammar(
        "time",
        time,
        &[
            "2026-01-31T08:00:00.123456789Z",
            "1969-12-31T23:59:59+02:00",
            "2262-04-11T23:47:16Z",
        ],
        &["0001-01-01T00:00:00Z", "", "2026-01-31"],
    ),
    grammar(
        "listen",
        listen,
        &[":50051", "8080", "[::1]:0", "localhost:65535"],
        &["", "h:", "1.2.3:4", ":65536"],
    ),
    grammar(
        "amount",
        amount,
        &["1.5 TB", "500m", "64MiB", "0"],
        &["", "-1", "10PB", "1e300", "NaN"],
    ),
    grammar(
        "span",
        span,
        &["1h 30m", "0.5", "15"],
        &["", "-1", "1e300", "inf"],
    ),
    grammar(
        "keep",
        keeping,
        &["30d", "forever", "1500ms"],
        &["0", "", "never"],
    ),
    grammar("switch", on_or_off, &["YES", " off "], &["", "2"]),
    grammar(
        "watermark",
        free,
        &["5%", "2GB, 5%", "0"],
        &["", "100%", "5%,6%", "-1%"],
    ),
];

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let (name, text) = text.split_once('\n').unwrap_or((text, ""));
    let grammar = GRAMMARS.iter().find(|grammar| grammar.name == name);
    grammar.map_or(Verdict::Refused, |grammar| (grammar.check)(text))
}

/// Reads a text; what was read is written, and read again as the same.
fn read<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: Display + Debug> + Display + PartialEq + Debug,
{
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            let again: T = shown.parse().expect("what was shown can be read");
            assert_eq!(again, value, "shown as {shown:?}");
            Some(value)
        }
        Err(error) => {
            assert_said(error);
            None
        }
    }
}

fn round<T>(text: &str) -> Verdict
where
    T: FromStr<Err: Display + Debug> + Display + PartialEq + Debug,
{
    Verdict::accepted_if(read::<T>(text).is_some())
}

fn task_id(text: &str) -> Verdict {
    let Some(task) = read::<TaskId>(text) else {
        return Verdict::Refused;
    };
    assert_eq!(task.to_string(), text, "each text is one id");
    let attempt = AttemptId::new(task, 1);
    let sent = old_node::task_id(&attempt);
    assert_eq!(sent, text);
    Verdict::Accepted
}

fn image(text: &str) -> Verdict {
    let Some(image) = read::<ImageRef>(text) else {
        return Verdict::Refused;
    };
    assert_eq!(image.as_str(), text, "as it was given");
    let tag = image.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = image.digest().map(|digest| format!("@{digest}"));
    let whole = format!("{}{tag}{}", image.repository(), digest.unwrap_or_default());
    assert_eq!(whole, text, "its parts make it up");
    if let Some(domain) = image.domain() {
        assert_eq!(format!("{domain}/{}", image.path()), image.repository());
    }
    let (name, version) = image.pull_name();
    assert!(name.starts_with(image.registry()) && !version.is_empty());
    let separator = if version.starts_with("sha256:") {
        '@'
    } else {
        ':'
    };
    let asked = format!("{name}{separator}{version}");
    match asked.parse::<ImageRef>() {
        Ok(asked) => assert_eq!(asked.registry(), image.registry(), "the engine asks there"),
        Err(error) => assert!(name.len() > 255, "{asked} is none: {error}"),
    }
    // Credentials go where the image comes from, and nowhere else.
    let given = cloudai_engine::fuzzing::registry(&image);
    let hub = |registry: &str| registry == "docker.io" || registry == "index.docker.io";
    assert!(
        given == image.registry() || (hub(given) && hub(image.registry())),
        "{text} comes from {} and would be given the credentials of {given}",
        image.registry()
    );
    Verdict::Accepted
}

fn retry_on(text: &str) -> Verdict {
    let Some(on) = read::<RetryOn>(text) else {
        return Verdict::Refused;
    };
    assert!(on.to_string().split(',').count() <= 64);
    Verdict::Accepted
}

fn address(text: &str) -> Verdict {
    let Some(address) = read::<WorkerAddress>(text) else {
        return Verdict::Refused;
    };
    assert!(address.port() != 0 && (1..=253).contains(&address.host().len()));
    Verdict::Accepted
}

fn network(text: &str) -> Verdict {
    let Some(network) = read::<Network>(text) else {
        return Verdict::Refused;
    };
    // None of them leads to the host's own network or another container's.
    let shown = network.to_string();
    assert!(shown != "host" && shown != "default" && !shown.contains(':'));
    Verdict::Accepted
}

fn allowed_network(text: &str) -> Verdict {
    match text.parse::<NetworkName>() {
        Ok(name) => {
            assert_eq!(name.as_str(), text);
            assert_eq!(
                text.parse(),
                Ok(Network::Named(name)),
                "it can be asked for"
            );
            Verdict::Accepted
        }
        Err(error) => refused(error),
    }
}

fn old_attempt(text: &str) -> Verdict {
    let Some(attempt) = old_node::split(text) else {
        return Verdict::Refused;
    };
    assert!(attempt.number > 1);
    assert_eq!(
        old_node::task_id(&attempt),
        text,
        "it is the id that was sent"
    );
    Verdict::Accepted
}

fn time(text: &str) -> Verdict {
    let Some(at) = rfc3339::wall(text) else {
        return Verdict::Refused;
    };
    // The first millisecond begins before the first nanosecond that there is.
    if at.0 > i64::MIN / 1_000_000 {
        assert_eq!(rfc3339::wall(&at.to_string()), Some(at), "shown as {at}");
    }
    let earlier = Wall(at.0 - 1);
    assert!(
        earlier.to_string() < at.to_string(),
        "shown times sort as they come"
    );
    Verdict::Accepted
}

fn listen(text: &str) -> Verdict {
    let Some(listen) = read::<ListenAddr>(text) else {
        return Verdict::Refused;
    };
    assert_eq!(listen.bound(7).port(), 7);
    Verdict::Accepted
}

fn amount(text: &str) -> Verdict {
    match bytes(text) {
        Ok(amount) => {
            assert!(amount <= 9_000_000_000_000_000_000);
            assert_eq!(bytes(&amount.to_string()), Ok(amount as f64 as u64));
            Verdict::Accepted
        }
        Err(error) => refused(error),
    }
}

fn span(text: &str) -> Verdict {
    match duration(text) {
        Ok(span) => {
            // Whatever is added to it, or to a time, is one still.
            assert!(span <= cloudai_config::span::LONGEST, "{span:?}");
            let seconds = span.as_secs();
            assert_eq!(
                duration(&format!("{seconds}s")),
                Ok(Duration::from_secs(seconds))
            );
            Verdict::Accepted
        }
        Err(error) => refused(error),
    }
}

fn keeping(text: &str) -> Verdict {
    match keep(text) {
        Ok(Keep::For(span)) => {
            assert!(!span.is_zero() && Keep::For(span) < Keep::Forever);
            Verdict::Accepted
        }
        Ok(Keep::Forever) => Verdict::Accepted,
        Err(error) => refused(error),
    }
}

fn on_or_off(text: &str) -> Verdict {
    match switch(text) {
        Ok(on) => {
            assert_eq!(switch(&on.to_string()), Ok(on));
            Verdict::Accepted
        }
        Err(error) => refused(error),
    }
}

fn free(text: &str) -> Verdict {
    match watermark(text) {
        Ok(mark) => {
            for total in [0, 1, 1000, 1 << 40, u64::MAX] {
                assert!(mark.of(total) <= total, "never more than there is");
            }
            Verdict::Accepted
        }
        Err(error) => refused(error),
    }
}

fn refused(error: impl Display) -> Verdict {
    assert_said(error);
    Verdict::Refused
}

/// Of each grammar what it takes and what it doesn't.
pub(super) fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for Grammar {
        name, good, bad, ..
    } in GRAMMARS
    {
        let text = |text: &str| format!("{name}\n{text}");
        for (number, value) in good.iter().enumerate() {
            seeds.push(Seed::good(&format!("{name}-{number}"), text(value)));
        }
        for (number, value) in bad.iter().enumerate() {
            seeds.push(Seed::bad(&format!("{name}-{number}"), text(value)));
        }
    }
    seeds
}
