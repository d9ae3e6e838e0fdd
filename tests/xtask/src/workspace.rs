//! What the workspace consists of: packages, tracked files, dependency graphs.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{cargo, command, read};

/// The checkout and its packages.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target_dir: PathBuf,
    /// Names of the members, in order.
    pub(crate) members: Vec<String>,
    /// Everything that `cargo metadata` says.
    pub(crate) metadata: Value,
}

/// One package of a dependency graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Used {
    /// The package's name.
    pub(crate) name: String,
    /// Its features as resolved.
    pub(crate) features: Vec<String>,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// If cargo fails or says something else than JSON of the known shape.
    pub(crate) fn load() -> Result<Self, String> {
        let text = read(&mut cargo(["metadata", "--format-version", "1", "--locked"]))?;
        let metadata: Value =
            serde_json::from_str(&text).map_err(|e| format!("cargo metadata is no JSON: {e}"))?;
        let path = |key: &str| {
            metadata[key].as_str().map(PathBuf::from).ok_or_else(|| format!("metadata has no {key}"))
        };
        let (root, target_dir) = (path("workspace_root")?, path("target_directory")?);
        let ids = metadata["workspace_members"].as_array().ok_or("metadata has no members")?;
        let packages = metadata["packages"].as_array().ok_or("metadata has no packages")?;
        let members = packages
            .iter()
            .filter(|p| ids.contains(&p["id"]))
            .filter_map(|p| p["name"].as_str().map(str::to_owned))
            .collect();
        Ok(Self { root, target_dir, members, metadata })
    }

    /// The files that git tracks or would track, as paths inside the checkout.
    ///
    /// # Errors
    /// If git fails.
    pub(crate) fn files(&self) -> Result<Vec<String>, String> {
        let args = ["ls-files", "--cached", "--others", "--exclude-standard"];
        let text = read(command("git", args).current_dir(&self.root))?;
        Ok(text.lines().filter(|f| self.root.join(f).is_file()).map(str::to_owned).collect())
    }

    /// The text of a file; `None` for what is no text.
    pub(crate) fn text(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(file)).ok()
    }

    /// The packages in the binary or library `package` when it is built alone, on every target if asked.
    ///
    /// # Errors
    /// If cargo fails.
    pub(crate) fn graph(&self, package: &str, all_targets: bool) -> Result<Vec<Used>, String> {
        let mut tree =
            cargo(["tree", "--locked", "-p", package, "-e", "normal,no-proc-macro", "--prefix", "none"]);
        tree.args(["-f", "{p}|{f}"]).current_dir(&self.root);
        if all_targets {
            tree.args(["--target", "all"]);
        }
        Ok(parse_tree(&read(&mut tree)?))
    }

    /// A folder of the target directory that is ours, made if it is missing.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.target_dir.join("xtask").join(name);
        std::fs::create_dir_all(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        Ok(path)
    }

    /// Whether the checkout holds this path.
    pub(crate) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.root.join(path).exists()
    }
}

/// Lines of `cargo tree -f '{p}|{f}'`, each package once.
pub(crate) fn parse_tree(text: &str) -> Vec<Used> {
    let mut used: Vec<Used> = text
        .lines()
        .filter_map(|line| {
            let (package, features) = line.split_once('|')?;
            let name = package.split_whitespace().next()?.to_owned();
            let features = features.trim_end_matches(" (*)").split(',').filter(|f| !f.is_empty());
            Some(Used { name, features: features.map(|f| f.trim().to_owned()).collect() })
        })
        .collect();
    used.sort();
    used.dedup();
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_with_names_and_features() {
        let used = parse_tree("a v0.1.0 (/x)|\ntokio v1.2.3|rt,sync\ntokio v1.2.3|rt,sync (*)\n");
        assert_eq!(used.len(), 2);
        assert_eq!(used[1], Used { name: "tokio".into(), features: vec!["rt".into(), "sync".into()] });
    }
}
