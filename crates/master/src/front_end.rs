//! Where commands come from: a terminal, a pipe, or nowhere; and what the operator is told.

use std::{io, sync::Arc};

use cloudai_console::{
    Output, Session, news, piped,
    terminal::{self, Terminal},
};
use cloudai_operator::Operator;

use crate::settings::Settings;

/// Why there is no console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The terminal can't be used.
    #[error("{0}; -headless does without it")]
    Terminal(#[from] terminal::OpenError),
    /// No thread can be started.
    #[error("the console can't be started")]
    Thread(#[source] io::Error),
}

/// See the module.
#[derive(Debug)]
pub struct FrontEnd {
    kind: Kind,
    /// What the operator is told.
    pub output: Output,
}

#[derive(Debug)]
enum Kind {
    Terminal(Terminal),
    Piped,
    None,
}

/// Why the console asks for the end of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// How many commands failed.
    pub failures: u64,
}

impl FrontEnd {
    /// Takes the terminal or stdin, as the settings say.
    ///
    /// # Errors
    /// If that fails.
    pub fn open(settings: &Settings) -> Result<Self, ConsoleError> {
        if settings.headless {
            let output = Output::stdout().map_err(ConsoleError::Thread)?;
            return Ok(Self {
                kind: Kind::None,
                output,
            });
        }
        if terminal::is_interactive() {
            let (terminal, output) = Terminal::open(&settings.data_dir.join("console-history"))?;
            return Ok(Self {
                kind: Kind::Terminal(terminal),
                output,
            });
        }
        let output = Output::stdout().map_err(ConsoleError::Thread)?;
        Ok(Self {
            kind: Kind::Piped,
            output,
        })
    }

    /// Whether Ctrl-C belongs to the console: it clears a line, or leaves a command.
    #[must_use]
    pub fn owns_interrupts(&self) -> bool {
        matches!(self.kind, Kind::Terminal(_))
    }

    /// Prints what waits to be printed, and leaves the terminal as it was.
    pub async fn close(self) {
        match self.kind {
            Kind::Terminal(terminal) => terminal.close().await,
            Kind::Piped | Kind::None => self.output.flush().await,
        }
    }

    /// Runs commands until one of them ends the program. The end of stdin doesn't.
    ///
    /// # Errors
    /// If stdin can't be read.
    pub async fn run(&mut self, operator: Arc<dyn Operator>) -> Result<Exit, ConsoleError> {
        tokio::spawn(news::announce(operator.events(), self.output.clone()));
        let mut session = Session::new(operator, self.output.clone());
        let asked = match &mut self.kind {
            Kind::Terminal(terminal) => {
                terminal.run(&mut session).await;
                true
            }
            Kind::Piped => {
                let lines = piped::read(io::stdin()).map_err(ConsoleError::Thread)?;
                piped::run(&mut session, lines).await == piped::End::Exit
            }
            Kind::None => false,
        };
        if !asked {
            // The server goes on until a signal ends it.
            std::future::pending::<()>().await;
        }
        Ok(Exit {
            failures: session.failures(),
        })
    }
}
