//! What a master says when it calls a worker it has registered: `MasterInfo` and
//! [`MasterContact`].

use cloudai_model::{ClusterId, WorkerId};

use crate::{cluster, error::WireError, field};

/// Who calls, and where the worker is to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterContact {
    /// The master's id; free text.
    pub master_id: String,
    /// Where it is reached, `host:port`; not empty.
    pub address: String,
    /// Its cluster; `None` for an old master.
    pub cluster: Option<ClusterId>,
    /// The id under which it registered the worker; `None` for an old master.
    pub worker: Option<WorkerId>,
}

impl MasterContact {
    /// As the wire has it.
    #[must_use]
    pub fn into_wire(self) -> cluster::MasterInfo {
        cluster::MasterInfo {
            master_id: self.master_id,
            master_address: self.address,
            cluster_id: self.cluster.map_or_else(String::new, |id| id.to_string()),
            worker_id: self.worker.map_or_else(String::new, |id| id.to_string()),
        }
    }

    /// Reads it from the wire.
    ///
    /// # Errors
    /// If there is no address, or an id can't be meant.
    pub fn from_wire(wire: cluster::MasterInfo) -> Result<Self, WireError> {
        if wire.master_address.is_empty() {
            let message = "absent: expected host:port, such as 192.168.1.10:50051";
            return Err(WireError::new("master_address", message));
        }
        Ok(Self {
            master_id: wire.master_id,
            address: wire.master_address,
            cluster: field::parsed_if_any("cluster_id", &wire.cluster_id)?,
            worker: field::parsed_if_any("worker_id", &wire.worker_id)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_masters_are_read() {
        let old = MasterContact {
            master_id: "master".to_owned(),
            address: "10.0.0.1:50051".to_owned(),
            cluster: None,
            worker: None,
        };
        let new = MasterContact {
            cluster: Some("c-1".parse().unwrap()),
            worker: Some("worker-1".parse().unwrap()),
            ..old.clone()
        };
        for contact in [old, new] {
            assert_eq!(
                MasterContact::from_wire(contact.clone().into_wire()),
                Ok(contact)
            );
        }
        let error = MasterContact::from_wire(cluster::MasterInfo::default()).unwrap_err();
        assert_eq!(error.field, "master_address");
    }
}
