//! A container's settings as a caller sent them, and what becomes of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    str::FromStr,
};

use super::{ContainerSpec, allowed::Allowed, mount::MountPath, network::Network};
use crate::{
    draft::{DraftErrors, Errors},
    resources::{bytes_to_gb, gb_to_bytes},
};

/// The most volumes, tmpfs, hosts or capabilities that one task has use for.
const LIST_LIMIT: usize = 64;

/// The settings unchecked, each as a text; what is `None` or empty gets its default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ContainerDraft {
    /// `none`, `bridge` or a name; bridge if none.
    pub network: Option<String>,
    /// `name:/path` or `name:/path:ro`.
    pub volumes: Vec<String>,
    /// Whether the root is read-only.
    pub read_only: bool,
    /// `uid` or `uid:gid`.
    pub run_as: Option<String>,
    /// `/path` or `/path:GB`.
    pub tmpfs: Vec<String>,
    /// Size of `/dev/shm` in GB.
    pub shm_gb: Option<f64>,
    /// `SIGINT`, `INT` or `2`.
    pub stop_signal: Option<String>,
    /// The container's own name.
    pub hostname: Option<String>,
    /// `name:ip`.
    pub extra_hosts: Vec<String>,
    /// Capabilities.
    pub cap_add: Vec<String>,
}

impl ContainerDraft {
    /// Reads every setting, and holds each against what is allowed, if that is given, and against
    /// the task's memory.
    pub(crate) fn check(
        self,
        errors: &mut Errors,
        allowed: Option<&Allowed>,
        memory_bytes: Option<u64>,
    ) -> ContainerSpec {
        let network: Network = errors
            .parsed("network", self.network.as_deref())
            .unwrap_or_default();
        let spec = ContainerSpec {
            network,
            volumes: errors.list("volumes", &self.volumes),
            read_only: self.read_only,
            run_as: errors.parsed("run_as", self.run_as.as_deref()),
            tmpfs: errors.list("tmpfs", &self.tmpfs),
            shm_bytes: self.shm_gb.and_then(|gb| errors.shm(gb)),
            stop_signal: errors.parsed("stop_signal", self.stop_signal.as_deref()),
            hostname: errors.parsed("hostname", self.hostname.as_deref()),
            extra_hosts: errors.list("extra_hosts", &self.extra_hosts),
            cap_add: errors.list("cap_add", &self.cap_add).into_iter().collect(),
        };
        errors.mounted_twice(&spec);
        if let Some(memory_bytes) = memory_bytes {
            errors.beyond_memory(&spec, memory_bytes);
        }
        if let Some(allowed) = allowed {
            errors.take("network", allowed.network(&spec.network));
            for mount in &spec.volumes {
                errors.take("volumes", allowed.volume(mount));
            }
            for capability in &spec.cap_add {
                errors.take("cap_add", allowed.capability(*capability));
            }
        }
        spec
    }

    /// The settings that are not the default, by field; each as its texts.
    ///
    /// What is stored and shown is this; [`ContainerSpec::from_words`] reads it back.
    #[must_use]
    pub fn to_words(&self) -> BTreeMap<String, Vec<String>> {
        let one = |text: &Option<String>| text.iter().cloned().collect::<Vec<_>>();
        [
            ("network", one(&self.network)),
            ("volumes", self.volumes.clone()),
            ("read_only", one(&self.read_only.then(|| "true".to_owned()))),
            ("run_as", one(&self.run_as)),
            ("tmpfs", self.tmpfs.clone()),
            ("shm_gb", one(&self.shm_gb.map(|gb| gb.to_string()))),
            ("stop_signal", one(&self.stop_signal)),
            ("hostname", one(&self.hostname)),
            ("extra_hosts", self.extra_hosts.clone()),
            ("cap_add", self.cap_add.clone()),
        ]
        .into_iter()
        .filter(|(_, texts)| !texts.is_empty())
        .map(|(field, texts)| (field.to_owned(), texts))
        .collect()
    }
}

impl From<&ContainerSpec> for ContainerDraft {
    /// The draft that this spec is made of.
    fn from(spec: &ContainerSpec) -> Self {
        Self {
            network: (spec.network != Network::Bridge).then(|| spec.network.to_string()),
            volumes: texts(&spec.volumes),
            read_only: spec.read_only,
            run_as: spec.run_as.map(|user| user.to_string()),
            tmpfs: texts(&spec.tmpfs),
            shm_gb: spec.shm_bytes.map(bytes_to_gb),
            stop_signal: spec.stop_signal.map(|signal| signal.to_string()),
            hostname: spec.hostname.as_ref().map(ToString::to_string),
            extra_hosts: texts(&spec.extra_hosts),
            cap_add: texts(&spec.cap_add),
        }
    }
}

