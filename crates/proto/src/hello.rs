//! What a worker says of itself when it registers: `WorkerInfo` and [`WorkerHello`].

use std::collections::BTreeMap;

use cloudai_model::resources::CapacityError;
use cloudai_model::{Capacity, WorkerId, resources::bytes_to_gb};

use crate::{cluster, error::WireError, field};

/// A worker's registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerHello {
    /// Its id.
    pub worker: WorkerId,
    /// The address that it shows; the one that the admin registered is dialled.
    pub shown_ip: String,
    /// What it offers.
    pub capacity: Capacity,
    /// Its program's version; `None` for an old node.
    pub version: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it listens; `None` for an old node.
    pub grpc_port: Option<u16>,
    /// Which data directory it works from; `None` for an old node.
    pub home: Option<String>,
    /// Which start of its program it is; `None` for a node that doesn't say.
    pub incarnation: Option<String>,
}

impl WorkerHello {
    /// All labels of a worker together, in bytes: they are in each list of workers.
    pub const MOST_LABEL_BYTES: usize = 16 << 10;

    /// Whether it knows the fields below 100 alone.
    #[must_use]
    pub fn is_old_node(&self) -> bool {
        self.version.is_none()
    }

    /// As the wire has it.
    #[must_use]
    pub fn into_wire(self) -> cluster::WorkerInfo {
        cluster::WorkerInfo {
            worker_id: self.worker.to_string(),
            worker_ip: self.shown_ip,
            total_cpu: field::whole(self.capacity.cpu_milli),
            total_memory: bytes_to_gb(self.capacity.memory_bytes),
            total_storage: bytes_to_gb(self.capacity.storage_bytes),
            total_gpu: f64::from(self.capacity.gpus),
            version: self.version.unwrap_or_default(),
            labels: self.labels,
            grpc_port: self.grpc_port.map_or(0, u32::from),
            home: self.home.unwrap_or_default(),
            incarnation: self.incarnation.unwrap_or_default(),
        }
    }

    /// Reads it from the wire.
    ///
    /// # Errors
    /// If the id, an amount or the port can't be meant, or the labels are too many.
    pub fn from_wire(wire: cluster::WorkerInfo) -> Result<Self, WireError> {
        let capacity = Capacity::from_units(
            wire.total_cpu,
            wire.total_memory,
            wire.total_storage,
            wire.total_gpu,
        )
        .map_err(|error| {
            let (field, error) = match error {
                CapacityError::Cpu(error) => ("total_cpu", error),
                CapacityError::Memory(error) => ("total_memory", error),
                CapacityError::Storage(error) => ("total_storage", error),
                CapacityError::Gpu(error) => ("total_gpu", error),
            };
            WireError::new(field, error.to_string())
        })?;
        let grpc_port = u16::try_from(wire.grpc_port).map_err(|_| {
            let message = format!("{} is not valid: expected 1 to 65535", wire.grpc_port);
            WireError::new("grpc_port", message)
        })?;
        let label_bytes: usize = wire.labels.iter().map(|(k, v)| k.len() + v.len()).sum();
        if label_bytes > Self::MOST_LABEL_BYTES {
            let message = format!(
                "{label_bytes} bytes are too many: expected at most {} of all labels together",
                Self::MOST_LABEL_BYTES
            );
            return Err(WireError::new("labels", message));
        }
        Ok(Self {
            worker: field::parsed("worker_id", &wire.worker_id)?,
            shown_ip: field::shown_text(wire.worker_ip),
            capacity,
            version: field::shown_text_if_any(wire.version),
            labels: wire.labels,
            grpc_port: Some(grpc_port).filter(|port| *port != 0),
            home: field::shown_text_if_any(wire.home),
            incarnation: field::shown_text_if_any(wire.incarnation),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_capacity_survives_the_wire(
            cpu_milli in 0..=1_000_000_000_u64,
            memory_bytes in 0..=1_u64 << 49,
            storage_bytes in 0..=1_u64 << 49,
            gpus in 0..=1000_u16,
        ) {
            let hello = WorkerHello {
                worker: "worker-1".parse().unwrap(),
                shown_ip: "localhost".to_owned(),
                capacity: Capacity { cpu_milli, memory_bytes, storage_bytes, gpus },
                version: Some("0.1.0".to_owned()),
                labels: [("zone".to_owned(), "a".to_owned())].into(),
                grpc_port: Some(50052),
                home: Some("5eed".to_owned()),
                incarnation: Some("f1257".to_owned()),
            };
            prop_assert_eq!(WorkerHello::from_wire(hello.clone().into_wire()), Ok(hello));
        }
    }

    fn old() -> cluster::WorkerInfo {
        cluster::WorkerInfo {
            worker_id: "worker-1".to_owned(),
            worker_ip: "localhost".to_owned(),
            total_cpu: 4.0,
            total_memory: 8.0,
            total_storage: 100.0,
            total_gpu: 1.0,
            ..Default::default()
        }
    }

    #[test]
    fn a_worker_without_a_version_is_an_old_node() {
        let hello = WorkerHello::from_wire(old()).unwrap();
        assert!(hello.is_old_node());
        assert_eq!((hello.capacity.cpu_milli, hello.capacity.gpus), (4000, 1));
        assert_eq!(hello.grpc_port, None);
    }

    #[test]
    fn nonsense_names_its_field() {
        let field = |change: fn(&mut cluster::WorkerInfo)| {
            let mut wire = old();
            change(&mut wire);
            WorkerHello::from_wire(wire).unwrap_err().field
        };
        assert_eq!(field(|info| info.worker_id = " ".to_owned()), "worker_id");
        assert_eq!(field(|info| info.total_cpu = -4.0), "total_cpu");
        assert_eq!(field(|info| info.total_memory = f64::NAN), "total_memory");
        assert_eq!(
            field(|info| info.total_storage = f64::INFINITY),
            "total_storage"
        );
        assert_eq!(field(|info| info.total_gpu = -1.0), "total_gpu");
        assert_eq!(field(|info| info.grpc_port = 65_536), "grpc_port");
        let long = |info: &mut cluster::WorkerInfo| {
            info.labels = [("zone".to_owned(), "x".repeat(1 << 20))].into();
        };
        assert_eq!(field(long), "labels");
    }
}
