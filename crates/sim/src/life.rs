//! The life of a program on a machine: started, killed, started again.

use std::cell::{Cell, RefCell};

use crate::time::{Process, Sim};

/// See the module.
#[derive(Default)]
pub struct Life {
    process: RefCell<Option<Process>>,
    starts: Cell<u64>,
}

impl Life {
    /// Whether it runs (a paused one does).
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.borrow().is_some()
    }

    /// Which start this is, or was the last; from 1.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.starts.get()
    }

    /// The running process.
    #[must_use]
    pub fn process(&self) -> Option<Process> {
        self.process.borrow().clone()
    }

    /// Starts it; what runs, stays the process that it is.
    pub fn begin(&self) -> Process {
        let mut process = self.process.borrow_mut();
        if process.is_none() {
            self.starts.set(self.starts.get() + 1);
        }
        process.get_or_insert_with(Process::start).clone()
    }

    /// Kills it; whether it ran.
    pub fn end(&self, sim: &Sim) -> bool {
        let process = self.process.borrow_mut().take();
        let ran = process.is_some();
        if let Some(process) = process {
            sim.kill(&process);
        }
        ran
    }
}
