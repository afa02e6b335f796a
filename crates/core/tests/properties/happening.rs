//! What may happen to a core, in any order.

use proptest::prelude::*;

/// Something that may happen; indices are taken modulo what there is.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    Submit {
        quarter_cores: u8,
        gpu: u8,
        priority: u8,
        target: Option<u8>,
        retries: u8,
        /// Bits: which time-outs it has, whether a run's takes a retry, and whether it is on hold.
        time_outs: u8,
        user: u8,
    },
    /// Quarters of cores, and whose.
    SubmitMany(Vec<(u8, u8)>),
    Hold {
        task: usize,
        hold: bool,
    },
    Priority {
        task: usize,
        level: u8,
    },
    /// In quarters of cores, and in eighths of a device.
    Limits {
        user: u8,
        quarter_cores: Option<u8>,
        gpu: Option<u8>,
        queued: Option<u8>,
    },
    Change {
        task: usize,
        seconds: Option<u8>,
    },
    Drain {
        worker: u8,
        draining: bool,
    },
    Cancel(usize),
    AddWorker(u8),
    RemoveWorker(u8),
    Hello {
        worker: u8,
        cores: u8,
        gpus: u8,
    },
    Heartbeat {
        worker: u8,
        forgets: bool,
        restarted: bool,
        phase: u8,
    },
    Accepted(usize),
    Refused(usize),
    Undelivered(usize),
    Progress {
        attempt: usize,
        phase: u8,
    },
    Finished {
        attempt: usize,
        exit: u8,
    },
    StopAnswered {
        attempt: usize,
        held: bool,
    },
    Time(u16),
    Restart,
}

pub(crate) fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    let worker = 0..3_u8;
    let any_index = any::<usize>();
    prop_oneof![
        6 => (
            1..16_u8,
            0..8_u8,
            0..100_u8,
            proptest::option::weighted(0.2, 0..3_u8),
            0..3_u8,
            0..32_u8,
            0..3_u8,
        )
            .prop_map(|(quarter_cores, gpu, priority, target, retries, time_outs, user)| H::Submit {
                quarter_cores, gpu, priority, target, retries, time_outs, user
            }),
        2 => proptest::collection::vec((1..16_u8, 0..3_u8), 1..6).prop_map(H::SubmitMany),
        2 => (any_index, any::<bool>()).prop_map(|(task, hold)| H::Hold { task, hold }),
        1 => (any_index, 0..100_u8).prop_map(|(task, level)| H::Priority { task, level }),
        2 => (
            0..3_u8,
            proptest::option::of(0..16_u8),
            proptest::option::of(0..16_u8),
            proptest::option::weighted(0.2, 0..5_u8),
        )
            .prop_map(|(user, quarter_cores, gpu, queued)| H::Limits {
                user, quarter_cores, gpu, queued
            }),
        2 => (any_index, proptest::option::of(1..60_u8))
            .prop_map(|(task, seconds)| H::Change { task, seconds }),
        1 => (worker.clone(), any::<bool>())
            .prop_map(|(worker, draining)| H::Drain { worker, draining }),
        1 => any_index.prop_map(H::Cancel),
        1 => worker.clone().prop_map(H::AddWorker),
        1 => worker.clone().prop_map(H::RemoveWorker),
        2 => (worker.clone(), 0..5_u8, 0..3_u8)
            .prop_map(|(worker, cores, gpus)| H::Hello { worker, cores, gpus }),
        4 => (worker, any::<bool>(), proptest::bool::weighted(0.2), 0..6_u8).prop_map(
            |(worker, forgets, restarted, phase)| H::Heartbeat { worker, forgets, restarted, phase }
        ),
        3 => any_index.prop_map(H::Accepted),
        1 => any_index.prop_map(H::Refused),
        1 => any_index.prop_map(H::Undelivered),
        4 => (any_index, 0..6_u8).prop_map(|(attempt, phase)| H::Progress { attempt, phase }),
        4 => (any_index, 0..7_u8).prop_map(|(attempt, exit)| H::Finished { attempt, exit }),
        1 => (any_index, any::<bool>())
            .prop_map(|(attempt, held)| H::StopAnswered { attempt, held }),
        3 => (0..20_000_u16).prop_map(H::Time),
        1 => Just(H::Restart),
    ]
}
