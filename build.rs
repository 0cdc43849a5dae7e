//! Compiles the admin API, with protox, so that no protoc is needed; packs the page of dev mode; and asks the linker for
//! what keeps the idle process small: a smaller relocation table, and side by side what runs.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
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
    println!("cargo:rerun-if-changed={ORDER}");
    if takes_an_order() {
        let script = out.join("order.ld");
        fs::write(&script, order_script(&fs::read_to_string(ORDER)?)?)?;
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }

    println!("cargo:rerun-if-changed={PAGE}");
    pack_page(&out)
}

/// The functions that run in an agent that waits, and in one that passes telemetry on (tests/bench/link_order.py).
const ORDER: &str = "src/link_order.txt";

/// Whether the linker is one that reads the script: lld and GNU ld do. Whoever has chosen another keeps it.
fn takes_an_order() -> bool {
    let of_cargo = |name: &str| env::var(name).unwrap_or_default();
    let flags = of_cargo("CARGO_ENCODED_RUSTFLAGS");
    let is_chosen = ["linker", "link-arg", "fuse-ld"]
        .iter()
        .any(|flag| flags.contains(flag));
    of_cargo("PROFILE") == "release"
        && of_cargo("CARGO_CFG_TARGET_OS") == "linux"
        && !is_chosen
        && matches!(of_cargo("RUSTC_LINKER").as_str(), "" | "cc" | "gcc" | "clang")
}

/// Puts these functions into a section of their own before the others; every function has an input section of its name.
fn order_script(functions: &str) -> Result<String, Box<dyn Error>> {
    let mut script = "SECTIONS\n{\n  .text.order :\n  {\n".to_owned();
    for function in functions.lines() {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_$.*".contains(letter);
        if !function.is_empty() && function.chars().all(is_plain) {
            writeln!(script, "    *(.text.{function})")?;
        }
    }
    script.push_str("  }\n}\nINSERT BEFORE .text;\n");
    Ok(script)
}

/// The folder of the page, and the list it is held to.
const PAGE: &str = "src/dev/ui";
const LIST: &str = "assets.list";

/// Compresses the files of the page and writes the table `dev::assets` includes. Fails when a file is missing, empty,
/// not listed, or not what the list says: a package that was cut or changed on its way must not become a binary.
fn pack_page(out: &Path) -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join(PAGE);
    let files = read_assets(&folder)?;
    let how = "run `python3 tests/ui/list.py` after changing the page";
    let mut listed = 0;
    for line in fs::read_to_string(folder.join(LIST))?.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [sum, size, path] = fields[..] else {
            return Err(format!("{PAGE}/{LIST}: a line is not `checksum size path`: {line}").into());
        };
        let data = files
            .get(path)
            .ok_or_else(|| format!("{PAGE}/{path} is listed and missing ({how})"))?;
        if data.is_empty() {
            return Err(format!("{PAGE}/{path} is empty").into());
        }
        if size != data.len().to_string() || sum != format!("{:016x}", fnv(FNV_START, data)) {
            return Err(format!("{PAGE}/{path} is not what {LIST} says ({how})").into());
        }
        listed += 1;
    }
    if listed != files.len() {
        return Err(format!("{PAGE} has {} files, {LIST} has {listed} ({how})", files.len()).into());
    }

    let mut whole = FNV_START;
    let mut table = String::new();
    let packed = out.join("page");
    fs::create_dir_all(&packed)?;
    for (index, (path, data)) in files.iter().enumerate() {
        whole = fnv(fnv(whole, path.as_bytes()), data);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data)?;
        let plain = folder.join(path);
        let zipped = packed.join(format!("{index}.gz"));
        fs::write(&zipped, encoder.finish()?)?;
        writeln!(
            table,
            "    Asset {{ path: {path:?}, plain: include_bytes!({plain:?}), gzip: include_bytes!({zipped:?}) }},"
        )?;
    }
    let code = format!("const HASH: &str = \"{whole:016x}\";\nstatic ASSETS: &[Asset] = &[\n{table}];\n");
    fs::write(out.join("page.rs"), code)?;
    Ok(())
}

/// All files of the page by their path; notes and pictures are no part of it.
fn read_assets(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, Box<dyn Error>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current)? {
            let path = entry?.path();
            let extension = path
                .extension()
                .and_then(|extension| extension.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if ["js", "css", "html", "svg"].contains(&extension) {
                let parts: Vec<_> = path
                    .strip_prefix(folder)?
                    .iter()
                    .map(|part| part.to_string_lossy())
                    .collect();
                files.insert(parts.join("/"), fs::read(&path)?);
            }
        }
    }
    Ok(files)
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: enough to notice damage and to name a version, and nothing to depend on.
fn fnv(start: u64, data: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    data.iter().fold(start, step)
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
