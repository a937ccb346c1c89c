//! The macro that makes a table of names from its lists.
//!
//! Each list says how its fields are found:
//! - `strings`: an interned string, spelled like the field or as given;
//! - `imports`: a module's attribute, or the module itself if the name is empty;
//! - `optional`: the same, or `None` where this version of the module has no such name;
//! - `keywords`: the tuple of names for a call with keyword arguments;
//! - `found`: by an expression. A name that only some versions of CPython have stands here, behind its `cfg`.

use std::ffi::CStr;

use crate::ffi::{Obj, Res, intern, tuple};

macro_rules! table {
    (
        $(#[$about:meta])*
        $table:ident
        $(strings { $($(#[$of_string:meta])* $string:ident $(= $spelled:literal)?,)* })?
        imports { $($(#[$of_import:meta])* $import:ident = $module:literal, $attribute:literal;)* }
        $(optional { $($(#[$of_option:meta])* $option:ident = $from:literal, $wanted:literal;)* })?
        keywords { $($(#[$of_tuple:meta])* $tuple:ident = $($keyword:literal),+;)* }
        found { $($(#[$of_found:meta])* $found:ident: $type:ty = $how:expr;)* }
    ) => {
        $(#[$about])*
        pub(crate) struct $table {
            $($($(#[$of_string])* pub(crate) $string: Obj,)*)?
            $($(#[$of_import])* pub(crate) $import: Obj,)*
            $($($(#[$of_option])* pub(crate) $option: Option<Obj>,)*)?
            $($(#[$of_tuple])* pub(crate) $tuple: Obj,)*
            $($(#[$of_found])* pub(crate) $found: $type,)*
        }

        impl $table {
            #[allow(unused_doc_comments)] // They are the fields'.
            fn load() -> Res<$table> {
                $(let strings = each([$(table!(@spell $string $($spelled)?)),*], intern)?;)?
                let imports = each([$(($module, $attribute)),*], |(module, name)| import(module, name))?;
                $(let options = each([$(($from, $wanted)),*], |(module, name)| {
                    import(module, c"")?.attr_opt(&*intern(name)?)
                })?;)?
                let tuples = each([$(&[$($keyword),+] as &[_]),*], keywords)?;
                $($(#[$of_found])* let $found = $how?;)*
                // Nothing fails from here on. A `?` for each of 200 fields, which drops those before it, would
                // take the compiler two minutes.
                $(let [$($string),*] = strings;)?
                let [$($import),*] = imports;
                $(let [$($option),*] = options;)?
                let [$($tuple),*] = tuples;
                Ok($table {
                    $($($string,)*)?
                    $($import,)*
                    $($($option,)*)?
                    $($tuple,)*
                    $($(#[$of_found])* $found,)*
                })
            }
        }
    };
    (@spell $string:ident $spelled:literal) => { $spelled };
    (@spell $string:ident) => {
        // The name of the field followed by a null byte.
        match std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($string), "\0").as_bytes()) {
            Ok(text) => text,
            Err(_) => unreachable!("an identifier holds no null byte"),
        }
    };
}

pub(super) use table;

/// The items of a list, each found in the same way.
pub(super) fn each<T, U, const N: usize>(items: [T; N], find: impl Fn(T) -> Res<U>) -> Res<[U; N]> {
    let found = items.into_iter().map(find).collect::<Res<Vec<U>>>()?;
    Ok(found.try_into().unwrap_or_else(|_| unreachable!("as many are found as were asked for")))
}

/// The tuple of names for a call with keyword arguments.
pub(super) fn keywords(names: &[&CStr]) -> Res<Obj> {
    let names = names.iter().map(|name| intern(name)).collect::<Res<Vec<Obj>>>()?;
    tuple(names.iter().map(|name| &**name))
}
