//! The macro that makes a table of names from its lists.

macro_rules! table {
    (
        strings { $($string:ident $(= $spelled:literal)?,)* }
        imports { $($import:ident = $module:literal, $attribute:literal;)* }
    ) => {
        /// Interned strings and imported objects.
        pub(crate) struct Names {
            $(pub(crate) $string: Obj,)*
            $(pub(crate) $import: Obj,)*
            /// The dict from loop to running task, where asyncio has one.
            #[cfg(not(Py_3_14))]
            pub(crate) current_tasks: Obj,
            /// Changes the running task of a thread.
            #[cfg(Py_3_14)]
            pub(crate) swap_current_task: Obj,
            /// `("context",)`
            pub(crate) kw_context: Obj,
            /// `("fileno",)`
            pub(crate) kw_fileno: Obj,
            /// `("loop",)`
            pub(crate) kw_loop: Obj,
            /// `("source",)`
            pub(crate) kw_source: Obj,
            /// `("msg",)`
            pub(crate) kw_msg: Obj,
            /// asyncio's own record of who waits for whom, where it keeps one (3.14 and later).
            pub(crate) add_to_awaited_by: Option<Obj>,
            /// Its opposite.
            pub(crate) discard_from_awaited_by: Option<Obj>,
            /// `("debug",)`, where `_format_callback_source` takes it.
            pub(crate) kw_debug: Option<Obj>,
            /// The class of handles that other threads have, where there is one of its own.
            pub(crate) class_shared_handle: Option<Obj>,
            /// `asyncio.eager_task_factory`, where there is one.
            eager_factory: Option<Obj>,
        }

        impl Names {
            fn load() -> Res<Names> {
                $(let $string = intern(table!(@spell $string $($spelled)?))?;)*
                Ok(Names {
                    #[cfg(not(Py_3_14))]
                    current_tasks: import(c"asyncio.tasks", c"_current_tasks")?,
                    #[cfg(Py_3_14)]
                    swap_current_task: import(c"_asyncio", c"_swap_current_task")?,
                    kw_context: tuple([&*intern(c"context")?].into_iter())?,
                    kw_fileno: tuple([&*intern(c"fileno")?].into_iter())?,
                    kw_source: tuple([&*intern(c"source")?].into_iter())?,
                    kw_loop: tuple([&*intern(c"loop")?].into_iter())?,
                    eager_factory: import(c"asyncio", c"")?.attr_opt(&*intern(c"eager_task_factory")?)?,
                    class_shared_handle: import(c"asyncio.events", c"")?
                        .attr_opt(&*intern(c"_ThreadSafeHandle")?)?,
                    add_to_awaited_by: import(c"asyncio.futures", c"")?
                        .attr_opt(&*intern(c"future_add_to_awaited_by")?)?,
                    discard_from_awaited_by: import(c"asyncio.futures", c"")?
                        .attr_opt(&*intern(c"future_discard_from_awaited_by")?)?,
                    kw_debug: match import(c"asyncio.format_helpers", c"_format_callback_source")?
                        .attr(&*intern(c"__kwdefaults__")?)?
                    {
                        defaults if defaults.is_none() => None,
                        _ => Some(tuple([&*intern(c"debug")?].into_iter())?),
                    },
                    kw_msg: tuple([&*intern(c"msg")?].into_iter())?,
                    $($import: import($module, $attribute)?,)*
                    $($string,)*
                })
            }
        }
    };
    (@spell $string:ident $spelled:literal) => { $spelled };
    (@spell $string:ident) => {
        // The name of the field with a null byte behind it.
        match std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($string), "\0").as_bytes()) {
            Ok(text) => text,
            Err(_) => unreachable!("an identifier holds no null byte"),
        }
    };
}
pub(super) use table;
