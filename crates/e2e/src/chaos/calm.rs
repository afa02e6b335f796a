//! After the faults: nothing is broken any more, and the cluster must come to rest by itself, keep what
//! it has over one more kill, and end in order.

use std::{collections::BTreeMap, path::Path, process::ExitStatus, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{
    audit::Violation,
    leftovers,
    listed::Listed,
    plan::WORKERS,
    site::{Site, is_well},
};
use crate::wait::PATIENCE;

/// Long enough for time-outs of connections that broke, for pauses between retries, and for a machine
/// that has much else to do.
const REST_WITHIN: Duration = Duration::from_secs(180);
/// A listing of everything.
const ALL: &str = "list-tasks -limit 1000000";

/// Waits until all has come to rest; what hasn't in time.
pub async fn rest(site: &Site) -> Vec<Violation> {
    let deadline = Instant::now() + REST_WITHIN;
    loop {
        site.look_after_once().await;
        let restless = restless(site).await;
        if restless.is_empty() {
            return Vec::new();
        }
        if Instant::now() > deadline {
            let what =
                |what| Violation::of_all(format!("not at rest after {REST_WITHIN:?}: {what}"));
            return restless.into_iter().map(what).collect();
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// What is not at rest, in words.
async fn restless(site: &Site) -> Vec<String> {
    let mut found = Vec::new();
    match site.ask("status").await {
        None => return vec!["the master doesn't answer".to_owned()],
        Some(status) if !is_well(&status) => {
            return vec![format!("the master is not well: {status}")];
        }
        Some(status) if status["takes_new_tasks"] != true => {
            found.push(format!(
                "the master takes nothing new: {}",
                status["held_up"]
            ));
        }
        Some(_) => {}
    }
    found.extend(site.ask("internal-state").await.map_or_else(
        || vec!["the master doesn't tell its state".to_owned()],
        |state| held(&state),
    ));
    found.extend(site.ask("workers").await.map_or_else(
        || vec!["the master doesn't tell of its workers".to_owned()],
        |workers| unwell(&workers),
    ));
    if !found.is_empty() {
        return found;
    }
    let cluster = site.cluster.to_string();
    found.extend(leftovers::named(
        "container",
        leftovers::containers(&cluster),
    ));
    found.extend(leftovers::named("volume", leftovers::volumes(&cluster)));
    for index in 0..WORKERS {
        let worker = site.worker(index).await;
        found.extend(spooled(worker.machine.data_dir()));
    }
    found
}

/// What the master still holds for anybody. A field that is not there is something held.
fn held(state: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for count in ["live", "waiting"] {
        if state[count] != 0 {
            found.push(format!("{} tasks are {count}", state[count]));
        }
    }
    found.extend(listed_in(state, &["stop_orders"], ""));
    let workers = state["workers"].as_array().map_or(&[][..], Vec::as_slice);
    if workers.len() != WORKERS {
        found.push(format!("the state of {} workers is told", workers.len()));
    }
    for worker in workers {
        let whose = format!("{} ", worker["worker_id"].as_str().unwrap_or_default());
        found.extend(listed_in(worker, &["promises", "differences"], &whose));
        found.extend(listed_in(&worker["reported"], &["attempts"], &whose));
    }
    found
}

fn listed_in(from: &Value, fields: &[&str], whose: &str) -> Vec<String> {
    let mut found = Vec::new();
    for field in fields {
        match from[*field].as_array() {
            Some(list) => found.extend(list.iter().map(|one| format!("{whose}{field}: {one}"))),
            None => found.push(format!("{whose}{field} is not told: {from}")),
        }
    }
    found
}

/// Workers that are not as they were at first.
fn unwell(workers: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let all = workers.as_array().map_or(&[][..], Vec::as_slice);
    if all.len() != WORKERS {
        found.push(format!("{} workers are listed", all.len()));
    }
    for worker in all {
        let is_idle = ["cpu", "memory", "storage", "gpu"]
            .iter()
            .all(|resource| worker[format!("allocated_{resource}")] == 0.0);
        if worker["status"] != "active" || worker["reason"] != "" || !is_idle {
            found.push(format!("a worker is not idle and well: {worker}"));
        }
    }
    found
}

/// What a worker has not got rid of.
fn spooled(data_dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["spool", "spool/damaged"] {
        match leftovers::names_in(&data_dir.join(folder)) {
            Ok(names) => {
                let tasks = names.iter().filter(|name| name.starts_with("task-"));
                let in_words = |name| format!("{} holds {folder}/{name}", data_dir.display());
                found.extend(tasks.map(in_words));
            }
            Err(why) => found.push(why),
        }
    }
    found
}

/// Every task that the master lists.
///
/// # Errors
/// If it doesn't, though nothing is broken.
pub async fn listed(site: &Site) -> Result<Vec<Listed>, Violation> {
    for _ in 0..3 {
        if let Some(list) = site.ask(ALL).await
            && let Some(tasks) = Listed::all(&list)
        {
            return Ok(tasks);
        }
    }
    let what = "the master doesn't list its tasks, though nothing is broken any more";
    Err(Violation::of_all(what))
}

/// Kills the master once more; what of the listing was not on the disk.
///
/// # Errors
/// If it doesn't come back.
pub async fn survives_a_kill(site: &Site, before: &[Listed]) -> Result<Vec<Violation>, Violation> {
    {
        let mut master = site.master().await;
        master.kill().await;
        master.start();
    }
    if site.is_ready_within(PATIENCE).await.is_none() {
        let what = format!("the master is not ready {PATIENCE:?} after a kill");
        return Err(Violation::of_all(what));
    }
    let after = listed(site).await?;
    let by_id = |tasks: &[Listed]| -> BTreeMap<String, Listed> {
        tasks.iter().map(|it| (it.id.clone(), it.clone())).collect()
    };
    let (before, after) = (by_id(before), by_id(&after));
    let ids: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed = ids
        .into_iter()
        .filter(|id| before.get(*id) != after.get(*id));
    let in_words = |id: &String| {
        let (was, is) = (before.get(id), after.get(id));
        Violation::of(id, format!("was {was:?}, and is {is:?} after a kill"))
    };
    Ok(changed.map(in_words).collect())
}

/// Ends master and workers in order and looks at the store; what was not in order, and what they did
/// before that they may not.
pub async fn ends_in_order(site: &Site) -> Vec<Violation> {
    let mut found = Vec::new();
    for index in 0..WORKERS {
        let mut worker = site.worker(index).await;
        let status = worker.machine.ends_in_order().await;
        found.extend(not_in_order(&format!("worker-{}", index + 1), status));
        found.extend(worker.machine.found());
    }
    let mut master = site.master().await;
    // One that doesn't read commands any more has ended, or doesn't in time, which is found out next.
    let _ = timeout(PATIENCE, master.type_line("exit")).await;
    let status = master.ends_when_asked().await;
    found.extend(not_in_order("the master", status));
    found.extend(master.found());
    drop(master);
    match timeout(PATIENCE, site.store_tool(&["store", "check"])).await {
        Err(_) => found.push(format!("`store check` has not ended after {PATIENCE:?}")),
        Ok(checked) if !checked.status.success() => {
            let said = [checked.stdout, checked.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            found.push(format!("the store is not sound: {said}"));
        }
        Ok(_) => {}
    }
    found.into_iter().map(Violation::of_all).collect()
}

fn not_in_order(name: &str, status: Option<ExitStatus>) -> Option<String> {
    match status {
        None => Some(format!(
            "{name} has not ended {PATIENCE:?} after it was asked to"
        )),
        Some(status) if !status.success() => {
            Some(format!("{name} ended with {status} when it was asked to"))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at_rest() -> Value {
        let idle = json!({"worker_id": "w", "promises": [], "differences": [],
            "reported": {"attempts": []}});
        json!({"live": 0, "waiting": 0, "stop_orders": [], "workers": [idle, idle, idle, idle]})
    }

    #[test]
    fn what_is_held_for_anybody_is_named() {
        let mut all = at_rest();
        assert_eq!(held(&all), [""; 0]);
        all["live"] = json!(1);
        all["stop_orders"] = json!([{"task_id": "task-1"}]);
        all["workers"][0]["promises"] = json!([{"task_id": "task-2"}]);
        all["workers"][0]["reported"]["attempts"] = json!([{"task_id": "task-3"}]);
        assert_eq!(held(&all).len(), 4, "{:?}", held(&all));
    }

    #[test]
    fn what_is_not_told_is_not_taken_for_nothing() {
        for path in [
            "/live",
            "/waiting",
            "/stop_orders",
            "/workers",
            "/workers/3",
            "/workers/1/promises",
            "/workers/1/differences",
            "/workers/1/reported",
            "/workers/1/reported/attempts",
        ] {
            let mut state = at_rest();
            *state.pointer_mut(path).unwrap() = Value::Null;
            assert!(!held(&state).is_empty(), "{path}");
        }
    }

    #[test]
    fn a_program_that_does_not_end_in_order_is_named() {
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(not_in_order("w", Some(ExitStatus::from_raw(0))), None);
        assert!(not_in_order("w", Some(ExitStatus::from_raw(9))).is_some());
        assert!(not_in_order("w", None).is_some());
    }

    #[test]
    fn a_worker_with_a_reservation_is_not_idle() {
        let idle = json!({"status": "active", "reason": "", "allocated_cpu": 0.0,
            "allocated_memory": 0.0, "allocated_storage": 0.0, "allocated_gpu": 0.0});
        let workers = |last: Value| json!([idle, idle, idle, last]);
        assert_eq!(unwell(&workers(idle.clone())), [""; 0]);
        let mut busy = idle.clone();
        busy["allocated_memory"] = json!(0.5);
        assert_eq!(unwell(&workers(busy)).len(), 1);
        let mut silent = idle.clone();
        silent["status"] = json!("inactive");
        assert_eq!(unwell(&workers(silent)).len(), 1);
        assert_eq!(unwell(&json!([idle])).len(), 1);
    }
}
