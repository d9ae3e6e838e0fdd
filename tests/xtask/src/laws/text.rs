//! What may not stand in a tracked file.

/// The longest Rust file in lines.
const LINES_MAX: usize = 600;

/// Texts that tie the repository to one machine, and hosts of package registries. Put together by the
/// compiler, so that this file does not hold them.
const FOREIGN: [&str; 14] = [
    concat!("..", "/shared"),
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/home", "/"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("registry.npmjs", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("sum.golang", ".org"),
    concat!("py", "pi.org"),
    concat!("pythonhosted", ".org"),
    concat!("repo1.maven", ".org"),
    concat!("repo.maven.apache", ".org"),
    concat!("deb.debian", ".org"),
];

/// Libraries that may export a symbol, which is an unsafe attribute: the scenario that runs under Node.js.
const EXPORTERS: [&str; 1] = ["tests/wasm/src/lib.rs"];

/// Waiting by the clock: a test waits for an event.
const SLEEPS: [&str; 3] = ["thread::sleep", "time::sleep", "Timer::after"];

/// The breaks in one file.
pub(super) fn breaks(file: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for foreign in FOREIGN {
        if let Some(line) = text.lines().position(|l| l.contains(foreign)) {
            broken.push(format!("{file}:{}: holds `{foreign}`", line + 1));
        }
    }
    if file.ends_with(".rs") {
        rust(file, text, &mut broken);
    }
    broken
}

fn rust(file: &str, text: &str, broken: &mut Vec<String>) {
    let count = text.lines().count();
    if count > LINES_MAX {
        broken.push(format!("{file}: {count} lines, more than {LINES_MAX}"));
    }
    if file.ends_with("src/lib.rs") && !EXPORTERS.contains(&file) && !forbids_unsafe(text) {
        broken.push(format!("{file}: the first line must be #![forbid(unsafe_code)]"));
    }
    let mut in_tests = is_test_file(file);
    for (index, line) in text.lines().enumerate() {
        in_tests |= line.trim() == "#[cfg(test)]";
        let sleeps = SLEEPS.iter().any(|s| line.contains(&format!("{s}(")));
        if in_tests && sleeps {
            broken.push(format!("{file}:{}: a test sleeps", index + 1));
        }
    }
}

/// Only documentation, and the attribute that takes std away, may stand before it; a file without code has none.
fn forbids_unsafe(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("//!"));
    let first = lines.find(|l| *l != "#![no_std]" && !l.starts_with("#![cfg_attr("));
    first.is_none_or(|l| l == "#![forbid(unsafe_code)]")
}

fn is_test_file(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("/tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_foreign_text_is_found_with_its_line() {
        for foreign in FOREIGN {
            assert_eq!(breaks("a.md", &format!("fine\nsee {foreign}x")).len(), 1, "{foreign}");
        }
        assert!(breaks("a.md", "the index of the registry").is_empty());
    }

    #[test]
    fn a_file_of_601_lines_is_too_long() {
        assert_eq!(breaks("core/src/x.rs", &"\n".repeat(601)).len(), 1);
        assert!(breaks("core/src/x.rs", &"\n".repeat(600)).is_empty());
    }

    #[test]
    fn a_library_forbids_unsafe_before_anything_else() {
        assert!(breaks("a/src/lib.rs", "#![no_std]\n#![forbid(unsafe_code)]\n").is_empty());
        assert_eq!(breaks("a/src/lib.rs", "mod x;\n#![forbid(unsafe_code)]\n").len(), 1);
        assert_eq!(breaks("a/src/lib.rs", "#![no_std]\nmod x;\n").len(), 1);
        assert!(breaks("a/src/lib.rs", "//! Nothing yet.\n").is_empty());
    }

    #[test]
    fn a_test_that_sleeps_is_found_and_a_timer_of_the_product_is_not() {
        for sleep in SLEEPS {
            let line = format!("{sleep}(x);");
            assert_eq!(breaks("a/tests/x.rs", &line).len(), 1);
            assert_eq!(breaks("a/src/x.rs", &format!("#[cfg(test)]\nmod tests {{\n{line}\n}}")).len(), 1);
            assert!(breaks("a/src/x.rs", &line).is_empty());
        }
    }
}
