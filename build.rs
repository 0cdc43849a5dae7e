//! Compiles the admin API. With protox, so that no protoc is needed.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

#[allow(clippy::print_stdout)] // How a build script speaks to cargo.
fn main() -> Result<(), Box<dyn Error>> {
    let file = "radiosonde/admin/v1/admin.proto";
    println!("cargo:rerun-if-changed=proto/{file}");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_file(file)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // For server reflection.
    fs::write(out.join("admin_descriptors.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
