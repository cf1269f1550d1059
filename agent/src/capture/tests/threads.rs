//! Threads that `/proc/PID` does not show, of real processes.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use super::*;

/// The first thread ends; a second one lives on and holds a socket.
const LEADER_ENDS: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
static void *live(void *nothing) {
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    usleep(200000);
    printf("%d\n", s);
    fflush(stdout);
    pause();
    return nothing;
}
int main(void) {
    pthread_t thread;
    pthread_create(&thread, 0, live, 0);
    syscall(SYS_exit, 0);
}
"#;

/// A second thread has descriptors of its own.
const OWN_DESCRIPTORS: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>
static void *hide(void *nothing) {
    unshare(CLONE_FILES);
    printf("%d\n", open("/etc/passwd", O_RDONLY));
    fflush(stdout);
    pause();
    return nothing;
}
int main(void) {
    pthread_t thread;
    pthread_create(&thread, 0, hide, 0);
    pthread_join(thread, 0);
}
"#;

/// One of many threads has a table of its own, in which one of many numbers leads elsewhere.
const MANY_DESCRIPTORS: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>
static void *idle(void *nothing) { pause(); return nothing; }
static void *hide(void *nothing) {
    unshare(CLONE_FILES);
    int file = open("/etc/passwd", O_RDONLY);
    dup2(file, 77);
    close(file);
    printf("ready\n");
    fflush(stdout);
    pause();
    return nothing;
}
int main(void) {
    int null = open("/dev/null", O_RDONLY);
    for (int number = 10; number < 600; number++) dup2(null, number);
    pthread_t thread;
    for (int i = 0; i < 240; i++) pthread_create(&thread, 0, idle, 0);
    pthread_create(&thread, 0, hide, 0);
    pthread_join(thread, 0);
}
"#;

/// A second thread has a network of its own, in which it listens. Needs root.
const OWN_NETWORK: &str = r#"
#define _GNU_SOURCE
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
static void *hide(void *nothing) {
    struct sockaddr_in address = {AF_INET, htons(4713)};
    if (unshare(CLONE_NEWNET | CLONE_FILES)) {
        printf("refused\n");
    } else {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        bind(s, (void *)&address, sizeof address);
        listen(s, 1);
        printf("ready\n");
    }
    fflush(stdout);
    pause();
    return nothing;
}
int main(void) {
    pthread_t thread;
    pthread_create(&thread, 0, hide, 0);
    pthread_join(thread, 0);
}
"#;

/// Compiles and starts a program, and waits until it is ready.
fn start(source: &str, name: &str) -> (TempDir, Running) {
    let folder = TempDir::new().expect("a folder");
    let (code, program) = (folder.path().join("program.c"), folder.path().join(name));
    fs::write(&code, source).expect("ours");
    let compiled = Command::new("cc")
        .args(["-pthread", "-o"])
        .args([&program, &code])
        .status()
        .expect("a C compiler, which the build needs too");
    assert!(compiled.success());
    let mut child = Command::new(&program)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("it is ready");
    (folder, Running(child))
}

fn capture_this_machine() -> SealedCapture {
    let options = CaptureOptions {
        only: vec!["sockets".to_owned(), "processes".to_owned()],
        ..CaptureOptions::default()
    };
    capture_with(&options, |reader| reader)
}

/// The records of `probe` below a thread of `process`, by what follows the thread's number.
fn of_threads<'s>(
    sealed: &'s SealedCapture,
    probe: &str,
    process: u32,
) -> BTreeMap<String, &'s Record> {
    let prefix = format!("/proc/{process}/task/");
    let records = sealed.records(probe).iter();
    let of_thread = |record: &'s Record| {
        let path = record.path();
        let (_, name) = path.strip_prefix(&prefix)?.split_once('/')?;
        Some((format!("{name} {}", record.get("Exhibit-Kind")), record))
    };
    records.filter_map(of_thread).collect()
}

