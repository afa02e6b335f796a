//! Where commands come from: a terminal, a pipe, or nowhere; and what the operator is told.

use std::{io, sync::Arc};

use cloudai_console::{
    Output, Session, news, piped,
    terminal::{self, Terminal},
};
use cloudai_operator::Operator;

use crate::{accounts::Opened, settings::Settings};

/// Why there is no console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The terminal can't be used.
    #[error("{0}; -headless does without it")]
    Terminal(#[from] terminal::OpenError),
    /// The terminal gives no further line.
    #[error("cannot read further commands from the terminal")]
    Read(#[source] io::Error),
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
    /// Once commands are run.
    session: Option<Session>,
}

#[derive(Debug)]
enum Kind {
    Terminal(Terminal),
    Piped,
    None,
}

impl FrontEnd {
    /// Takes the terminal or stdin, as the settings say.
    ///
    /// # Errors
    /// If that fails.
    pub fn open(settings: &Settings) -> Result<Self, ConsoleError> {
        let plain = || Output::stdout().map_err(ConsoleError::Thread);
        let (kind, output) = if settings.headless {
            (Kind::None, plain()?)
        } else if terminal::is_interactive() {
            let (terminal, output) = Terminal::open(&settings.data_dir.join("console-history"))?;
            (Kind::Terminal(terminal), output)
        } else {
            (Kind::Piped, plain()?)
        };
        Ok(Self {
            kind,
            output,
            session: None,
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

    /// Runs commands until one of them asks for the end of the program. The end of stdin doesn't.
    ///
    /// # Errors
    /// If no further commands can be read.
    pub async fn run(
        &mut self,
        operator: Arc<dyn Operator>,
        accounts: Opened,
    ) -> Result<(), ConsoleError> {
        tokio::spawn(news::announce(operator.events(), self.output.clone()));
        let session = Session::new(operator, self.output.clone()).with_accounts(accounts);
        let session = self.session.insert(session);
        let asked = match &mut self.kind {
            Kind::Terminal(terminal) => {
                terminal.run(session).await.map_err(ConsoleError::Read)?;
                true
            }
            Kind::Piped => {
                let lines = piped::read(io::stdin()).map_err(ConsoleError::Thread)?;
                piped::run(session, lines).await == piped::End::Exit
            }
            Kind::None => false,
        };
        if !asked {
            // The server goes on until a signal ends it.
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// Whether a script has to be told that one of its commands failed. A person has seen it.
    #[must_use]
    pub fn owes_failure(&self) -> bool {
        let failures = self.session.as_ref().map_or(0, Session::failures);
        matches!(self.kind, Kind::Piped) && failures > 0
    }
}
