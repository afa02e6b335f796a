use async_trait::async_trait;
use cloudai_console::{Operator, Session, operator::*, terminal::Terminal};
use cloudai_core::{CancelOutcome, Event, Submitted};
use cloudai_model::*;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::sync::broadcast;
struct F;
#[async_trait]
impl Operator for F {
    fn now(&self) -> Now {
        Now::default()
    }
    fn about(&self) -> About {
        About {
            version: "0".into(),
            store: "s".into(),
            services: vec![],
        }
    }
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            cluster: "c".parse().unwrap(),
            ready: true,
            workers: BTreeMap::new(),
            waiting: 0,
            live: 0,
        })
    }
    fn events(&self) -> broadcast::Receiver<Event> {
        let (s, r) = broadcast::channel(4);
        std::mem::forget(s);
        r
    }
    async fn submit(&self, _: TaskDraft) -> Result<Submitted, SubmitFailure> {
        Err(ShuttingDown.into())
    }
    async fn cancel(&self, _: &TaskId) -> Result<CancelOutcome, CancelFailure> {
        std::future::pending().await
    }
    async fn register(&self, _: WorkerId, _: WorkerAddress) -> Result<Registered, RegisterFailure> {
        Err(ShuttingDown.into())
    }
    async fn unregister(&self, _: &WorkerId) -> Result<Vec<AttemptId>, UnregisterFailure> {
        Err(ShuttingDown.into())
    }
    async fn counts(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadFailure> {
        Ok(BTreeMap::new())
    }
    async fn task(&self, _: &TaskId) -> Result<Option<TaskView>, ReadFailure> {
        Ok(None)
    }
    async fn tasks(&self, _: &TaskFilter) -> Result<Vec<record::TaskRecord>, ReadFailure> {
        Ok(vec![])
    }
    async fn queue(&self, _: usize) -> Result<Vec<QueueEntry>, ReadFailure> {
        Ok(vec![])
    }
    async fn follow_log(&self, _: &AttemptId) -> Result<Box<dyn FrameSource>, LogFailure> {
        Err(ShuttingDown.into())
    }
    async fn download(
        &self,
        _: &TaskId,
        _: &UserName,
        _: &Path,
    ) -> Result<Downloaded, DownloadFailure> {
        Err(ShuttingDown.into())
    }
}
#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let (mut t, out) = Terminal::open(Path::new("/tmp/hist-smoke")).unwrap();
    let mut s = Session::new(Arc::new(F), out.clone());
    let o2 = out.clone();
    tokio::spawn(async move {
        for n in 0.. {
            tokio::time::sleep(Duration::from_millis(700)).await;
            o2.news(format!("NEWS {n}"));
        }
    });
    let mut term =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
    tokio::select! { () = t.run(&mut s) => {}, _ = term.recv() => {} }
    drop(t);
    out.flush().await;
    std::process::exit(7);
}
