//! Licences, sources and minimum versions of everything in the lock file, as `deny.toml` states them.
//!
//! The file is cargo-deny's; its keys that matter here are read from it, so that a run needs no tool whose
//! own build would take minutes.

use semver::{Version, VersionReq};
use serde_json::Value;

use crate::run::Totals;
use crate::workspace::Workspace;

/// What `deny.toml` states.
struct Rules {
    licences: Vec<String>,
    refused: Vec<(String, VersionReq, String)>,
}

/// Judges every package; each that obeys is one passed check.
///
/// # Errors
/// If a package breaks a rule, or `deny.toml` cannot be read.
pub(crate) fn stage(workspace: &Workspace, totals: &mut Totals) -> Result<(), String> {
    let text = workspace.text("deny.toml").ok_or("deny.toml is missing")?;
    let rules = rules(&text)?;
    let packages = workspace.metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let mut broken = 0;
    for package in packages {
        let said = judge(&rules, package)?;
        for line in &said {
            println!("refused: {line}");
        }
        broken += said.len() as u64;
        totals.passed += u64::from(said.is_empty());
    }
    totals.failed += broken;
    println!(
        "{} packages against {} licences and {} versions",
        packages.len(),
        rules.licences.len(),
        rules.refused.len()
    );
    if broken == 0 { Ok(()) } else { Err(format!("deny.toml refuses {broken} things")) }
}

fn rules(text: &str) -> Result<Rules, String> {
    let file: toml::Table = text.parse().map_err(|e| format!("deny.toml: {e}"))?;
    let array = |table: &str, key: &str| {
        let value = file.get(table).and_then(|t| t.get(key)).and_then(toml::Value::as_array);
        value.ok_or_else(|| format!("deny.toml: {table}.{key} is no list"))
    };
    let licences = array("licenses", "allow")?.iter().filter_map(|l| l.as_str().map(str::to_owned)).collect();
    let mut refused = Vec::new();
    for entry in array("bans", "deny")? {
        let field = |key: &str| entry.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        let (name, range) = field("crate").split_once(':').unwrap_or_else(|| (field("crate"), "*"));
        let range = VersionReq::parse(range).map_err(|e| format!("deny.toml: version of {name}: {e}"))?;
        refused.push((name.to_owned(), range, field("reason").to_owned()));
    }
    Ok(Rules { licences, refused })
}

fn judge(rules: &Rules, package: &Value) -> Result<Vec<String>, String> {
    let field = |key: &str| package[key].as_str();
    let (name, version) = (field("name").unwrap_or("?"), field("version").unwrap_or("0.0.0"));
    let version = Version::parse(version).map_err(|e| format!("version of {name}: {e}"))?;
    let mut said = Vec::new();
    let licence = field("license").unwrap_or("none stated");
    if !allowed(licence, &rules.licences) {
        said.push(format!("{name} {version}: licence {licence}"));
    }
    if field("source").is_some_and(|s| !s.starts_with("registry+")) {
        said.push(format!("{name} {version}: comes from no registry"));
    }
    for (refused, range, reason) in &rules.refused {
        if refused == name && range.matches(&version) {
            said.push(format!("{name} {version}: {reason}"));
        }
    }
    Ok(said)
}

/// Whether an SPDX expression can be met by allowed licences alone.
fn allowed(expression: &str, licences: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest, licences) && rest.is_empty()
}

fn either(words: &mut &[&str], licences: &[String]) -> bool {
    let mut met = both(words, licences);
    while words.first() == Some(&"OR") {
        *words = &words[1..];
        met |= both(words, licences);
    }
    met
}

fn both(words: &mut &[&str], licences: &[String]) -> bool {
    let mut met = one(words, licences);
    while words.first() == Some(&"AND") {
        *words = &words[1..];
        met &= one(words, licences);
    }
    met
}

fn one(words: &mut &[&str], licences: &[String]) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    *words = rest;
    if *first == "(" {
        let met = either(words, licences);
        let closed = words.first() == Some(&")");
        *words = words.get(1..).unwrap_or_default();
        return met && closed;
    }
    let mut name = (*first).to_owned();
    if let ["WITH", exception, rest @ ..] = *words {
        name = format!("{name} WITH {exception}");
        *words = rest;
    }
    licences.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FILE: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0 WITH LLVM-exception"]
        [bans]
        deny = [{ crate = "h2:<0.4.16", reason = "flood" }]
    "#;

    #[test]
    fn an_expression_is_met_by_allowed_licences_alone() {
        let allow = rules(FILE).expect("rules").licences;
        for met in ["MIT", "MIT/GPL-3.0", "(GPL-3.0 OR MIT) AND MIT", "Apache-2.0 WITH LLVM-exception OR X"] {
            assert!(allowed(met, &allow), "{met}");
        }
        for unmet in ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "", "(MIT", "none stated"] {
            assert!(!allowed(unmet, &allow), "{unmet}");
        }
    }

    #[test]
    fn an_old_version_a_foreign_source_and_a_licence_are_each_refused() {
        let rules = rules(FILE).expect("rules");
        let said = |v, source, licence| {
            let package = json!({"name": "h2", "version": v, "source": source, "license": licence});
            judge(&rules, &package).expect("judged").len()
        };
        assert_eq!(said("0.4.16", "registry+x", "MIT"), 0);
        assert_eq!(said("0.4.15", "registry+x", "MIT"), 1);
        assert_eq!(said("0.4.16", "git+x", "MIT"), 1);
        assert_eq!(said("0.4.16", "registry+x", "GPL-3.0"), 1);
    }
}
