//! The conformance checklist: item, test, mode, state; from a list of items and the names of the tests.

use std::collections::BTreeMap;

use crate::workspace::Workspace;

const FILE: &str = "tests/xtask/checklist/teranode.txt";

/// One line of the list.
#[derive(Debug)]
struct Item {
    id: String,
    mode: String,
    /// The modes differ: one test of each.
    both: bool,
    area: String,
    statement: String,
}

/// The list: its items, and the areas whose items must be tested.
#[derive(Debug)]
struct List {
    due: Vec<String>,
    items: Vec<Item>,
}

/// Item to names of its tests.
type Found = BTreeMap<String, Vec<String>>;

/// Prints every item (or the figures alone) and fails on what is missing or unknown.
///
/// # Errors
/// If an item of a due area has no test, a test names no item, or an area is whole and not due.
pub(crate) fn print_and_judge(workspace: &Workspace, whole: bool) -> Result<(), String> {
    let text = workspace.text(FILE).ok_or_else(|| format!("{FILE} is missing"))?;
    let list = parse(&text)?;
    let mut found = Found::new();
    for file in workspace.files()?.iter().filter(|f| f.ends_with(".rs")) {
        scan(&workspace.text(file).unwrap_or_default(), &mut found);
    }
    for item in list.items.iter().filter(|_| whole) {
        let names = found.get(&item.id).map_or(String::new(), |names| names.join(", "));
        println!(
            "{:>4} {:<3}{} {:<10} {} [{names}]",
            item.id,
            item.mode,
            item.area,
            state(item, &found),
            item.statement
        );
    }
    let done = |item: &&Item| state(item, &found) == "tested";
    let tested = list.items.iter().filter(done).count();
    let due: Vec<&Item> = list.items.iter().filter(|i| list.due.contains(&i.area)).collect();
    println!("{} items, {tested} tested, {} due now", list.items.len(), due.len());
    let said = judge(&list, &found);
    for line in &said {
        println!("checklist: {line}");
    }
    if said.is_empty() { Ok(()) } else { Err(format!("the checklist has {} faults", said.len())) }
}

fn parse(text: &str) -> Result<List, String> {
    let mut list = List { due: Vec::new(), items: Vec::new() };
    for line in text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
        if let Some(areas) = line.strip_prefix("due:") {
            list.due = areas.split_whitespace().map(str::to_owned).collect();
            continue;
        }
        let mut words = line.splitn(4, ' ');
        let (Some(id), Some(mode), Some(area), Some(statement)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(format!("{FILE}: not `number mode area statement`: {line}"));
        };
        let (mode, both) = mode.strip_suffix('+').map_or((mode, false), |m| (m, true));
        if !["M", "D", "MD"].contains(&mode) || list.items.iter().any(|i| i.id == id) {
            return Err(format!("{FILE}: unknown mode or number twice: {line}"));
        }
        let (id, mode, area) = (id.to_owned(), mode.to_owned(), area.to_owned());
        list.items.push(Item { id, mode, both, area, statement: statement.to_owned() });
    }
    Ok(list)
}

/// Collects tests `tNNN_…` that carry a test attribute, and `// covers: tNNN` beside a macro that makes them.
fn scan(text: &str, found: &mut Found) {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for (index, line) in lines.iter().enumerate() {
        if let Some(names) = line.strip_prefix("// covers: ") {
            names.split([' ', ',']).filter(|n| !n.is_empty()).for_each(|name| note(name, found));
        }
        let declared = line.split_once("fn t").map(|(before, rest)| (before.trim(), rest));
        let Some(("" | "async" | "pub" | "pub async", rest)) = declared else { continue };
        let attributes =
            lines[..index].iter().rev().take_while(|l| l.starts_with("#[") || l.starts_with("//"));
        if attributes.into_iter().any(|l| l.starts_with("#[") && l.contains("test")) {
            let end = rest.find(['(', '<']).unwrap_or(rest.len());
            note(&format!("t{}", &rest[..end]), found);
        }
    }
}

fn note(name: &str, found: &mut Found) {
    if let Some(id) = item_of(name) {
        found.entry(id).or_default().push(name.to_owned());
    }
}

