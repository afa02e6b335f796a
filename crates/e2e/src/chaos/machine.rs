//! A program that breaks: with a disk and a clock of its own, started again whenever it should run
//! and doesn't, as a service manager would.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::process::Command;

use super::{chronicle::Chronicle, health::Health};
use crate::{
    process::Process, root::as_root, small_disk::SmallDisk, wait::PATIENCE, wall_clock::WallClock,
};

/// How a program is started, but for its data directory and what its clock needs.
pub type Recipe = Box<dyn Fn(&[(&'static str, String)]) -> Command + Send + Sync>;

/// See the module. Killed when dropped, its disk unmounted.
pub struct Machine {
    name: String,
    folder: PathBuf,
    recipe: Recipe,
    chronicle: Chronicle,
    process: Option<Process>,
    /// Answers in JSON that nobody has taken yet.
    answers: Arc<Mutex<VecDeque<String>>>,
    clock: WallClock,
    disk: SmallDisk,
    health: Arc<Mutex<Health>>,
    is_wanted: bool,
    starts: usize,
}

impl Machine {
    /// One that is not started, with a disk of so many MB.
    ///
    /// # Panics
    /// If it can't be set up: needs root or sudo, and a C compiler.
    #[must_use]
    pub fn new(name: &str, run: &Path, disk_mb: u32, recipe: Recipe, log: &Chronicle) -> Self {
        let folder = run.join(name);
        Self {
            name: name.to_owned(),
            recipe,
            chronicle: log.clone(),
            process: None,
            answers: Arc::default(),
            clock: WallClock::new(&run.join(format!("{name}-clock"))),
            disk: SmallDisk::at(&folder, disk_mb),
            folder,
            health: Arc::new(Mutex::new(Health::new(name))),
            is_wanted: false,
            starts: 0,
        }
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.folder
    }

    /// How often it was started.
    #[must_use]
    pub fn starts(&self) -> usize {
        self.starts
    }

    /// What it did that it may not: see [`Health`].
    #[must_use]
    pub fn found(&self) -> Vec<String> {
        self.health().found().to_vec()
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it; from now on it should run.
    pub fn start(&mut self) {
        let mut command = (self.recipe)(&self.clock.env());
        command.arg("-data-dir").arg(&self.folder);
        let (name, chronicle) = (self.name.clone(), self.chronicle.clone());
        let (answers, health) = (self.answers.clone(), self.health.clone());
        let told = move |line: &str| {
            let mut health = health.lock().unwrap_or_else(PoisonError::into_inner);
            health.said(line, chronicle.elapsed());
            drop(health);
            if line.starts_with(['[', '{']) {
                let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                answers.push_back(line.to_owned());
            } else {
                chronicle.note(&name, line);
            }
        };
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        let parent = self.folder.parent().unwrap_or(&self.folder);
        let process = Process::spawn_apart(&self.name, command, parent, Arc::new(told));
        self.process = Some(process);
        self.is_wanted = true;
        self.starts += 1;
    }

    /// Starts it again if it should run and doesn't.
    pub async fn look_after(&mut self) {
        let Some(process) = self.process.as_mut().filter(|_| self.is_wanted) else {
            return;
        };
        let Some(status) = process.ended() else {
            return;
        };
        let at = self.chronicle.elapsed();
        // Its last words are still on their way through the pipe.
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.chronicle
            .note(&self.name, format!("ENDED BY ITSELF with {status}"));
        self.health().ended(status, at);
        self.start();
    }

    /// Kills it without a warning, and waits until it is gone. It should not run any more.
    pub async fn kill(&mut self) {
        self.is_wanted = false;
        self.signal("KILL");
        if let Some(mut process) = self.process.take() {
            process.ends().await;
        }
    }

    /// Asks it to end and waits for that; `None`, if it doesn't, and is killed.
    pub async fn ends_in_order(&mut self) -> Option<ExitStatus> {
        self.signal("TERM");
        self.ends_when_asked().await
    }

    /// Waits until it has ended, which it was asked for otherwise; `None`, if it doesn't, and is killed.
    pub async fn ends_when_asked(&mut self) -> Option<ExitStatus> {
        self.is_wanted = false;
        let process = self.process.as_mut()?;
        let status = process.ends_within(PATIENCE).await;
        if status.is_none() {
            self.signal("KILL");
        }
        status
    }

    /// Sends a signal to all that runs of it, also where it was started by sudo.
    pub fn signal(&self, signal: &str) {
        signal_all(signal, &processes_with(&self.folder));
    }

    /// Steps its clock to so far from the true time.
    pub fn step_clock(&self, offset_s: i64) {
        self.clock.step_to(offset_s);
    }

    /// Has it stand still.
    ///
    /// # Errors
    /// If nothing of it does.
    pub async fn stop(&self) -> Result<(), String> {
        self.health().stopped(self.chronicle.elapsed());
        self.signal("STOP");
        for _ in 0..LOOKS {
            let all = processes_with(&self.folder);
            if !all.is_empty() && all.iter().all(|pid| stands_still(*pid)) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(format!("{} doesn't stand still", self.name))
    }

    /// Has it go on.
    pub fn go_on(&self) {
        self.health().continued(self.chronicle.elapsed());
        self.signal("CONT");
    }

    /// Whether its clock is one that can be stepped.
    ///
    /// # Errors
    /// If its library was not loaded: from a folder that nothing may be run from, say.
    pub fn has_own_clock(&self) -> Result<(), String> {
        let shim = self.clock.library().display().to_string();
        let processes = processes_with(&self.folder);
        let has_it = |pid: &u32| {
            let maps = format!("/proc/{pid}/maps");
            let looked = as_root(&["grep", "--quiet", "--fixed-strings", &shim, &maps]).status();
            looked.is_ok_and(|status| status.success())
        };
        if processes.iter().any(has_it) {
            return Ok(());
        }
        let name = &self.name;
        Err(format!(
            "{name} has not loaded {shim}: is its folder mounted noexec?"
        ))
    }

    /// Takes all room of its disk.
    pub fn fill_disk(&mut self) {
        self.health().filled();
        self.disk.fill();
    }

    /// Gives it back.
    pub fn empty_disk(&mut self) {
        self.disk.empty();
        self.health().emptied(self.chronicle.elapsed());
    }

    /// Types a command, whose answer in JSON comes later.
    ///
    /// # Errors
    /// If it doesn't run or doesn't read.
    pub async fn type_line(&mut self, line: &str) -> std::io::Result<()> {
        match &mut self.process {
            Some(process) => process.try_type_line(line).await,
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The next answer in JSON.
    pub fn answer(&mut self) -> Option<String> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.pop_front()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

/// The processes that work on a data directory: those that were told it as an argument of its own.
#[must_use]
pub fn processes_with(data_dir: &Path) -> Vec<u32> {
    processes(|args| args.iter().any(|arg| Path::new(arg) == data_dir))
}

/// So often is looked for what a signal does.
const LOOKS: usize = 40;
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Whether a process is stopped: the third field of its `stat`, after the name in brackets.
fn stands_still(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest);
    after_name.is_some_and(|rest| rest.starts_with(" T"))
}

/// The processes whose arguments are such.
pub fn processes(wanted: impl Fn(&[String]) -> bool) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Gone meanwhile is as well.
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let args: Vec<String> = line
            .split(|byte| *byte == 0)
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect();
        if wanted(&args) {
            found.push(pid);
        }
    }
    found
}

/// Sends a signal to these.
pub fn signal_all(signal: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let mut command = as_root(&["kill", &format!("-{signal}")]);
    command.args(pids.iter().map(ToString::to_string));
    // One that has ended meanwhile is no trouble.
    let _ = command.stderr(std::process::Stdio::null()).status();
}
