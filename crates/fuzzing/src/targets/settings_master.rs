//! The settings of a master: flags, environment, `.env`, `cloudai.toml`, defaults.
//!
//! An input is made of the parts that [`settings`](super::settings) tells of. What holds: the same
//! surroundings give the same settings; those that are accepted are usable (spans rise, what is kept of
//! failed tasks is kept no shorter, amounts are above nothing); and nothing that is said or shown, a
//! refusal, the settings, where the database is, shows its password, by itself or in its address.

use cloudai_master::{
    settings::{Settings, SettingsError},
    store_tools::Tool,
};
use cloudai_store::fuzzing;

use super::settings::{is_shown_elsewhere, refused, surroundings};
use crate::{
    Seed, Verdict,
    said::{LONGEST, assert_said, assert_said_within},
};

/// Stands for a password: wherever it comes from, no error may show it.
const SECRET: &str = "hunter2secret";
/// What says where the database is and how to log on: each may hold what was meant for another, so
/// that a refusal shows none.
const HIDDEN: [&str; 5] = [
    "MONGODB_URI=",
    "MONGODB_HOST=",
    "MONGODB_USERNAME=",
    "MONGODB_PASSWORD=",
    "MONGODB_DATABASE=",
];

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let (surroundings, _folder) = surroundings("master-node", bytes);
    let _tool = Tool::asked_for(&surroundings.args);
    let loaded = Settings::load(&surroundings);
    let again = Settings::load(&surroundings);
    assert_eq!(
        loaded.as_ref().map(|settings| format!("{settings:?}")).ok(),
        again.map(|settings| format!("{settings:?}")).ok(),
    );
    let shown_elsewhere = is_shown_elsewhere(bytes, SECRET, &HIDDEN);
    match loaded {
        Ok(settings) => {
            usable(&settings);
            if !shown_elsewhere {
                hides_the_password(&settings);
            }
            Verdict::Accepted
        }
        Err(SettingsError::Load(error)) => {
            refused(&error, if shown_elsewhere { &[] } else { &[SECRET] })
        }
        Err(error) => {
            assert!(shown_elsewhere || !error.to_string().contains(SECRET));
            assert_said(error);
            Verdict::Refused
        }
    }
}

/// Of settings that hold it as user, password or in the address alone.
fn hides_the_password(settings: &Settings) {
    let mongodb = &settings.mongodb;
    // Behind the last `@` there are hosts and options, and no password.
    let address = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        text.rsplit_once('@')
            .map_or(text, |(_, address)| address)
            .to_owned()
    };
    let uri = address(&mongodb.uri);
    let database = mongodb.database.clone().unwrap_or_default();
    let is_elsewhere = [uri, address(&mongodb.host), database];
    if is_elsewhere.iter().any(|text| text.contains(SECRET)) {
        return;
    }
    let shown = format!("{settings:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    match fuzzing::database(mongodb) {
        Some(Ok(place)) => assert!(!place.contains(SECRET), "{place}"),
        Some(Err(words)) => {
            assert!(!words.contains(SECRET), "{words}");
            assert_said_within(words, LONGEST);
        }
        None => {}
    }
}

fn usable(settings: &Settings) {
    let core = &settings.core;
    assert!(!core.heartbeat_interval.is_zero());
    assert!(core.heartbeat_interval < core.inactive_after);
    assert!(core.inactive_after < core.lost_after);
    assert!(core.first_aside <= core.longest_aside);
    assert!((1..=1000).contains(&core.machine_failure_limit));
    assert!(!settings.journal_after.is_zero());
    let disks = &settings.disks;
    assert!(disks.keep.logs <= disks.keep_failed.logs);
    assert!(disks.keep.files <= disks.keep_failed.files);
    assert!(disks.keep.results <= disks.keep_failed.results);
    assert!(disks.keep_bytes != Some(0));
}

