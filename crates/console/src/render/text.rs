//! Words that come from elsewhere, made safe to print; lengths as a terminal counts them; colours.

use cloudai_model::TaskStatus;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::output::Style;

/// The text with its control characters escaped, so that it can't move the cursor, colour the
/// screen or begin a line of its own.
#[must_use]
pub(crate) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_steering(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that are no controls and still rearrange a line: breaks, marks of direction.
fn is_steering(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many columns it takes.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// At most `most` columns of it, with `…` where it was cut at the end.
pub(crate) fn cut_end(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let mut kept: String = take_columns(text.chars(), most.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

/// At most `most` columns of it, with `…` where it was cut at the beginning.
pub(crate) fn cut_start(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let kept: Vec<char> = take_columns(text.chars().rev(), most.saturating_sub(1)).collect();
    std::iter::once('…').chain(kept.into_iter().rev()).collect()
}

/// The text in rows of at most `width` columns, broken between words; the first row begins with
/// `first`, the others with `next`. A word that is longer than a row stays whole.
pub(crate) fn wrapped(first: &str, next: &str, text: &str, width: usize) -> String {
    let mut out = first.to_owned();
    let mut at = columns(first);
    let mut row_is_empty = true;
    for word in text.split(' ') {
        if !row_is_empty && at + 1 + columns(word) > width {
            out.push('\n');
            out.push_str(next);
            at = columns(next);
        } else if !row_is_empty {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += columns(word);
        row_is_empty = false;
    }
    out.push('\n');
    out
}

fn take_columns(chars: impl Iterator<Item = char>, mut room: usize) -> impl Iterator<Item = char> {
    chars.take_while(move |c| {
        let width = c.width().unwrap_or(0);
        let fits = width <= room;
        room = room.saturating_sub(width);
        fits
    })
}

/// A size in bytes: `0 B`, `999 B`, `1.5 KB`, of 1024 each.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    for unit in ["KB", "MB", "GB", "TB"] {
        if amount < 1023.95 {
            return format!("{amount:.1} {unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} PB")
}

/// `1 file`, `2 files`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// The word of a status in its colour, if colours are wanted.
pub(crate) fn painted(text: &str, status: TaskStatus, style: Style) -> String {
    if !style.colour {
        return text.to_owned();
    }
    let colour = match status {
        TaskStatus::Queued => 90,
        TaskStatus::Pending => 33,
        TaskStatus::Running => 36,
        TaskStatus::Completed => 32,
        TaskStatus::Failed => 31,
        TaskStatus::Cancelled => 35,
    };
    format!("\x1b[{colour}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_escaped() {
        assert_eq!(safe("a\x1b[2Jb\nc\u{9b}d"), "a\\u{1b}[2Jb\\nc\\u{9b}d");
        assert_eq!(safe("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(safe("für 日本"), "für 日本");
    }

    #[test]
    fn a_cut_counts_columns_and_not_characters() {
        assert_eq!(cut_end("training", 8), "training");
        assert_eq!(cut_end("training", 5), "trai…");
        assert_eq!(cut_end("日本語です", 6), "日本…");
        assert_eq!(cut_start("docker.io/user/gpu:1", 7), "…/gpu:1");
    }

    #[test]
    fn long_text_is_broken_between_words_and_keeps_its_indent() {
        let text = "worker-1, worker-2: CPU short by 2 cores";
        assert_eq!(
            wrapped("║ ", "║   ", text, 24),
            "║ worker-1, worker-2:\n║   CPU short by 2 cores\n"
        );
        assert_eq!(wrapped("x ", "", "", 10), "x \n");
        assert_eq!(
            wrapped("", "", "longer-than-a-row b", 5),
            "longer-than-a-row\nb\n"
        );
    }

    #[test]
    fn sizes_change_their_unit_before_they_take_four_digits() {
        let shown = [0, 1023, 1024, 1536, 1_048_575, 1 << 20, 5 << 30].map(size);
        assert_eq!(
            shown,
            [
                "0 B", "1023 B", "1.0 KB", "1.5 KB", "1.0 MB", "1.0 MB", "5.0 GB"
            ]
        );
    }
}
