//! Tests in a network namespace of their own: interfaces come and go there, and nothing leaves it.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Set for the process inside.
const INSIDE: &str = "PEERAGE_TEST_NAMESPACE";

/// Runs the test `name` (its full path in this binary) again, alone, inside a namespace in which only loopback is up, and
/// there calls `body`. Where the machine forbids namespaces the run says so.
pub fn inside(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        return body();
    }
    let Some(mut command) = unshared() else {
        let said = format!(
            "not run here: {name}: it needs `unshare` and `ip`, and leave to make network namespaces\n"
        );
        // Past the harness, which shows nothing of a test that passes.
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        return;
    };
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads", "1"]).env(INSIDE, "1");
    let output = command.output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "inside the namespace:\n{text}");
}

/// `unshare`, as root or by a namespace of users.
fn unshared() -> Option<Command> {
    [&["--net"][..], &["--user", "--map-root-user", "--net"]].into_iter().find_map(|how| {
        let mut tried = Command::new("unshare");
        tried.args(how).args(["ip", "link", "set", "lo", "up"]).stdout(Stdio::null()).stderr(Stdio::null());
        tried.status().is_ok_and(|status| status.success()).then(|| {
            let mut command = Command::new("unshare");
            command.args(how);
            command
        })
    })
}

/// `ip` with these words.
pub fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Two ends of a cable, `net0` and `net1`, up, `net0` with these addresses.
pub fn cable(addresses: &[&str]) {
    ip("link add net0 type veth peer name net1");
    for address in addresses {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        ip(&format!("addr add {address} dev net0{nodad}"));
    }
    ip("link set net0 up");
    ip("link set net1 up");
}
