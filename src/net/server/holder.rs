//! Who holds a port: read from /proc, for the text of a bind error only.

use std::fs;

/// `pid 4711 (name)`, or `a process that is not visible to this user`.
pub fn of_port(port: u16) -> String {
    let unseen = || "a process that is not visible to this user".to_owned();
    let Some(inode) = listening_inode(port) else {
        return unseen();
    };
    let wanted = format!("socket:[{inode}]");
    let Ok(processes) = fs::read_dir("/proc") else {
        return unseen();
    };
    for process in processes.flatten() {
        let name = process.file_name();
        let Some(pid) = name
            .to_str()
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        for file in files.flatten() {
            if fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()) {
                let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                return format!("pid {pid} ({})", command.trim());
            }
        }
    }
    unseen()
}

/// The inode of the socket that listens on `port`, from the kernel's tables.
fn listening_inode(port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = fs::read_to_string(table) else {
            continue;
        };
        for line in text.lines().skip(1) {
            // sl, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode
            let columns: Vec<&str> = line.split_whitespace().collect();
            if columns.len() > 9 && columns[1].ends_with(&suffix) && columns[3] == LISTEN {
                return Some(columns[9].to_owned());
            }
        }
    }
    None
}