impl ContainerSpec {
    /// The settings that are not the default, by field; each as its texts.
    #[must_use]
    pub fn to_words(&self) -> BTreeMap<String, Vec<String>> {
        ContainerDraft::from(self).to_words()
    }

    /// Reads back what [`Self::to_words`] wrote. What an admin allows is not asked again: it was
    /// accepted.
    ///
    /// # Errors
    /// Every field that is not known or can't be as it is.
    pub fn from_words(mut words: BTreeMap<String, Vec<String>>) -> Result<Self, DraftErrors> {
        let mut errors = Errors::default();
        let mut list = |field: &str| words.remove(field).unwrap_or_default();
        let draft = ContainerDraft {
            network: list("network").pop(),
            volumes: list("volumes"),
            read_only: !list("read_only").is_empty(),
            run_as: list("run_as").pop(),
            tmpfs: list("tmpfs"),
            shm_gb: list("shm_gb")
                .pop()
                .map(|gb| gb.parse().unwrap_or(f64::NAN)),
            stop_signal: list("stop_signal").pop(),
            hostname: list("hostname").pop(),
            extra_hosts: list("extra_hosts"),
            cap_add: list("cap_add"),
        };
        let spec = draft.check(&mut errors, None, None);
        for field in words.keys() {
            let field: String = field.chars().take(80).collect();
            errors.push("container", format!("{field:?} is not known"));
        }
        errors.into_result().map(|()| spec)
    }
}

fn texts<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    values.into_iter().map(|value| value.to_string()).collect()
}