/// Each source by itself, all together, and mistakes in each.
pub(super) fn seeds() -> Vec<Seed> {
    let toml = "%%toml\n[master]\ngrpc = \"127.0.0.1:0\"\nstore = \"memory\"\nheadless = true\n\
                heartbeat-interval = 0x5\nallow-networks = [\"lab\", \"dmz\"]\nkeep-bytes = \"100GB\"\n\
                min-free = \"5%,2GB\"\n[worker]\nid = \"w\"\n";
    vec![
        Seed::good("nothing", ""),
        Seed::good(
            "flags",
            "%%args\n-grpc\n:7001\n--http=[::1]:0\n-insecure\n-keep-logs\nforever\n\
             -allow-volumes\ndatasets:ro,scratch\n-allow-capabilities=NET_RAW",
        ),
        Seed::good(
            "environment",
            format!(
                "%%env\nGRPC_PORT=:7000\nCLOUDAI_STORE=mongodb\nMONGODB_PASSWORD={SECRET}\n\
                     MONGODB_USERNAME=ann\nCLOUDAI_LOST_AFTER=1h 30m\nEMPTY="
            ),
        ),
        Seed::good(
            "env-file",
            "%%dotenv\n# a comment\nexport GRPC_PORT=':1'\nHTTP_PORT=\"${GRPC_PORT}2\"\nA=$B\n",
        ),
        Seed::good("toml", toml),
        Seed::good(
            "all",
            format!(
                "%%args\n-store\nsqlite\n%%env\nHTTP_PORT=8081\n%%dotenv\nLOG_LEVEL=debug\n{toml}"
            ),
        ),
        Seed::good(
            "address-of-a-database",
            format!("%%env\nMONGODB_URI=mongodb://ann:{SECRET}@db1,db2/jobs?replicaSet=rs0"),
        ),
        Seed::good(
            "wrong-address-of-a-database",
            format!("%%env\nMONGODB_URI=ann:{SECRET}@db"),
        ),
        Seed::good(
            "all-of-it-as-the-host",
            format!("%%env\nMONGODB_HOST={SECRET}@db\nMONGODB_DATABASE=jobs"),
        ),
        Seed::bad(
            "address-and-a-mistake",
            format!("%%dotenv\nMONGODB_URI='mongodb://ann:{SECRET}@db/'\nGRPC_PORT=x"),
        ),
        Seed::bad("log-level", "%%env\nLOG_LEVEL=a=b=c"),
        Seed::bad("help", "%%args\n-help"),
        Seed::bad("unknown-flag", "%%args\n-grcp\n:1"),
        Seed::bad("no-value", "%%args\n-grpc\n-http\n:1"),
        Seed::bad("spans-fall", "%%args\n-lost-after\n1s"),
        Seed::bad("no-journal", "%%env\nCLOUDAI_JOURNAL_AFTER=0"),
        Seed::bad(
            "secret-in-a-wrong-place",
            format!("%%env\nMONGODB_HOST={SECRET}\nGRPC_PORT=x"),
        ),
        Seed::bad("no-utf8", &b"%%env\nMONGODB_PASSWORD=\xffhunter2secret"[..]),
        Seed::bad("env-file-line", format!("%%dotenv\nA=1\n{SECRET} oops\n")),
        Seed::bad(
            "env-file-open-quote",
            format!("%%dotenv\nMONGODB_PASSWORD='{SECRET}\n"),
        ),
        Seed::bad("toml-syntax", "%%toml\n[master\ngrpc = 1"),
        Seed::bad("toml-unknown-key", "%%toml\n[master]\ngrcp = ':1'"),
        Seed::bad("toml-unknown-table", "%%toml\n[mastr]\n"),
        Seed::bad("toml-kind", "%%toml\n[master]\ngrpc = { port = 1 }"),
        Seed::bad(
            "toml-number",
            "%%toml\n[master]\nset-aside-after = 0xffffffffffffffffff",
        ),
        Seed::bad("toml-no-utf8", &b"%%toml\n[master]\ngrpc = '\xff'"[..]),
    ]
}
