//! `/healthcheck [-port 13133]`: the probe inside a container without a shell.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::output;

const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the health check of this machine; prints `STATUS: 200` and exits 0 if it is well.
pub(super) fn run(args: &[String]) -> ExitCode {
    let port = match port_of(args) {
        Ok(port) => port,
        Err(message) => {
            output::stderr(&format!("{message}\n"));
            return ExitCode::FAILURE;
        }
    };
    match ask(port) {
        Ok(200) => {
            output::stdout(|out| writeln!(out, "STATUS: 200"));
            ExitCode::SUCCESS
        }
        Ok(status) => {
            output::stderr(&format!("STATUS: {status}\n"));
            ExitCode::FAILURE
        }
        Err(error) => {
            output::stderr(&format!("http://127.0.0.1:{port}/: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// `-port N`, `-port=N`, with one dash or two.
fn port_of(args: &[String]) -> Result<u16, String> {
    let mut port = "13133".to_string();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let name = arg.trim_start_matches('-');
        match name.split_once('=') {
            Some(("port", value)) => port = value.to_string(),
            None if name == "port" => port = args.next().cloned().unwrap_or_default(),
            _ => return Err(format!("unknown argument {arg}; usage: healthcheck [-port 13133]")),
        }
    }
    port.parse().map_err(|_| format!("\"{port}\" is not a port"))
}

fn ask(port: u16) -> std::io::Result<u16> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    // The status line is enough: what becomes of the connection after it is nobody's trouble.
    let mut answer = Vec::new();
    let mut chunk = [0; 64];
    while answer.len() < chunk.len() && !answer.contains(&b'\n') {
        match stream.read(&mut chunk)? {
            0 => break,
            read => answer.extend_from_slice(&chunk[..read]),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(|arg| (*arg).to_string()).collect()
    }

    #[test]
    fn the_port_is_read_in_gos_forms() {
        assert_eq!(port_of(&[]), Ok(13133));
        assert_eq!(port_of(&strings(&["-port", "8"])), Ok(8));
        assert_eq!(port_of(&strings(&["--port=8"])), Ok(8));
        assert!(port_of(&strings(&["-port"])).is_err());
        assert!(port_of(&strings(&["-prot", "8"])).is_err());
    }

    #[test]
    fn the_status_of_the_answer_counts() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Some(503)),
            ("hello", None),
        ] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = std::thread::spawn(move || {
                let (mut peer, _) = listener.accept().unwrap();
                // All of it: a close with unread bytes is a reset, which may overtake the answer.
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    peer.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                peer.write_all(answer.as_bytes()).unwrap();
            });
            assert_eq!(ask(port).ok(), expected);
            server.join().unwrap();
        }
    }
}
