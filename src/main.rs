//! The `radiosonde` binary.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    radiosonde::cli::main(std::env::args_os())
}
