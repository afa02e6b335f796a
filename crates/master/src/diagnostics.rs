//! Where log lines go: to stderr, or above the prompt while that is on the same screen.

use std::{
    io::{self, Write},
    sync::{Arc, PoisonError, RwLock},
};

use cloudai_console::Output;
use tracing_subscriber::fmt::MakeWriter;

/// See the module. Clones lead to the same place.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    above_prompt: Arc<RwLock<Option<Output>>>,
}

impl Diagnostics {
    /// Sends what is logged from now on to `output`, as news; `None`: to stderr, as at first.
    pub fn go_to(&self, output: Option<Output>) {
        let mut place = self.above_prompt.write();
        *place
            .as_deref_mut()
            .unwrap_or_else(|poisoned| poisoned.get_mut()) = output;
    }
}

impl<'a> MakeWriter<'a> for Diagnostics {
    type Writer = Entry;

    fn make_writer(&'a self) -> Self::Writer {
        let place = self.above_prompt.read();
        let place = place.unwrap_or_else(PoisonError::into_inner);
        Entry {
            text: Vec::new(),
            output: place.clone(),
        }
    }
}

/// One entry of the log. Written when dropped.
#[derive(Debug)]
pub struct Entry {
    text: Vec<u8>,
    output: Option<Output>,
}

impl Write for Entry {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        match &self.output {
            Some(output) => {
                let text = String::from_utf8_lossy(&self.text);
                output.news(text.trim_end());
            }
            // With stderr gone there is nobody to tell.
            None => drop(io::stderr().write_all(&self.text).is_ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_entry_waits_for_the_end_of_an_answer_like_any_news() {
        let screen = Screen::default();
        let output = Output::new(screen.clone()).unwrap();
        let diagnostics = Diagnostics::default();
        diagnostics.go_to(Some(output.clone()));

        let answer = output.answer();
        answer.line("one").await;
        let mut entry = diagnostics.make_writer();
        entry.write_all(b"WARN commit ").unwrap();
        entry.write_all(b"failed\n").unwrap();
        drop(entry);
        answer.line("two").await;
        drop(answer);
        output.flush().await;
        let text = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "one\ntwo\nWARN commit failed\n");
    }
}
