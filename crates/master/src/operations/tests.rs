//! Several tasks at once, at a whole master: taken once, all or none, and counted where they are not.

use cloudai_core::{Answer, Input};
use cloudai_model::{SubmitKey, TaskDraft, UserLimits, record::Record};
use cloudai_operator::{FilesFilter, MOST_AT_ONCE, Operator as _, SubmitManyFailure, TaskFilter};

use crate::testing::Site;

fn draft() -> TaskDraft {
    TaskDraft {
        docker_image: "alpine".to_owned(),
        user_id: Some("ada".to_owned()),
        ..TaskDraft::default()
    }
}

/// Three tasks under a key, as a body with this digest has them.
fn batch(body: u8) -> Vec<TaskDraft> {
    let under = |index| SubmitKey {
        key: "nightly".to_owned(),
        body: [body; 32],
        index,
    };
    let drafts = (0..3).map(|index| TaskDraft {
        submit_key: Some(under(index)),
        ..draft()
    });
    drafts.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_under_a_key_is_taken_once_also_when_it_is_sent_twice_at_a_time() {
    let site = Site::new().await;
    let master = &site.running.master;
    let ids = |taken: Vec<cloudai_core::Taken>| -> Vec<String> {
        taken.iter().map(|one| one.task.to_string()).collect()
    };
    let (first, second) = tokio::join!(master.submit_many(batch(7)), master.submit_many(batch(7)),);
    let (first, second) = (ids(first.unwrap()), ids(second.unwrap()));
    assert_eq!((first.len(), &first), (3, &second));
    assert_eq!(ids(master.submit_many(batch(7)).await.unwrap()), first);
    let other = master.submit_many(batch(8)).await;
    assert!(
        matches!(other, Err(SubmitManyFailure::KeyReused(_))),
        "{other:?}"
    );
    let all = master
        .tasks(&TaskFilter {
            limit: 10,
            ..TaskFilter::default()
        })
        .await;
    assert_eq!(all.unwrap().len(), 3);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_which_not_all_is_known_any_more_says_so() {
    // Given a batch that was taken, and a task of it that retention has forgotten,
    let site = Site::new().await;
    let master = &site.running.master;
    let taken = master.submit_many(batch(7)).await.unwrap();
    let gone = taken[1].task.clone();
    master.cancel(&gone).await.unwrap();
    let retired = cloudai_core::Retired {
        task: gone.clone(),
        records: vec![Record::TaskForgotten(gone)],
    };
    let tasks = vec![retired];
    let told = master.core.call(|call| Input::Retire { call, tasks }).await;
    assert!(matches!(told, Ok(Answer::Retired(Ok(refused))) if refused.is_empty()));
    // when it is sent again, then it is not taken anew, and that is told.
    let again = master.submit_many(batch(7)).await;
    assert!(
        matches!(again, Err(SubmitManyFailure::Forgotten { left: 2, of: 3 })),
        "{again:?}"
    );
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_is_refused_whole_and_counted_once() {
    let site = Site::new().await;
    let master = &site.running.master;
    let refused = |reason: &str| -> String {
        let name = format!("cloudai_submits_refused_total{{reason=\"{reason}\"}} ");
        let text = master.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap().to_owned()
    };

    // An id of a client's own is taken with a single task, and with several none is: the place says which.
    let own = TaskDraft {
        task_id: Some("mine".to_owned()),
        ..draft()
    };
    let with_own = master.submit_many(vec![draft(), own]).await;
    let Err(SubmitManyFailure::Drafts(wrong)) = with_own else {
        panic!("{with_own:?}");
    };
    assert_eq!(
        (wrong.len(), wrong[0].0, wrong[0].1.0[0].field),
        (1, 1, "task_id")
    );
    assert_eq!(refused("invalid"), "1");

    for count in [0, MOST_AT_ONCE + 1] {
        let answer = master.submit_many(vec![draft(); count]).await;
        assert!(
            matches!(answer, Err(SubmitManyFailure::Count(_))),
            "{answer:?}"
        );
    }
    assert_eq!(refused("invalid"), "3");

    // What the core refuses is counted by its reason.
    let limits = UserLimits {
        cpu_milli: Some(1000),
        ..UserLimits::default()
    };
    let user = "ada".parse().unwrap();
    let told = master.core.tell(Input::Limits { user, limits }).await;
    told.unwrap();
    let large = TaskDraft {
        cpu_cores: Some(2.0),
        ..draft()
    };
    let answer = master.submit_many(vec![draft(), large]).await;
    assert!(
        matches!(answer, Err(SubmitManyFailure::Refused(_))),
        "{answer:?}"
    );
    assert_eq!(
        (refused("user_limit"), refused("invalid")),
        ("1".to_owned(), "3".to_owned())
    );
    let all = master
        .tasks(&TaskFilter {
            limit: 10,
            ..TaskFilter::default()
        })
        .await;
    assert_eq!(all.unwrap(), [], "nothing of them is kept");
    let filter = FilesFilter {
        user: "ada".parse().unwrap(),
        before: None,
        limit: 10,
    };
    assert_eq!(master.files_of_user(&filter).await.unwrap(), []);
    site.end().await;
}
