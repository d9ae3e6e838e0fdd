//! The second fence, and the other machine: the core is built for wasm32 and runs under Node.js.
//!
//! A toolchain that has wasm32's libraries is used as it is. Else Debian's compiler for the web is unpacked
//! (not installed) beside the build, and builds `core`, `alloc` and `std` from its own sources.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::nostd::FENCED;
use crate::run::{Totals, cargo, command, need, read, run};
use crate::workspace::Workspace;

const TARGET: &str = "wasm32-unknown-unknown";
/// What unpacks into a compiler: a name, or the head of a name whose version another package states.
const PACKAGES: [(&str, &str); 5] = [
    ("rustc-web", ""),
    ("rust-web-src", ""),
    ("libstd-rust-web-dev", ""),
    ("libstd-rust-web-", "libstd-rust-web-dev"),
    ("libllvm", "the package before"),
];
/// The package whose library runs a scenario: `tests/wasm`.
const SCENARIO: &str = "peerage-wasm";
/// Seeds to compare.
const SEEDS: [&str; 3] = ["1", "2", "9007199254740993"];

/// Builds the fenced packages, then compares the scenario's hashes with the native ones.
///
/// # Errors
/// If no toolchain can be had, a build fails, or a hash differs.
pub(crate) fn stage(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    let route = Route::find(workspace, totals)?;
    for package in FENCED {
        run(route.cargo(workspace, "core,alloc", package)?.current_dir(&workspace.root), totals)?;
        totals.passed += 1;
    }
    if !workspace.has("tests/wasm/Cargo.toml") {
        println!("nothing yet: tests/wasm, the scenario that Node.js runs");
        return Ok(());
    }
    run(route.cargo(workspace, "std,panic_abort", SCENARIO)?.current_dir(&workspace.root), totals)?;
    need("node", "nodejs")?;
    let module = workspace.scratch("wasm")?.join(TARGET).join("debug").join("peerage_wasm.wasm");
    for seed in SEEDS {
        let plain = compare(workspace, &module, seed, "0")?;
        if compare(workspace, &module, seed, "1")? == plain {
            return Err(format!("seed {seed}: an altered input gives the same hash {plain}"));
        }
        totals.passed += 2;
    }
    Ok(())
}

fn compare(workspace: &Workspace, module: &Path, seed: &str, altered: &str) -> Result<String, String> {
    let script = workspace.root.join("tests/xtask/src/wasm.mjs");
    let under_node = read(command("node", [&script, module]).args([seed, altered]))?;
    let args = ["run", "--quiet", "--locked", "-p", SCENARIO, "--example", "native", "--", seed, altered];
    let native = read(cargo(args).current_dir(&workspace.root))?;
    println!("seed {seed}, altered {altered}: wasm32 {}, native {}", under_node.trim(), native.trim());
    if under_node.trim() == native.trim() {
        Ok(native.trim().to_owned())
    } else {
        Err(format!("seed {seed}: wasm32 and the native build differ"))
    }
}

/// How wasm32 is built here.
enum Route {
    /// The toolchain in use has the target.
    Installed,
    /// A compiler that builds the libraries first.
    Unpacked(PathBuf),
}

impl Route {
    fn find(workspace: &Workspace, totals: &mut Totals) -> Result<Self, String> {
        let sysroot = PathBuf::from(read(&mut command("rustc", ["--print", "sysroot"]))?.trim());
        if sysroot.join("lib/rustlib").join(TARGET).join("lib").exists() {
            println!("the toolchain in use has {TARGET}");
            return Ok(Self::Installed);
        }
        let folder = workspace.scratch("wasm-toolchain")?;
        let wrapper = folder.join("rustc");
        if read(&mut command(&wrapper.to_string_lossy(), ["-vV"])).is_err() {
            unpack(&folder, &wrapper, totals)
                .map_err(|e| format!("{e}\n{TARGET} is missing; mend it with: rustup target add {TARGET}"))?;
        }
        println!("{}", read(&mut command(&wrapper.to_string_lossy(), ["--version"]))?.trim());
        Ok(Self::Unpacked(wrapper))
    }

