//! Lines, and what they are read as.

use cloudai_model::{ContainerDraft, Setting, spec};

use super::*;
use crate::help::TASK_OPTIONS;

const NOW: Wall = Wall(1_000_000);

fn read(line: &str) -> Command {
    parse(line, NOW).unwrap().unwrap()
}

fn refused(line: &str) -> String {
    parse(line, NOW).unwrap_err().to_string()
}

fn draft(line: &str) -> TaskDraft {
    match read(line) {
        Command::Submit(draft) => *draft,
        other => panic!("{line:?} is {other:?}"),
    }
}

#[test]
fn blank_lines_and_comments_are_nothing() {
    for line in ["", "   ", "# that's a comment", "  # so is this"] {
        assert_eq!(parse(line, NOW), Ok(None), "{line:?}");
    }
}

#[test]
fn every_example_of_help_is_a_command() {
    for topic in TOPICS {
        assert!(parse(topic.example, NOW).unwrap().is_some(), "{topic:?}");
    }
}

#[test]
fn commands_read_their_words() {
    let worker = || "worker-2".parse::<WorkerId>().unwrap();
    let task = || "task-7".parse::<TaskId>().unwrap();
    assert_eq!(read("help"), Command::Help(None));
    assert_eq!(read("help queue"), Command::Help(help::find("queue")));
    assert_eq!(read("status --json"), Command::Status { json: true });
    assert_eq!(read("workers"), Command::Workers { json: false });
    assert_eq!(
        read("register worker-2 10.0.0.2"),
        Command::Register {
            worker: worker(),
            address: "10.0.0.2:50052".parse().unwrap()
        }
    );
    assert_eq!(read("unregister worker-2"), Command::Unregister(worker()));
    assert_eq!(read("cancel task-7"), Command::Cancel(task()));
    assert_eq!(read("monitor 'task-7'"), Command::Monitor(task()));
    assert_eq!(
        read("queue -limit=5 -json"),
        Command::Queue {
            limit: 5,
            json: true
        }
    );
    assert_eq!(
        read("download task-7 alice 'my results'"),
        Command::Download {
            task: task(),
            user: "alice".parse().unwrap(),
            folder: "my results".to_owned()
        }
    );
    assert_eq!(read("status -w"), Command::Watch);
    let stats = |json| Command::Stats {
        worker: worker(),
        json,
    };
    assert_eq!(read("stats worker-2"), stats(false));
    assert_eq!(read("stats -json worker-2"), stats(true));
    for (line, draining) in [("drain worker-2", true), ("undrain worker-2", false)] {
        let expected = Command::Drain {
            worker: worker(),
            draining,
        };
        assert_eq!(read(line), expected);
    }
    let explain = Command::Explain {
        task: task(),
        json: true,
    };
    assert_eq!(read("explain task-7 --json"), explain);
    let files = Command::Files {
        user: "alice".parse().unwrap(),
        limit: 2,
        json: false,
    };
    assert_eq!(read("files alice -limit 2"), files);
    let files = Command::TaskFiles {
        task: task(),
        user: "alice".parse().unwrap(),
        json: true,
    };
    assert_eq!(read("task-files task-7 alice --json"), files);
    let inside = Command::InternalState { json: false };
    assert_eq!(read("internal-state"), inside);
    assert_eq!(read("fix-resources"), Command::FixResources);
    assert_eq!(read("exit"), Command::Exit);
    assert_eq!(read(" quit "), Command::Exit);
}

#[test]
fn a_listing_is_narrowed_by_status_user_and_limit() {
    assert_eq!(
        read("list-tasks running --user alice -limit 3"),
        Command::ListTasks {
            filter: TaskFilter {
                statuses: [TaskStatus::Running].into(),
                user: Some("alice".parse().unwrap()),
                limit: 3,
                ..TaskFilter::default()
            },
            json: false
        }
    );
    assert_eq!(
        refused("list-tasks runing"),
        "\"runing\" is no task status: expected one of queued, pending, running, completed, \
         failed, cancelled"
    );
}

#[test]
fn one_word_before_the_options_is_an_image_and_two_are_worker_and_image() {
    let anywhere = draft("task alpine");
    assert_eq!(
        (anywhere.worker_id, anywhere.docker_image.as_str()),
        (None, "alpine")
    );
    for line in ["task w1 alpine -mem 1", "dispatch w1 alpine -- true"] {
        let there = draft(line);
        assert_eq!(there.worker_id.as_deref(), Some("w1"), "{line}");
        assert_eq!(there.docker_image, "alpine", "{line}");
    }
}

