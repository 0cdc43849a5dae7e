//! The htpasswd format: `user:hash` on each line. Hashes by their prefix: bcrypt (`$2a$`, `$2b$`, `$2x$`, `$2y$`), Apache's
//! and FreeBSD's MD5 (`$apr1$`, `$1$`), `{SHA}`, `{SSHA}`; anything else is the password itself, as in the Collector.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::types::Secret;

/// Prefixes of hashes that are known and not computed here.
const NOT_BUILT: [&str; 4] = ["$5$", "$6$", "$argon2", "$7$"];

/// What a password must become.
#[derive(Clone)]
pub enum Hash {
    /// Slow on purpose: tens of milliseconds.
    Bcrypt(Secret),
    /// A thousand rounds of MD5: about a millisecond.
    Md5 {
        magic: &'static str,
        salt: String,
        hash: String,
    },
    Sha {
        digest: [u8; 20],
        salt: Vec<u8>,
    },
    /// SHA-256 of the password, so that all comparisons are of one length.
    Plain([u8; 32]),
}

/// Who may come in.
pub struct Users {
    by_name: HashMap<Box<str>, Hash>,
    /// What unknown users are compared with: nobody should learn from the time that a name is not there.
    stand_in: Option<Hash>,
}

impl Users {
    /// Reads a list; the text of a problem names the line and never what is in it.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut by_name = HashMap::new();
        let mut stand_in: Option<Hash> = None;
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, hash) = line
                .split_once(':')
                .ok_or(format!("line {number} is not `user:hash`"))?;
            let hash = Hash::read(hash).map_err(|problem| format!("line {number}: {problem}"))?;
            if stand_in.as_ref().is_none_or(|have| have.cost() < hash.cost()) {
                stand_in = Some(hash.clone());
            }
            by_name.insert(user.into(), hash);
        }
        Ok(Self { by_name, stand_in })
    }

    /// The hash to compare a password with, and whether a match counts.
    pub fn hash_of(&self, user: &str) -> Option<(Hash, bool)> {
        match self.by_name.get(user) {
            Some(hash) => Some((hash.clone(), true)),
            None => self.stand_in.clone().map(|hash| (hash, false)),
        }
    }

    /// Whether the user stands in this list.
    pub fn knows(&self, user: &str) -> bool {
        self.by_name.contains_key(user)
    }
}

impl Hash {
    fn read(text: &str) -> Result<Self, String> {
        if NOT_BUILT.iter().any(|prefix| text.starts_with(prefix)) {
            return Err("this kind of hash is not built yet; known: bcrypt, apr1, {SHA}, {SSHA}".to_owned());
        }
        if ["$2a$", "$2b$", "$2x$", "$2y$"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            let parts: Result<bcrypt::HashParts, _> = text.parse();
            return match parts {
                Ok(_) => Ok(Hash::Bcrypt(Secret::new(text))),
                Err(_) => Err("the bcrypt hash is damaged".to_owned()),
            };
        }
        for magic in ["$apr1$", "$1$"] {
            if let Some(rest) = text.strip_prefix(magic) {
                let (salt, hash) = rest.split_once('$').ok_or("the MD5 hash is damaged")?;
                return Ok(Hash::Md5 {
                    magic,
                    salt: salt.chars().take(8).collect(),
                    hash: hash.to_owned(),
                });
            }
        }
        for prefix in ["{SHA}", "{SSHA}"] {
            if let Some(rest) = text.strip_prefix(prefix) {
                let bytes = STANDARD
                    .decode(rest)
                    .map_err(|_| format!("the {prefix} hash is damaged"))?;
                let (digest, salt) = bytes
                    .split_at_checked(20)
                    .ok_or(format!("the {prefix} hash is too short"))?;
                return Ok(Hash::Sha {
                    digest: digest.try_into().unwrap_or_default(),
                    salt: salt.to_vec(),
                });
            }
        }
        Ok(Hash::Plain(Sha256::digest(text.as_bytes()).into()))
    }

    fn cost(&self) -> u32 {
        match self {
            Hash::Plain(_) => 0,
            Hash::Sha { .. } => 1,
            Hash::Md5 { .. } => 2,
            Hash::Bcrypt(text) => {
                let parts: Result<bcrypt::HashParts, _> = text.reveal().parse();
                parts.map_or(3, |parts| 3 + parts.get_cost())
            }
        }
    }

    /// Whether a comparison takes so long that it must not hold up a connection's task.
    pub fn is_slow(&self) -> bool {
        matches!(self, Hash::Bcrypt(_) | Hash::Md5 { .. })
    }

    /// Whether it is the hash of this password.
    pub fn fits(&self, password: &str) -> bool {
        match self {
            Hash::Bcrypt(hash) => bcrypt::verify(password, hash.reveal()).unwrap_or(false),
            Hash::Md5 { magic, salt, hash } => {
                let made = md5_crypt(password.as_bytes(), salt.as_bytes(), magic.as_bytes());
                made.as_bytes().ct_eq(hash.as_bytes()).into()
            }
            Hash::Sha { digest, salt } => {
                let made = Sha1::new()
                    .chain_update(password.as_bytes())
                    .chain_update(salt)
                    .finalize();
                made.as_slice().ct_eq(digest).into()
            }
            Hash::Plain(digest) => Sha256::digest(password.as_bytes()).as_slice().ct_eq(digest).into(),
        }
    }
}

/// MD5-crypt as FreeBSD's crypt(3) and Apache's `htpasswd -m` define it.
fn md5_crypt(password: &[u8], salt: &[u8], magic: &[u8]) -> String {
    let inner = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    let mut outer = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    for piece in inner.iter().cycle().take(password.len()) {
        outer.update([*piece]);
    }
    let mut bits = password.len();
    while bits > 0 {
        let first = password.first().copied().unwrap_or_default();
        outer.update([if bits & 1 == 1 { 0 } else { first }]);
        bits >>= 1;
    }
    let mut state = outer.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        next.update(if round % 2 == 1 { password } else { &state[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if round % 2 == 1 { &state[..] } else { password });
        state = next.finalize();
    }
    let mut text = String::with_capacity(22);
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        push_base64(&mut text, u32::from_be_bytes([0, state[a], state[b], state[c]]), 4);
    }
    push_base64(&mut text, u32::from(state[11]), 2);
    text
}

/// crypt's own alphabet, the lowest six bits first.
fn push_base64(text: &mut String, mut bits: u32, characters: usize) {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for _ in 0..characters {
        text.push(char::from(ALPHABET[(bits & 63) as usize]));
        bits >>= 6;
    }
}
