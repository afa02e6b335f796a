//! Compiles the two .proto files with protox, so that no `protoc` is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let protos = [
        "../../proto/master_worker.proto",
        "../../proto/master_agent.proto",
    ];
    for path in protos {
        println!("cargo::rerun-if-changed={path}");
    }
    let descriptors = protox::compile(protos, ["../../proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".cluster.LogChunk.data")
        .bytes(".cluster.FileChunk.data")
        .compile_fds(descriptors)?;
    Ok(())
}
