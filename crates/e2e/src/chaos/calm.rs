//! After the faults: nothing is broken any more, and the cluster must come to rest by itself, keep what
//! it has over one more kill, and end in order.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{audit::Violation, leftovers, listed::Listed, plan::WORKERS, site::Site};

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
        Some(status) if status["ready"] != true || !status["degraded"].is_null() => {
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
    let containers = leftovers::containers(&cluster).into_iter();
    found.extend(containers.map(|id| format!("container {id}")));
    let volumes = leftovers::volumes(&cluster).into_iter();
    found.extend(volumes.map(|name| format!("volume {name}")));
    for index in 0..WORKERS {
        let worker = site.worker(index).await;
        found.extend(spooled(worker.machine.data_dir()));
    }
    found
}

/// What the master still holds for anybody.
fn held(state: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for count in ["live", "waiting"] {
        if state[count] != 0 {
            found.push(format!("{} tasks are {count}", state[count]));
        }
    }
    let lists = |from: &Value, fields: &[&str], whose: &str| {
        let all = fields.iter().flat_map(|field| {
            let list = from[*field].as_array().cloned().unwrap_or_default();
            list.into_iter().map(move |one| (*field, one))
        });
        all.map(|(field, one)| format!("{whose}{field}: {one}"))
            .collect::<Vec<_>>()
    };
    found.extend(lists(state, &["stop_orders"], ""));
    for worker in state["workers"].as_array().into_iter().flatten() {
        let whose = format!("{} ", worker["worker_id"].as_str().unwrap_or_default());
        found.extend(lists(worker, &["promises", "differences"], &whose));
        found.extend(lists(&worker["reported"], &["attempts"], &whose));
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
        for name in leftovers::names_in(&data_dir.join(folder)) {
            if name.starts_with("task-") {
                found.push(format!("{} holds {folder}/{name}", data_dir.display()));
            }
        }
    }
    found
}

/// Every task that the master lists.
///
/// # Panics
/// If it doesn't answer, though nothing is broken.
pub async fn listed(site: &Site) -> Vec<Listed> {
    for _ in 0..3 {
        if let Some(list) = site.ask(ALL).await
            && let Some(tasks) = Listed::all(&list)
        {
            return tasks;
        }
    }
    panic!("the master doesn't list its tasks, though nothing is broken any more");
}

/// Kills the master once more; what of the listing was not on the disk.
pub async fn survives_a_kill(site: &Site, before: &[Listed]) -> Vec<Violation> {
    {
        let mut master = site.master().await;
        master.kill().await;
        master.start();
    }
    site.is_ready().await;
    let after = listed(site).await;
    let by_id = |tasks: &[Listed]| -> BTreeMap<String, Listed> {
        tasks.iter().map(|it| (it.id.clone(), it.clone())).collect()
    };
    let (before, after) = (by_id(before), by_id(&after));
    let ids: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    ids.into_iter()
        .filter(|id| before.get(*id) != after.get(*id))
        .map(|id| {
            let (was, is) = (before.get(id), after.get(id));
            Violation::of(id, format!("was {was:?}, and is {is:?} after a kill"))
        })
        .collect()
}

/// Ends master and workers in order and looks at the store; what was not in order.
pub async fn ends_in_order(site: &Site) -> Vec<Violation> {
    let mut found = Vec::new();
    for index in 0..WORKERS {
        let mut worker = site.worker(index).await;
        let code = worker.machine.ends_in_order().await;
        if code != Some(0) {
            let what = format!("worker-{} ended in order with {code:?}", index + 1);
            found.push(Violation::of_all(what));
        }
        found.extend(worker.machine.ends().iter().map(Violation::of_all));
    }
    let mut master = site.master().await;
    // One that doesn't read commands any more has ended, which the next line finds out.
    let _ = master.type_line("exit").await;
    let code = master.ends_when_asked().await;
    if code != Some(0) {
        let what = format!("the master ended in order with {code:?}");
        found.push(Violation::of_all(what));
    }
    found.extend(master.ends().iter().map(Violation::of_all));
    drop(master);
    let checked = site.store_tool(&["store", "check"]).await;
    if !checked.status.success() {
        let said = [checked.stdout, checked.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        found.push(Violation::of_all(format!("the store is not sound: {said}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_held_for_anybody_is_named() {
        let idle = json!({"live": 0, "waiting": 0, "stop_orders": [], "workers": [
            {"worker_id": "w", "promises": [], "differences": [], "reported": {"attempts": []}},
        ]});
        assert_eq!(held(&idle), [""; 0]);
        let mut all = idle;
        all["live"] = json!(1);
        all["stop_orders"] = json!([{"task_id": "task-1"}]);
        all["workers"][0]["promises"] = json!([{"task_id": "task-2"}]);
        all["workers"][0]["reported"]["attempts"] = json!([{"task_id": "task-3"}]);
        assert_eq!(held(&all).len(), 4, "{:?}", held(&all));
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