#[test]
fn every_option_of_task_lands_in_its_field() {
    let draft = draft(
        "task docker.io/username/gpu-task:latest -name ml-training --cpu_cores 4.0 -mem=8.0 \
         --storage=20 -gpu_cores 0.5 -env A=1 -env 'B=x=y z' -priority 80 -deadline 2h \
         -timeout 90s -pull_timeout 10m -queue_timeout 1h -estimate 30m -retries 3 \
         -retry-on 1,75,100-110,oom -label team=vision -label k= -user alice \
         -type gpu-training -hold -cmd 'echo \"hi there\"'",
    );
    let pairs = |pairs: &[(&str, &str)]| {
        let owned = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        owned.collect()
    };
    assert_eq!(
        draft,
        TaskDraft {
            name: Some("ml-training".to_owned()),
            user_id: Some("alice".to_owned()),
            docker_image: "docker.io/username/gpu-task:latest".to_owned(),
            command: spec::Command::Shell("echo \"hi there\"".to_owned()),
            cpu_cores: Some(4.0),
            memory_gb: Some(8.0),
            storage_gb: Some(20.0),
            gpu_cores: Some(0.5),
            env: pairs(&[("A", "1"), ("B", "x=y z")]),
            priority: Some(80),
            hold: true,
            deadline: Some(Wall(NOW.0 + 7_200_000)),
            timeout_s: Some(90.0),
            pull_timeout_s: Some(600.0),
            queue_timeout_s: Some(3600.0),
            retry_on: Some("1,75,100-110,oom".to_owned()),
            estimate_s: Some(1800.0),
            max_retries: Some(3),
            labels: pairs(&[("team", "vision"), ("k", "")]),
            task_type: Some("gpu-training".to_owned()),
            ..TaskDraft::default()
        }
    );
    assert!(draft.check().is_ok());
}

