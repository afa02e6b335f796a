//! A worker's last word on an attempt: `TaskResult` and [`Completion`].

use cloudai_model::{AttemptReport, ContainerEnd, Exit, PeakUsage, Wall, Whole, WorkerId};

use crate::{cluster, error::WireError, exit, field};

/// How an attempt ended, as its worker reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Who reports.
    pub worker: WorkerId,
    /// The report. From an old node its attempt's number may be 0 (see
    /// [`cloudai_model::old_node::readings`]), and that log and files are whole only means that it has no
    /// word for the contrary.
    pub report: AttemptReport,
    /// Bytes of framed log that the worker holds of this attempt, if it says.
    pub log_length: Option<u64>,
    /// What old nodes send beside; a report that has it came from one.
    pub old: Option<OldResult>,
}

/// The part of a result that only old nodes send or read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OldResult {
    /// The log as text.
    pub logs: String,
    /// Where the worker left the result.
    pub result_location: String,
    /// Paths of the output files.
    pub output_files: Vec<String>,
}

impl Completion {
    /// As the wire has it, readable by old masters; `old` is what they are told beside.
    #[must_use]
    pub fn into_wire(self) -> cluster::TaskResult {
        let report = self.report;
        let old = self.old.unwrap_or_default();
        let status = if report.end.exit.is_success() {
            "success"
        } else {
            "failure"
        };
        cluster::TaskResult {
            task_id: report.attempt.task.to_string(),
            worker_id: self.worker.to_string(),
            status: status.to_owned(),
            logs: old.logs,
            result_location: old.result_location,
            output_files: old.output_files,
            attempt: report.attempt.number,
            exit: Some(exit::to_wire(report.end)),
            files_complete: report.files.is_complete(),
            files_reason: report.files.reason().unwrap_or_default().to_owned(),
            log_length: self.log_length,
            log_complete: report.log.is_complete(),
            log_reason: report.log.reason().unwrap_or_default().to_owned(),
            stopped_in_order: report.in_order,
        }
    }

    /// For an old master: in the old fields alone.
    #[must_use]
    pub fn into_old_wire(self) -> cluster::TaskResult {
        let wire = self.into_wire();
        cluster::TaskResult {
            task_id: wire.task_id,
            worker_id: wire.worker_id,
            status: wire.status,
            logs: wire.logs,
            result_location: wire.result_location,
            output_files: wire.output_files,
            ..Default::default()
        }
    }

    /// Reads it from the wire. An old node doesn't say when its container ended: then
    /// `received_at` is taken.
    ///
    /// # Errors
    /// If the worker, the task, or a new node's attempt or exit can't be meant.
    pub fn from_wire(wire: cluster::TaskResult, received_at: Wall) -> Result<Self, WireError> {
        let worker = field::parsed("worker_id", &wire.worker_id)?;
        let Some(end) = wire.exit else {
            return Self::from_old_wire(worker, wire, received_at);
        };
        Ok(Self {
            worker,
            report: AttemptReport {
                attempt: field::numbered_attempt(&wire.task_id, wire.attempt)?,
                end: exit::from_wire(end)?,
                log: whole(wire.log_complete, wire.log_reason),
                files: whole(wire.files_complete, wire.files_reason),
                in_order: wire.stopped_in_order,
            },
            log_length: wire.log_length,
            old: None,
        })
    }

    fn from_old_wire(
        worker: WorkerId,
        wire: cluster::TaskResult,
        received_at: Wall,
    ) -> Result<Self, WireError> {
        if wire.attempt != 0 {
            let message = "absent: expected how the container of this attempt ended";
            return Err(WireError::new("exit", message));
        }
        Ok(Self {
            worker,
            report: AttemptReport {
                attempt: field::attempt(&wire.task_id, 0)?,
                end: ContainerEnd {
                    exit: exit_of_status(&wire.status),
                    started_at: None,
                    finished_at: received_at,
                    usage: PeakUsage::default(),
                    image_digest: None,
                },
                log: Whole::Complete,
                files: Whole::Complete,
                in_order: false,
            },
            log_length: None,
            old: Some(OldResult {
                logs: wire.logs,
                result_location: wire.result_location,
                output_files: wire.output_files,
            }),
        })
    }
}

