//! The macro that makes a table of names from its lists.
//!
//! Each list says how its fields are found:
//! - `strings`: an interned string, spelled like the field or as given;
//! - `imports`: a module's attribute, or the module itself if the name is empty;
//! - `optional`: the same, or `None` where this version of the module has no such name;
//! - `keywords`: the tuple of names for a call with keyword arguments;
//! - `found`: by an expression.

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
                Ok($table {
                    $($($(#[$of_string])* $string: intern(table!(@spell $string $($spelled)?))?,)*)?
                    $($(#[$of_import])* $import: import($module, $attribute)?,)*
                    $($($(#[$of_option])* $option: import($from, c"")?.attr_opt(&*intern($wanted)?)?,)*)?
                    $($(#[$of_tuple])* $tuple: tuple([$(&*intern($keyword)?),+].into_iter())?,)*
                    $($(#[$of_found])* $found: $how?,)*
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
