//! Laws that a compiler does not know: what may be in a dependency graph, and what may stand in a file.

mod graph;
mod sizes;
mod text;

use crate::run::Totals;
use crate::workspace::Workspace;

/// Judges the workspace; each law that holds is one passed check.
///
/// # Errors
/// If a law is broken; every break is printed first.
pub(crate) fn stage(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    let mut broken = graph::breaks(workspace, totals)?;
    let mut files = Vec::new();
    for file in workspace.files()? {
        let Some(text) = workspace.text(&file) else { continue };
        let said = text::breaks(&file, &text);
        totals.passed += u64::from(said.is_empty());
        broken.extend(said);
        files.push((file, text));
    }
    let said = sizes::breaks(&files);
    totals.passed += u64::from(said.is_empty());
    broken.extend(said);
    for line in &broken {
        println!("law broken: {line}");
    }
    totals.failed += broken.len() as u64;
    if broken.is_empty() { Ok(()) } else { Err(format!("{} laws are broken", broken.len())) }
}