#[test]
fn a_change_names_a_task_and_what_of_it() {
    let change = |timeout_s| Command::Change {
        task: "task-7".parse().unwrap(),
        change: ChangeDraft {
            timeout_s,
            ..ChangeDraft::default()
        },
    };
    assert_eq!(
        read("change task-7 -timeout 2h"),
        change(Setting::To(7200.0))
    );
    assert_eq!(
        read("change task-7 --timeout=90"),
        change(Setting::To(90.0))
    );
    assert_eq!(read("change task-7 -timeout none"), change(Setting::Clear));
    let labels = [("team", "vision"), ("k", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let all = ChangeDraft {
        name: Setting::To("nightly".to_owned()),
        priority: Setting::To(80),
        deadline: Setting::To(Wall(NOW.0 + 7_200_000)),
        labels: Setting::To(labels.into()),
        ..ChangeDraft::default()
    };
    let line = "change task-7 -name nightly -priority 80 -deadline 2h -label team=vision -label k=";
    let of_task_7 = |change| Command::Change {
        task: "task-7".parse().unwrap(),
        change,
    };
    assert_eq!(read(line), of_task_7(all));
    let none = ChangeDraft {
        deadline: Setting::Clear,
        labels: Setting::Clear,
        ..ChangeDraft::default()
    };
    for line in [
        "change task-7 -deadline none -label none",
        "change task-7 -deadline=none -label=none",
    ] {
        assert_eq!(read(line), of_task_7(none.clone()));
    }
    for (line, hold) in [("hold task-7", true), ("release task-7", false)] {
        let task = "task-7".parse().unwrap();
        assert_eq!(read(line), Command::Hold { task, hold });
    }
}

#[test]
fn every_option_about_the_container_lands_in_its_field() {
    let draft = draft(
        "task a -network lab -volume datasets:/data:ro -volume scratch:/s -read-only \
         --run-as 1000:100 -tmpfs /t:0.25 -shm 0.25 -stop-signal SIGINT -hostname trainer \
         -add-host db:10.0.0.5 -add-host=db6:fd00::5 -cap-add NET_RAW -- true",
    );
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    assert_eq!(
        draft.container,
        ContainerDraft {
            network: Some("lab".to_owned()),
            volumes: list(&["datasets:/data:ro", "scratch:/s"]),
            read_only: true,
            run_as: Some("1000:100".to_owned()),
            tmpfs: list(&["/t:0.25"]),
            shm_gb: Some(0.25),
            stop_signal: Some("SIGINT".to_owned()),
            hostname: Some("trainer".to_owned()),
            extra_hosts: list(&["db:10.0.0.5", "db6:fd00::5"]),
            cap_add: list(&["NET_RAW"]),
        }
    );
    assert!(draft.check().is_ok());
}

#[test]
fn every_option_without_its_value_shows_one() {
    for (name, value, _) in TASK_OPTIONS
        .iter()
        .filter(|(_, value, _)| !value.is_empty())
    {
        for line in [
            format!("task a -{name}"),
            format!("task a --{name} -- true"),
        ] {
            let error = refused(&line);
            let begins = format!("-{name} has no value: expected -{name} ");
            assert!(error.starts_with(&begins), "{value}: {error}");
            // What is shown as an example is taken.
            let example = error.rsplit("expected ").next().unwrap();
            draft(&format!("task a {example}"));
        }
    }
}

#[test]
fn what_follows_two_dashes_is_the_command_as_it_is() {
    let command = draft("task alpine -mem 1 -- sh -c 'echo -mem' -- --json").command;
    let words = ["sh", "-c", "echo -mem", "--", "--json"].map(str::to_owned);
    assert_eq!(command, spec::Command::Exec(words.to_vec()));
}

#[test]
fn a_value_may_begin_with_a_dash_unless_it_is_an_option() {
    assert_eq!(draft("task a -priority -5").priority, Some(-5));
    assert_eq!(
        draft("task a -cmd '-x y'").command,
        spec::Command::Shell("-x y".to_owned())
    );
    assert_eq!(draft("task a -name=-mem").name.as_deref(), Some("-mem"));
    assert_eq!(
        refused("task a -name -mem 2"),
        "-name has no value: expected -name training"
    );
}

#[test]
fn an_option_that_is_wrong_says_what_is_right() {
    for (line, expected) in [
        (
            "task a --cpucores 2",
            "unknown option -cpucores: did you mean -cpu_cores?",
        ),
        (
            "task a -zzz",
            "unknown option -zzz: `help task` shows those that there are",
        ),
        (
            "queue -limt 2",
            "unknown option -limt: did you mean -limit?",
        ),
        (
            "change task-7 -timout 2h",
            "unknown option -timout: did you mean -timeout?",
        ),
        (
            "change task-7 -timeout",
            "-timeout has no value: expected -timeout 2h",
        ),
        (
            "change task-7 -timeout soon",
            "-timeout \"soon\" is no span of time: expected one such as 90s, 15m or 2h",
        ),
        (
            "change task-7 -timeout 1h -timeout none",
            "-timeout is there twice: expected it once",
        ),
        (
            "change task-7 -label none -label a=b",
            "-label is there twice: expected it once",
        ),
        (
            "change task-7 -priority high",
            "-priority \"high\" can't be: expected a number, such as -priority 80",
        ),
        (
            "task alpine -hold=yes",
            "-hold takes no value: expected it alone",
        ),
        (
            "change task-7 -timeout 1h 2h",
            "\"2h\" is no option: expected options after the task, such as -timeout 2h",
        ),
        (
            "change task-7",
            "what to change is missing: expected `change <task> [-name s] [-priority n] \
             [-deadline t] [-timeout span] [-label k=v]`, such as `change task-1697123456000001 -timeout 2h`",
        ),
        (
            "change -timeout 2h",
            "a task is missing: expected `change <task> [-name s] [-priority n] [-deadline t] \
             [-timeout span] [-label k=v]`, such as `change task-1697123456000001 -timeout 2h`",
        ),
        (
            "cancel task-7 -json",
            "unknown option -json: `help cancel` shows those that there are",
        ),
        (
            "task a -read-only=yes",
            "-read-only takes no value: expected it alone",
        ),
        (
            "task a -network none -network bridge",
            "-network is there twice: expected it once",
        ),
        (
            "task a -volumes a:/b",
            "unknown option -volumes: did you mean -volume?",
        ),
        ("task a -mem", "-mem has no value: expected -mem 0.5"),
        (
            "task a -env -- true",
            "-env has no value: expected -env MODE=fast",
        ),
        (
            "queue --json=yes",
            "-json takes no value: expected it alone",
        ),
        (
            "task a -name x -name y",
            "-name is there twice: expected it once",
        ),
        (
            "task a -cmd x -cmd y",
            "-cmd is there twice: expected it once",
        ),
        (
            "task a -mem lots",
            "-mem \"lots\" can't be: expected a number, such as -mem 0.5",
        ),
        (
            "task a -retries 1.5",
            "-retries \"1.5\" can't be: expected a number, such as -retries 3",
        ),
        (
            "queue -limit -1",
            "-limit \"-1\" can't be: expected a number from 1 on, such as -limit 20",
        ),
        (
            "task a -env A",
            "-env \"A\" has no '=': expected -env MODE=fast",
        ),
        (
            "task a -label A",
            "-label \"A\" has no '=': expected -label team=vision",
        ),
        (
            "task a -timeout soon",
            "-timeout \"soon\" is no span of time: expected one such as 90s, 15m or 2h",
        ),
        (
            "task a -deadline soon",
            "-deadline \"soon\" is no time: expected one such as 2026-01-31T08:00:00Z, or a span \
             from now such as 2h",
        ),
        (
            "task a -deadline 1e18",
            "-deadline \"1e18\" is not valid: expected a time from now on and at most 10 years \
             ahead, such as 2h",
        ),
        (
            "list-tasks -user -json",
            "-user has no value: expected -user alice",
        ),
        (
            "queue -limit --json",
            "-limit has no value: expected -limit 20",
        ),
        (
            "task a -mem 1 echo",
            "\"echo\" is no option: expected the image first, then options, and a command after --",
        ),
        (
            "task a --",
            "nothing follows --: expected a command, such as -- python train.py",
        ),
        (
            "task a -cmd x -- y",
            "-cmd and -- both give a command: expected one of them",
        ),
    ] {
        assert_eq!(refused(line), expected, "{line}");
    }
}

#[test]
fn a_line_that_is_wrong_shows_the_form_and_an_example() {
    for (line, expected) in [
        (
            "wokers",
            "Unknown command \"wokers\": did you mean `workers`? `help` lists all",
        ),
        ("xyzzy w", "Unknown command \"xyzzy\": `help` lists all"),
        (
            "undrian w",
            "Unknown command \"undrian\": did you mean `undrain`? `help` lists all",
        ),
        (
            "status -w --json",
            "-w and -json exclude each other: expected one of them",
        ),
        ("status -w=1", "-w takes no value: expected it alone"),
        ("stats w -jsno", "unknown option -jsno: did you mean -json?"),
        (
            "fix-resources --json",
            "unknown option -json: `help fix-resources` shows those that there are",
        ),
        (
            "task-files task-7",
            "task-files takes more words: expected `task-files <task> <user> [--json]`, such as \
             `task-files task-1697123456000001 admin`",
        ),
        (
            "help wokers",
            "Unknown command \"wokers\": did you mean `workers`? `help` lists all",
        ),
        (
            "task 'a",
            "a quote is not closed: expected a second \" or ' in the line",
        ),
        (
            "register worker-2",
            "register takes more words: expected `register <id> <host[:port]>`, such as \
             `register worker-2 192.168.1.100:50052`",
        ),
        (
            "exit now",
            "\"now\" is one word too many: expected `exit`, such as `exit`",
        ),
        (
            "task -mem 1",
            "an image is missing: expected `task [worker] <image> [options] [-- command...]`, \
             such as `task alpine:3.22 -cpu_cores 2 -mem 1 -- echo hello`",
        ),
        (
            "dispatch alpine",
            "an image is missing: expected `dispatch <worker> <image> [options] \
             [-- command...]`, such as `dispatch worker-1 alpine:3.22 -- echo hello`",
        ),
        (
            "task alpine echo hello",
            "\"hello\" is one word too many: expected `task [worker] <image> [options] \
             [-- command...]`, such as `task alpine:3.22 -cpu_cores 2 -mem 1 -- echo hello`",
        ),
        (
            "cancel -",
            "task id \"-\" is not valid: expected 1 to 64 letters, digits, '.', '_' or '-', \
             beginning with a letter or digit, such as \"task-1697123456000001\"",
        ),
        (
            "cancel ../../etc/passwd",
            "task id \"../../etc/passwd\" is not valid: expected 1 to 64 letters, digits, '.', '_' \
             or '-', beginning with a letter or digit, such as \"task-1697123456000001\"",
        ),
        (
            "unregister /etc",
            "worker id \"/etc\" is not valid: expected 1 to 64 letters, digits, '.', '_' or '-', \
             beginning with a letter or digit, such as \"worker-1\"",
        ),
        (
            "register w http://host:1",
            "address \"http://host:1\" is not valid: expected host or host:port, such as \
             192.168.1.100:50052, worker.example.org or [::1]:50052",
        ),
        (
            "register w host:99999",
            "address \"host:99999\" is not valid: expected host or host:port, such as \
             192.168.1.100:50052, worker.example.org or [::1]:50052",
        ),
    ] {
        assert_eq!(refused(line), expected, "{line}");
    }
}
