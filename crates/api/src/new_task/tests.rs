//! Every field of the body, and every way in which one can be wrong.

use serde_json::json;

use super::*;
use crate::{BodyError, Place, parse};

const NOW: Wall = Wall(1_697_123_460_000);

fn read(body: &Value) -> Result<TaskDraft, Vec<String>> {
    let pointers = |mistakes: Mistakes| {
        let named = mistakes.named().iter();
        let pointers = named.map(|mistake| match &mistake.at {
            Place::Pointer(at) => at.clone(),
            other => panic!("{other:?}"),
        });
        pointers.collect::<Vec<_>>()
    };
    let task: NewTask = match parse(&serde_json::to_vec(body).unwrap()) {
        Ok(task) => task,
        Err(BodyError::Mistakes(mistakes)) => return Err(pointers(mistakes)),
        Err(BodyError::Syntax(error)) => panic!("{error}"),
    };
    let mut mistakes = Mistakes::default();
    let draft = task.clone().into_draft(NOW, "", &mut mistakes);
    if let Err(errors) = draft.clone().check() {
        task.explain(errors, "", &mut mistakes);
    }
    if mistakes.is_empty() {
        Ok(draft)
    } else {
        Err(pointers(mistakes))
    }
}

#[test]
fn every_field_of_the_contracts_task_body_lands_in_the_draft() {
    let draft = read(&json!({
        "docker_image": "alpine", "command": "echo hi", "name": "n", "cpu_cores": 2,
        "memory_gb": 1.5, "storage_gb": 3, "gpu_cores": 0.5, "env": {"A": "b"},
        "priority": 40, "deadline": "2023-10-12T17:11:30+02:00", "timeout_s": 60,
        "estimate_s": 30, "max_retries": 2, "labels": {"team": "x"}, "constraints": [],
        "worker_id": "w-1", "after": [], "tag": "t", "task_type": "mixed",
        "sla_multiplier": 1.5, "task_id": "mine", "user_id": "bob", "pull_timeout_s": 9,
        "queue_timeout_s": 8, "retry_on": "any", "hold": true,
        "container": {
            "network": "none", "volumes": ["data:/data"], "read_only": true, "run_as": "1000",
            "tmpfs": ["/tmp"], "shm_gb": 0.1, "stop_signal": "SIGINT", "hostname": "h",
            "extra_hosts": ["db:10.0.0.5"], "cap_add": ["NET_RAW"],
        },
    }));
    let list = |word: &str| vec![word.to_owned()];
    let word = |word: &str| Some(word.to_owned());
    assert_eq!(
        draft.unwrap(),
        TaskDraft {
            task_id: word("mine"),
            name: word("n"),
            user_id: word("bob"),
            docker_image: "alpine".into(),
            command: Command::Shell("echo hi".into()),
            cpu_cores: Some(2.0),
            memory_gb: Some(1.5),
            storage_gb: Some(3.0),
            gpu_cores: Some(0.5),
            worker_id: word("w-1"),
            env: [("A".into(), "b".into())].into(),
            priority: Some(40),
            deadline: Some(Wall(NOW.0 + 30_000)),
            timeout_s: Some(60.0),
            pull_timeout_s: Some(9.0),
            queue_timeout_s: Some(8.0),
            estimate_s: Some(30.0),
            max_retries: Some(2),
            retry_on: word("any"),
            labels: [("team".into(), "x".into())].into(),
            tag: word("t"),
            task_type: word("mixed"),
            sla_multiplier: Some(1.5),
            container: ContainerDraft {
                network: word("none"),
                volumes: list("data:/data"),
                read_only: true,
                run_as: word("1000"),
                tmpfs: list("/tmp"),
                shm_gb: Some(0.1),
                stop_signal: word("SIGINT"),
                hostname: word("h"),
                extra_hosts: list("db:10.0.0.5"),
                cap_add: list("NET_RAW"),
            },
            hold: true,
            submit_key: None,
        }
    );
}

#[test]
fn old_names_are_read_and_mistakes_keep_the_name_that_was_sent() {
    let body = json!({
        "docker_image": "alpine", "cpu_required": 2, "memory_required": 3,
        "storage_required": 4, "gpu_required": 1,
    });
    let draft = read(&body).unwrap();
    assert_eq!(
        (
            draft.cpu_cores,
            draft.memory_gb,
            draft.storage_gb,
            draft.gpu_cores
        ),
        (Some(2.0), Some(3.0), Some(4.0), Some(1.0))
    );
    let wrong = json!({
        "docker_image": "alpine", "cpu_required": 0, "memory_required": 0,
        "storage_required": -1, "gpu_required": 1.5,
    });
    let pointers = [
        "/cpu_required",
        "/memory_required",
        "/storage_required",
        "/gpu_required",
    ];
    assert_eq!(read(&wrong), Err(pointers.map(str::to_owned).to_vec()));
    let both = json!({"docker_image": "alpine", "cpu_required": 1, "cpu_cores": 1});
    assert_eq!(read(&both), Err(vec!["/cpu_required".to_owned()]));
}

