//! Images that this worker has pulled, removed again when they take too much room: those that nothing
//! has used for longest first.
//!
//! Only what a pull of this worker brought is ever touched, and only under the name that it was
//! pulled by: an image that was there before, or that got another name or content since, is somebody
//! else's. The list is in `images.json` in the data directory. What a crash or damage takes from it
//! stays on the engine.
//!
//! Several workers may share an engine. Each removes what it pulled itself, never by force, and
//! nothing that any container has; one that loses an image between its look and its create pulls it
//! again.

pub(crate) mod list;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use cloudai_engine::{Engine, EngineError, ImageId, ImageRemoval};
use cloudai_model::{ImageRef, Phase, resources::GB};
use cloudai_telemetry::Space;
use tokio::{
    sync::{Mutex, Notify, OwnedMutexGuard},
    time::timeout,
};

use self::list::{ImageList, Pulled};
use crate::{
    console,
    context::{Context, blocking},
    disk,
};

/// How often it is looked whether there is too much.
const INTERVAL: Duration = Duration::from_secs(30);

/// The images that this worker has pulled. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Images {
    list: Arc<Mutex<ImageList>>,
    /// Held while one is being removed.
    removing: Arc<Mutex<()>>,
    look: Arc<Notify>,
}

/// What is too much, and how much there is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Excess {
    /// Of the engine's disk, in percent.
    Disk { used: f64, limit: f64 },
    /// All that was pulled, in bytes.
    Bytes { taken: u64, limit: u64 },
}

impl std::fmt::Display for Excess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let gb = |bytes: u64| bytes as f64 / GB as f64;
        match *self {
            Self::Disk { used, limit } => {
                write!(
                    f,
                    "the engine's disk is {used:.0} % full, more than {limit} %"
                )
            }
            Self::Bytes { taken, limit } => write!(
                f,
                "pulled images take {:.2} GB, more than {} GB",
                gb(taken),
                gb(limit)
            ),
        }
    }
}

impl Images {
    /// The images that earlier processes pulled.
    pub(crate) fn open(data_dir: &Path) -> Self {
        let (list, damage) = ImageList::read(data_dir);
        if let Some(damage) = damage {
            console::line(format_args!(
                "⚠ {damage}; images that were pulled before stay on the engine"
            ));
        }
        Self {
            list: Arc::new(Mutex::new(list)),
            removing: Arc::default(),
            look: Arc::default(),
        }
    }

    /// The list is held, too, while it is written and flushed: no thread waits for that.
    async fn lock(&self) -> OwnedMutexGuard<ImageList> {
        self.list.clone().lock_owned().await
    }

    /// Waits until no image is being removed. An image that is seen afterwards stays for as long as
    /// an attempt that names it is held.
    pub(crate) async fn settle(&self) {
        drop(self.removing.lock().await);
    }

    /// This worker has pulled an image that the engine did not have.
    pub(crate) async fn pulled(&self, image: &ImageRef, id: &ImageId) {
        let (mut list, image) = (self.lock().await, image.clone());
        let pulled = Pulled {
            id: id.clone(),
            used_at: cloudai_clock::now().wall,
        };
        let saved = blocking(move || list.insert(image, pulled)).await;
        if let Err(error) = saved {
            tracing::warn!(%error, "an image that was pulled will not be remembered");
        }
        self.wake();
    }

    /// Has it looked now whether there is too much.
    pub(crate) fn wake(&self) {
        self.look.notify_one();
    }
}

/// Keeps images within their limits for as long as the worker runs.
pub(crate) async fn keep(context: Context) {
    let mut said = false;
    loop {
        let engine = context.engine.ready().await;
        match tidy(&context, &engine).await {
            Ok(None) => said = false,
            Ok(Some(excess)) => {
                if !std::mem::replace(&mut said, true) {
                    console::line(format_args!(
                        "⚠ No image that was pulled here is unused, though {excess}"
                    ));
                }
            }
            Err(error) => tracing::debug!(%error, "images can't be looked at"),
        }
        // Whether the time is up or somebody wants it looked at.
        let _ = timeout(INTERVAL, context.images.look.notified())
            .await
            .is_ok();
    }
}

