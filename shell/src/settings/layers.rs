//! Which layer a value comes from: default < file < environment < `--set`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use peerage_core::error::ConfigError;

use super::file;
use super::keys::{self, Effect, KEYS, Key};
use super::values::boolean;

/// What the settings are read from. Everything outside comes in by here, so that tests need no process.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Files, later ones override earlier ones: path and text.
    pub files: Vec<(PathBuf, String)>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// `--set key=value`, in order.
    pub flags: Vec<(String, String)>,
}

/// A value and where it came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The text, substitutions done.
    pub text: String,
    /// For people: `default`, `environment`, `--set`, or file and line.
    pub origin: String,
    /// Whether it is the default.
    pub is_default: bool,
}

/// All layers, ready to be asked.
#[derive(Debug)]
pub struct Layers {
    values: BTreeMap<String, (String, String)>,
    environment: BTreeMap<String, String>,
    flags: BTreeMap<&'static str, String>,
    suffixes: Vec<String>,
    dev: bool,
}

impl Layers {
    /// Reads the sources and refuses names that are not known.
    ///
    /// # Errors
    /// An unknown name in a file or a flag, a line that is no setting, a reference to a secret, or an unknown profile.
    pub fn new(sources: &Sources) -> Result<Self, ConfigError> {
        let environment: BTreeMap<_, _> = sources.environment.iter().cloned().collect();
        let variable = |name: &str| environment.get(name).map(String::as_str);
        let suffixes =
            suffixes(variable("SETTINGS_CONTEXT").unwrap_or("dev"), variable("SETTINGS_APPLICATION"));
        let mut values = BTreeMap::new();
        for (path, text) in &sources.files {
            read_file(path, text, &mut values)?;
        }
        refuse_unknown(&values)?;
        let mut flags = BTreeMap::new();
        for (name, value) in &sources.flags {
            let key = keys::find(name).ok_or_else(|| unknown(name, "--set"))?;
            flags.insert(key.name, value.clone());
        }
        let mut layers = Self { values, environment, flags, suffixes, dev: false };
        layers.refuse_told_secrets()?;
        layers.dev = layers.profile_is_dev(sources.files.is_empty())?;
        Ok(layers)
    }

    fn profile_is_dev(&self, unset: bool) -> Result<bool, ConfigError> {
        let Some(found) = self.explicit("profile") else { return Ok(unset) };
        match found.text.as_str() {
            "" => Ok(unset),
            "dev" => Ok(true),
            "standard" => Ok(false),
            _ => Err(ConfigError {
                key: "profile".to_owned(),
                value: found.text,
                origin: found.origin,
                problem: "no such choice".to_owned(),
                remedy: "use one of: dev, standard".to_owned(),
            }),
        }
    }

    /// Refuses every value that refers to a secret, or to what a secret is made of: it would be shown wherever that value is.
    fn refuse_told_secrets(&self) -> Result<(), ConfigError> {
        let files = self.values.iter().map(|(name, (text, origin))| (name.as_str(), text, origin.as_str()));
        let environment = self.environment.iter().map(|(name, text)| (name.as_str(), text, "environment"));
        let flags = self.flags.iter().map(|(name, text)| (*name, text, "--set"));
        let all: Vec<_> = files.chain(environment).chain(flags).collect();
        let parts: Vec<&str> = all
            .iter()
            .filter(|(name, _, _)| keys::is_secret(name))
            .flat_map(|(_, text, _)| file::references(text))
            .collect();
        for (name, text, origin) in all {
            let told =
                |other: &&str| keys::is_secret(other) || !keys::is_secret(name) && parts.contains(other);
            let Some(secret) = file::references(text).find(told) else { continue };
            return Err(ConfigError {
                key: name.to_owned(),
                value: format!("…${{{secret}}}…"),
                origin: origin.to_owned(),
                problem: format!("`{secret}` is a secret and is put into no other value"),
                remedy: "remove the reference".to_owned(),
            });
        }
        Ok(())
    }

    /// Whether profile `dev` gives the defaults: asked for, or no file was read.
    pub fn is_dev(&self) -> bool {
        self.dev
    }

    /// The value of `name`. Of a setting and its aliases the one of the highest layer counts.
    pub fn get(&self, name: &str) -> Found {
        let aliases =
            KEYS.iter().filter(|key| key.effect == Effect::Alias(spelling(name))).map(|key| key.name);
        std::iter::once(name)
            .chain(aliases)
            .find_map(|name| self.explicit(name))
            .unwrap_or_else(|| self.default(name))
    }

