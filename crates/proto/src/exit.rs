//! A container's end: `ExitReport` and [`ContainerEnd`].

use std::time::Duration;

use cloudai_model::{ContainerEnd, Exit, PeakUsage, Wall, attempt::ExitKind};

use crate::{cluster, error::WireError, field};

/// As the wire has it.
#[must_use]
pub fn to_wire(end: ContainerEnd) -> cluster::ExitReport {
    let kind = end.exit.kind();
    let (exit_code, signal, reason) = match end.exit {
        Exit::Exited(code) => (Some(code), 0, String::new()),
        Exit::Signalled(signal) => (None, signal, String::new()),
        Exit::NotStarted(reason) | Exit::Stopped(reason) | Exit::Interrupted(reason) => {
            (None, 0, reason)
        }
        Exit::OutOfMemory | Exit::Cancelled => (None, 0, String::new()),
    };
    cluster::ExitReport {
        kind: kind.as_str().to_owned(),
        exit_code: exit_code.unwrap_or_default(),
        has_exit_code: exit_code.is_some(),
        signal,
        reason,
        started_at_ms: end.started_at.map(|at| at.0),
        finished_at_ms: end.finished_at.0,
        peak_memory_bytes: end.usage.memory_bytes,
        cpu_time_ns: u64::try_from(end.usage.cpu_time.as_nanos()).unwrap_or(u64::MAX),
        image_digest: end.image_digest,
    }
}

/// Reads it from the wire.
///
/// # Errors
/// If the kind is no word known here, or says that there is a code or signal and there is none.
pub fn from_wire(wire: cluster::ExitReport) -> Result<ContainerEnd, WireError> {
    let reason = field::shown_text(wire.reason);
    let exit = match field::parsed("exit.kind", &wire.kind)? {
        ExitKind::Exited if wire.has_exit_code => Exit::Exited(wire.exit_code),
        ExitKind::Exited => {
            let message = "absent: expected the code that the command ended with";
            return Err(WireError::new("exit.exit_code", message));
        }
        ExitKind::Signalled if wire.signal > 0 => Exit::Signalled(wire.signal),
        ExitKind::Signalled => {
            let message = format!("{} is not valid: expected a signal's number", wire.signal);
            return Err(WireError::new("exit.signal", message));
        }
        ExitKind::OutOfMemory => Exit::OutOfMemory,
        ExitKind::Cancelled => Exit::Cancelled,
        ExitKind::NotStarted => Exit::NotStarted(reason),
        ExitKind::Stopped => Exit::Stopped(reason),
        ExitKind::Interrupted => Exit::Interrupted(reason),
    };
    Ok(ContainerEnd {
        exit,
        started_at: wire.started_at_ms.map(Wall),
        finished_at: Wall(wire.finished_at_ms),
        usage: PeakUsage {
            memory_bytes: wire.peak_memory_bytes,
            cpu_time: Duration::from_nanos(wire.cpu_time_ns),
        },
        image_digest: wire.image_digest.map(field::shown_text),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arbitrary;

    proptest! {
        #[test]
        fn an_end_survives_the_wire(end in arbitrary::container_end()) {
            prop_assert_eq!(from_wire(to_wire(end.clone())), Ok(end));
        }
    }

    #[test]
    fn words_are_cut_where_nobody_reads_on() {
        let end = from_wire(cluster::ExitReport {
            kind: "stopped".to_owned(),
            reason: "x".repeat(1 << 20),
            image_digest: Some("y".repeat(1 << 20)),
            ..Default::default()
        });
        let end = end.unwrap();
        assert!(end.exit.to_string().len() < 5000);
        assert!(end.image_digest.unwrap().len() < 5000);
    }

    #[test]
    fn an_end_without_its_number_is_refused() {
        let report = |kind: &str| cluster::ExitReport {
            kind: kind.to_owned(),
            ..Default::default()
        };
        assert_eq!(
            from_wire(report("exited")).unwrap_err().field,
            "exit.exit_code"
        );
        assert_eq!(
            from_wire(report("signalled")).unwrap_err().field,
            "exit.signal"
        );
        let error = from_wire(report("exploded")).unwrap_err().to_string();
        assert!(
            error.starts_with("exit.kind: \"exploded\" is no exit kind"),
            "{error}"
        );
    }
}
