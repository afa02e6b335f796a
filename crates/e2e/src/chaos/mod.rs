//! Chaos: a real cluster, broken on purpose from all sides while a stream of tasks goes through it, and
//! an audit of every promise when it is over. `docs/chaos.md` tells how to run and read it.
//!
//! A run draws from its seed a [`plan`] of faults and a stream of [`tasks`], sets up a [`site`], lets
//! the [`faults`] happen under the [`workload`] while [`witness`]es look on, puts everything right,
//! waits until all has come to rest, and has the [`audit`] judge what is there. The same seed gives the
//! same plan and the same tasks; what happens between them is up to real time.

pub mod audit;
pub mod calm;
pub mod chronicle;
pub mod faults;
pub mod health;
pub mod left;
pub mod leftovers;
pub mod listed;
pub mod machine;
pub mod plan;
pub mod random;
pub mod report;
pub mod site;
pub mod tasks;
pub mod witness;
pub mod workload;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, sleep},
};

use self::{
    audit::{Evidence, Violation, judge},
    chronicle::Chronicle,
    leftovers::RunFolder,
    random::Random,
    report::Report,
    site::Site,
    witness::{EngineWitness, Told},
    workload::Orders,
};
use crate::wait;

/// Which store the master has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// A file.
    Sqlite,
    /// A replica set of three.
    MongoDb,
}

impl Store {
    /// As the master's flag has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::MongoDb => "mongodb",
        }
    }
}

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The master's store.
    pub store: Store,
    /// How long things go wrong.
    pub span: Duration,
    /// What decides how.
    pub seed: u64,
    /// Where what happened is written down.
    pub chronicle: PathBuf,
}

impl Settings {
    /// Such a run, written down in the build's folder.
    #[must_use]
    pub fn new(store: Store, span: Duration, seed: u64) -> Self {
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => PathBuf::from(target),
            None => {
                let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
                root.expect("crates/e2e lies two folders deep")
                    .join("target")
            }
        };
        let name = format!("{}-{seed}.log", store.as_str());
        Self {
            store,
            span,
            seed,
            chronicle: target.join("chaos").join(name),
        }
    }

    /// Where to read what happened, and how to have the same plan again.
    #[must_use]
    pub fn replay(&self) -> String {
        format!(
            "All that happened: {}\nOnce more: CHAOS_STORE={} CHAOS_FOR={}s CHAOS_SEED={} make chaos",
            self.chronicle.display(),
            self.store.as_str(),
            self.span.as_secs(),
            self.seed
        )
    }
}