    fn default(&self, name: &str) -> Found {
        let text = keys::find(name).map_or("", |key| self.default_of(key));
        Found { text: text.to_owned(), origin: "default".to_owned(), is_default: true }
    }

    fn default_of(&self, key: &Key) -> &'static str {
        key.dev.filter(|_| self.dev).unwrap_or(key.default)
    }

    /// Refuses every setting without function here that is set to anything but its default.
    ///
    /// # Errors
    /// The first such setting.
    pub fn refuse_missing(&self) -> Result<(), ConfigError> {
        for key in KEYS {
            let Effect::Missing(what) = key.effect else { continue };
            let Some(found) = self.explicit(key.name) else { continue };
            let bool_default = matches!(key.default, "true" | "false");
            let same = found.text == key.default
                || found.text.is_empty()
                || bool_default && boolean(&found.text) == boolean(key.default);
            if !same {
                return Err(ConfigError {
                    key: key.name.to_owned(),
                    value: found.text,
                    origin: found.origin,
                    problem: what.to_owned(),
                    remedy: match key.default {
                        "" => "remove the setting, or leave it empty".to_owned(),
                        default => format!("remove the setting, or set it to its default `{default}`"),
                    },
                });
            }
        }
        Ok(())
    }

    fn explicit(&self, name: &str) -> Option<Found> {
        let found = |text: &str, origin: String| {
            Some(Found { text: self.substitute(text, 0), origin, is_default: false })
        };
        if let Some(text) = self.flags.get(name) {
            return found(text, "--set".to_owned());
        }
        if let Some(text) = self.environment.get(name) {
            return found(text, "environment".to_owned());
        }
        self.in_files(name).and_then(|(text, origin)| found(text, origin.clone()))
    }

    fn in_files(&self, name: &str) -> Option<&(String, String)> {
        self.suffixes.iter().find_map(|suffix| self.values.get(&format!("{name}{suffix}")))
    }

    /// `${NAME}` → the setting NAME, recursively; unknown → `{NAME}` without the dollar sign.
    fn substitute(&self, text: &str, depth: usize) -> String {
        const DEPTH_MAX: usize = 16;
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((head, tail)) = rest.split_once("${") {
            let Some((name, after)) = tail.split_once('}') else { break };
            out.push_str(head);
            let outer = self.flags.get(name).or_else(|| self.environment.get(name));
            let value = outer.or_else(|| self.in_files(name).map(|(text, _)| text));
            match value {
                Some(value) if depth < DEPTH_MAX => out.push_str(&self.substitute(value, depth + 1)),
                _ => out.push_str(&format!("{{{name}}}")),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// The static spelling of a known name; an unknown one equals no alias.
fn spelling(name: &str) -> &'static str {
    keys::find(name).map_or("", |key| key.name)
}

/// What is appended to a key, in the order of trial: `.docker.ci`, `.docker`, nothing; with an application first.
fn suffixes(context: &str, application: Option<&str>) -> Vec<String> {
    let parts: Vec<&str> = context.split('.').filter(|part| !part.is_empty()).collect();
    let mut out = Vec::new();
    for length in (0..=parts.len()).rev() {
        let suffix: String = parts[..length].iter().map(|part| format!(".{part}")).collect();
        if let Some(application) = application.filter(|name| !name.is_empty()) {
            out.push(format!("{suffix}.{application}"));
        }
        out.push(suffix);
    }
    out
}

fn read_file(
    path: &Path,
    text: &str,
    values: &mut BTreeMap<String, (String, String)>,
) -> Result<(), ConfigError> {
    let lines = file::parse(text).map_err(|(number, line)| ConfigError {
        // The rest of the line may be a secret.
        key: escaped(line.split_whitespace().next().unwrap_or_default()),
        value: String::new(),
        origin: format!("{}:{number}", path.display()),
        problem: "the line is not `key = value`".to_owned(),
        remedy: "write `key = value`, or make it a comment with `#`".to_owned(),
    })?;
    for line in lines {
        values.insert(line.key, (line.value, format!("{}:{}", path.display(), line.number)));
    }
    Ok(())
}

/// A name without its context must be known, unless a value refers to it as `${NAME}`.
fn refuse_unknown(values: &BTreeMap<String, (String, String)>) -> Result<(), ConfigError> {
    let base = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let referred: Vec<String> =
        values.values().flat_map(|(value, _)| file::references(value)).map(base).collect();
    for (name, (_, origin)) in values {
        let base = base(name);
        if keys::find(&base).is_none() && !referred.contains(&base) {
            return Err(unknown(&base, origin));
        }
    }
    Ok(())
}

/// The name as a terminal can show it.
fn escaped(name: &str) -> String {
    name.escape_debug().to_string()
}

/// The value is not shown: a secret under a misspelt name is still one.
fn unknown(name: &str, origin: &str) -> ConfigError {
    ConfigError {
        key: escaped(name),
        value: "(not shown)".to_owned(),
        origin: origin.to_owned(),
        problem: "no such setting".to_owned(),
        remedy: match keys::nearest(name) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "remove it".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(
        text: &str,
        environment: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Layers, ConfigError> {
        let own =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let files = if text.is_empty() { vec![] } else { vec![("settings.conf".into(), text.to_owned())] };
        Layers::new(&Sources { files, environment: own(environment), flags: own(flags) })
    }

    #[test]
    fn t155_the_environment_overrides_the_file_and_the_longest_context_wins() {
        let file = "network = mainnet\nnetwork.docker = testnet\nnetwork.docker.ci = stn\nclientName = a\n";
        let asked =
            |environment: &[(&str, &str)]| layers(file, environment, &[]).unwrap().get("network").text;
        assert_eq!(asked(&[]), "mainnet");
        assert_eq!(asked(&[("SETTINGS_CONTEXT", "docker.ci")]), "stn");
        assert_eq!(asked(&[("SETTINGS_CONTEXT", "docker.x")]), "testnet");
        assert_eq!(asked(&[("SETTINGS_CONTEXT", "docker.ci"), ("network", "regtest")]), "regtest");
        let flagged = layers(file, &[("network", "regtest")], &[("network", "tstn")]).unwrap();
        assert_eq!(
            flagged.get("network"),
            Found { text: "tstn".into(), origin: "--set".into(), is_default: false }
        );
    }

    #[test]
    fn t155_references_are_substituted_recursively() {
        let file = "HOST = ${PART}.example\nPART = node\nclientName = ${HOST}-${NOBODY}\nPORT=${PORT}\np2p_port=${PORT}";
        let layers = layers(file, &[], &[]).unwrap();
        assert_eq!(layers.get("clientName").text, "node.example-{NOBODY}");
        assert_eq!(layers.get("p2p_port").text, "{PORT}", "a circle ends");
    }

    #[test]
    fn an_application_is_tried_before_the_plain_context() {
        let file = "clientName = plain\nclientName.dev = context\nclientName.dev.app = both\n";
        let layers = layers(file, &[("SETTINGS_APPLICATION", "app")], &[]).unwrap();
        assert_eq!(layers.get("clientName").text, "both");
    }

    #[test]
    fn an_unknown_name_is_refused_with_a_hint() {
        let error = layers("p2p_prot = 5\n", &[], &[]).unwrap_err();
        assert_eq!((error.key.as_str(), error.origin.as_str()), ("p2p_prot", "settings.conf:1"));
        assert_eq!(error.remedy, "did you mean `p2p_port`?");
        assert_eq!(layers("", &[], &[("zzz", "1")]).unwrap_err().origin, "--set");
        assert!(layers("", &[("p2p_zzz", "1")], &[]).is_ok(), "the environment may hold anything");
    }

    #[test]
    fn without_any_file_the_profile_is_dev() {
        assert!(layers("", &[], &[("clientName", "x")]).unwrap().is_dev());
        assert!(!layers("clientName = x\n", &[], &[]).unwrap().is_dev());
        assert!(layers("profile = dev\n", &[], &[]).unwrap().is_dev());
        assert_eq!(layers("", &[], &[]).unwrap().get("network").text, "regtest");
        assert_eq!(layers("", &[], &[("profile", "standard")]).unwrap().get("network").text, "mainnet");
    }

    #[test]
    fn an_alias_counts_like_its_setting() {
        let layers = layers("p2p_ip = 10.0.0.1\n", &[], &[]).unwrap();
        assert_eq!(layers.get("p2p_listen_addresses").text, "10.0.0.1");
    }

    #[test]
    fn a_setting_of_what_is_not_built_is_refused_unless_it_is_the_default() {
        let refused = |flag| layers("", &[], &[flag]).unwrap().refuse_missing();
        assert_eq!(refused(("p2p_dht_use_private", "false")), Ok(()));
        assert_eq!(refused(("p2p_dht_use_private", "0")), Ok(()));
        let error = refused(("p2p_dht_use_private", "true")).unwrap_err();
        assert_eq!((error.key.as_str(), error.origin.as_str()), ("p2p_dht_use_private", "--set"));
        assert!(error.problem.contains("private networks"));
        assert!(refused(("banlist_db", "sqlite:///x")).is_err());
    }
}
