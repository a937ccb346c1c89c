//! A value of a type that its owner has forgotten, kept inside of the owner: what `Box<dyn Trait>` is, without
//! an allocation.
//!
//! The owner knows the value by a trait. Beside the value stand two functions that still know its type: how to
//! see it as the trait, and how to drop it. A value that does not fit does not compile: it is to box a part of
//! itself.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::class::zero_sized;

/// Room for a value of at most so many words, known as a `D`, such as `dyn Trait`.
pub(crate) struct Inline<D: ?Sized + 'static, const WORDS: usize> {
    functions: &'static Functions<D>,
    /// In a cell, because the value may have cells of its own.
    room: UnsafeCell<MaybeUninit<[usize; WORDS]>>,
    /// It is as little `Send` as an object of Python's: the value may hold some.
    _not_send: PhantomData<*const ()>,
}

/// What is known of the type of the value. Both take a pointer to a live one.
struct Functions<D: ?Sized + 'static> {
    see: unsafe fn(*const ()) -> *const D,
    drop: unsafe fn(*mut ()),
}

impl<D: ?Sized + 'static, const WORDS: usize> Inline<D, WORDS> {
    /// Keeps `value`; `see` is a plain function that gives it as the trait.
    #[inline]
    pub(crate) fn new<T: 'static, F>(value: T, _see: F) -> Inline<D, WORDS>
    where
        F: Fn(&T) -> &D + Copy + 'static,
    {
        const {
            assert!(size_of::<T>() <= size_of::<[usize; WORDS]>(), "box what is large");
            assert!(align_of::<T>() <= align_of::<usize>(), "box what is aligned to more than a word");
        }
        let mut room = MaybeUninit::<[usize; WORDS]>::uninit();
        // SAFETY: the room is large enough for a T and aligned, as asserted above.
        unsafe { room.as_mut_ptr().cast::<T>().write(value) };
        Inline { functions: Of::<D, T, F>::FUNCTIONS, room: UnsafeCell::new(room), _not_send: PhantomData }
    }

    #[inline]
    pub(crate) fn get(&self) -> &D {
        // SAFETY: the functions are those of the type of the value, which was written by `new` and lives as
        // long as this borrow: only `drop` ends it. Nobody else has a `&mut` to it.
        unsafe { &*(self.functions.see)(self.room.get().cast()) }
    }
}

impl<D: ?Sized + 'static, const WORDS: usize> Drop for Inline<D, WORDS> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as in `get`; it is never looked at again.
        unsafe { (self.functions.drop)(self.room.get().cast()) }
    }
}

/// Values of this type, seen in this way.
struct Of<D: ?Sized, T, F>(PhantomData<(T, F, *const D)>);

impl<D, T: 'static, F> Of<D, T, F>
where
    D: ?Sized + 'static,
    F: Fn(&T) -> &D + Copy + 'static,
{
    const FUNCTIONS: &'static Functions<D> = &Functions { see: Self::see, drop: Self::drop };

    unsafe fn see(value: *const ()) -> *const D {
        // SAFETY: the caller's pointer to a live T.
        zero_sized::<F>()(unsafe { &*value.cast::<T>() })
    }

    unsafe fn drop(value: *mut ()) {
        // SAFETY: as above.
        unsafe { value.cast::<T>().drop_in_place() }
    }
}