/// A run from its beginning to its end, in a folder of its own. Told to stop, it ends the faults early
/// and goes on from there.
///
/// # Panics
/// If what it needs is not there, or it can't do what it is to do; nothing is left then, either.
pub async fn run(
    settings: Settings,
    folder: &Arc<RunFolder>,
    stop: watch::Receiver<bool>,
) -> Report {
    let replay = settings.replay();
    let running = tokio::spawn({
        let folder = folder.clone();
        async move { run_in(&folder, &settings, stop).await }
    });
    let mut guard = AbortOnDrop(running);
    let report = (&mut guard.0).await;
    drop(guard);
    leftovers::clean(folder).await;
    report.unwrap_or_else(|error| {
        eprintln!("It could not go on. {replay}");
        std::panic::resume_unwind(error.into_panic())
    })
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run_in(
    folder: &Arc<RunFolder>,
    settings: &Settings,
    stop: watch::Receiver<bool>,
) -> Report {
    let chronicle = Chronicle::new(&settings.chronicle);
    let plan = plan::draw(
        settings.seed,
        settings.span,
        settings.store == Store::MongoDb,
    );
    let site = Arc::new(Site::new(settings, folder, &chronicle).await);
    let cluster = site.cluster.to_string();
    let mut engine = EngineWitness::new(&cluster, folder.path(), &chronicle);
    let told = Arc::<Mutex<Told>>::default();
    let orders = Orders::default();
    let mut report = Report::new(settings);

    let began_s = chronicle.elapsed_s();
    let happened = {
        let (over, is_over) = watch::channel(false);
        let (ended, is_ended) = watch::channel(BTreeSet::new());
        let mut keeping = JoinSet::new();
        let minder = site.clone();
        keeping.spawn(async move { minder.look_after().await });
        let mut going = JoinSet::new();
        let random = Random::new(settings.seed).part(1_000_000);
        let orders = orders.clone();
        going.spawn(workload::run(
            site.clone(),
            orders,
            random,
            is_ended,
            is_over.clone(),
        ));
        let (watched, kept) = (site.clone(), told.clone());
        keeping.spawn(witness::watch(watched, kept, ended));
        let happening = tokio::spawn(faults::happen(site.clone(), plan, is_over));
        let mut happening = AbortOnDrop(happening);
        let mut stop = stop;
        let ending = async {
            faults::sleep_or_stop(settings.span, &mut stop).await;
            over.send_replace(true);
        };
        // A fault that can't be brought about ends the run, and at once.
        let happening = async { (&mut happening.0).await.unwrap_or_else(go_on_unwinding) };
        let (happened, ()) = tokio::join!(happening, ending);
        chronicle.note(chronicle::FAULT, "none from now on");
        // Cancels go on until they are answered, or what they are for has ended.
        while let Some(ended) = going.join_next().await {
            ended.unwrap_or_else(go_on_unwinding);
        }
        happened
    };
    report.faults_lasted_s = chronicle.elapsed_s() - began_s;
    report.faults = happened.faults;
    report.without_effect = happened.without_effect;

    let calm_began_s = chronicle.elapsed_s();
    let mut violations = calm::rest(&site).await;
    report.rest_took_s = chronicle.elapsed_s() - calm_began_s;
    let listed = match calm::listed(&site).await {
        Ok(listed) => Some(listed),
        Err(violation) => {
            violations.push(violation);
            None
        }
    };
    let orders = orders.all();
    let mut left = None;
    if let Some(listed) = &listed {
        told.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tasks(listed.clone());
        match calm::survives_a_kill(&site, listed).await {
            Ok(found) => {
                violations.extend(found);
                let data_dir = site.master().await.data_dir().to_owned();
                left = Some(left::look(&site, &orders, listed, &data_dir).await);
            }
            // Whoever doesn't come back shows no logs: there is nothing to judge by.
            Err(violation) => violations.push(violation),
        }
    }
    violations.extend(calm::ends_in_order(&site).await);
    let seen = engine.seen().unwrap_or_else(|why| {
        violations.push(Violation::of_all(format!("the audit is not whole: {why}")));
        witness::Seen::default()
    });
    let runs = seen.runs;
    violations.extend(seen.crowded.into_iter().map(Violation::of_all));
    let listed = listed.unwrap_or_default();
    if let Some(left) = &left {
        violations.extend(judge(&Evidence {
            orders: &orders,
            listed: &listed,
            left,
            runs: &runs,
        }));
    }
    let left = left.unwrap_or_default();
    let told = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
    violations.extend(told.contradictions.into_iter().map(Violation::of_all));
    drop(engine);
    // What the run itself has made is there yet; whatever else there is, the cluster has left.
    let own = site.own().await;
    let left_behind = leftovers::find(folder.path()).into_iter();
    let left_behind = left_behind.filter(|what| !own.contains(what));
    violations.extend(left_behind.map(|what| Violation::of_all(format!("left: {what}"))));
    let site = Arc::into_inner(site).expect("everything that used it has ended");
    drop(site);
    violations.extend(of_the_run(folder.path()).await);

    report.took_s = chronicle.elapsed_s();
    report.tasks(&orders, &listed, &left, &runs);
    report.violations(violations, &chronicle);
    report
}

/// Goes on with a panic that ended a part of the run.
fn go_on_unwinding<T>(error: JoinError) -> T {
    std::panic::resume_unwind(error.into_panic())
}

/// What the run has not taken away itself.
async fn of_the_run(folder: &Path) -> Vec<Violation> {
    // The databases end a moment after it.
    let deadline = Instant::now() + wait::PATIENCE;
    loop {
        let left = leftovers::find(folder);
        if left.is_empty() || Instant::now() > deadline {
            let what = |what| Violation::of_all(format!("left by the run itself: {what}"));
            return left.into_iter().map(what).collect();
        }
        sleep(Duration::from_millis(100)).await;
    }
}