/// Removes what is too much; what is still too much then, with nothing left that may go.
async fn tidy(context: &Context, engine: &Engine) -> Result<Option<Excess>, EngineError> {
    let images = &context.images;
    if images.lock().await.is_empty() {
        return Ok(None);
    }
    let mut in_use = used(context, engine).await?;
    loop {
        let present = present(images, engine).await?;
        let Some(excess) = excess(context, present.values().sum()) else {
            return Ok(None);
        };
        let _removing = images.removing.lock().await;
        let Ok(view) = context.core.look().await else {
            return Ok(None);
        };
        let running = view.held.into_iter();
        let wanted: BTreeSet<_> = running
            .filter(|held| held.phase < Phase::Uploading)
            .map(|held| held.image)
            .collect();
        let oldest = images.lock().await.oldest(|image, pulled| {
            let idle = cloudai_clock::now().wall.since(pulled.used_at);
            !in_use.contains(&pulled.id)
                && !wanted.contains(image)
                && idle >= context.settings.image_min_age
        });
        let Some((image, pulled)) = oldest else {
            return Ok(Some(excess));
        };
        match engine.remove_image(&image).await? {
            ImageRemoval::Removed => {
                console::line(format_args!("Removed unused image {image}: {excess}"));
                let images = images.clone();
                forget(images, BTreeSet::from([image])).await;
            }
            // A container was made of it since.
            ImageRemoval::InUse => drop(in_use.insert(pulled.id)),
        }
    }
}

/// The images of all containers; those of the list count as used now.
async fn used(context: &Context, engine: &Engine) -> Result<BTreeSet<ImageId>, EngineError> {
    let in_use = engine.images_in_use().await?;
    let (now, of) = (cloudai_clock::now().wall, in_use.clone());
    let mut list = context.images.lock().await;
    let saved = blocking(move || list.used(&of, now)).await;
    if let Err(error) = saved {
        tracing::debug!(%error, "which images are in use can't be written down");
    }
    Ok(in_use)
}

/// The images of the list that are still what was pulled, with their bytes; others are forgotten.
async fn present(images: &Images, engine: &Engine) -> Result<BTreeMap<ImageRef, u64>, EngineError> {
    let listed = engine.images().await?;
    let sizes: BTreeMap<_, _> = listed
        .into_iter()
        .map(|image| (image.id, image.size_bytes))
        .collect();
    let known = images.lock().await.all();
    let (mut present, mut foreign) = (BTreeMap::new(), BTreeSet::new());
    for (image, pulled) in known {
        match engine.image(&image).await? {
            Some(found) if found.id == pulled.id => {
                let bytes = sizes.get(&found.id).copied();
                present.insert(image, bytes.unwrap_or_default());
            }
            // Removed by hand, or the name stands for something else now.
            _ => drop(foreign.insert(image)),
        }
    }
    if !foreign.is_empty() {
        forget(images.clone(), foreign).await;
    }
    Ok(present)
}

async fn forget(images: Images, which: BTreeSet<ImageRef>) {
    let mut list = images.lock().await;
    let saved = blocking(move || list.remove(&which)).await;
    if let Err(error) = saved {
        // Those are found to be gone at the next look, too.
        tracing::debug!(%error, "images that are gone can't be struck off the list");
    }
}

/// What is too much, where pulled images take so many bytes.
fn excess(context: &Context, taken: u64) -> Option<Excess> {
    let settings = &context.settings;
    if let Some(limit) = settings.image_limit_bytes.filter(|limit| taken > *limit) {
        return Some(Excess::Bytes { taken, limit });
    }
    let limit = settings.image_disk_percent;
    let space = Space::of(&disk::engine_dir(context)?).ok()?;
    let used = space.used_percent();
    (used > limit).then_some(Excess::Disk { used, limit })
}
