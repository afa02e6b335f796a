//! The client: a stream of tasks, cancels, and a note of every answer, or that none came.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cloudai_model::{TaskId, TaskStatus};
use cloudai_proto::{
    CancelAnswer, CancelRequest, Refused, Submitted,
    cluster::master_worker_client::MasterWorkerClient, submit,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use super::{faults::sleep_or_stop, random::Random, site::Site, tasks::Kind};

/// No more than so many tasks are on their way at a time, so that the calm afterwards is short.
const MOST_LIVE: usize = 16;
/// No answer within this is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Between two tries to cancel a task.
const CANCEL_AGAIN: Duration = Duration::from_millis(500);
/// When nothing is broken any more, a cancel is answered within this.
const CANCEL_WITHIN: Duration = Duration::from_secs(60);

/// What the master said to a submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Accepted.
    Accepted(TaskId),
    /// No.
    Refused(String),
    /// Nothing that arrived: it may be there or not.
    None,
    /// What a master never says to that.
    Wrong(String),
}

/// What is known of a task's cancel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cancel {
    /// It was asked for, at least once.
    pub asked: bool,
    /// What came of that; `None`, if nobody asked, or the task was seen to have ended before an answer.
    pub said: Option<CancelSaid>,
}

/// What came of asking for a cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelSaid {
    /// The task is cancelled.
    Done,
    /// It is being stopped, or has ended by itself.
    UnderWay {
        /// When this was answered, since the beginning of the run.
        at: Duration,
    },
    /// No, with the reason.
    Refused(String),
    /// No answer, though nothing was broken any more; what was said last.
    Never(String),
}

/// One submit.
#[derive(Debug, Clone)]
pub struct Order {
    /// The task's name, which no other has.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// What the master said.
    pub answer: Answer,
    /// What became of its cancel.
    pub cancel: Cancel,
}

/// All submits so far. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Orders(Arc<Mutex<Vec<Order>>>);

impl Orders {
    /// As they are now.
    #[must_use]
    pub fn all(&self) -> Vec<Order> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn push(&self, order: Order) -> usize {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(order);
        all.len() - 1
    }

    fn change(&self, index: usize, change: impl FnOnce(&mut Order)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut all[index]);
    }

    /// How many of those that were accepted have not been seen to end.
    fn live(&self, ended: &BTreeSet<String>) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let accepted = all.iter().filter_map(|order| match &order.answer {
            Answer::Accepted(task) => Some(task.to_string()),
            _ => None,
        });
        accepted.filter(|task| !ended.contains(task)).count()
    }
}

/// A client that waits for no answer for ever.
#[must_use]
pub fn client(site: &Site) -> MasterWorkerClient<Channel> {
    let address = format!("http://{}", site.client);
    let endpoint = Endpoint::from_shared(address).expect("an address makes a URI");
    let endpoint = endpoint.connect_timeout(ANSWER_WITHIN);
    MasterWorkerClient::new(endpoint.connect_lazy())
}

/// Submits tasks until told to stop; cancels go on until they are answered, or what is to be cancelled
/// has ended.
pub async fn run(
    site: Arc<Site>,
    orders: Orders,
    mut random: Random,
    ended: watch::Receiver<BTreeSet<String>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut client = client(&site);
    let mut cancels = JoinSet::new();
    let mut number = 0;
    while !*stop.borrow() {
        let pause = Duration::from_millis(random.of(20..400));
        sleep_or_stop(pause, &mut stop).await;
        if orders.live(&ended.borrow()) >= MOST_LIVE {
            continue;
        }
        number += 1;
        let (name, kind) = (format!("chaos-{number}"), Kind::draw(&mut random));
        let draft = kind.draft(name.clone());
        let call = client.assign_task(submit::to_wire(draft));
        let answer = match tokio::time::timeout(ANSWER_WITHIN, call).await {
            Ok(Ok(ack)) => match Submitted::from_wire(ack.into_inner()) {
                Ok(Ok(submitted)) => Answer::Accepted(submitted.task),
                Ok(Err(refused)) => Answer::Refused(refused.to_string()),
                Err(unreadable) => Answer::Wrong(unreadable.to_string()),
            },
            Ok(Err(status)) if is_no_answer(&status) => Answer::None,
            Ok(Err(status)) => Answer::Wrong(status.to_string()),
            Err(_) => Answer::None,
        };
        let what = format!("{name}, {kind:?}: {answer:?}");
        site.chronicle.note("client", what);
        let index = orders.push(Order {
            name,
            kind: kind.clone(),
            answer: answer.clone(),
            cancel: Cancel::default(),
        });
        if let (Kind::Cancelled { after }, Answer::Accepted(task)) = (kind, answer) {
            let (site, orders) = (site.clone(), orders.clone());
            let (ended, stop) = (ended.clone(), stop.clone());
            cancels.spawn(async move {
                sleep(after).await;
                cancel(&site, &orders, index, task, ended, stop).await;
            });
        }
    }
    while cancels.join_next().await.is_some() {}
}

