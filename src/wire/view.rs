//! The macro behind the item views: a view is a list of fields with their types and numbers, as in the .proto file.

/// Defines a view over the payload of one message, with an accessor for each field.
macro_rules! view {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ident $(<$element:ty>)? = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'a> {
            raw: &'a [u8],
        }

        impl<'a> $crate::wire::View<'a> for $name<'a> {
            #[inline]
            fn of(raw: &'a [u8]) -> Self {
                Self { raw }
            }
        }

        impl<'a> $name<'a> {
            /// Its payload bytes; [`range_in`](crate::wire::range_in) tells where they stand.
            pub fn raw(&self) -> &'a [u8] {
                self.raw
            }

            $($crate::wire::view::accessor! { $(#[$field_doc])* $field: $kind $(<$element>)? = $number })*
        }
    };
}

/// One accessor of a view.
macro_rules! accessor {
    ($(#[$doc:meta])* $field:ident: attributes = $number:literal) => {
        $(#[$doc])*
        #[inline]
        pub fn $field(&self) -> $crate::wire::Attributes<'a> {
            $crate::wire::Attributes::new(self.raw, $number)
        }

        /// The attribute with this key; see [`Attributes::get`](crate::wire::Attributes::get).
        ///
        /// # Errors
        /// Where the bytes up to it are malformed.
        #[inline]
        pub fn attribute(&self, key: &str) -> Result<Option<$crate::wire::Value<'a>>, $crate::wire::WireError> {
            self.$field().get(key)
        }
    };
    // Attributes beside the element's own, without a lookup by name.
    ($(#[$doc:meta])* $field:ident: bare_attributes = $number:literal) => {
        $(#[$doc])*
        pub fn $field(&self) -> $crate::wire::Attributes<'a> {
            $crate::wire::Attributes::new(self.raw, $number)
        }
    };
    ($(#[$doc:meta])* $field:ident: repeated<$element:ty> = $number:literal) => {
        $(#[$doc])*
        pub fn $field(&self) -> $crate::wire::Repeated<'a, $element> {
            $crate::wire::Repeated::new(self.raw, $number)
        }
    };
    ($(#[$doc:meta])* $field:ident: numbers<$element:ty> = $number:literal) => {
        $(#[$doc])*
        pub fn $field(&self) -> $crate::wire::Numbers<'a, $element> {
            $crate::wire::Numbers::new($crate::wire::Pieces::one(self.raw), $number)
        }
    };
    ($(#[$doc:meta])* $field:ident: $kind:ident = $number:literal) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// Where the message is malformed.
        #[inline]
        pub fn $field(&self) -> Result<$crate::wire::view::scalar_type!($kind), $crate::wire::WireError> {
            $crate::wire::view::read_scalar!($kind, $crate::wire::Fields::new(self.raw), $number)
        }
    };
}

/// The Rust type of a protobuf scalar in a view.
macro_rules! scalar_type {
    (string) => { $crate::wire::Text<'a> };
    (bytes) => { &'a [u8] };
    (uint32) => { u32 };
    (enumeration) => { i32 };
    (sint32) => { i32 };
    (fixed32) => { u32 };
    (fixed64) => { u64 };
    (double) => { f64 };
    (optional_double) => { Option<f64> };
}

/// Reads the last of a scalar; the default where it does not stand.
macro_rules! read_scalar {
    (string, $fields:expr, $number:literal) => {
        $crate::wire::field::last_len($fields, $number).map($crate::wire::Text::new)
    };
    (bytes, $fields:expr, $number:literal) => {
        $crate::wire::field::last_len($fields, $number)
    };
    (uint32, $fields:expr, $number:literal) => {
        $crate::wire::field::last_varint($fields, $number).map(|value| value as u32)
    };
    // Unknown enum values are kept as they are (open enums of proto3).
    (enumeration, $fields:expr, $number:literal) => {
        $crate::wire::field::last_varint($fields, $number).map(|value| value as i32)
    };
    (sint32, $fields:expr, $number:literal) => {
        $crate::wire::field::last_varint($fields, $number).map($crate::wire::field::zigzag32)
    };
    (fixed32, $fields:expr, $number:literal) => {
        $crate::wire::field::last_fixed32($fields, $number)
    };
    (fixed64, $fields:expr, $number:literal) => {
        $crate::wire::field::last_fixed64($fields, $number).map(Option::unwrap_or_default)
    };
    (double, $fields:expr, $number:literal) => {
        $crate::wire::field::last_fixed64($fields, $number).map(|bits| f64::from_bits(bits.unwrap_or_default()))
    };
    (optional_double, $fields:expr, $number:literal) => {
        $crate::wire::field::last_fixed64($fields, $number).map(|bits| bits.map(f64::from_bits))
    };
}

pub(super) use {accessor, read_scalar, scalar_type, view};
