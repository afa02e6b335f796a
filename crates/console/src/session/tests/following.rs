//! `monitor`, from the queue to the end.

use bytes::Bytes;
use cloudai_files::log::{Frame, LogStream};

use super::*;

fn frame(stream: LogStream, data: &'static [u8]) -> Frame {
    Frame {
        stream,
        at_ns: 0,
        data: Bytes::from_static(data),
    }
}

#[tokio::test]
async fn a_task_is_followed_from_the_queue_to_its_end_byte_for_byte() {
    let Stage {
        master,
        screen,
        mut session,
    } = stage();
    let mut record = task(7, "");
    record.state.reason = "no worker is active".to_owned();
    master.put(record.clone());
    let running = tokio::spawn(async move {
        session.run("monitor task-7").await;
        session.failures()
    });

    // It waits, and says why.
    shows(&screen, "Task task-7 queued: no worker is active\n").await;

    // It is placed: first it pulls, then it prints, on both streams and no text at all.
    let log = master.log(&record.task, 1);
    record.state.status = TaskStatus::Pending;
    record.state.phase = Phase::Pulling;
    record.state.attempt = 1;
    record.state.worker = Some("worker-1".parse().unwrap());
    record.state.reason = String::new();
    master.put(record.clone());
    let _ = master.events.send(moved(&record));
    shows(&screen, "Task task-7 pending on worker-1: pulling\n").await;
    record.state.reason = "1 of 3 layers".to_owned();
    let _ = master.events.send(moved(&record));
    shows(&screen, "pulling: 1 of 3 layers\n").await;
    log.send(frame(LogStream::Stdout, b"one\n")).unwrap();
    log.send(frame(LogStream::Stderr, b"\xff\x00 no break"))
        .unwrap();
    shows(&screen, "no break").await;

    // It ends.
    master.put(finished(record, TaskStatus::Failed, 3));
    drop(log);
    assert_eq!(
        running.await.unwrap(),
        0,
        "a task that failed is no failed command"
    );
    let expected = [
        b"Task task-7 queued: no worker is active\n".as_slice(),
        b"Task task-7 pending on worker-1: pulling\n",
        b"Task task-7 pending on worker-1: pulling: 1 of 3 layers\n",
        b"one\n\xff\x00 no break\n",
        "❌ Task task-7 failed on worker-1 (exit code 3, 1.5s)\n".as_bytes(),
    ];
    assert_eq!(
        String::from_utf8_lossy(&screen.bytes()),
        String::from_utf8_lossy(&expected.concat())
    );
    assert_eq!(screen.bytes(), expected.concat());
}

#[tokio::test]
async fn an_attempt_after_a_lost_one_is_followed_too() {
    let Stage {
        master,
        screen,
        mut session,
    } = stage();
    let mut record = finished(task(7, ""), TaskStatus::Running, 0);
    record.state.phase = Phase::Running;
    master.put(record.clone());
    let first = master.log(&record.task, 1);
    first.send(frame(LogStream::Stdout, b"first\n")).unwrap();
    let running = tokio::spawn(async move { session.run("monitor task-7").await });
    shows(&screen, "first\n").await;

    // Its worker is lost; elsewhere it runs again, to its end.
    let second = master.log(&record.task, 2);
    second.send(frame(LogStream::Stdout, b"second\n")).unwrap();
    drop(second);
    let mut record = finished(record, TaskStatus::Completed, 0);
    record.state.attempt = 2;
    master.put(record);
    drop(first);
    running.await.unwrap();
    assert_eq!(
        screen.text(),
        "first\nsecond\n✓ Task task-7 completed on worker-1 (exit code 0, 1.5s)\n"
    );
}

#[tokio::test]
async fn an_interrupt_leaves_the_monitor_and_not_the_task() {
    let Stage {
        master,
        screen,
        mut session,
    } = stage();
    master.put(task(7, ""));
    let (interrupt, interrupted) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        let until = async {
            interrupted.await.unwrap();
        };
        let flow = session.run_until("monitor task-7", |_| until).await;
        (flow, session.failures())
    });
    shows(&screen, "Task task-7 queued\n").await;
    interrupt.send(()).unwrap();
    assert_eq!(running.await.unwrap(), (Flow::Continue, 0));
    assert!(screen.text().ends_with("\nNote: task task-7 goes on\n"));
    assert_eq!(master.asked.lock().unwrap().len(), 0);
}
