//! How far a copy is, in one row.

use std::time::Duration;

use cloudai_operator::DownloadProgress;

use super::text::{columns, cut_start, safe, size};

/// The bar is between these many columns wide.
const BAR: std::ops::RangeInclusive<usize> = 10..=40;

/// `[#####.....]  50 %  1.5 of 3.0 MB, 12.0 MB/s  model/weights.bin`, after `elapsed`.
pub(crate) fn bar(progress: &DownloadProgress, elapsed: Duration, width: usize) -> String {
    let (done, total) = (progress.done_bytes, progress.total_bytes);
    let share = if total == 0 {
        1.0
    } else {
        done.min(total) as f64 / total as f64
    };
    let length = (width / 3).clamp(*BAR.start(), *BAR.end());
    let full = (share * length as f64) as usize;
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = size((done as f64 / seconds) as u64);
    let row = format!(
        "[{}{}] {:>3} %  {} of {}, {rate}/s  ",
        "#".repeat(full),
        ".".repeat(length - full),
        (share * 100.0) as u64,
        size(done),
        size(total),
    );
    let room = width.saturating_sub(columns(&row));
    row + &cut_start(&safe(&progress.path), room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(done_bytes: u64, total_bytes: u64, width: usize) -> String {
        let progress = DownloadProgress {
            path: "a folder with a name/weights.bin".to_owned(),
            done_bytes,
            total_bytes,
        };
        bar(&progress, Duration::from_secs(2), width)
    }

    #[test]
    fn the_bar_grows_and_fits_its_row() {
        assert_eq!(
            shown(3 << 20, 6 << 20, 200),
            format!(
                "[{}{}]  50 %  3.0 MB of 6.0 MB, 1.5 MB/s  a folder with a name/weights.bin",
                "#".repeat(20),
                ".".repeat(20)
            )
        );
        for (done, total) in [(0, 1 << 30), (1 << 29, 1 << 30), (1 << 30, 1 << 30), (0, 0)] {
            let row = shown(done, total, 80);
            assert!(columns(&row) <= 80, "{row}");
            assert!(row.ends_with("weights.bin"), "{row}");
        }
        assert!(shown(0, 0, 80).contains("100 %"));
        assert!(shown(5, 4, 80).contains("100 %"), "a record may be wrong");
    }
}
