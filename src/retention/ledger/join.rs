//! Looking up sorted keys in sorted files: each file is read once, whatever is asked.

use std::io;

use smallvec::SmallVec;

use super::blocks::Reader;
use super::row::{Mark, Row};

/// One number for each delivery of spans of a trace.
pub type Xors = SmallVec<[u64; 2]>;

/// What an archive's ledger says of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    Nothing,
    /// What each delivery of the trace's spans came to.
    Copy {
        xors: Xors,
        mark: Mark,
    },
    /// The files are damaged, or cannot be read.
    Unreadable(String),
}

/// The rows of some days of one archive.
pub struct Lookup {
    files: Vec<File>,
    broken: Option<String>,
}

struct File {
    reader: Reader<Row>,
    /// The next row that has not been added up.
    head: Option<Row>,
    /// All rows of the key that was last asked for.
    last: Option<(u64, Xors, Mark)>,
}

impl Lookup {
    /// Over these files.
    pub fn over(readers: Vec<Reader<Row>>) -> Self {
        let mut lookup = Self {
            files: Vec::with_capacity(readers.len()),
            broken: None,
        };
        for mut reader in readers {
            match reader.next() {
                Ok(head) => lookup.files.push(File {
                    reader,
                    head,
                    last: None,
                }),
                Err(error) => lookup.broken = Some(error.to_string()),
            }
        }
        lookup
    }

    /// Nothing can be told.
    pub fn broken(why: impl Into<String>) -> Self {
        Self {
            files: Vec::new(),
            broken: Some(why.into()),
        }
    }

    /// What is noted of a key. Keys must come in order; the same may come again.
    pub fn find(&mut self, key: u64) -> Noted {
        let mut xors = Xors::new();
        let mut mark = Mark::default();
        for file in &mut self.files {
            match file.rows_of(key) {
                Ok(Some((_, found, marked))) => {
                    xors.extend_from_slice(found);
                    mark = mark.and(*marked);
                }
                Ok(None) => {}
                Err(error) => {
                    self.broken = Some(error.to_string());
                    file.head = None;
                }
            }
        }
        match &self.broken {
            // The rest of a trace may stand in the part that cannot be read: neither a copy nor its absence is proven.
            Some(why) => Noted::Unreadable(why.clone()),
            // An open span is something, though nothing that has ended.
            None if xors.is_empty() && !mark.is_open() => Noted::Nothing,
            None => Noted::Copy { xors, mark },
        }
    }
}

impl File {
    fn rows_of(&mut self, key: u64) -> io::Result<Option<&(u64, Xors, Mark)>> {
        if self.last.as_ref().is_some_and(|(last, ..)| *last == key) {
            return Ok(self.last.as_ref());
        }
        self.last = None;
        if self.head.is_some_and(|row| row.key < key) {
            self.reader.skip_to(key)?;
            self.head = self.reader.next()?;
        }
        while let Some(row) = self.head.filter(|row| row.key == key) {
            let (_, xors, mark) = self.last.get_or_insert((key, Xors::new(), Mark::default()));
            // Zero only marks.
            if row.xor != 0 {
                xors.push(row.xor);
            }
            *mark = mark.and(row.mark);
            self.head = self.reader.next()?;
        }
        Ok(self.last.as_ref())
    }
}
