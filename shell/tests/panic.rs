//! A panic ends the process with its own exit code. It runs in a process of its own: this program again.

use std::process::{Command, ExitCode, Stdio};

use peerage_shell::cli;
use peerage_shell::fault::code;

const CHILD: &str = "PEERAGE_TEST_CHILD";

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        return cli::main("peerage", |_work| panic!("an assertion failed"));
    }
    let Ok(program) = std::env::current_exe() else { return ExitCode::FAILURE };
    let data_dir = std::env::temp_dir().join(format!("peerage-panic-{}", std::process::id()));
    let run = |stderr: Stdio| {
        let mut child = Command::new(&program);
        child.env(CHILD, "1").arg("--data-dir").arg(&data_dir).stderr(stderr).spawn()?.wait_with_output()
    };
    let Ok(output) = run(Stdio::piped()) else { return ExitCode::FAILURE };
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(i32::from(code::PANIC)), "{told}");
    assert!(told.contains("an assertion failed") && told.contains("this is a bug"), "{told}");
    // Nor does it matter whether anybody can be told.
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        return ExitCode::FAILURE;
    };
    let Ok(status) = run(full.into()).map(|output| output.status) else { return ExitCode::FAILURE };
    assert_eq!(status.code(), Some(i32::from(code::PANIC)), "{status}");
    println!("test a_panic_ends_the_process_with_its_own_exit_code ... ok");
    ExitCode::SUCCESS
}
