//! The file of the master's journal, with whatever a crash or a disk left of it.
//!
//! The first byte says how many whole frames the file begins with; 255: none, and not even the file's
//! own beginning. The rest of the input follows them. What holds: a start takes the whole frames, and of
//! what follows only further whole ones; it cuts off what is torn and nothing else; a second start finds
//! the same; and a file that is refused is left as it was, and the refusal says so.

use std::fs;

use cloudai_store::{
    JournalError,
    fuzzing::{file_of, sample, take_up},
};

use crate::{Seed, Verdict, said::assert_said, scratch};

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let Some((count, rest)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let contents = sample().expect("what a master writes can be written");
    let contents = &contents[..usize::from(*count).min(contents.len())];
    let begins = if *count == 255 {
        Vec::new()
    } else {
        file_of(contents)
    };
    let file = [&begins[..], rest].concat();

    let folder = scratch::folder();
    let path = folder.path().join("store-journal");
    fs::write(&path, &file).expect("a small file can be written");
    let taken = take_up(&path);
    let after = fs::read(&path).unwrap_or_default();
    match taken {
        Ok(frames) => {
            assert!(file.starts_with(&after), "nothing but an end is cut off");
            assert!(
                *count == 255 || frames >= contents.len() as u64,
                "{frames} frames"
            );
            assert!(*count == 255 || after.len() >= begins.len());
            if path.exists() {
                assert_eq!(take_up(&path).expect("a second start, too"), frames);
            } else {
                assert_eq!(frames, 0, "its making was cut short");
            }
            Verdict::accepted_if(frames > 0)
        }
        Err(error) => {
            assert!(*count == 255 || !matches!(error, JournalError::Foreign { .. }));
            assert_said(error.to_string().replace(&*path.to_string_lossy(), "PATH"));
            assert_eq!(after, file, "it is left as it was");
            Verdict::Refused
        }
    }
}

/// Whole files, torn ones, and damaged ones.
pub(super) fn seeds() -> Vec<Seed> {
    let contents = sample().expect("what a master writes can be written");
    let whole = file_of(&contents);
    let begins = file_of(&contents[..1]).len();
    let mut damaged = whole.clone();
    damaged[begins - 3] ^= 1;
    let raw = |bytes: &[u8]| [&[255], bytes].concat();
    vec![
        Seed::good("whole", raw(&whole)),
        Seed::good("frames", [6]),
        Seed::good("torn", [&[2], &whole[begins..begins + 30]].concat()),
        Seed::good("torn-in-a-header", raw(&whole[..begins + 9])),
        Seed::good("zeros-behind", [&[1][..], &[0; 100]].concat()),
        Seed::bad("new", [0]),
        Seed::bad("cut-while-made", raw(&whole[..11])),
        Seed::bad("damaged", raw(&damaged)),
        Seed::bad(
            "missing-frame",
            [&[1][..], &whole[file_of(&contents[..2]).len()..]].concat(),
        ),
        Seed::bad("foreign", raw(b"this is the file of another program")),
        Seed::bad("nothing", []),
    ]
}
