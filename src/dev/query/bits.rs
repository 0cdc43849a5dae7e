//! A set of rows of one segment.

/// One bit a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// No row of `len`.
    pub fn none(len: usize) -> Self {
        Self {
            words: vec![0; len.div_ceil(64)],
            len,
        }
    }

    /// Every row of `len`.
    pub fn all(len: usize) -> Self {
        let mut bits = Self {
            words: vec![u64::MAX; len.div_ceil(64)],
            len,
        };
        bits.trim();
        bits
    }

    /// The rows for which `holds`, asked once each.
    pub fn of(len: usize, mut holds: impl FnMut(usize) -> bool) -> Self {
        let mut words = Vec::with_capacity(len.div_ceil(64));
        for start in (0..len).step_by(64) {
            let mut word = 0_u64;
            for row in start..len.min(start + 64) {
                word |= u64::from(holds(row)) << (row - start);
            }
            words.push(word);
        }
        Self { words, len }
    }

    fn trim(&mut self) {
        if !self.len.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << (self.len % 64)) - 1;
        }
    }

    /// Adds a row.
    pub fn set(&mut self, row: usize) {
        if row < self.len {
            self.words[row / 64] |= 1 << (row % 64);
        }
    }

    /// Whether a row is in it.
    pub fn has(&self, row: usize) -> bool {
        row < self.len && self.words[row / 64] >> (row % 64) & 1 == 1
    }

    /// Keeps what is in both.
    pub fn and(mut self, other: &Bits) -> Self {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
        self
    }

    /// Adds what is in the other.
    pub fn or(mut self, other: &Bits) -> Self {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
        self
    }

    /// What is not in it.
    pub fn inverse(mut self) -> Self {
        for word in &mut self.words {
            *word = !*word;
        }
        self.trim();
        self
    }

    /// How many rows.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The rows, ascending.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        // A word at a time from either end would save little: most words are empty or full.
        (0..self.words.len())
            .filter(|at| self.words[*at] != 0)
            .flat_map(move |at| {
                let word = self.words[at];
                (0..64)
                    .filter(move |bit| word >> bit & 1 == 1)
                    .map(move |bit| at * 64 + bit)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_behave_as_sets() {
        for len in [0, 1, 63, 64, 65, 200] {
            let even = Bits::of(len, |row| row % 2 == 0);
            assert_eq!(even.rows().collect::<Vec<_>>(), (0..len).step_by(2).collect::<Vec<_>>());
            assert_eq!(even.clone().inverse(), Bits::of(len, |row| row % 2 == 1));
            assert_eq!(even.clone().or(&even.clone().inverse()), Bits::all(len));
            assert!(even.clone().and(&even.clone().inverse()).is_empty());
            assert_eq!(even.count(), len.div_ceil(2));
            assert_eq!(Bits::none(len).inverse(), Bits::all(len));
        }
    }
}
