//! Room on the disks that the master writes to: watched, and told to whoever has to wait for it.
//!
//! With less free than the watermark no new task is taken and none is placed. With less than half of
//! it logs and files are left with their workers, which keep them: what is left then is for the
//! store, so that ends can be written down. When even that is gone, a reserve is given up bit by
//! bit, and after it the store waits for as long as it takes: ending the process would make no room.

mod disks;
mod watermark;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cloudai_core::Input;
use cloudai_files::space::{DiskSpace, Reserve};
use cloudai_model::{Wall, resources::GB};
use cloudai_operator::Disk;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tracing::{debug, info, warn};

pub use self::watermark::{Watermark, WatermarkError, watermark};
use crate::core_loop::CoreHandle;

/// How often the disks are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The store's reserve is a part of what is to stay free,
const RESERVE_PART: u64 = 4;
/// and never more than this.
const MOST_RESERVE: u64 = GB / 16;
/// With less than this nothing can be written.
const NOTHING: u64 = 64 << 10;

/// How it stands with the room on the disks.
#[derive(Debug, Clone, Default)]
struct State {
    disks: Vec<Disk>,
    /// Since when the store waits for room, and what it said.
    store_waits: Option<(Wall, String)>,
}

struct Shared {
    /// The data directory, and what else lies in it: what it holds, and its folder.
    folders: Vec<(&'static str, PathBuf)>,
    /// Whether the store writes to the data directory.
    store_is_here: bool,
    watermark: Watermark,
    reserve: Mutex<Option<Reserve>>,
    state: watch::Sender<State>,
    look_now: Notify,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Room(Arc<Shared>);

impl Room {
    /// The room for what lies in this data directory; looks at it once.
    #[must_use]
    pub fn of(data_dir: &Path, store_is_here: bool, watermark: Watermark) -> Self {
        let data = if store_is_here { "store" } else { "data" };
        let folders = vec![
            (data, data_dir.to_owned()),
            ("logs", data_dir.join("logs")),
            ("files", data_dir.join("files")),
        ];
        let room = Self(Arc::new(Shared {
            folders,
            store_is_here,
            watermark,
            reserve: Mutex::new(None),
            state: watch::Sender::new(State::default()),
            look_now: Notify::new(),
        }));
        room.look();
        let keep_free = room
            .0
            .state
            .borrow()
            .disks
            .first()
            .map(|d| d.keep_free_bytes);
        let bytes = (keep_free.unwrap_or(0) / RESERVE_PART).min(MOST_RESERVE);
        if bytes > 0 && store_is_here {
            let reserve = Reserve::new(data_dir.join("reserve"), bytes);
            *lock(&room.0.reserve) = Some(reserve);
            room.take_reserve();
        }
        room
    }

    /// Room without an end, for tests and for the doors of `fuzzing`.
    pub(crate) fn endless() -> Self {
        let nothing = watermark("0").expect("it is an amount");
        Self::of(Path::new("."), false, nothing)
    }

    /// Watches the disks for as long as the core is there.
    pub async fn watch(self, core: CoreHandle) {
        let mut told = None;
        loop {
            let room = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                room.look();
                room.take_reserve();
            });
            if looked.await.is_err() {
                return;
            }
            let held_up = self.held_up();
            if held_up != told {
                match (&told, &held_up) {
                    (None, Some(why)) => warn!("no new task is taken: {why}"),
                    (Some(_), None) => info!("there is room again: new tasks are taken"),
                    _ => {}
                }
                let input = Input::HoldUp(held_up.as_deref().map(Arc::from));
                if core.tell(input).await.is_err() {
                    return;
                }
                told = held_up;
            }
            // Whether somebody has found a disk full or it is time: look again.
            let _ = timeout(LOOK_INTERVAL, self.0.look_now.notified()).await;
        }
    }

    fn look(&self) {
        let before = self.0.state.borrow().disks.clone();
        let disks = disks::look(&self.0.folders, self.0.watermark, &before);
        let changed = disks != before;
        self.0.state.send_if_modified(|state| {
            state.disks = disks;
            changed
        });
    }

    /// Takes the store's reserve back, once there is room enough for new tasks, too.
    fn take_reserve(&self) {
        if self.store_disk().is_none_or(|disk| disk.is_low) {
            return;
        }
        if let Some(reserve) = &*lock(&self.0.reserve)
            && let Err(error) = reserve.take()
        {
            debug!(
                error = &error as &dyn std::error::Error,
                "no room is held back"
            );
        }
    }