/// Whether it came from the way there, or says that there is nobody who can answer.
fn is_no_answer(status: &Status) -> bool {
    let nobody = [Code::Unavailable, Code::Cancelled, Code::DeadlineExceeded];
    nobody.contains(&status.code()) || std::error::Error::source(status).is_some()
}

/// Cancels a task as often as it takes, and when nothing is broken any more not for ever.
async fn cancel(
    site: &Site,
    orders: &Orders,
    index: usize,
    task: TaskId,
    ended: watch::Receiver<BTreeSet<String>>,
    stop: watch::Receiver<bool>,
) {
    let mut client = client(site);
    let mut calm_since = None;
    while !ended.borrow().contains(&task.to_string()) {
        let request = CancelRequest {
            task: task.clone(),
            attempt: None,
            user: None,
            reason: String::new(),
        };
        orders.change(index, |order| order.cancel.asked = true);
        let call = client.cancel_task(request.into_wire());
        let answer = tokio::time::timeout(ANSWER_WITHIN, call).await;
        let at = site.chronicle.elapsed();
        let mut said = match answer {
            Ok(Ok(ack)) => match CancelAnswer::from_wire(ack.into_inner()) {
                CancelAnswer::Taken {
                    status: Some(TaskStatus::Cancelled),
                    ..
                } => Ok(CancelSaid::Done),
                CancelAnswer::Taken { .. } => Ok(CancelSaid::UnderWay { at }),
                CancelAnswer::Refused(Refused(why)) => Ok(CancelSaid::Refused(why)),
                CancelAnswer::NotHeld { message } => Ok(CancelSaid::Refused(message)),
            },
            Ok(Err(status)) if is_no_answer(&status) => Err(status.to_string()),
            Ok(Err(status)) => Ok(CancelSaid::Refused(status.to_string())),
            Err(_) => Err("no answer".to_owned()),
        };
        if let Err(last) = &said
            && *stop.borrow()
            && calm_since.get_or_insert_with(Instant::now).elapsed() > CANCEL_WITHIN
        {
            said = Ok(CancelSaid::Never(last.clone()));
        }
        match said {
            Ok(said) => {
                let what = format!("{task}, its cancel: {said:?}");
                site.chronicle.note("client", what);
                orders.change(index, |order| order.cancel.said = Some(said));
                return;
            }
            Err(why) => {
                let what = format!("{task} not cancelled yet: {why}");
                site.chronicle.note("client", what);
            }
        }
        sleep(CANCEL_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_master_says_is_an_answer_and_what_the_way_there_says_is_none() {
        assert!(!is_no_answer(&Status::internal("mixed up")));
        assert!(!is_no_answer(&Status::unknown("panicked")));
        assert!(is_no_answer(&Status::unavailable("the store is away")));
        let nobody = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        let mut client = MasterWorkerClient::new(nobody);
        let task = cloudai_proto::cluster::TaskId::default();
        let status = client.cancel_task(task).await.unwrap_err();
        assert!(is_no_answer(&status), "{status:?}");
    }
}
