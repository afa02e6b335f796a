//! A table whose columns give way, the widest first, until it fits.

use super::text::{columns, cut_end, cut_start, wrapped};

/// How a column gives way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Not at all: ids are there to be copied.
    Never,
    /// At its end, down to so many columns.
    End(usize),
    /// At its start, down to so many columns: an image tells more at its end.
    Start(usize),
}

/// Between two columns.
const GAP: &str = "  ";
/// The other columns give way for a reason of so many columns, such as `exit code 137`.
const SHORT_REASON: usize = 20;
/// Before what stands beneath a row.
const INDENT: &str = "     ";

/// Lays out `rows` under `heads` within `width` columns; `dress` may colour a cell, told by row
/// and column, once its width is settled.
pub(crate) fn table<const N: usize>(
    heads: [(&str, Cut); N],
    rows: &[[String; N]],
    width: usize,
    dress: impl Fn(usize, usize, String) -> String,
) -> String {
    let mut widths = heads.map(|(head, _)| columns(head));
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(columns(cell));
        }
    }
    give_way(&mut widths, &heads, width);

    let mut text = String::new();
    push_row(&mut text, &heads.map(|(head, _)| head.to_owned()), &widths);
    for (row_index, row) in rows.iter().enumerate() {
        let mut cells = row.clone();
        for (column, cell) in cells.iter_mut().enumerate() {
            *cell = match heads[column].1 {
                Cut::Never => std::mem::take(cell),
                Cut::End(_) => cut_end(cell, widths[column]),
                Cut::Start(_) => cut_start(cell, widths[column]),
            };
        }
        let missing: Vec<_> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| width.saturating_sub(columns(cell)))
            .collect();
        let mut line = String::new();
        for (column, cell) in cells.into_iter().enumerate() {
            if column > 0 {
                line.push_str(GAP);
            }
            line.push_str(&dress(row_index, column, cell));
            line.extend(std::iter::repeat_n(' ', missing[column]));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// As [`table`], where the last column says why, which nobody wants to read half: where there is no
/// room for it whole, or the other columns would give way for long words, it stands beneath its
/// row.
pub(crate) fn table_with_reasons<const N: usize>(
    heads: [(&str, Cut); N],
    rows: &[[String; N]],
    width: usize,
    dress: impl Fn(usize, usize, String) -> String,
) -> String {
    let reasons = rows.iter().map(|row| columns(&row[N - 1]));
    let all_are_short = reasons.max().unwrap_or(0) <= SHORT_REASON;
    let needed = least_width(&heads, rows, all_are_short);
    if needed <= width {
        return table(heads, rows, width, dress);
    }
    let (mut heads, mut short) = (heads, rows.to_vec());
    heads[N - 1] = ("", Cut::Never);
    for row in &mut short {
        row[N - 1].clear();
    }
    // The last gap has nothing behind it.
    let laid_out = table(heads, &short, width + GAP.len(), dress);
    let mut lines = laid_out.lines();
    let mut text = String::new();
    for line in lines.by_ref().take(1) {
        text.push_str(line);
        text.push('\n');
    }
    for (line, row) in lines.zip(rows) {
        text.push_str(line);
        text.push('\n');
        if let Some(reason) = row.last().filter(|reason| !reason.is_empty()) {
            text.push_str(&wrapped(INDENT, INDENT, reason, width));
        }
    }
    text
}

/// How wide the table is; where they give way, with every column but the last as narrow as it can
/// be.
fn least_width<const N: usize>(
    heads: &[(&str, Cut); N],
    rows: &[[String; N]],
    give_way: bool,
) -> usize {
    let column = |index: usize| {
        let (head, cut) = heads[index];
        let cells = rows.iter().map(|row| columns(&row[index]));
        let widest = cells.max().unwrap_or(0).max(columns(head));
        match cut {
            Cut::End(least) | Cut::Start(least) if give_way && index + 1 < N => {
                widest.min(least.max(columns(head)))
            }
            _ => widest,
        }
    };
    (0..N).map(column).sum::<usize>() + GAP.len() * N.saturating_sub(1)
}

fn give_way<const N: usize>(widths: &mut [usize; N], heads: &[(&str, Cut); N], width: usize) {
    let gaps = GAP.len() * N.saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let widest = (0..N)
            .filter(|column| match heads[*column].1 {
                Cut::Never => false,
                Cut::End(least) | Cut::Start(least) => {
                    widths[*column] > least.max(columns(heads[*column].0))
                }
            })
            .max_by_key(|column| widths[*column]);
        match widest {
            Some(column) => widths[column] -= 1,
            // Narrower than this it would say nothing: the terminal wraps.
            None => return,
        }
    }
}