    fn store_disk(&self) -> Option<Disk> {
        self.0.state.borrow().disks.first().cloned()
    }

    /// The disks, as they were a moment ago.
    #[must_use]
    pub fn disks(&self) -> Vec<Disk> {
        self.0.state.borrow().disks.clone()
    }

    /// Why no new task is taken, and what to do; `None`: they are.
    #[must_use]
    pub fn held_up(&self) -> Option<String> {
        if let Some(why) = self.store_waits() {
            return Some(why);
        }
        let state = self.0.state.borrow();
        let low = state.disks.iter().find(|disk| disk.is_low)?;
        Some(disks::told(low))
    }

    /// Why nothing can be stored, and what to do; `None`: it can.
    #[must_use]
    pub fn store_waits(&self) -> Option<String> {
        let state = self.0.state.borrow();
        let (since, why) = state.store_waits.as_ref()?;
        Some(format!(
            "{why} (the store waits since {since}, what was answered is safe)"
        ))
    }

    /// A write of the store found no room, on the disk of the data directory or elsewhere; whether
    /// it may be tried again at once, in the reserve.
    pub(crate) fn store_found_none(
        &self,
        why: &(dyn std::error::Error + 'static),
        is_here: bool,
    ) -> bool {
        self.0.look_now.notify_one();
        let reserve = lock(&self.0.reserve);
        let gave_up = is_here && reserve.as_ref().is_some_and(Reserve::give_up_some);
        drop(reserve);
        if !gave_up {
            self.0.state.send_if_modified(|state| {
                let is_news = state.store_waits.is_none();
                if is_news {
                    warn!(error = why, "the store waits for room on its disk");
                    state.store_waits = Some((cloudai_clock::now().wall, why.to_string()));
                }
                is_news
            });
        }
        gave_up
    }

    /// A write of the store came through.
    pub(crate) fn store_wrote(&self) {
        let waited = self.0.state.send_if_modified(|state| {
            let waited = state.store_waits.take().is_some();
            if waited {
                info!("the store has room again");
            }
            waited
        });
        if waited {
            self.0.look_now.notify_one();
        }
    }

    /// Whether the store's disk is full, whatever it said itself.
    pub(crate) fn store_disk_is_full(&self) -> bool {
        let data_dir = &self.0.folders[0].1;
        self.0.store_is_here
            && DiskSpace::of(data_dir).is_ok_and(|space| space.free_bytes < NOTHING)
    }

    /// Somebody found a disk full before this did.
    pub(crate) fn found_full(&self) {
        self.0.look_now.notify_one();
    }

    /// Why files stay with their workers for now; `None`: they are taken.
    pub(crate) fn files_wait(&self) -> Option<String> {
        self.waits("files")
    }

    /// Why logs stay with their workers for now; `None`: they are taken.
    pub(crate) fn logs_wait(&self) -> Option<String> {
        self.waits("logs")
    }

    fn waits(&self, what: &'static str) -> Option<String> {
        let state = self.0.state.borrow();
        let mut held = state.disks.iter().filter(|disk| disk.is_held);
        held.find(|disk| disk.holds.contains(&what))
            .map(disks::told)
    }

    /// Waits until logs are taken.
    pub(crate) async fn until_logs_are_taken(&self) {
        let mut state = self.0.state.subscribe();
        let taken = state.wait_for(|state| {
            let mut held = state.disks.iter().filter(|disk| disk.is_held);
            !held.any(|disk| disk.holds.contains(&"logs"))
        });
        // The sender is `self`: it is there.
        let _ = taken.await.is_ok();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_not_given_up_for_room_on_another_machine() {
        // Given a reserve,
        let folder = tempfile::tempdir().unwrap();
        let room = Room::of(folder.path(), true, watermark("4MB").unwrap());
        let reserve = folder.path().join("reserve");
        let held_back = || std::fs::metadata(&reserve).map_or(0, |about| about.len());
        let before = held_back();
        assert!(before > 0);

        // when the store finds the disk of its database full, then it waits, and nothing is given up;
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(!room.store_found_none(&full, false));
        assert_eq!(held_back(), before);
        assert!(room.store_waits().is_some());

        // and some is when it is the disk of the data directory.
        assert!(room.store_found_none(&full, true));
        assert!(held_back() < before);
    }
}
