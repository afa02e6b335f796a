//! The list of pulled images on disk, written whole and flushed at each change.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use cloudai_engine::ImageId;
use cloudai_model::{ImageRef, Wall};
use serde::{Deserialize, Serialize};

use crate::spool::{SpoolError, format::in_a_line, write_whole};

const FILE: &str = "images.json";
const VERSION: u32 = 1;
/// When an image was used is written down no more exactly than this.
const USE_STEP: Duration = Duration::from_secs(60);

/// An image that this worker has pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pulled {
    pub(crate) id: ImageId,
    /// When a container was last seen that has it, or it was pulled.
    pub(crate) used_at: Wall,
}

#[derive(Debug)]
pub(crate) struct ImageList {
    folder: PathBuf,
    images: BTreeMap<ImageRef, Pulled>,
}

#[derive(Serialize, Deserialize)]
struct ListForm {
    version: u32,
    images: Vec<ImageForm>,
}

#[derive(Serialize, Deserialize)]
struct ImageForm {
    name: String,
    id: String,
    used_at_ms: i64,
}

impl ImageList {
    /// The list in this folder, and what is wrong with its file: then it is empty.
    pub(crate) fn read(folder: &Path) -> (Self, Option<String>) {
        let path = folder.join(FILE);
        let (images, damage) = match read(&path) {
            Ok(images) => (images, None),
            Err(problem) => {
                let problem = format!("{} can't be read: {problem}", path.display());
                (BTreeMap::new(), Some(problem))
            }
        };
        let folder = folder.to_owned();
        (Self { folder, images }, damage)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    pub(crate) fn all(&self) -> BTreeMap<ImageRef, Pulled> {
        self.images.clone()
    }

    pub(crate) fn insert(&mut self, image: ImageRef, pulled: Pulled) -> Result<(), SpoolError> {
        self.images.insert(image, pulled);
        self.save()
    }

    pub(crate) fn remove(&mut self, which: &BTreeSet<ImageRef>) -> Result<(), SpoolError> {
        self.images.retain(|image, _| !which.contains(image));
        self.save()
    }

    /// The images with these ids are in use now. So counts, too, what was used at a time that is still
    /// to come, because the clock was set back: it would stay until then.
    pub(crate) fn used(&mut self, ids: &BTreeSet<ImageId>, now: Wall) -> Result<(), SpoolError> {
        let mut is_news = false;
        for pulled in self.images.values_mut() {
            if pulled.used_at > now {
                is_news = true;
                pulled.used_at = now;
            }
            if ids.contains(&pulled.id) {
                is_news |= now.since(pulled.used_at) >= USE_STEP;
                pulled.used_at = now;
            }
        }
        if is_news { self.save() } else { Ok(()) }
    }

    /// The one that was used longest ago of those that may go.
    pub(crate) fn oldest(
        &self,
        may_go: impl Fn(&ImageRef, &Pulled) -> bool,
    ) -> Option<(ImageRef, Pulled)> {
        let may_go = self.images.iter().filter(|(image, one)| may_go(image, one));
        let oldest = may_go.min_by_key(|(_, pulled)| pulled.used_at);
        oldest.map(|(image, pulled)| (image.clone(), pulled.clone()))
    }

    fn save(&self) -> Result<(), SpoolError> {
        let form = ListForm {
            version: VERSION,
            images: self
                .images
                .iter()
                .map(|(image, pulled)| ImageForm {
                    name: image.to_string(),
                    id: pulled.id.to_string(),
                    used_at_ms: pulled.used_at.0,
                })
                .collect(),
        };
        let text = serde_json::to_vec_pretty(&form).expect("the form has text keys");
        write_whole(&self.folder, FILE, &text, true)
    }
}

fn read(path: &Path) -> Result<BTreeMap<ImageRef, Pulled>, String> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.to_string()),
    };
    let form: ListForm = serde_json::from_slice(&text).map_err(|error| in_a_line(&error))?;
    if form.version != VERSION {
        let version = form.version;
        return Err(format!(
            "its version is {version}, this program knows {VERSION}"
        ));
    }
    let images = form.images.into_iter().map(|image| {
        let name: ImageRef = image.name.parse().map_err(|error| format!("{error}"))?;
        let pulled = Pulled {
            id: ImageId::new(image.id),
            used_at: Wall(image.used_at_ms),
        };
        Ok((name, pulled))
    });
    images.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> ImageRef {
        text.parse().unwrap()
    }

    fn pulled(id: &str, used_at: i64) -> Pulled {
        Pulled {
            id: ImageId::new(id),
            used_at: Wall(used_at),
        }
    }

    #[test]
    fn what_was_pulled_is_known_to_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let (mut list, _) = ImageList::read(folder.path());
        list.insert(image("here/app:1"), pulled("sha256:1", 1000))
            .unwrap();
        list.insert(image("here/app:2"), pulled("sha256:2", 2000))
            .unwrap();
        list.remove(&BTreeSet::from([image("here/app:2")])).unwrap();
        let (list, damage) = ImageList::read(folder.path());
        assert_eq!(damage, None);
        let expected = BTreeMap::from([(image("here/app:1"), pulled("sha256:1", 1000))]);
        assert_eq!(list.all(), expected);
    }

    #[test]
    fn the_one_used_longest_ago_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let (mut list, _) = ImageList::read(folder.path());
        for (name, id, used_at) in [("a", "1", 1000), ("b", "2", 2000), ("c", "3", 3000)] {
            list.insert(image(name), pulled(id, used_at)).unwrap();
        }
        assert_eq!(list.oldest(|_, _| true).unwrap().0, image("a"));
        // Its use is written down.
        let now = Wall(1000 + 60_000);
        list.used(&BTreeSet::from([ImageId::new("1")]), now)
            .unwrap();
        let (list, _) = ImageList::read(folder.path());
        assert_eq!(list.oldest(|_, _| true).unwrap().0, image("b"));
        assert_eq!(
            list.oldest(|one, _| *one != image("b")).unwrap().0,
            image("c")
        );
        assert_eq!(list.oldest(|_, _| false), None);
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_no_image_until_it_has_caught_up() {
        let folder = tempfile::tempdir().unwrap();
        let (mut list, _) = ImageList::read(folder.path());
        list.insert(image("a"), pulled("1", 1000)).unwrap();
        list.insert(image("b"), pulled("2", 86_400_000)).unwrap();
        list.used(&BTreeSet::new(), Wall(5000)).unwrap();
        let (list, _) = ImageList::read(folder.path());
        let used_at = list.all().into_values().map(|one| one.used_at);
        assert_eq!(used_at.collect::<Vec<_>>(), [Wall(1000), Wall(5000)]);
    }

    #[test]
    fn a_list_cut_short_at_any_byte_is_told_and_names_no_image() {
        let folder = tempfile::tempdir().unwrap();
        let (mut list, _) = ImageList::read(folder.path());
        list.insert(image("here/app:1"), pulled("sha256:1", 1000))
            .unwrap();
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (list, damage) = ImageList::read(folder.path());
            assert!(list.is_empty(), "{length} bytes");
            assert!(damage.unwrap().contains(FILE));
        }
    }
}
