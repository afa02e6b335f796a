//! What each of them says at its end.

use std::path::Path;

use cloudai_archive::{Backup, Checked, Copied, FILES, LOGS, Manifest, Restored};

/// How many findings are told one by one.
const MOST_TOLD: usize = 100;

pub(super) fn checked(checked: &Checked) -> String {
    let Checked {
        place,
        schema,
        holdings,
        findings,
    } = checked;
    let mut lines = vec![format!("{place}, schema version {schema}: {holdings}")];
    if findings.is_empty() {
        lines.push(
            "✓ Sound: every record can be read, belongs where it says, and has its files"
                .to_owned(),
        );
        return lines.join("\n");
    }
    let are = match findings.len() {
        1 => "1 thing is".to_owned(),
        count => format!("{count} things are"),
    };
    lines.push(format!("❌ {are} wrong:"));
    for finding in findings.iter().take(MOST_TOLD) {
        lines.push(format!("  {}", finding.problem));
        lines.push(format!("    → {}", finding.advice));
    }
    if findings.len() > MOST_TOLD {
        lines.push(format!("  and {} more", findings.len() - MOST_TOLD));
    }
    lines.join("\n")
}

pub(super) fn copied(copied: &Copied) -> String {
    format!(
        "✓ Copied {} to {}: {}\n  Each record was read back and is the same. The old store is as it \
         was: keep it until the master runs on the new one.",
        copied.from, copied.to, copied.holdings
    )
}

pub(super) fn backed_up(backup: &Backup, to: &Path) -> String {
    let manifest = &backup.manifest;
    let mut lines = vec![
        format!(
            "✓ Backup {} ({}), read back and whole",
            to.display(),
            size(backup.size)
        ),
        format!(
            "  {} as of one instant: {}",
            manifest.header.store, backup.holdings
        ),
        format!("  {}", beside(manifest)),
    ];
    lines.extend(missing(manifest));
    lines.push(
        "  Guard it like the secrets in it: whoever reads it can act as this master".to_owned(),
    );
    lines.join("\n")
}

pub(super) fn restored(restored: &Restored, data_dir: &Path) -> String {
    let manifest = &restored.manifest;
    let mut lines = vec![
        format!(
            "✓ Restored to {} and {}, each record read back and the same",
            restored.to,
            data_dir.display()
        ),
        format!("  as of {}: {}", manifest.header.made_at, restored.holdings),
        format!("  {}", beside(manifest)),
    ];
    lines.extend(missing(manifest));
    lines.push(
        "  Workers that were registered since are not known: register them again. What they hold of \
         tasks that were submitted since is stopped there"
            .to_owned(),
    );
    lines.join("\n")
}

/// What lies beside the store.
fn beside(manifest: &Manifest) -> String {
    let plural = |count: usize, one: &str, more: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    };
    let secrets = plural(manifest.parts_in("secrets"), "secret", "secrets");
    if !manifest.header.logs_and_files {
        return format!("{secrets}; without logs and output files");
    }
    let logs = plural(manifest.parts_in(LOGS), "log", "logs");
    let files = plural(manifest.parts_in(FILES), "output file", "output files");
    format!("{logs}, {files}, {secrets}")
}

fn missing(manifest: &Manifest) -> Vec<String> {
    let missing = &manifest.missing;
    let mut lines: Vec<_> = missing
        .iter()
        .take(MOST_TOLD)
        .map(|why| format!("  ⚠ not as it should be: {why}"))
        .collect();
    if missing.len() > MOST_TOLD {
        lines.push(format!("  ⚠ and {} more", missing.len() - MOST_TOLD));
    }
    lines
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