#[test]
fn process_without_its_first_thread_is_captured() {
    let (_folder, running) = start(LEADER_ENDS, "headless");
    let sealed = capture_this_machine();
    let found = of_threads(&sealed, "processes", running.0.id());
    assert!(found["cmdline "].block.ends_with(b"/headless\0"));
    assert!(found["exe executable"].block.starts_with(b"sha256: "));
    for name in [
        "maps ",
        "environ ",
        "cwd link",
        "root link",
        "fd links",
        "ns links",
    ] {
        assert!(!found[name].block.is_empty(), "{name}");
    }
    let sockets = of_threads(&sealed, "sockets", running.0.id());
    assert!(
        sockets["fd links"]
            .block
            .windows(8)
            .any(|part| part == b"socket:[")
    );
}

#[test]
fn descriptors_of_a_single_thread_are_captured() {
    let (_folder, running) = start(OWN_DESCRIPTORS, "hiding");
    let sealed = capture_this_machine();
    let found = of_threads(&sealed, "processes", running.0.id());
    assert!(
        found["fd links"]
            .block
            .windows(11)
            .any(|part| part == b"/etc/passwd")
    );
    let own = format!("/proc/{}/fd", running.0.id());
    let own = sealed.record("processes", &own, "links");
    assert!(
        !own.block.windows(11).any(|part| part == b"/etc/passwd"),
        "it is hidden there"
    );
}

#[test]
fn descriptors_of_one_of_many_threads_are_captured() {
    let (_folder, running) = start(MANY_DESCRIPTORS, "crowd");
    let sealed = capture_this_machine();
    let found = of_threads(&sealed, "processes", running.0.id());
    let links = found.get("fd links").map(|record| &record.block[..]);
    let has_file = |block: &[u8]| block.windows(11).any(|part| part == b"/etc/passwd");
    // Without the kernel's help, so many are not compared, which is a gap.
    let own = i32::try_from(std::process::id()).expect("small");
    if crate::os::share_descriptors(own, own).is_some() {
        assert!(links.is_some_and(has_file), "{:?}", found.keys());
    } else {
        let (count, _) = sealed.gap("processes", GapReason::TooLarge);
        assert!(count >= 1);
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn network_of_a_single_thread_is_captured() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root may give a thread a network of its own");
        return;
    }
    let (_folder, running) = start(OWN_NETWORK, "netless");
    let sealed = capture_this_machine();
    let found = of_threads(&sealed, "sockets", running.0.id());
    // 4713 is 1269 in the table's hexadecimal.
    let table = found.iter().find(|(name, _)| name.starts_with("net/tcp "));
    let table = table.map(|(_, record)| String::from_utf8_lossy(&record.block).into_owned());
    assert!(
        table.is_some_and(|table| table.contains(":1269 ")),
        "{:?}",
        found.keys()
    );
    assert!(
        found["fd links"]
            .block
            .windows(8)
            .any(|part| part == b"socket:[")
    );
}

#[test]
fn process_that_ends_meanwhile_leaves_the_item_complete() {
    use std::sync::atomic::AtomicU32;
    static ENDING: AtomicU32 = AtomicU32::new(0);

    /// Ends the process as soon as its files are about to be read.
    fn end(path: &Path) {
        let process = ENDING.load(Ordering::Relaxed);
        if process != 0 && path == Path::new(&format!("/proc/{process}/cmdline")) {
            ENDING.store(0, Ordering::Relaxed);
            let status = Command::new("kill")
                .args(["-9", &process.to_string()])
                .status();
            assert!(status.expect("kill is there").success());
            // the test waits for it, so that not even a zombie is left
            while Path::new(&format!("/proc/{process}")).exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    let mut child = Command::new("sleep")
        .arg("600")
        .spawn()
        .expect("sleep is there");
    let path = format!("/proc/{}", child.id());
    ENDING.store(child.id(), Ordering::Relaxed);
    let reaper = std::thread::spawn(move || child.wait());
    let options = CaptureOptions {
        only: vec!["processes".to_owned()],
        ..CaptureOptions::default()
    };
    let sealed = capture_with(&options, |reader| ReaderOptions {
        before_touch: end,
        ..reader
    });
    let _ = reaper.join();
    let (count, examples) = sealed.gap("processes", GapReason::ProcessEnded);
    assert!(count >= 1 && examples.contains(&path), "{examples:?}");
    let (_, vanished) = sealed.gap("processes", GapReason::Vanished);
    assert!(!vanished.contains(&path), "{vanished:?}");
}
