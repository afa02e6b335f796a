//! What is read of flags, variables and files, and what is refused.

use std::{collections::BTreeMap, ffi::OsString};

use super::*;
use crate::disk_settings::Keeping;

fn started(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let args = std::iter::once("master-node").chain(args.iter().copied());
    let env: BTreeMap<_, _> = env
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let args = args.map(OsString::from).collect();
    Settings::load(&Surroundings {
        args,
        env,
        directory: folder.path().to_owned(),
    })
}

#[test]
fn defaults_are_those_of_the_contract() {
    let settings = started(&[], &[]).unwrap();
    assert_eq!(settings.grpc.to_string(), ":50051");
    assert_eq!(settings.http.to_string(), ":8080");
    assert_eq!(settings.data_dir, PathBuf::from("./cloudai-data"));
    assert_eq!(settings.store, StoreKind::Sqlite);
    assert_eq!(settings.scheduler, "round-robin");
    assert_eq!(settings.core, cloudai_core::Settings::default());
    assert!(!settings.insecure && !settings.headless && settings.advertise.is_none());
}

#[test]
fn a_log_level_that_is_none_is_refused_with_the_rest() {
    let error = started(&["-log-level", "a=b=c"], &[]).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("expected error, warn, info"), "{error}");
    started(&["-log-level", "info,cloudai_master=debug"], &[]).unwrap();
}

#[test]
fn one_dash_or_two_and_the_flag_before_the_environment() {
    let env = [("GRPC_PORT", ":7000"), ("CLOUDAI_STORE", "memory")];
    let settings = started(&["-grpc", ":7001", "--http=127.0.0.1:0", "-insecure"], &env);
    let settings = settings.unwrap();
    assert_eq!(settings.grpc.to_string(), ":7001");
    assert_eq!(settings.store, StoreKind::Memory);
    assert!(settings.insecure);
}

#[test]
fn any_variable_of_mongodb_chooses_it_unless_the_store_is_named() {
    let by = |variable: &'static str, value: &str| started(&[], &[(variable, value)]).unwrap();
    for (_, variable) in MONGODB {
        let because = Some(variable);
        assert_eq!(by(variable, "x").store, StoreKind::MongoDb { because });
        assert_eq!(by(variable, "").store, StoreKind::Sqlite);
    }
    let env = [
        ("MONGODB_HOST", "db:27017"),
        ("MONGODB_USERNAME", "ann"),
        ("MONGODB_PASSWORD", "hunter2"),
        ("MONGODB_DATABASE", "jobs"),
    ];
    let settings = started(&["-store", "sqlite"], &env).unwrap();
    assert_eq!(settings.store, StoreKind::Sqlite);
    let settings = started(&["-store", "mongodb", "-store-required"], &env).unwrap();
    assert_eq!(settings.store, StoreKind::MongoDb { because: None });
    assert!(settings.store_required);
    assert_eq!(settings.mongodb.host.as_deref(), Some("db:27017"));
    assert_eq!(settings.mongodb.database.as_deref(), Some("jobs"));
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(settings.journal_after, Duration::from_secs(5));
    let error = started(&["-journal-after", "0s"], &[]).unwrap_err();
    assert!(error.to_string().contains("longer than nothing"), "{error}");
}

