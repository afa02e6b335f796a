//! Users' programs at a master's real gRPC server: what is shown says who asks.

use std::ops::Deref;

use cloudai_accounts::{Identity, KeyDraft, Secret, UserChange};
use cloudai_model::{AccountState, KeyScope, Role};
use cloudai_operator::{Operator as _, TaskFilter};
use cloudai_proto::{
    agent::{Empty, TaskAssignments, master_agent_client::MasterAgentClient},
    cluster::{
        ListWorkersRequest, Task, TaskAck, TaskId, TaskLogRequest,
        master_worker_client::MasterWorkerClient,
    },
};
use cloudai_store::AuditQuery;
use tonic::{Code, Request, Status, transport::Channel};

use super::{Gate, auth::Caller};
use crate::testing::{Site, call};

/// A master with users, and a connection to it over loopback.
struct Served {
    site: Site,
    client: MasterWorkerClient<Channel>,
    agent: MasterAgentClient<Channel>,
}

impl Deref for Served {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Served {
    async fn new() -> Self {
        let site = Site::new().await;
        Self {
            client: MasterWorkerClient::connect(site.grpc()).await.unwrap(),
            agent: MasterAgentClient::connect(site.grpc()).await.unwrap(),
            site,
        }
    }

    /// A key of the user that this token is of.
    async fn key(&self, token: &Secret, scope: KeyScope) -> Secret {
        let shown = cloudai_accounts::Credential::bearer(token.expose());
        let now = cloudai_clock::now().wall;
        let who = self.accounts.authenticate(shown, now).unwrap();
        let draft = KeyDraft {
            name: "for a test".to_owned(),
            scope,
            expires_at: None,
        };
        let (_, key) = self
            .accounts
            .create_key(&call(), &who, draft)
            .await
            .unwrap();
        key
    }

