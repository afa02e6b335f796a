//! The table of what waits, and why.

use cloudai_model::Wall;

use super::{
    amounts::Amounts,
    table::{Cut, table_with_reasons},
    text::safe,
};
use crate::{output::Style, time::short_span};
use cloudai_operator::QueueEntry;

/// Waiting tasks as rows, in the order given.
pub(crate) fn queue(entries: &[QueueEntry], now: Wall, style: Style) -> String {
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let record = &entry.record;
            [
                entry.position.to_string(),
                record.task.to_string(),
                safe(&record.spec.name),
                record.spec.priority.level().to_string(),
                short_span(now.since(record.submitted_at)),
                Amounts::from(&record.spec.resources).in_short(),
                safe(&entry.why.summary),
            ]
        })
        .collect();
    let heads = [
        ("POS", Cut::Never),
        ("TASK", Cut::Never),
        ("NAME", Cut::End(6)),
        ("PRIO", Cut::Never),
        ("AGE", Cut::Never),
        ("NEEDS", Cut::End(20)),
        ("WAITING FOR", Cut::Never),
    ];
    table_with_reasons(heads, &rows, style.width, |_, _, cell| cell)
}

#[cfg(test)]
mod tests {
    use cloudai_model::GpuRequest;

    use super::*;
    use crate::{
        render::text::columns,
        testing::{NOW, task, waiting_for},
    };

    fn entries() -> Vec<QueueEntry> {
        let mut large = task(1_697_123_456_000_001, "ml-training");
        large.spec.resources.gpu = GpuRequest::Whole(1);
        [large, task(1_697_123_456_000_002, "")]
            .into_iter()
            .enumerate()
            .map(|(index, record)| QueueEntry {
                position: index + 1,
                record,
                why: waiting_for("no worker with 1 GPU"),
            })
            .collect()
    }

    #[test]
    fn each_row_says_what_is_needed_and_why_it_waits() {
        assert_eq!(
            queue(&entries(), NOW.wall, Style::PLAIN),
            "\
POS  TASK                   NAME         PRIO  AGE  NEEDS                 WAITING FOR
1    task-1697123456000001  ml-training  50    10s  4 cpu, 8.0 GB, 1 gpu  no worker with 1 GPU
2    task-1697123456000002               50    10s  4 cpu, 8.0 GB         no worker with 1 GPU
"
        );
    }

    #[test]
    fn at_eighty_columns_nothing_wraps_and_the_reason_is_whole() {
        let style = Style {
            colour: false,
            width: 80,
            ..Style::PLAIN
        };
        let text = queue(&entries(), NOW.wall, style);
        assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
        let reasons = text.matches("\n     no worker with 1 GPU\n");
        assert_eq!(reasons.count(), 2, "{text}");
    }
}