#[test]
fn where_mongodb_is_may_stand_in_the_file_of_variables_and_is_no_flag() {
    let folder = tempfile::tempdir().unwrap();
    let text = "MONGODB_URI=mongodb://ann:hunter2@db/jobs\n";
    std::fs::write(folder.path().join(".env"), text).unwrap();
    let load = |args: &[&str]| {
        Settings::load(&Surroundings {
            args: args.iter().map(OsString::from).collect(),
            env: [].into(),
            directory: folder.path().to_owned(),
        })
    };
    let settings = load(&["master-node"]).unwrap();
    let because = Some("MONGODB_URI");
    assert_eq!(settings.store, StoreKind::MongoDb { because });
    let error = load(&["master-node", "-mongodb-password", "hunter2"]).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("MONGODB_PASSWORD"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let help = load(&["master-node", "-help"]).unwrap_err().to_string();
    assert!(help.contains("MONGODB_URI"), "{help}");
    assert!(!help.contains("hunter2"), "{help}");
}

#[test]
fn what_tasks_may_use_is_named_and_nothing_is_by_default() {
    assert_eq!(started(&[], &[]).unwrap().allowed, Allowed::default());
    let flags = [
        "-allow-networks",
        "lab,training",
        "-allow-volumes=datasets:ro",
    ];
    let env = [("CLOUDAI_ALLOW_CAPABILITIES", "net_raw,CAP_SYS_PTRACE")];
    let allowed = started(&flags, &env).unwrap().allowed;
    assert_eq!(allowed.networks.len(), 2);
    assert!(allowed.volume(&"datasets:/d:ro".parse().unwrap()).is_ok());
    assert!(allowed.volume(&"datasets:/d".parse().unwrap()).is_err());
    assert!(allowed.capability("SYS_PTRACE".parse().unwrap()).is_ok());
    for (flag, value, expected) in [
        (
            "-allow-networks",
            "host",
            "the host's own is refused to every task",
        ),
        ("-allow-networks", "bridge", "need not be allowed"),
        (
            "-allow-volumes",
            "/etc",
            "folders of a worker's machine are not mounted",
        ),
        ("-allow-capabilities", "ALL", "each capability by its name"),
    ] {
        let error = started(&[flag, value], &[]).unwrap_err().to_string();
        let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn logs_go_after_a_month_files_and_results_never_and_failures_stay_at_least_as_long() {
    let kept = |flags: &[&str]| started(flags, &[]).unwrap().disks;
    let words = |keep: &Keeping| {
        [keep.logs, keep.files, keep.results]
            .map(|keep| keep.to_string())
            .join(", ")
    };
    let disks = kept(&[]);
    assert_eq!(words(&disks.keep), "30 d, for ever, for ever");
    assert_eq!(words(&disks.keep_failed), "90 d, for ever, for ever");
    assert_eq!(disks.keep_audit.to_string(), "365 d");
    assert_eq!(disks.keep_bytes, None);
    assert_eq!(disks.min_free.of(10 << 30), (10 << 30) / 20);
    assert_eq!(disks.min_free.of(1 << 50), 2 << 30);

    let disks = kept(&[
        "-keep-logs",
        "180d",
        "-keep-files=7d",
        "-keep-failed-files=1d",
        "-keep-bytes=100GB",
    ]);
    assert_eq!(words(&disks.keep), "180 d, 7 d, for ever");
    assert_eq!(words(&disks.keep_failed), "180 d, 7 d, for ever");
    assert_eq!(disks.keep_bytes, Some(100 << 30));

    for (flag, value, expected) in [
        ("-keep-logs", "0", "such as 30d or 12h, or forever"),
        ("-keep-bytes", "lots", "such as 100GB"),
        ("-min-free", "100%", "such as 5%, 2GB, or both"),
    ] {
        let error = started(&[flag, value], &[]).unwrap_err().to_string();
        let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_lists_stand_in_the_file_as_lists() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[master]\nallow-networks = ['lab']\nallow-volumes = ['a1:ro', 'b1']\n";
    std::fs::write(folder.path().join("cloudai.toml"), text).unwrap();
    let settings = Settings::load(&Surroundings {
        args: vec!["master-node".into()],
        env: [].into(),
        directory: folder.path().to_owned(),
    });
    let allowed = settings.unwrap().allowed;
    assert_eq!((allowed.networks.len(), allowed.volumes.len()), (1, 2));
}

#[test]
fn what_is_given_up_and_set_aside_is_a_setting() {
    let flags = [
        "-machine-failure-limit=2",
        "-set-aside-after",
        "3",
        "-set-aside-for",
        "2h",
    ];
    let core = started(&flags, &[]).unwrap().core;
    assert_eq!((core.machine_failure_limit, core.set_aside_after), (2, 3));
    assert_eq!(core.first_aside, Duration::from_secs(7200));
    assert_eq!(core.longest_aside, core.first_aside, "not shorter");
    for (flag, value) in [
        ("-machine-failure-limit", "0"),
        ("-machine-failure-limit", "1001"),
        ("-set-aside-after", "-1"),
        ("-set-aside-after", "101"),
        ("-set-aside-for", "soon"),
    ] {
        assert!(started(&[flag, value], &[]).is_err(), "{flag} {value}");
    }
}

#[test]
fn spans_that_do_not_rise_are_refused() {
    let error = started(&["-inactive-after", "2s"], &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("expected each to be longer"), "{error}");
}

#[test]
fn there_are_as_many_connections_and_websockets_as_the_settings_say_and_one_at_least() {
    let defaults = cloudai_http::Settings::default();
    let access = started(&[], &[]).unwrap().access;
    let most = [
        access.http_connections,
        access.websockets,
        access.user_websockets,
    ];
    let expected = [
        defaults.most_connections,
        defaults.most_sockets,
        defaults.most_sockets_of_user,
    ];
    assert_eq!(most, expected);

    let flags = ["-websockets", "7", "-http-connections", "99"];
    let access = started(&flags, &[("CLOUDAI_USER_WEBSOCKETS", "3")])
        .unwrap()
        .access;
    let most = [
        access.http_connections,
        access.websockets,
        access.user_websockets,
    ];
    assert_eq!(most, [99, 7, 3]);
    assert!(started(&["-websockets", "0"], &[]).is_err());
}
