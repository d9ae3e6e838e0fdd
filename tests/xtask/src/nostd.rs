//! The fence without std: `proto` and `core` are built against a sysroot that holds `core` and `alloc` alone.
//!
//! It needs no download: the libraries are copied from the toolchain in use. Whatever names std ends with
//! E0463, and each run sees that happen before it trusts the fence.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::run::{Totals, cargo, command, read, run};
use crate::workspace::Workspace;

/// The libraries inside the fence.
const INSIDE: [&str; 5] =
    ["core", "alloc", "compiler_builtins", "rustc_std_workspace_core", "rustc_std_workspace_alloc"];

/// The packages that live inside the fence.
pub(crate) const FENCED: [&str; 2] = ["peerage-proto", "peerage-core"];

/// Builds the fenced packages; one passed check each, and one for the fence itself.
///
/// # Errors
/// If the fence lets std through, or a package needs std.
pub(crate) fn stage(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    let host = host()?;
    let fence = raise(workspace, &host)?;
    prove(workspace, &fence)?;
    totals.passed += 1;
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", host.to_uppercase().replace('-', "_"));
    for package in FENCED {
        let mut build = cargo(["build", "--locked", "--target", &host, "-p", package]);
        build.env(&flags, format!("--sysroot {}", fence.display())).current_dir(&workspace.root);
        build.env("CARGO_TARGET_DIR", workspace.scratch("nostd")?);
        run(&mut build, totals).map_err(|e| format!("{package} does not build without std: {e}"))?;
        totals.passed += 1;
    }
    Ok(())
}

fn host() -> Result<String, String> {
    let text = read(&mut command("rustc", ["-vV"]))?;
    let line = text.lines().find_map(|l| l.strip_prefix("host: "));
    line.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

/// Copies the libraries; what an earlier toolchain left is taken away first.
fn raise(workspace: &Workspace, host: &str) -> Result<PathBuf, String> {
    let sysroot = PathBuf::from(read(&mut command("rustc", ["--print", "sysroot"]))?.trim());
    let below = Path::new("lib/rustlib").join(host).join("lib");
    let fence = workspace.scratch("sysroot-without-std")?;
    let (from, to) = (sysroot.join(&below), fence.join(&below));
    let failed = |e: std::io::Error| format!("cannot copy {} to {}: {e}", from.display(), to.display());
    if to.exists() {
        fs::remove_dir_all(&to).map_err(failed)?;
    }
    fs::create_dir_all(&to).map_err(failed)?;
    let mut copied = 0;
    for entry in fs::read_dir(&from).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let text = name.to_string_lossy();
        let library = text.strip_prefix("lib").and_then(|n| n.rsplit_once('-')).map(|(n, _)| n);
        if library.is_some_and(|l| INSIDE.contains(&l)) {
            fs::copy(from.join(&name), to.join(&name)).map_err(failed)?;
            copied += 1;
        }
    }
    if copied < INSIDE.len() {
        return Err(format!("{} holds {copied} of the {} libraries", from.display(), INSIDE.len()));
    }
    println!("a sysroot of {} stands in {}", INSIDE.join(", "), fence.display());
    Ok(fence)
}

/// Sees a crate that names std fail, and one that does not pass.
fn prove(workspace: &Workspace, fence: &Path) -> Result<(), String> {
    let folder = workspace.scratch("fence-proof")?;
    let compile = |name: &str, text: &str| -> Result<(bool, String), String> {
        let file = folder.join(name);
        fs::write(&file, text).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
        let mut rustc = command("rustc", ["--crate-type", "lib", "--emit", "metadata", "--sysroot"]);
        rustc.arg(fence).arg("--out-dir").arg(&folder).arg(&file).stdin(Stdio::null());
        let output = rustc.output().map_err(|e| format!("cannot start rustc: {e}"))?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (pure, said) = compile("pure.rs", "#![no_std]\nextern crate alloc;\n")?;
    if !pure {
        return Err(format!("the fence refuses a crate that needs alloc alone: {said}"));
    }
    let (leaky, said) = compile("leaky.rs", "#![no_std]\nextern crate std;\n")?;
    if leaky || !said.contains("E0463") {
        return Err(format!("the fence let std through: {said}"));
    }
    println!("a crate that names std fails with E0463: the fence stands");
    Ok(())
}
