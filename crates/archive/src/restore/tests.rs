//! Where parts of an archive go, which epoch a restored cluster begins with, and what is refused.

use super::*;

#[test]
fn a_part_that_would_leave_the_data_directory_goes_nowhere() {
    for name in [
        "store/cloudai.db",
        "secrets/worker-token.key",
        "logs/task-7/2.log",
        "files/ann/task-7/results/model.bin",
        "files/ann/task-7/..%2Fx",
    ] {
        assert!(Goes::of(name).is_some(), "{name}");
    }
    for name in [
        "",
        "store/other.db",
        "../store/cloudai.db",
        "/etc/passwd",
        "secrets/../../x.key",
        "secrets/a/b.key",
        "secrets/cloudai.db",
        "secrets/..",
        "logs/../1.log",
        "logs/task-7/../../1.log",
        "logs/task-7/x.log",
        "logs/.hidden/1.log",
        "files/ann/task-7/../../../x",
        "files/../task-7/x",
        "files/.incoming/task-7/x",
        "files/ann/task-7/",
        "files/ann/task-7//x",
        "files/ann/task-7",
        "cloudai.db",
    ] {
        assert!(Goes::of(name).is_none(), "{name}");
    }
}

#[test]
fn a_restored_epoch_is_above_every_start_since_the_backup() {
    let made = |made_at_ms| Header {
        format: 1,
        program: String::new(),
        cluster: None,
        made_at: String::new(),
        made_at_ms,
        store: String::new(),
        schema: 1,
        logs_and_files: true,
    };
    let day = 24 * 3600 * 1000;
    assert_eq!(above_all_sent(7, &made(0), Wall(0)), 7 + 4096);
    assert_eq!(above_all_sent(7, &made(0), Wall(day)), 7 + 4096 + 8640);
    assert_eq!(above_all_sent(7, &made(day), Wall(0)), 7 + 4096);
    // However far ahead the clock stands, and three times over.
    let mut epoch = 1 << 20;
    for _ in 0..3 {
        epoch = above_all_sent(epoch, &made(0), Wall(i64::MAX));
    }
    assert!(epoch < EPOCHS, "{epoch}");
}

#[test]
fn a_backup_of_a_newer_program_is_refused_with_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, format, schema| {
        let path = folder.path().join(name);
        let header = Header {
            format,
            program: "9.8.7".to_owned(),
            cluster: None,
            made_at: String::new(),
            made_at_ms: 0,
            store: String::new(),
            schema,
            logs_and_files: true,
        };
        let mut writer = crate::writing::ArchiveWriter::begin(&path, header).unwrap();
        writer.add(STORE, 3, &b"abc"[..]).unwrap();
        writer
            .finish([].into(), vec![])
            .unwrap()
            .name(&path)
            .unwrap();
        path
    };
    let refused = |path: PathBuf| {
        let progress: Progress = Arc::new(|_, _| {});
        verified(&path, &progress).unwrap_err().to_string()
    };
    let known = i64::from(SqliteStore::SCHEMA);
    let schema = known + 1;
    let shown = refused(made("schema.tar.gz", crate::format::FORMAT, schema));
    for part in [format!("schema version {schema}"), format!("up to {known}")] {
        assert!(shown.contains(&part) && shown.contains("9.8.7"), "{shown}");
    }
    let format = crate::format::FORMAT + 1;
    let shown = refused(made("format.tar.gz", format, known));
    assert!(shown.contains(&format!("format {format}")), "{shown}");
    assert!(shown.contains("9.8.7"), "{shown}");
}
