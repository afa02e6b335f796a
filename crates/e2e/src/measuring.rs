//! What benchmarks measure with: percentiles, what a process takes, flushes of a disk, submits over gRPC.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use crate::cluster::{Cluster, test_task};

/// A size that the kernel tells of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Resident now.
    Now,
    /// The most that was.
    Most,
}

/// The value that this many percent of all are not above.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn percentile<T: Copy>(sorted: &[T], percent: usize) -> T {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Resident memory of a process, in MiB.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn memory_mb(pid: u32, which: Memory) -> f64 {
    let field = match which {
        Memory::Now => "VmRSS:",
        Memory::Most => "VmHWM:",
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kb = line.unwrap().trim().trim_end_matches(" kB").trim();
    kb.parse::<f64>().unwrap() / 1024.0
}

/// From here on [`Memory::Most`] of a process is told anew.
///
/// # Errors
/// If it is somebody else's, or gone.
pub fn forget_most_memory(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

/// The processor time that a process has taken so far.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold anything: `utime` and `stime` are the 12th and 13th.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = times.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// How often a second the disk under this path makes a few hundred bytes safe, one after the other.
///
/// # Panics
/// If the file can't be written.
#[must_use]
pub fn flushes_per_s(path: &Path) -> f64 {
    let mut file = fs::File::create(path).unwrap();
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_secs(1) {
        file.write_all(&[7; 300]).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

/// Submits a second over gRPC, each answered when it is flushed, this many in flight and `count` in all.
///
/// # Panics
/// If one is refused.
pub async fn submits_per_s(cluster: &Cluster, in_flight: usize, count: usize) -> f64 {
    let client = cluster.client().await;
    let places = Arc::new(Semaphore::new(in_flight));
    let began = Instant::now();
    let mut submits = JoinSet::new();
    for _ in 0..count {
        let place = places.clone().acquire_owned().await.unwrap();
        let mut client = client.clone();
        submits.spawn(async move {
            client.submit(test_task(&["exit", "0"])).await.unwrap();
            drop(place);
        });
        while submits.try_join_next().is_some() {}
    }
    submits.join_all().await;
    count as f64 / began.elapsed().as_secs_f64()
}
