//! What the Tab key makes of a line, wherever in it the cursor stands.
//!
//! What holds at each place: the word that is completed begins at a character of the line, no further
//! than the cursor; and whatever is offered goes on from what was typed and ends the word.

use cloudai_console::fuzzing::completions;

use crate::{Seed, Verdict};

/// So many bytes of a line are gone through.
const LONGEST: usize = 120;

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let Ok(line) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let line = &line[..line.floor_char_boundary(LONGEST)];
    let mut offered = 0;
    for at in (0..=line.len()).filter(|at| line.is_char_boundary(*at)) {
        let Some((start, replacements)) = completions(line, at) else {
            continue;
        };
        assert!(
            start <= at && line.is_char_boundary(start),
            "{start} of {at}"
        );
        let typed = &line[start..at];
        assert!(!typed.contains(char::is_whitespace), "{typed:?} is no word");
        for replacement in &replacements {
            assert!(
                replacement.starts_with(typed),
                "{replacement:?} for {typed:?}"
            );
            let word = replacement
                .strip_suffix(' ')
                .expect("a word is ended by a space");
            assert!(!word.is_empty() && !word.contains(char::is_whitespace));
        }
        offered += replacements.len();
    }
    Verdict::accepted_if(offered > 0)
}

/// Lines with something to complete, and with blanks of every kind.
pub(super) fn seeds() -> Vec<Seed> {
    vec![
        Seed::good("command", "re"),
        Seed::good("option", "task alpine -me"),
        Seed::good("two-dashes", "list-tasks --us ann"),
        Seed::good("type", "task a -type gp"),
        Seed::good("status", "list-tasks run"),
        Seed::good("help", "help tas"),
        Seed::good("quoted", "task alpine -name \"a b' -"),
        Seed::good("after-a-command", "dispatch w a -- -m"),
        Seed::good("wide-blanks", "status\u{a0}-\u{2003}\u{3000}x"),
        Seed::good("wide-letters", "größe -日本\u{301} \u{1f980}"),
        Seed::good("folder", "download t u ./"),
        Seed::bad("no-text", &b"\xff"[..]),
    ]
}
