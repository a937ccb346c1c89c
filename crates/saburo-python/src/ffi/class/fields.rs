//! `fields!`: the fields of a class, listed once, and what follows from the list.
//!
//! Inside of `impl Class for …` it writes the class's cell, the value that `__new__` makes, and what the
//! collector needs:
//!
//! ```text
//! impl Class for Task {
//!     fields! {
//!         class extends Future in future, dict Dict;
//!         objects { coro, context, waits_for, name, pending_error }
//!         plain { serial, must_cancel, log_destroy_pending: Cell::new(true) }
//!     }
//!     …
//! ```
//!
//! and inside of `impl Holds for …`, for a part that several classes have, what the collector needs of that:
//!
//! ```text
//! impl Holds for Life {
//!     fields! {
//!         part;
//!         objects { event_loop, protocol }
//!         plain { phase }
//!     }
//! }
//! ```
//!
//! What is inside of a cell has `impl Owns for …` and `value;`, and need not be emptied.
//!
//! - `objects` hold objects of Python's: each is shown to the collector, and emptied, in this order.
//! - `plain` ones hold none: each must be `Send`, which an object never is.
//! - `unseen` ones hold objects that the collector need not see, such as `bytes`; say why.
//!
//! The lists name every field, or the macro does not compile. A field begins as its type's default, or as
//! what is written behind its name.

macro_rules! fields {
    (
        class $(extends $base:ident in $part:ident)? $(, dict $dict:ty)? $(, inherits $base_slots:ty)?;
        $(objects { $($object:ident $(: $object_blank:expr)?),* $(,)? })?
        $(unseen { $($unseen:ident $(: $unseen_blank:expr)?),* $(,)? })?
        $(plain { $($plain:ident $(: $plain_blank:expr)?),* $(,)? })?
    ) => {
        type Base = $crate::ffi::fields!(@or Self $(, $base)?);
        type Dict = $crate::ffi::fields!(@or () $(, $dict)?);
        type BaseSlots = $crate::ffi::fields!(@or () $(, $base_slots)?);

        #[inline]
        fn cell() -> &'static $crate::ffi::TypeCell {
            static CELL: $crate::ffi::TypeCell = $crate::ffi::TypeCell::new();
            &CELL
        }

        #[inline]
        fn blank() -> Self {
            Self {
                $($part: <$base as $crate::ffi::Class>::blank(),)?
                $($($object: $crate::ffi::fields!(@blank $($object_blank)?),)*)?
                $($($unseen: $crate::ffi::fields!(@blank $($unseen_blank)?),)*)?
                $($($plain: $crate::ffi::fields!(@blank $($plain_blank)?),)*)?
            }
        }

        #[inline]
        fn base(&self) -> &Self::Base {
            let this = self;
            $(let this = &this.$part;)?
            this
        }

        fn traverse(&self, visit: &mut $crate::ffi::Visit<'_>) {
            let Self { $($part,)? $($($object,)*)? $($($unseen: _,)*)? $($($plain,)*)? } = self;
            $(<$base as $crate::ffi::Class>::traverse($part, visit);)?
            $($($crate::ffi::Holds::visit($object, visit);)*)?
            $($($crate::ffi::holds_nothing($plain);)*)?
            let _ = visit;
        }

        #[inline]
        fn clear(&self) {
            $($($crate::ffi::Holds::clear(&self.$object);)*)?
            $(<$base as $crate::ffi::Class>::clear(&self.$part);)?
        }
    };
    (
        part;
        objects { $($object:ident),* $(,)? }
        $(unseen { $($unseen:ident),* $(,)? })?
        $(plain { $($plain:ident),* $(,)? })?
    ) => {
        fn visit(&self, visit: &mut $crate::ffi::Visit<'_>) {
            let Self { $($object,)* $($($unseen: _,)*)? $($($plain,)*)? } = self;
            $($crate::ffi::Holds::visit($object, visit);)*
            $($($crate::ffi::holds_nothing($plain);)*)?
            let _ = visit;
        }

        #[inline]
        fn clear(&self) {
            $($crate::ffi::Holds::clear(&self.$object);)*
        }
    };
    (
        value;
        objects { $($object:ident),* $(,)? }
        $(plain { $($plain:ident),* $(,)? })?
    ) => {
        fn show(&self, visit: &mut $crate::ffi::Visit<'_>) {
            let Self { $($object,)* $($($plain,)*)? } = self;
            $($crate::ffi::Owns::show($object, visit);)*
            $($($crate::ffi::holds_nothing($plain);)*)?
        }
    };
    (@or $default:ty) => { $default };
    (@or $default:ty, $given:ty) => { $given };
    (@blank) => { ::std::default::Default::default() };
    (@blank $blank:expr) => { $blank };
}
pub(crate) use fields;

/// Does not compile for what may hold an object of Python's: an [`Obj`](crate::ffi::Obj) is not `Send`.
#[inline(always)]
pub(crate) fn holds_nothing<T: Send>(_field: &T) {}