impl Errors {
    fn list<T>(&mut self, field: &'static str, texts: &[String]) -> Vec<T>
    where
        T: FromStr<Err: Display>,
    {
        if texts.len() > LIST_LIMIT {
            let count = texts.len();
            self.push(
                field,
                format!("{count} are too many: expected at most {LIST_LIMIT}"),
            );
            return Vec::new();
        }
        let read = |text: &String| self.take(field, text.parse());
        texts.iter().filter_map(read).collect()
    }

    fn shm(&mut self, gb: f64) -> Option<u64> {
        let bytes = self.take("shm_gb", gb_to_bytes(gb));
        if bytes == Some(0) {
            self.push("shm_gb", "0 is not valid: expected GB above 0, such as 1");
        }
        bytes.filter(|bytes| *bytes > 0)
    }

    fn mounted_twice(&mut self, spec: &ContainerSpec) {
        let volumes = spec.volumes.iter().map(|mount| ("volumes", &mount.path));
        let tmpfs = spec.tmpfs.iter().map(|tmpfs| ("tmpfs", &tmpfs.path));
        let mut taken: BTreeSet<&MountPath> = BTreeSet::new();
        for (field, path) in volumes.chain(tmpfs) {
            if !taken.insert(path) {
                self.push(
                    field,
                    format!("{path} is there twice: expected each path once"),
                );
            }
        }
    }

    /// What lies in memory is the task's memory: more than that could never be filled.
    fn beyond_memory(&mut self, spec: &ContainerSpec, memory_bytes: u64) {
        let shm = spec.shm_bytes.map(|size| ("shm_gb", "/dev/shm", size));
        let tmpfs = spec
            .tmpfs
            .iter()
            .filter_map(|tmpfs| Some(("tmpfs", tmpfs.path.as_str(), tmpfs.size_bytes?)));
        for (field, path, size) in shm.into_iter().chain(tmpfs) {
            if size > memory_bytes {
                self.push(
                    field,
                    format!(
                        "{path} of {} GB is more than the task's memory: expected at most \
                         memory_gb, {}",
                        bytes_to_gb(size),
                        bytes_to_gb(memory_bytes)
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskDraft;

    fn everything() -> ContainerDraft {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        ContainerDraft {
            network: Some("lab".to_owned()),
            volumes: list(&["datasets:/data:ro", "scratch:/scratch"]),
            read_only: true,
            run_as: Some("1000:100".to_owned()),
            tmpfs: list(&["/tmp", "/run:0.125"]),
            shm_gb: Some(0.25),
            stop_signal: Some("SIGINT".to_owned()),
            hostname: Some("trainer".to_owned()),
            extra_hosts: list(&["db:10.0.0.5", "db:fd00::5"]),
            cap_add: list(&["NET_RAW"]),
        }
    }

    fn allowed() -> Allowed {
        Allowed {
            networks: ["lab".parse().unwrap()].into(),
            volumes: ["datasets:ro", "scratch"]
                .map(|text| text.parse().unwrap())
                .into(),
            capabilities: ["NET_RAW".parse().unwrap()].into(),
        }
    }

    fn task(container: ContainerDraft) -> TaskDraft {
        TaskDraft {
            docker_image: "alpine".to_owned(),
            container,
            ..TaskDraft::default()
        }
    }

    #[test]
    fn a_draft_becomes_a_spec_and_the_spec_the_same_draft_and_words() {
        let draft = everything();
        let (_, spec) = task(draft.clone()).check_allowed(&allowed()).unwrap();
        assert_eq!(ContainerDraft::from(&spec.container), draft);
        let words = spec.container.to_words();
        assert_eq!(words["tmpfs"], ["/tmp", "/run:0.125"]);
        assert_eq!(ContainerSpec::from_words(words), Ok(spec.container));
    }

    #[test]
    fn nothing_asked_for_is_the_default_and_no_words() {
        let (_, spec) = task(ContainerDraft::default()).check().unwrap();
        assert!(spec.container.is_default());
        assert_eq!(spec.container.to_words(), BTreeMap::new());
    }

    #[test]
    fn every_mistake_is_named_with_its_field_and_so_is_what_is_not_allowed() {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let bad = ContainerDraft {
            network: Some("other".to_owned()),
            volumes: list(&["/etc:/data", "datasets:/data", "scratch:/a", "scratch:/a"]),
            read_only: false,
            run_as: Some("root".to_owned()),
            tmpfs: list(&["tmp", "/big:99"]),
            shm_gb: Some(f64::NAN),
            stop_signal: Some("SIGNOPE".to_owned()),
            hostname: Some("a b".to_owned()),
            extra_hosts: list(&["db"]),
            cap_add: list(&["SYS_ADMIN", "NOPE"]),
        };
        let errors = task(bad).check_allowed(&allowed()).unwrap_err();
        let fields: Vec<_> = errors.0.iter().map(|error| error.field).collect();
        for (field, times) in [
            ("network", 1),
            // A host path, a path twice, and writing to what is for reading.
            ("volumes", 3),
            ("run_as", 1),
            ("tmpfs", 2),
            ("shm_gb", 1),
            ("stop_signal", 1),
            ("hostname", 1),
            ("extra_hosts", 1),
            ("cap_add", 2),
        ] {
            let found = fields.iter().filter(|name| **name == field).count();
            assert_eq!(found, times, "{field} in {errors}");
        }
    }

    #[test]
    fn what_is_in_memory_fits_into_the_tasks_memory() {
        let errors = task(ContainerDraft {
            shm_gb: Some(1.0),
            tmpfs: vec!["/a:0.5".to_owned(), "/b:0.75".to_owned()],
            ..ContainerDraft::default()
        })
        .check()
        .unwrap_err();
        assert_eq!(
            errors.to_string(),
            "shm_gb: /dev/shm of 1 GB is more than the task's memory: expected at most memory_gb, \
             0.5; tmpfs: /b of 0.75 GB is more than the task's memory: expected at most \
             memory_gb, 0.5"
        );
    }

    #[test]
    fn words_that_nobody_wrote_are_refused() {
        let words = BTreeMap::from([
            ("colour".to_owned(), vec!["grey".to_owned()]),
            ("shm_gb".to_owned(), vec!["much".to_owned()]),
        ]);
        let error = ContainerSpec::from_words(words).unwrap_err().to_string();
        assert!(error.contains("shm_gb: NaN"), "{error}");
        assert!(error.contains("\"colour\" is not known"), "{error}");
    }

    #[test]
    fn a_list_without_end_is_refused() {
        let hosts = (0..65).map(|n| format!("h{n}:10.0.0.1")).collect();
        let errors = task(ContainerDraft {
            extra_hosts: hosts,
            ..ContainerDraft::default()
        });
        let error = errors.check().unwrap_err().to_string();
        assert_eq!(error, "extra_hosts: 65 are too many: expected at most 64");
    }
}
