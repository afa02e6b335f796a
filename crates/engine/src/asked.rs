//! The settings that a task asked for, in the engine's words; and whether this engine has what
//! they name.

use bollard::{
    errors::Error as BollardError,
    models::{
        ContainerCreateBody, HostConfig, Mount, MountTmpfsOptions, MountType, MountVolumeOptions,
    },
};
use cloudai_model::{
    ContainerSpec,
    container::{
        capability::{Capability, KEPT},
        mount::{Tmpfs, VolumeMount},
        network::Network,
    },
};

use crate::{Engine, container::CreateError, error::EngineError};

/// Anyone may write, and nobody removes another's: as `/tmp` is.
const TMPFS_MODE: i64 = 0o1777;

/// Says the settings to the engine. Everything else of the body stays as it is.
pub(crate) fn apply(asked: &ContainerSpec, memory_bytes: u64, body: &mut ContainerCreateBody) {
    body.user = asked.run_as.map(|user| user.to_string());
    body.hostname = asked.hostname.as_ref().map(ToString::to_string);
    body.stop_signal = asked.stop_signal.map(|signal| signal.to_string());
    let host = body.host_config.get_or_insert_default();
    limit_power(asked, host);
    host.network_mode = Some(asked.network.to_string());
    host.readonly_rootfs = Some(asked.read_only);
    host.shm_size = asked.shm_bytes.map(signed);
    host.extra_hosts = (!asked.extra_hosts.is_empty())
        .then(|| asked.extra_hosts.iter().map(ToString::to_string).collect());
    let mounts = host.mounts.get_or_insert_default();
    mounts.extend(asked.volumes.iter().map(volume));
    mounts.extend(
        asked
            .tmpfs
            .iter()
            .map(|tmpfs| in_memory(tmpfs, memory_bytes)),
    );
}

/// Of root's power only [`KEPT`] and what was asked for is left, and no program regains any. The
/// engine's own seccomp profile is on for as long as no other is named here: none ever is.
fn limit_power(asked: &ContainerSpec, host: &mut HostConfig) {
    let kept = KEPT.iter().chain(&asked.cap_add);
    let mut kept: Vec<_> = kept
        .map(|capability: &Capability| capability.to_string())
        .collect();
    kept.sort();
    kept.dedup();
    host.cap_drop = Some(vec!["ALL".to_owned()]);
    host.cap_add = Some(kept);
    host.security_opt = Some(vec!["no-new-privileges".to_owned()]);
    host.privileged = Some(false);
}

fn volume(mount: &VolumeMount) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(mount.name.to_string()),
        target: Some(mount.path.to_string()),
        read_only: Some(mount.read_only),
        volume_options: Some(MountVolumeOptions {
            // An empty volume is filled with what the image has at the path. Not one that the
            // task may only read: an image is of the user's choice, so that would be writing.
            no_copy: Some(mount.read_only),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

fn in_memory(tmpfs: &Tmpfs, memory_bytes: u64) -> Mount {
    Mount {
        typ: Some(MountType::TMPFS),
        target: Some(tmpfs.path.to_string()),
        tmpfs_options: Some(MountTmpfsOptions {
            // Without a size it would show half of the machine's memory, none of it to be had
            // beyond the task's own.
            size_bytes: Some(signed(tmpfs.size_bytes.unwrap_or(memory_bytes))),
            mode: Some(TMPFS_MODE),
            ..MountTmpfsOptions::default()
        }),
        ..Mount::default()
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Engine {
    /// Whether the engine has the network and the volumes that were asked for.
    ///
    /// The engine would make a volume that isn't there, and take the beginning of a network's id
    /// for its name: so each is looked up, and its name compared.
    pub(crate) async fn has_what_is_asked(&self, asked: &ContainerSpec) -> Result<(), CreateError> {
        if let Network::Named(wanted) = &asked.network {
            let found = self.docker.inspect_network(wanted.as_str(), None).await;
            let found = if_any(found)?.and_then(|network| network.name);
            if found.as_deref() != Some(wanted.as_str()) {
                return Err(CreateError::NoSuchNetwork(wanted.as_str().to_owned()));
            }
        }
        for mount in &asked.volumes {
            let found = self.docker.inspect_volume(mount.name.as_str()).await;
            let found = if_any(found)?.map(|volume| volume.name);
            if found.as_deref() != Some(mount.name.as_str()) {
                return Err(CreateError::NoSuchVolume(mount.name.to_string()));
            }
        }
        Ok(())
    }
}

fn if_any<T>(answer: Result<T, BollardError>) -> Result<Option<T>, EngineError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(BollardError::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(None),
        Err(error) => Err(EngineError::from_bollard(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(asked: &ContainerSpec) -> (ContainerCreateBody, HostConfig) {
        let mut body = ContainerCreateBody::default();
        apply(asked, 1 << 29, &mut body);
        let host = body.host_config.clone().unwrap();
        (body, host)
    }

    #[test]
    fn nothing_asked_for_is_the_bridge_and_six_capabilities() {
        let (body, host) = host_of(&ContainerSpec::default());
        assert_eq!(host.network_mode.as_deref(), Some("bridge"));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        let kept = [
            "CHOWN",
            "DAC_OVERRIDE",
            "FOWNER",
            "KILL",
            "SETGID",
            "SETUID",
        ];
        assert_eq!(host.cap_add, Some(kept.map(str::to_owned).to_vec()));
        assert_eq!(
            (host.privileged, host.readonly_rootfs),
            (Some(false), Some(false))
        );
        assert_eq!(
            (body.user, body.hostname, body.stop_signal),
            (None, None, None)
        );
        assert_eq!((host.shm_size, host.extra_hosts), (None, None));
        assert_eq!(host.mounts, Some(Vec::new()));
    }

    #[test]
    fn the_engines_seccomp_profile_is_never_replaced() {
        let asked = ContainerSpec {
            cap_add: ["SYS_ADMIN".parse().unwrap()].into(),
            ..ContainerSpec::default()
        };
        let (_, host) = host_of(&asked);
        assert_eq!(
            host.security_opt,
            Some(vec!["no-new-privileges".to_owned()])
        );
        assert!(host.cap_add.unwrap().contains(&"SYS_ADMIN".to_owned()));
    }

    #[test]
    fn what_is_mounted_is_a_volume_or_in_memory_and_never_a_folder() {
        let asked = ContainerSpec {
            volumes: ["v1:/r:ro".parse().unwrap(), "v2:/w".parse().unwrap()].into(),
            tmpfs: ["/t:0.25".parse().unwrap(), "/u".parse().unwrap()].into(),
            ..ContainerSpec::default()
        };
        let (_, host) = host_of(&asked);
        let mounts = host.mounts.unwrap();
        assert!(
            mounts
                .iter()
                .all(|mount| mount.typ != Some(MountType::BIND))
        );
        let no_copy = |mount: &Mount| mount.volume_options.as_ref().unwrap().no_copy;
        assert_eq!(
            (mounts[0].read_only, no_copy(&mounts[0])),
            (Some(true), Some(true))
        );
        assert_eq!(
            (mounts[1].read_only, no_copy(&mounts[1])),
            (Some(false), Some(false))
        );
        let size = |mount: &Mount| mount.tmpfs_options.as_ref().unwrap().size_bytes;
        assert_eq!(size(&mounts[2]), Some(1 << 28));
        assert_eq!(size(&mounts[3]), Some(1 << 29), "the task's memory");
    }
}
