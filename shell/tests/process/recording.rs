//! `--record` and `replay`.

use std::path::Path;

use super::{Node, Scratch, command};

/// Records a short life; gives the file and the hash of the last state.
fn recorded(scratch: &Scratch) -> (std::path::PathBuf, String) {
    let file = scratch.join("recording");
    let node = Node::start_with(&scratch.join("data"), &[], &["--record", file.to_str().unwrap()]);
    node.told(&["announce", "block", "--count", "3"]);
    node.event_where("announced", |event| event["height"] == 3);
    (file, node.stop())
}

fn replay(file: &Path) -> (Option<i32>, String) {
    let output = command(Path::new("/nonexistent")).arg("replay").arg(file).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn a_recording_replays_to_the_hash_of_the_last_state() {
    let scratch = Scratch::new();
    let (file, hash) = recorded(&scratch);
    let (code, text) = replay(&file);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with(&hash) && text.contains("1 recorded hashes met"), "{text}");
}

#[test]
fn a_torn_tail_is_cut_and_said() {
    let scratch = Scratch::new();
    let (file, _) = recorded(&scratch);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 7]).unwrap();
    let (code, text) = replay(&file);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("the tail was torn: cut at byte"), "{text}");
}

#[test]
fn a_recording_that_was_altered_or_is_none_is_refused_with_the_reason() {
    let scratch = Scratch::new();
    let (file, _) = recorded(&scratch);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let (code, text) = replay(&file);
    assert_eq!(code, Some(65), "{text}");
    assert!(text.contains("checksum") || text.contains("cannot be read"), "{text}");
    std::fs::write(&file, "something else").unwrap();
    assert_eq!(replay(&file).0, Some(65));
    assert_eq!(replay(&scratch.join("missing")).0, Some(66));
}

#[test]
fn a_killed_node_leaves_a_recording_that_replays() {
    let scratch = Scratch::new();
    let file = scratch.join("recording");
    let mut node = Node::start_with(&scratch.join("data"), &[], &["--record", file.to_str().unwrap()]);
    node.told(&["announce", "block"]);
    node.event("announced");
    node.signal("KILL");
    node.exit_code();
    let (code, text) = replay(&file);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn what_has_no_end_and_is_no_recording_is_refused_at_once() {
    for endless in ["/dev/zero", "/dev/urandom"] {
        let (code, text) = replay(Path::new(endless));
        assert_eq!(code, Some(65), "{text}");
        assert!(text.contains("not a recording"), "{text}");
    }
    assert_eq!(replay(&std::env::temp_dir()).0, Some(65), "a folder");
}
