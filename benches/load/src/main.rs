//! The other end of saburo's network benchmarks.
//!
//! One program stands opposite every loop, so that all of them get the same work, and it checks every byte,
//! so that none can win by doing less. See [`options::USAGE`] for what it does.

#[cfg(target_os = "linux")]
mod channel;
#[cfg(target_os = "linux")]
mod dialogue;
#[cfg(target_os = "linux")]
mod drive;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod pattern;
#[cfg(target_os = "linux")]
mod serve;
#[cfg(target_os = "linux")]
mod talk;
#[cfg(target_os = "linux")]
mod wrong;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    talk::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("saburo-load: only for Linux");
    std::process::ExitCode::FAILURE
}
