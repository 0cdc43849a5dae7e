//! [`Edit`]: one element while a rewriter looks at it.

use crate::wire::{AttributeList, WireError};

/// Buffers that are kept from element to element.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    current: Vec<u8>,
    next: Vec<u8>,
    attributes: AttributeList<'static>,
}

/// The payload of one element (a resource, a scope, a span, ...), to be read and edited.
#[derive(Debug)]
pub struct Edit<'a> {
    original: &'a [u8],
    attributes_field: u32,
    scratch: &'a mut Scratch,
    changed: bool,
}

impl<'a> Edit<'a> {
    pub(super) fn new(original: &'a [u8], attributes_field: u32, scratch: &'a mut Scratch) -> Self {
        Self {
            original,
            attributes_field,
            scratch,
            changed: false,
        }
    }

    /// The payload as it is now; make a view of it by [`View::of`](crate::wire::View::of).
    pub fn bytes(&self) -> &[u8] {
        if self.changed {
            &self.scratch.current
        } else {
            self.original
        }
    }

    /// The payload as it came.
    pub fn original(&self) -> &'a [u8] {
        self.original
    }

    /// Whether it was edited.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// Puts another payload in its place. The caller vouches that it is a message of the same type.
    pub fn replace(&mut self, payload: &[u8]) {
        self.scratch.current.clear();
        self.scratch.current.extend_from_slice(payload);
        self.changed = true;
    }

    /// Edits the attributes of the element: for a metric its metadata, for all others what is called attributes.
    ///
    /// # Errors
    /// Where the element is malformed, or `edit` says so; then the element is as before.
    #[inline]
    pub fn edit_attributes<T>(
        &mut self,
        edit: impl FnOnce(&mut AttributeList<'_>) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let Scratch {
            current,
            next,
            attributes,
        } = &mut *self.scratch;
        let message = if self.changed {
            current.as_slice()
        } else {
            self.original
        };
        let mut list = std::mem::take(attributes).recycle();
        list.read(message, self.attributes_field)?;
        let answer = edit(&mut list)?;
        let changed = list.changed();
        if changed {
            next.clear();
            list.write_message(next)?;
        }
        *attributes = list.recycle();
        if changed {
            std::mem::swap(current, next);
            self.changed = true;
        }
        Ok(answer)
    }

    /// The new payload, where it was edited.
    pub(super) fn into_edited(self) -> Option<&'a [u8]> {
        self.changed.then_some(self.scratch.current.as_slice())
    }
}
