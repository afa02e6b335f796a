//! The one document of the cluster.

use cloudai_model::record::ClusterRecord;
use mongodb::bson::{Document, doc};

use super::{Fields, bits};
use crate::ReadError;

pub(crate) const COLLECTION: &str = "CLUSTER";

/// The id of the one document.
pub(crate) const ID: &str = "cluster";

pub(crate) fn write(record: &ClusterRecord) -> Document {
    doc! {
        "cluster_id": record.cluster.as_str(),
        "epoch": bits(record.epoch),
    }
}

pub(crate) fn read(document: &Document) -> Result<ClusterRecord, ReadError> {
    let fields = Fields::new(COLLECTION, document);
    Ok(ClusterRecord {
        cluster: fields.must("cluster_id", Fields::parsed)?,
        epoch: fields.must("epoch", Fields::count)?,
    })
}
