//! Keys of the terminal, one by one and not shown, until this is dropped: then the terminal is as it was, also after a
//! panic.

use std::io::{IsTerminal, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

/// Keys that wait.
const WAITING: usize = 64;

/// The keyboard.
pub struct Keys {
    before: Termios,
    stop: Arc<AtomicBool>,
    receiver: mpsc::Receiver<char>,
}

impl Keys {
    /// Reads keys if standard input is a terminal. Ctrl-C stays a signal.
    pub fn listen() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut single = before.clone();
        single.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        // A read returns after a tenth of a second, so that its thread can end.
        single.control_chars[SpecialCharacterIndices::VMIN as usize] = 0;
        single.control_chars[SpecialCharacterIndices::VTIME as usize] = 1;
        tcsetattr(&stdin, SetArg::TCSANOW, &single).ok()?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let read = move || {
            let mut stdin = std::io::stdin();
            let mut byte = [0; 1];
            while !stopped.load(Ordering::Relaxed) && !sender.is_closed() {
                match stdin.read(&mut byte) {
                    // Nothing within a tenth of a second, or the terminal is gone: looked at again then.
                    Ok(0) => {}
                    Ok(_) => {
                        let _full = sender.try_send(char::from(byte[0]));
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        };
        // Without the thread there are no keys; what has been set is taken back when this is dropped.
        let _no_keys = std::thread::Builder::new().name("keys".to_owned()).spawn(read);
        Some(Self { before, stop, receiver })
    }

    /// The next key.
    pub async fn next(&mut self) -> Option<char> {
        self.receiver.recv().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A terminal that is gone needs nothing.
        let _gone = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.before);
    }
}
