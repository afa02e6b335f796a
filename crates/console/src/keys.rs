//! Any key at all, while a command runs and no line is being edited.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    thread::{self, JoinHandle},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    termios::{
        InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
    },
};
use tokio::sync::oneshot;

/// More than any key sends.
const KEY_LEN: usize = 64;

/// A terminal that hands over each key at once, unseen, Ctrl-C like any other. Dropped, it is as
/// it was before.
///
/// A thread waits for the key, and for the end of that: the terminal can't be set to non-blocking,
/// which would bind whoever else has it.
#[derive(Debug)]
pub(crate) struct Keys {
    terminal: OwnedFd,
    before: Termios,
    /// Dropped, it calls the thread off.
    wanted: Option<UnixStream>,
    waiting: Option<JoinHandle<()>>,
    key: oneshot::Receiver<()>,
}

impl Keys {
    /// Takes the terminal that is the standard input.
    ///
    /// # Errors
    /// It is none, or the system has no thread left.
    pub(crate) fn take() -> io::Result<Self> {
        let terminal = io::stdin().as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut mode = before.clone();
        // What is printed stays as it is: only the input changes.
        mode.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        // Else Ctrl-S is no key: it stops the output, and with it whoever prints.
        mode.input_modes.remove(InputModes::IXON);
        mode.special_codes[SpecialCodeIndex::VMIN] = 1;
        mode.special_codes[SpecialCodeIndex::VTIME] = 0;

        let (source, (wanted, called_off)) = (terminal.try_clone()?, UnixStream::pair()?);
        let (pressed, key) = oneshot::channel();
        let mut keys = Self {
            terminal,
            before,
            wanted: Some(wanted),
            waiting: None,
            key,
        };
        tcsetattr(&keys.terminal, OptionalActions::Now, &mode)?;
        let waiting = thread::Builder::new()
            .name("console-keys".to_owned())
            .spawn(move || {
                if take_key(&source, &called_off) {
                    // Nobody waits any more if this fails.
                    let _ = pressed.send(()).is_ok();
                }
            })?;
        keys.waiting = Some(waiting);
        Ok(keys)
    }

    /// Waits for a key and takes it away, so that it isn't the beginning of the next line. A
    /// terminal that is gone counts as a key.
    pub(crate) async fn pressed(&mut self) {
        // An error says that the terminal can't be watched.
        let _ = (&mut self.key).await.is_ok();
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(waiting) = self.waiting.take() {
            // At once: and from then on nobody but the editor reads.
            let _ = waiting.join().is_ok();
        }
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before).is_ok();
    }
}

/// Whether a key was pressed before the other end of `called_off` was closed.
fn take_key(terminal: &OwnedFd, called_off: &UnixStream) -> bool {
    loop {
        let mut polled = [
            PollFd::new(terminal, PollFlags::IN),
            PollFd::new(called_off, PollFlags::IN),
        ];
        match poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return false,
            Ok(_) if !polled[1].revents().is_empty() => return false,
            Ok(_) => {}
        }
        let mut key = [0; KEY_LEN];
        match rustix::io::read(terminal, &mut key) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            _ => return true,
        }
    }
}