fn push_row<const N: usize>(text: &mut String, cells: &[String; N], widths: &[usize; N]) {
    let mut line = String::new();
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if index > 0 {
            line.push_str(GAP);
        }
        line.push_str(cell);
        line.extend(std::iter::repeat_n(
            ' ',
            width.saturating_sub(columns(cell)),
        ));
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lay_out(width: usize) -> String {
        let rows = [
            [
                "task-1".to_owned(),
                "a long name".to_owned(),
                "x/y/image".to_owned(),
            ],
            ["task-22".to_owned(), "日本".to_owned(), "z".to_owned()],
        ];
        let heads = [
            ("TASK", Cut::Never),
            ("NAME", Cut::End(4)),
            ("IMAGE", Cut::Start(5)),
        ];
        table(heads, &rows, width, |_, _, cell| cell)
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            lay_out(80),
            "TASK     NAME         IMAGE\n\
             task-1   a long name  x/y/image\n\
             task-22  日本         z\n"
        );
    }

    #[test]
    fn the_widest_gives_way_first_and_ids_never() {
        assert_eq!(
            lay_out(24),
            "TASK     NAME     IMAGE\n\
             task-1   a long…  …image\n\
             task-22  日本     z\n"
        );
        assert!(
            lay_out(1)
                .lines()
                .all(|line| columns(line) <= 7 + 2 + 4 + 2 + 5)
        );
    }

    #[test]
    fn a_reason_stands_in_its_column_or_whole_beneath_its_row() {
        let rows = [
            ["task-1", "a long name", "no worker with 64 GB"].map(str::to_owned),
            ["task-2", "b", ""].map(str::to_owned),
        ];
        let at = |width| {
            let heads = [
                ("TASK", Cut::Never),
                ("NAME", Cut::End(4)),
                ("WHY", Cut::Never),
            ];
            table_with_reasons(heads, &rows, width, |_, _, cell| cell)
        };
        assert_eq!(
            at(34),
            "TASK    NAME  WHY\n\
             task-1  a l…  no worker with 64 GB\n\
             task-2  b\n"
        );
        assert_eq!(
            at(22),
            "TASK    NAME\n\
             task-1  a long name\n     no worker with 64\n     GB\n\
             task-2  b\n"
        );
        let long = ["task-3", "a name", "no worker with 64.0 GB of memory"].map(str::to_owned);
        let heads = [
            ("TASK", Cut::Never),
            ("NAME", Cut::End(4)),
            ("WHY", Cut::Never),
        ];
        assert_eq!(
            table_with_reasons(heads, &[long], 47, |_, _, cell| cell),
            "TASK    NAME\ntask-3  a name\n     no worker with 64.0 GB of memory\n"
        );
    }

    #[test]
    fn a_colour_takes_no_room() {
        let rows = [["queued".to_owned(), "x".to_owned()]];
        let heads = [("STATUS", Cut::Never), ("WHY", Cut::Never)];
        let text = table(heads, &rows, 80, |_, column, cell| {
            if column == 0 {
                format!("\x1b[90m{cell}\x1b[0m")
            } else {
                cell
            }
        });
        assert_eq!(text, "STATUS  WHY\n\x1b[90mqueued\x1b[0m  x\n");
    }
}
