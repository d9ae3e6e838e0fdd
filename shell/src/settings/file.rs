//! The settings file: `key = value`, one a line (spec 13.1).

/// One line that sets something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The key, with its context suffix if it has one.
    pub key: String,
    /// The value: comment, blanks and one pair of quotes removed.
    pub value: String,
    /// Line number, from 1.
    pub number: usize,
}

/// Reads a file's text; a byte order mark before it is skipped.
///
/// # Errors
/// The number of the first line that is neither empty nor a comment nor `key = value`, and its text.
pub fn parse(text: &str) -> Result<Vec<Line>, (usize, String)> {
    let mut lines = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let code = line.split('#').next().unwrap_or_default().trim();
        if code.is_empty() {
            continue;
        }
        let (key, value) = code.split_once('=').ok_or_else(|| (number, code.to_owned()))?;
        let (key, value) = (key.trim(), unquote(value.trim()));
        if key.is_empty() {
            return Err((number, code.to_owned()));
        }
        lines.push(Line { key: key.to_owned(), value: value.to_owned(), number });
    }
    Ok(lines)
}

fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// The names that a value refers to as `${NAME}`.
pub fn references(value: &str) -> impl Iterator<Item = &str> {
    value.split("${").skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_at_its_first_equals_sign_and_freed_of_comment_and_quotes() {
        let lines = parse("# head\n\n a = b=c # rest\nquoted = \"x y\"\n").unwrap();
        let found: Vec<_> =
            lines.iter().map(|line| (line.key.as_str(), line.value.as_str(), line.number)).collect();
        assert_eq!(found, [("a", "b=c", 3), ("quoted", "x y", 4)]);
    }

    #[test]
    fn a_line_without_equals_sign_is_named() {
        assert_eq!(parse("a = 1\nnonsense\n"), Err((2, "nonsense".to_owned())));
        assert_eq!(parse("= 1"), Err((1, "= 1".to_owned())));
    }

    #[test]
    fn references_are_found() {
        assert_eq!(references("${A}x${B}${broken").collect::<Vec<_>>(), ["A", "B"]);
    }
}
