//! Messages that stand in several pieces, and repeated fields.
//!
//! A singular message may be written more than once; the parser must merge the pieces, which is the same as reading
//! them one after the other. [`Pieces`] does that without copying: it remembers the rest of the parent, in which
//! further pieces may stand.

use std::marker::PhantomData;
use std::ops::Range;

use super::field::{FieldSource, read_field};
use super::{Field, Fields, WireError};

/// A message in one or more pieces. Nearly always it is one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pieces<'a> {
    /// What is left of the piece being read.
    head: &'a [u8],
    /// What follows it in its parent: more pieces stand in fields `number`.
    more: &'a [u8],
    number: u32,
    /// What follows the parent, where that is in pieces itself (an array inside a value).
    outer: &'a [u8],
    outer_number: u32,
}

impl<'a> Pieces<'a> {
    /// A message in one piece.
    pub fn one(message: &'a [u8]) -> Self {
        Self {
            head: message,
            ..Self::default()
        }
    }

    /// The singular message in field `number` of `parent`; `None` where it does not stand there.
    ///
    /// # Errors
    /// Where `parent` is malformed up to its first piece, or the field is no message.
    #[inline]
    pub fn find(parent: &'a [u8], number: u32) -> Result<Option<Self>, WireError> {
        let mut fields = Fields::new(parent);
        while let Some(field) = fields.next_field()? {
            if field.number == number {
                return Ok(Some(Self {
                    head: field.len()?,
                    more: fields.rest(),
                    number,
                    ..Self::default()
                }));
            }
        }
        Ok(None)
    }

    /// A member of this message that began with `payload`, in field `number`, just read from here: its further pieces
    /// stand in the rest of this message.
    pub(super) fn member(&self, payload: &'a [u8], number: u32) -> Self {
        debug_assert!(self.outer.is_empty(), "OTLP nests singular messages two deep at most");
        Self {
            head: payload,
            more: self.head,
            number,
            outer: self.more,
            outer_number: self.number,
        }
    }

    /// The bytes of the first piece, or of what is left of it once reading has begun.
    pub fn first_piece(&self) -> &'a [u8] {
        self.head
    }

    /// The next field of any piece; `None` at the end of the last.
    ///
    /// # Errors
    /// Where a piece or the bytes between them are malformed; then nothing follows.
    #[inline(always)]
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        loop {
            if !self.head.is_empty() {
                let field = read_field(&mut self.head);
                if field.is_err() {
                    *self = Self::default();
                }
                return field;
            }
            if self.more.is_empty() && self.outer.is_empty() {
                return Ok(None);
            }
            if !self.next_piece()? {
                return Ok(None);
            }
        }
    }

    #[inline(never)]
    fn next_piece(&mut self) -> Result<bool, WireError> {
        let found = self.find_next_piece();
        if found != Ok(true) {
            *self = Self::default();
        }
        found
    }

    fn find_next_piece(&mut self) -> Result<bool, WireError> {
        loop {
            while let Some(field) = read_field(&mut self.more)? {
                if field.number == self.number {
                    self.head = field.len()?;
                    return Ok(true);
                }
            }
            let Some(field) = read_field(&mut self.outer)? else {
                return Ok(false);
            };
            if field.number == self.outer_number {
                self.more = field.len()?;
            }
        }
    }
}

impl<'a> FieldSource<'a> for Pieces<'a> {
    #[inline(always)]
    fn next_field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        Pieces::next_field(self)
    }
}

/// A view that is made from the payload of a message.
pub trait View<'a> {
    /// The view of `raw`. Checks nothing.
    fn of(raw: &'a [u8]) -> Self;
}

impl<'a> View<'a> for &'a [u8] {
    fn of(raw: &'a [u8]) -> Self {
        raw
    }
}

/// The elements of a repeated message field.
#[derive(Clone, Copy, Debug)]
pub struct Repeated<'a, T> {
    fields: Pieces<'a>,
    number: u32,
    element: PhantomData<fn() -> T>,
}

impl<'a, T> Repeated<'a, T> {
    /// Field `number` of `message`.
    pub fn new(message: &'a [u8], number: u32) -> Self {
        Self::in_pieces(Pieces::one(message), number)
    }

    /// Field `number` of a message in pieces.
    pub fn in_pieces(fields: Pieces<'a>, number: u32) -> Self {
        Self {
            fields,
            number,
            element: PhantomData,
        }
    }
}

impl<'a, T: View<'a>> Iterator for Repeated<'a, T> {
    type Item = Result<T, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.fields.next_field() {
                Ok(None) => return None,
                Ok(Some(field)) if field.number == self.number => return Some(field.len().map(T::of)),
                Ok(Some(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Where `inner` stands in `outer`; `None` where it is no part of it. An empty `inner` of unknown place is at 0.
pub fn range_in(outer: &[u8], inner: &[u8]) -> Option<Range<usize>> {
    if inner.is_empty() {
        return Some(0..0);
    }
    let start = (inner.as_ptr() as usize).checked_sub(outer.as_ptr() as usize)?;
    let end = start.checked_add(inner.len())?;
    (end <= outer.len()).then_some(start..end)
}
