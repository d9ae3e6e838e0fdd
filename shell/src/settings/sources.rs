//! Where settings are read from in a running process.

use std::path::{Path, PathBuf};

use peerage_core::error::ConfigError;

use super::Sources;
use super::keys;

/// The files of spec 13.1, later ones override earlier ones.
const FILES: [&str; 3] = ["settings.conf", "settings_test.conf", "settings_local.conf"];

/// Collects files, environment and flags. With `explicit` files no others are looked for; else each of the known file
/// names is looked for upwards from the program's folder, then from the working folder.
///
/// # Errors
/// A named file that cannot be read.
pub fn collect(explicit: &[PathBuf], flags: Vec<(String, String)>) -> Result<Sources, ConfigError> {
    let paths = if explicit.is_empty() { searched() } else { explicit.to_vec() };
    let files = paths
        .into_iter()
        .map(|path| match std::fs::read_to_string(&path) {
            Ok(text) => Ok((path, text)),
            Err(error) => Err(ConfigError {
                key: "--config".to_owned(),
                value: path.display().to_string(),
                origin: "command line".to_owned(),
                problem: format!("the settings file cannot be read: {error}"),
                remedy: "name a file that exists and is readable".to_owned(),
            }),
        })
        .collect::<Result<_, _>>()?;
    Ok(Sources { files, environment: environment(), flags })
}

/// Of the environment only known names, `p2p_*` and the two that choose the context are read.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| {
            name.starts_with("p2p_")
                || keys::find(name).is_some()
                || name == "SETTINGS_CONTEXT"
                || name == "SETTINGS_APPLICATION"
        })
        .collect()
}

fn searched() -> Vec<PathBuf> {
    let program = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    let starts: Vec<PathBuf> = program.into_iter().chain(std::env::current_dir().ok()).collect();
    FILES.iter().filter_map(|name| starts.iter().find_map(|start| upwards(start, name))).collect()
}

fn upwards(start: &Path, name: &str) -> Option<PathBuf> {
    start.ancestors().map(|folder| folder.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_that_is_missing_is_an_error_that_names_it() {
        let error = collect(&["/nonexistent/settings.conf".into()], vec![]).unwrap_err();
        assert_eq!(error.value, "/nonexistent/settings.conf");
    }
}
