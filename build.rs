//! Compiles the admin API, with protox, so that no protoc is needed; and asks for a smaller relocation table where the
//! C library can read it.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

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
    if reads_packed_relocations() {
        // 1.1 MB of table become 20 kB: the loader reads all of it, so it would stay in the idle process's memory.
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    Ok(())
}

/// glibc's loader does from 2.36 on. Known only of the machine that builds, so nothing is asked for another target.
fn reads_packed_relocations() -> bool {
    let of_cargo = |name: &str| env::var(name).unwrap_or_default();
    if of_cargo("TARGET") != of_cargo("HOST") || of_cargo("CARGO_CFG_TARGET_ENV") != "gnu" {
        return false;
    }
    let Ok(answer) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else {
        return false;
    };
    let text = String::from_utf8_lossy(&answer.stdout);
    let version = text.trim().rsplit(' ').next().unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (2, 36)
}