    /// A build of one package for wasm32, with the libraries it needs.
    fn cargo(&self, workspace: &Workspace, libraries: &str, package: &str) -> Result<Command, String> {
        let mut build = cargo(["build", "--locked", "--lib", "--target", TARGET, "-p", package]);
        build.env("CARGO_TARGET_DIR", workspace.scratch("wasm")?);
        if let Self::Unpacked(rustc) = self {
            build.arg(format!("-Zbuild-std={libraries}")).env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
            build.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker()?);
        }
        Ok(build)
    }
}

/// The linker of the toolchain in use also links wasm32.
fn linker() -> Result<PathBuf, String> {
    let libdir = PathBuf::from(read(&mut command("rustc", ["--print", "target-libdir"]))?.trim());
    let lld = libdir.with_file_name("bin").join("rust-lld");
    if lld.exists() { Ok(lld) } else { Err(format!("{} is missing: no linker for {TARGET}", lld.display())) }
}

fn unpack(folder: &Path, wrapper: &Path, totals: &mut Totals) -> Result<(), String> {
    let root = folder.join("root");
    fs::create_dir_all(&root).map_err(|e| format!("cannot make {}: {e}", root.display()))?;
    if read(&mut command("id", ["-u"])).is_ok_and(|id| id.trim() == "0") {
        run(&mut command("apt-get", ["update", "-qq"]), totals)?;
    }
    let mut before = String::new();
    for (head, stated_by) in PACKAGES {
        let name = if stated_by.is_empty() { head.to_owned() } else { dependency(&before, head)? };
        run(command("apt-get", ["download", "-qq", &name]).current_dir(folder), totals)?;
        let archive = archive(folder, &name)?;
        if name == "rust-web-src" {
            // Of a third of a gigabyte, the libraries alone are wanted.
            let script = "dpkg-deb --fsys-tarfile \"$0\" | tar x -C \"$1\" --wildcards './usr/src/rustc-*/library' './usr/lib/rustlib/src'";
            run(command("sh", ["-c", script]).arg(&archive).arg(&root), totals)?;
        } else {
            run(command("dpkg", ["-x"]).arg(&archive).arg(&root), totals)?;
        }
        fs::remove_file(&archive).map_err(|e| format!("cannot remove {}: {e}", archive.display()))?;
        before = name;
    }
    let usr = root.join("usr");
    let libraries = usr.join("lib/x86_64-linux-gnu");
    let text = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
        libraries.display(),
        usr.join("bin/rustc").display()
    );
    fs::write(wrapper, text)
        .and_then(|()| fs::set_permissions(wrapper, fs::Permissions::from_mode(0o755)))
        .map_err(|e| format!("cannot write {}: {e}", wrapper.display()))?;
    read(&mut command(&wrapper.to_string_lossy(), ["-vV"])).map(|_| ())
}

/// The dependency of `package` whose name begins with `head` and a digit.
fn dependency(package: &str, head: &str) -> Result<String, String> {
    let text = read(&mut command("apt-cache", ["depends", package]))?;
    let names = text.lines().filter_map(|l| l.trim().strip_prefix("Depends: "));
    names
        .filter(|n| n.strip_prefix(head).is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit())))
        .map(str::to_owned)
        .next()
        .ok_or_else(|| format!("{package} depends on no {head}N"))
}

fn archive(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))?;
    let head = format!("{name}_");
    let mut paths = entries.filter_map(Result::ok).map(|e| e.path());
    paths
        .find(|p| p.file_name().is_some_and(|f| f.to_string_lossy().starts_with(&head)))
        .ok_or_else(|| format!("apt-get left no archive of {name}"))
}