    async fn submit(&mut self, shown: Option<&Secret>, task: Task) -> Result<TaskAck, Status> {
        let answer = self.client.assign_task(showing(shown, task)).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn cancel(&mut self, shown: Option<&Secret>, task: &str) -> Result<TaskAck, Status> {
        let request = TaskId {
            task_id: task.to_owned(),
            ..TaskId::default()
        };
        let answer = self.client.cancel_task(showing(shown, request)).await;
        answer.map(tonic::Response::into_inner)
    }

    /// What a look at the task's log is answered with; none of these tasks has one.
    async fn log(&mut self, shown: Option<&Secret>, task: &str) -> Status {
        let request = TaskLogRequest {
            task_id: task.to_owned(),
            ..TaskLogRequest::default()
        };
        let answer = self.client.stream_task_logs(showing(shown, request)).await;
        answer.map(drop).unwrap_err()
    }

    async fn owner(&self, task: &str) -> String {
        let task = self.running.master.task(&task.parse().unwrap()).await;
        task.unwrap().unwrap().record.spec.user.to_string()
    }

    async fn end(self) {
        self.site.end().await;
    }
}

fn showing<T>(shown: Option<&Secret>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(secret) = shown {
        let header = format!("Bearer {}", secret.expose()).parse().unwrap();
        request.metadata_mut().insert("authorization", header);
    }
    request
}

fn task(user: &str) -> Task {
    Task {
        docker_image: "alpine".to_owned(),
        user_id: user.to_owned(),
        ..Task::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_whose_token_was_shown_and_anothers_is_not_there() {
    // Given two users,
    let mut served = Served::new().await;
    let (ada, bob) = (served.user("ada").await, served.user("bob").await);

    // when one of them submits in the other's name,
    let mine = served.submit(Some(&ada), task("bob")).await.unwrap();
    assert!(mine.success, "{}", mine.message);

    // then the task is of the one who showed the token,
    assert_eq!(served.owner(&mine.task_id).await, "ada");
    // and not there for the other, in the words for what never was.
    let never = "task-1";
    let words = |text: &str| text.replace(&mine.task_id, never);
    let refused = served.cancel(Some(&bob), &mine.task_id).await.unwrap();
    let unknown = served.cancel(Some(&bob), never).await.unwrap();
    assert!(!refused.success);
    assert_eq!(
        (words(&refused.message), &refused.status),
        (unknown.message, &unknown.status)
    );
    let refused = served.log(Some(&bob), &mine.task_id).await;
    let unknown = served.log(Some(&bob), never).await;
    assert_eq!(
        (refused.code(), words(refused.message())),
        (Code::NotFound, unknown.message().to_owned())
    );
    assert_eq!(unknown.code(), Code::NotFound);

    // Who owns it learns that it waits, and may end it; both is written down with who it was.
    let waits = served.log(Some(&ada), &mine.task_id).await;
    assert_eq!(waits.code(), Code::FailedPrecondition);
    assert!(
        served
            .cancel(Some(&ada), &mine.task_id)
            .await
            .unwrap()
            .success
    );
    let query = AuditQuery {
        limit: 2,
        ..AuditQuery::default()
    };
    let page = served.accounts.audit_page(&Identity::local(), query).await;
    let records = page.unwrap().records;
    let told: Vec<_> = records
        .iter()
        .map(|it| {
            (
                it.action.as_str(),
                it.user.as_ref().map(ToString::to_string),
                it.target == mine.task_id,
                it.from.as_str(),
            )
        })
        .collect();
    let ada = || Some("ada".to_owned());
    assert_eq!(
        told,
        [
            ("task.cancel", ada(), true, "127.0.0.1"),
            ("task.submit", ada(), true, "127.0.0.1")
        ]
    );
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_and_this_machine_act_for_everybody() {
    let mut served = Served::new().await;
    let admin = served.login("admin").await;
    for (shown, named, owner) in [
        (None, "", "admin"),
        (None, "ada", "ada"),
        (Some(&admin), "", "admin"),
        (Some(&admin), "ada", "ada"),
    ] {
        let ack = served
            .submit(
                shown,
                Task {
                    priority: Some(90),
                    ..task(named)
                },
            )
            .await
            .unwrap();
        assert!(ack.success, "{}", ack.message);
        assert_eq!(served.owner(&ack.task_id).await, owner);
        assert_eq!(
            served.log(shown, &ack.task_id).await.code(),
            Code::FailedPrecondition
        );
        assert!(served.cancel(shown, &ack.task_id).await.unwrap().success);
    }
    // What a user may not, is refused with the reason, and nothing is kept.
    let ada = served.user("ada").await;
    let refused = served
        .submit(
            Some(&ada),
            Task {
                priority: Some(51),
                ..task("")
            },
        )
        .await
        .unwrap();
    assert_eq!(
        (refused.success, refused.message.as_str()),
        (false, "priority: only an admin may go above 50")
    );
    let filter = TaskFilter {
        limit: 10,
        ..TaskFilter::default()
    };
    let all = served.running.master.tasks(&filter).await;
    assert_eq!(all.unwrap().len(), 4);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_what_its_scope_says_and_what_waits_is_for_admins() {
    let mut served = Served::new().await;
    let (ada, admin) = (served.user("ada").await, served.login("admin").await);
    let reader = served.key(&ada, KeyScope::Read).await;
    let worker = served.key(&ada, KeyScope::Tasks).await;

    let refused = served.submit(Some(&reader), task("")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(
        refused.message().contains("a key of the scope tasks"),
        "{refused}"
    );
    let ack = served.submit(Some(&worker), task("")).await.unwrap();
    assert_eq!(served.owner(&ack.task_id).await, "ada");
    let refused = served
        .cancel(Some(&reader), &ack.task_id)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(
        served.log(Some(&reader), &ack.task_id).await.code(),
        Code::FailedPrecondition
    );
    let listed = showing(Some(&reader), ListWorkersRequest {});
    assert!(served.client.list_workers(listed).await.is_ok());

    for (shown, may_look, may_place) in [
        (Some(&ada), false, false),
        (Some(&worker), false, false),
        (Some(&served.key(&admin, KeyScope::Read).await), true, false),
        (Some(&served.key(&admin, KeyScope::Tasks).await), true, true),
        (Some(&admin), true, true),
        (None, true, true),
    ] {
        let looked = served
            .agent
            .fetch_cluster_state(showing(shown, Empty {}))
            .await;
        let code = |it: Status| it.code();
        let of = |may: bool| {
            if may {
                Ok(())
            } else {
                Err(Code::PermissionDenied)
            }
        };
        assert_eq!(looked.map(drop).map_err(code), of(may_look));
        let placed = showing(shown, TaskAssignments::default());
        let placed = served.agent.submit_assignments(placed).await;
        assert_eq!(placed.map(drop).map_err(code), of(may_place));
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_must_count_also_on_this_machine() {
    let mut served = Served::new().await;
    let ada = served.user("ada").await;
    let cut = Secret::new(ada.expose().chars().take(60).collect());
    for wrong in [
        cut,
        Secret::new("cak_0123".to_owned()),
        Secret::new(String::new()),
    ] {
        let refused = served.submit(Some(&wrong), task("")).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert_eq!(
            served.log(Some(&wrong), "task-1").await.code(),
            Code::Unauthenticated
        );
    }
    // Nor does a proxy on this machine make everybody its operator.
    for header in ["forwarded", "x-forwarded-for", "x-real-ip"] {
        let mut request = showing(None, task(""));
        request
            .metadata_mut()
            .insert(header, "10.0.0.7".parse().unwrap());
        let refused = served.client.assign_task(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{header}");
    }
    // A token that has ended is none.
    assert!(served.submit(Some(&ada), task("")).await.unwrap().success);
    let (user, local) = ("ada".parse().unwrap(), Identity::local());
    let locked = UserChange {
        state: Some(AccountState::Locked),
        ..UserChange::default()
    };
    served
        .accounts
        .change_user(&call(), &local, &user, locked)
        .await
        .unwrap();
    let refused = served.submit(Some(&ada), task("")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_an_admin_no_more_follows_no_more_of_others() {
    // Given ada, an admin who follows a log of bob's,
    let served = Served::new().await;
    let ada = served.user("ada").await;
    let (accounts, local) = (&served.accounts, Identity::local());
    let (user, bob) = ("ada".parse().unwrap(), "bob".parse().unwrap());
    let role = |role| UserChange {
        role: Some(role),
        ..UserChange::default()
    };
    accounts
        .change_user(&call(), &local, &user, role(Role::Admin))
        .await
        .unwrap();
    let gate = Gate::new(
        served.running.master.snapshots.clone(),
        served.running.master.tokens.clone(),
        served.running.admission.accounts.clone(),
        false,
    );
    let client = gate.client(&Caller::of(&showing(Some(&ada), ()))).unwrap();
    let now = cloudai_clock::now();
    gate.still(&client, &bob, now).unwrap();

    // when she is made a user, then that ends, and her own go on.
    accounts
        .change_user(&call(), &local, &user, role(Role::User))
        .await
        .unwrap();
    let refused = gate.still(&client, &bob, now).unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    gate.still(&client, &user, now).unwrap();
    served.end().await;
}