/// An old node knows no exit code. An end told in an unknown word is an end all the same: refused,
/// the task would never get another.
fn exit_of_status(status: &str) -> Exit {
    match status.to_ascii_lowercase().as_str() {
        "success" | "completed" => Exit::Exited(0),
        "cancelled" => Exit::Cancelled,
        "failure" | "failed" => Exit::Stopped("the worker reported failure".to_owned()),
        _ => {
            let shown: String = status.chars().take(80).collect();
            Exit::Stopped(format!("the worker reported the unknown status {shown:?}"))
        }
    }
}

fn whole(complete: bool, reason: String) -> Whole {
    if complete {
        Whole::Complete
    } else {
        Whole::Incomplete(field::shown_text(reason))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};

    use cloudai_model::old_node;

    use super::*;
    use crate::arbitrary;

    const ARRIVAL: Wall = Wall(99);

    proptest! {
        #[test]
        fn a_report_survives_the_wire(
            report in arbitrary::report(),
            log_length in option::of(any::<u64>()),
        ) {
            let completion = Completion {
                worker: "worker-1".parse().unwrap(),
                report,
                log_length,
                old: None,
            };
            let read = Completion::from_wire(completion.clone().into_wire(), ARRIVAL);
            prop_assert_eq!(read, Ok(completion));
        }
    }

    fn old(status: &str) -> cluster::TaskResult {
        cluster::TaskResult {
            task_id: "task-7-2".to_owned(),
            worker_id: "worker-1".to_owned(),
            status: status.to_owned(),
            logs: "hello\n".to_owned(),
            output_files: vec!["a.txt".to_owned()],
            ..Default::default()
        }
    }

    #[test]
    fn an_old_workers_status_becomes_an_exit() {
        let exit = |status: &str| {
            let completion = Completion::from_wire(old(status), ARRIVAL).unwrap();
            completion.report.end.exit
        };
        assert_eq!(exit("success"), Exit::Exited(0));
        assert_eq!(exit("completed"), Exit::Exited(0));
        assert_eq!(exit("cancelled"), Exit::Cancelled);
        for status in ["failure", "failed"] {
            assert_eq!(exit(status).to_string(), "the worker reported failure");
            assert_eq!(
                exit(status).code(),
                None,
                "it knows no code, so none is made up"
            );
        }
        assert!(exit("odd").to_string().contains("\"odd\""));
        assert!(!exit("").is_success());
    }

    #[test]
    fn an_old_workers_result_is_kept_with_its_text_and_dated_on_arrival() {
        let completion = Completion::from_wire(old("success"), ARRIVAL).unwrap();
        assert_eq!(completion.report.end.finished_at, ARRIVAL);
        let readings = old_node::readings(&completion.report.attempt);
        let readings: Vec<_> = readings.iter().map(ToString::to_string).collect();
        assert_eq!(readings, ["task-7-2-1", "task-7-2"]);
        let old = completion.old.unwrap();
        assert_eq!((old.logs.as_str(), old.output_files.len()), ("hello\n", 1));
    }

    #[test]
    fn an_old_master_reads_success_or_failure() {
        for (exit, status) in [
            (Exit::Exited(0), "success"),
            (Exit::Exited(3), "failure"),
            (Exit::Cancelled, "failure"),
        ] {
            let mut completion = Completion::from_wire(old("success"), ARRIVAL).unwrap();
            completion.report.end.exit = exit;
            let wire = completion.into_wire();
            assert_eq!(wire.status, status);
            assert_eq!(wire.logs, "hello\n");
        }
    }

    #[test]
    fn why_something_is_missing_is_cut_where_nobody_reads_on() {
        let wire = cluster::TaskResult {
            attempt: 1,
            exit: Some(cluster::ExitReport {
                kind: "cancelled".to_owned(),
                ..Default::default()
            }),
            files_reason: "x".repeat(1 << 20),
            log_reason: "y".repeat(1 << 20),
            ..old("failure")
        };
        let report = Completion::from_wire(wire, ARRIVAL).unwrap().report;
        for whole in [report.files, report.log] {
            assert!(whole.reason().unwrap().len() < 5000);
        }
    }

    #[test]
    fn a_new_node_must_say_attempt_and_exit() {
        let wire = cluster::TaskResult {
            attempt: 2,
            ..old("success")
        };
        assert_eq!(
            Completion::from_wire(wire, ARRIVAL).unwrap_err().field,
            "exit"
        );
        let wire = cluster::TaskResult {
            exit: Some(cluster::ExitReport::default()),
            ..old("success")
        };
        assert_eq!(
            Completion::from_wire(wire, ARRIVAL).unwrap_err().field,
            "attempt"
        );
    }
}
