//! The wire: code generated from `proto/`.

/// Messages and services of `master_worker.proto`.
pub mod cluster {
    #![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
    tonic::include_proto!("cluster");
}

/// Messages and service of `master_agent.proto`.
pub mod agent {
    #![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
    tonic::include_proto!("agent");
}

/// Both files as an encoded `FileDescriptorSet`, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