/// `t008c_words` belongs to item `8c`.
fn item_of(name: &str) -> Option<String> {
    let number = name.strip_prefix('t')?.split('_').next()?;
    let (digits, letter) = number.split_at_checked(3)?;
    let fits = digits.bytes().all(|b| b.is_ascii_digit())
        && (letter.is_empty() || letter.len() == 1 && letter.bytes().all(|b| b.is_ascii_lowercase()));
    fits.then(|| format!("{}{letter}", digits.trim_start_matches('0')))
}

fn state(item: &Item, found: &Found) -> &'static str {
    let names = found.get(&item.id).map_or(&[][..], Vec::as_slice);
    let ends = |suffixes: &[&str]| names.iter().any(|n| suffixes.iter().any(|s| n.ends_with(s)));
    match (names.is_empty(), item.both) {
        (true, _) => "missing",
        (false, true) if !(ends(&["_default"]) && ends(&["_reference", "_strict"])) => "one mode",
        _ => "tested",
    }
}

fn judge(list: &List, found: &Found) -> Vec<String> {
    let mut said: Vec<String> = found
        .iter()
        .filter(|(id, _)| list.items.iter().all(|i| i.id != **id))
        .map(|(id, names)| format!("{} names item {id}, which does not exist", names.join(", ")))
        .collect();
    let mut areas: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
    for item in &list.items {
        areas.entry(&item.area).or_default().push(item);
    }
    for (area, items) in areas {
        let open = items.iter().filter(|i| state(i, found) != "tested");
        let due = list.due.iter().any(|d| d == area);
        if due {
            said.extend(
                open.map(|i| format!("item {} of area {area} is {}: {}", i.id, state(i, found), i.statement)),
            );
        } else if open.count() == 0 {
            said.push(format!("area {area} is whole: name it in `due:` of {FILE}"));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "due: A\n1 M A first\n8 M+ A second\n8a D B third\n9 M B fourth\n";

    fn faults(code: &str) -> Vec<String> {
        let mut found = Found::new();
        scan(code, &mut found);
        judge(&parse(LIST).expect("list"), &found)
    }

    const WHOLE: &str =
        "#[test]\nfn t001_a() {}\n#[test]\nfn t008_b_default() {}\n// covers: t008_b_reference\n";

    #[test]
    fn an_area_with_all_its_tests_has_no_fault() {
        assert_eq!(faults(WHOLE), Vec::<String>::new());
    }

    #[test]
    fn an_item_without_test_is_a_fault() {
        assert!(
            faults(&WHOLE.replace("t001", "t_01")).iter().any(|f| f.contains("item 1 of area A is missing"))
        );
        assert!(faults(&WHOLE.replacen("#[test]", "", 1)).iter().any(|f| f.contains("item 1 ")));
    }

    #[test]
    fn an_item_tested_in_one_mode_alone_is_a_fault() {
        let code = WHOLE.replace("t008_b_reference", "t008_b_default");
        assert!(faults(&code).iter().any(|f| f.contains("item 8 of area A is one mode")));
    }

    #[test]
    fn a_test_of_an_unknown_item_is_a_fault() {
        let code = format!("{WHOLE}#[tokio::test]\nasync fn t999_x() {{}}\n");
        assert!(faults(&code).iter().any(|f| f.contains("t999_x names item 999")));
    }

    /// The sources of a folder, at any depth.
    fn sources(folder: &std::path::Path, found: &mut Found) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                scan(&std::fs::read_to_string(path).unwrap(), found);
            }
        }
    }

    #[test]
    fn each_due_item_of_the_real_list_would_be_missed() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let list = parse(&std::fs::read_to_string(root.join(FILE)).unwrap()).unwrap();
        let mut found = Found::new();
        for house in ["proto", "core", "shell", "shell-tokio", "shell-smol", "tests"] {
            sources(&root.join(house), &mut found);
        }
        assert_eq!(judge(&list, &found), Vec::<String>::new());
        let due: Vec<&Item> = list.items.iter().filter(|item| list.due.contains(&item.area)).collect();
        assert!(due.len() > 50, "{} items are due", due.len());
        for item in due {
            let mut less = found.clone();
            less.remove(&item.id);
            let fault = format!("item {} of area {} is missing: {}", item.id, item.area, item.statement);
            assert_eq!(judge(&list, &less), [fault]);
        }
    }

    #[test]
    fn an_area_that_became_whole_must_be_made_due() {
        let code = format!("{WHOLE}#[test]\nfn t008a_c() {{}}\n#[test]\nfn t009_d() {{}}\n");
        assert!(faults(&code).iter().any(|f| f.contains("area B is whole")));
    }
}
