//! The settings of a master: flags, environment, `.env`, `cloudai.toml`, defaults.
//!
//! An input is made of the parts that [`settings`](super::settings) tells of. What holds: the same
//! surroundings give the same settings; those that are accepted are usable (spans rise, what is kept of
//! failed tasks is kept no shorter, amounts are above nothing); no refusal is without words, and none
//! shows the password of the database.

use cloudai_master::{
    settings::{Settings, SettingsError},
    store_tools::Tool,
};

use super::settings::{is_shown_elsewhere, refused, surroundings};
use crate::{Seed, Verdict, said::assert_said};

/// Stands for a password: wherever it comes from, no error may show it.
const SECRET: &str = "hunter2secret";

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
    match loaded {
        Ok(settings) => {
            usable(&settings);
            Verdict::Accepted
        }
        Err(SettingsError::Load(error)) => {
            let shown = is_shown_elsewhere(bytes, SECRET, &["MONGODB_PASSWORD="]);
            refused(&error, if shown { &[] } else { &[SECRET] })
        }
        Err(error) => {
            assert_said(error);
            Verdict::Refused
        }
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
    let shown = format!("{settings:?}");
    let password = format!("password: Some(\"{SECRET}");
    assert!(!shown.contains(&password), "{shown}");
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