#[test]
fn all_unknown_fields_and_all_wrong_ones_are_named_at_once() {
    let wrong = read(&json!({
        "docker_imgae": "alpine", "cpu": 1, "priority": 1.5, "env": {"A": 1, "B": "x"},
        "command": ["sh", 7], "after": ["task-1"], "constraints": ["zone=a"],
        "container": {"netwrok": "none", "read_only": "yes"},
    }));
    assert_eq!(
        wrong.unwrap_err(),
        [
            "/docker_image",
            "/command/1",
            "/env/A",
            "/priority",
            "/container/read_only",
            "/container/netwrok",
            "/constraints",
            "/after",
            "/cpu",
            "/docker_imgae",
        ]
    );
    let wrong = read(&json!({
        "docker_image": "UPPER", "priority": 101, "deadline": "soon",
        "container": {"network": "a b", "hostname": "-"},
    }));
    assert_eq!(
        wrong.unwrap_err(),
        [
            "/deadline",
            "/docker_image",
            "/priority",
            "/container/network",
            "/container/hostname"
        ]
    );
}

#[test]
fn a_deadline_is_a_time_or_a_span_from_now_that_is_still_to_come() {
    let at = |deadline: Value| {
        let body = json!({"docker_image": "alpine", "deadline": deadline});
        read(&body).map(|draft| draft.deadline.unwrap().0 - NOW.0)
    };
    assert_eq!(at(json!(90)), Ok(90_000));
    assert_eq!(at(json!("2023-10-12T15:11:00.5Z")), Ok(500));
    for wrong in [
        json!(-1),
        json!(1e300),
        json!("90"),
        json!("2023-10-12T15:10:59Z"),
        json!("2093-10-12T15:10:59Z"),
        json!([1]),
    ] {
        assert_eq!(
            at(wrong.clone()),
            Err(vec!["/deadline".to_owned()]),
            "{wrong}"
        );
    }
}

#[test]
fn the_schema_names_just_the_fields_that_are_read() {
    use utoipa::PartialSchema as _;
    let named = |schema: Value| -> Vec<String> {
        assert_eq!(schema["additionalProperties"], false);
        schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    for field in named(serde_json::to_value(NewTask::schema()).unwrap()) {
        let wrong = read(&json!({ field.as_str(): {"": 0} })).unwrap_err();
        // It is wrong by its type, or taken; it is not unknown.
        let body = format!("{{{field:?}: null}}");
        let mut mistakes = Mistakes::default();
        NewTask::from_json(serde_json::from_str(&body).unwrap(), "", &mut mistakes);
        let unknown = |mistake: &Mistake| mistake.detail.contains("no such field");
        assert!(!mistakes.named().iter().any(unknown), "{field}: {wrong:?}");
    }
    assert_eq!(
        named(serde_json::to_value(Container::schema()).unwrap()).len(),
        10
    );
    assert_eq!(
        named(serde_json::to_value(NewTask::schema()).unwrap()).len(),
        31
    );
}

#[test]
fn a_batch_is_neither_empty_nor_without_bounds_and_points_into_its_tasks() {
    let pointers = |body: Value| match parse::<Batch>(&serde_json::to_vec(&body).unwrap()) {
        Err(BodyError::Mistakes(mistakes)) => {
            let named = mistakes.named().iter();
            named
                .map(|mistake| format!("{:?}", mistake.at))
                .collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(pointers(json!({"tasks": []})), [r#"Pointer("/tasks")"#]);
    let many = vec![json!({"docker_image": "a"}); MOST_IN_BATCH + 1];
    assert_eq!(pointers(json!({ "tasks": many })), [r#"Pointer("/tasks")"#]);
    // They are counted before any of them is looked at.
    let wrong = vec![json!(0); MOST_IN_BATCH + 1];
    assert_eq!(
        pointers(json!({ "tasks": wrong })),
        [r#"Pointer("/tasks")"#]
    );
    let second = json!({"tasks": [{"docker_image": "a"}, {"docker_image": "a", "x": 1}]});
    assert_eq!(pointers(second), [r#"Pointer("/tasks/1/x")"#]);
}
