//! How much may stand in the shells: what is written there is written once for each runtime.

/// Folders, and the most lines of Rust in them.
const BOUNDS: [(&str, usize); 2] = [("shell-smol/src/", 1000), ("shell-tokio/src/", 500)];

/// The most lines that may stand in both shells in a row.
const COMMON_MAX: usize = 12;

/// The breaks, given each tracked file with its text.
pub(super) fn breaks(files: &[(String, String)]) -> Vec<String> {
    let of = |folder: &str| -> Vec<&(String, String)> {
        files.iter().filter(|(file, _)| file.starts_with(folder) && file.ends_with(".rs")).collect()
    };
    let sizes = BOUNDS.iter().filter_map(|(folder, most)| {
        let lines: usize = of(folder).iter().map(|(_, text)| text.lines().count()).sum();
        println!("{folder}: {lines} lines of {most}");
        (lines >= *most).then(|| format!("{folder}: {lines} lines, and it must stay under {most}"))
    });
    let mut broken: Vec<String> = sizes.collect();
    let [(one, _), (two, _)] = BOUNDS;
    for (ours, text) in of(one) {
        for (theirs, other) in of(two) {
            if let Some((line, length)) = longest_common(text, other).filter(|(_, n)| *n > COMMON_MAX) {
                broken.push(format!("{ours}:{line}: {length} lines that stand in {theirs} too"));
            }
        }
    }
    broken
}

/// The lines that say something, with their numbers: no blank ones, comments, imports and lone brackets.
fn telling(text: &str) -> Vec<(usize, &str)> {
    let says = |line: &str| {
        line.chars().any(char::is_alphanumeric) && !line.starts_with("//") && !line.starts_with("use ")
    };
    text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())).filter(|(_, line)| says(line)).collect()
}

/// Where in `text` the longest run begins that stands in `other` too, and how many telling lines it has.
fn longest_common(text: &str, other: &str) -> Option<(usize, usize)> {
    let (ours, theirs) = (telling(text), telling(other));
    let mut above = vec![0; theirs.len() + 1];
    let mut longest = None;
    for (at, (_, line)) in ours.iter().enumerate() {
        let mut here = vec![0; theirs.len() + 1];
        for (place, _) in theirs.iter().enumerate().filter(|(_, (_, same))| same == line) {
            here[place + 1] = above[place] + 1;
            let length = here[place + 1];
            if longest.is_none_or(|(_, most)| length > most) {
                longest = Some((ours[at + 1 - length].0, length));
            }
        }
        above = here;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn a_shell_that_has_grown_to_its_bound_breaks_the_law() {
        for (folder, most) in BOUNDS {
            let half = "x\n".repeat(most / 2);
            let files = [file(&format!("{folder}a.rs"), &half), file(&format!("{folder}b/c.rs"), &half)];
            assert_eq!(breaks(&files).len(), 1, "{folder}");
            let fewer = file(&format!("{folder}a.rs"), "x\n");
            assert!(breaks(&[fewer, files[1].clone()]).is_empty());
            assert!(breaks(&[file("shell/src/a.rs", &"x\n".repeat(2000))]).is_empty());
        }
    }

    #[test]
    fn thirteen_lines_in_both_shells_break_the_law_whatever_stands_between_them() {
        let lines = |count: usize| (0..count).map(|n| format!("let x{n} = {n};\n")).collect::<String>();
        let both = |count: usize| {
            let theirs = lines(count).replace('\n', "\n\n    // another word\n    }\n");
            breaks(&[
                file("shell-smol/src/a.rs", &format!("fn ours() {{\n{}", lines(count))),
                file("shell-tokio/src/b.rs", &theirs),
            ])
        };
        assert!(both(12).is_empty());
        assert_eq!(both(13), ["shell-smol/src/a.rs:2: 13 lines that stand in shell-tokio/src/b.rs too"]);
    }
}
