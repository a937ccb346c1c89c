//! Arguments of a call, as the interpreter's fast calling convention hands them over.

use super::python as ffi;

use super::error::{Res, builtin, raise};
use super::object::{Object, tuple};

/// Positional arguments, then the values of the keywords named by `names`.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a> {
    all: &'a [&'a Object],
    positional: usize,
    names: Option<&'a Object>,
}

/// A function's signature: how its arguments are named and which of them must be given.
pub(crate) struct Params<const N: usize> {
    pub(crate) function: &'static str,
    pub(crate) names: [&'static str; N],
    /// How many of them must be given.
    pub(crate) required: usize,
    /// How many of them may be given by position.
    pub(crate) positional: usize,
}

impl<'a> Args<'a> {
    /// # Safety
    /// `args` points at `count` live objects followed by one for each of `names`, a tuple or null.
    #[inline]
    pub(super) unsafe fn new(
        args: *const *mut ffi::PyObject,
        count: usize,
        names: *mut ffi::PyObject,
    ) -> Args<'a> {
        // SAFETY: the caller's promise; `&Object` has the layout of a non-null object pointer.
        unsafe {
            let names = (!names.is_null()).then(|| Object::from_ptr(names));
            let named = names.map_or(0, |names| ffi::PyTuple_GET_SIZE(names.as_ptr()) as usize);
            let all: &[&Object] = match count + named {
                0 => &[],
                total => std::slice::from_raw_parts(args.cast::<&Object>(), total),
            };
            Args { all, positional: count, names }
        }
    }

    /// The arguments given by position.
    #[inline]
    pub(crate) fn positional(&self) -> &'a [&'a Object] {
        &self.all[..self.positional]
    }

    /// Every value, positional ones first.
    pub(crate) fn all(&self) -> &'a [&'a Object] {
        self.all
    }

    /// The tuple of keyword names, if any was given.
    pub(crate) fn names(&self) -> Option<&'a Object> {
        self.names
    }

    /// The arguments given by keyword.
    #[inline]
    pub(crate) fn keywords(&self) -> impl Iterator<Item = (&'a Object, &'a Object)> + use<'a> {
        let names = self.names;
        self.all[self.positional..].iter().enumerate().map(move |(index, value)| {
            let names = names.expect("keyword values come with their names");
            // SAFETY: one name for each keyword value, borrowed from the live tuple.
            let name =
                unsafe { Object::from_ptr(ffi::PyTuple_GET_ITEM(names.as_ptr(), index as ffi::Py_ssize_t)) };
            (name, *value)
        })
    }

    /// The one argument, `name`, by position or by keyword.
    #[inline]
    pub(crate) fn sole(&self, function: &'static str, name: &'static str) -> Res<&'a Object> {
        match (self.all, self.names) {
            (&[only], None) => Ok(only),
            _ => self.find_sole(function, name),
        }
    }

    #[cold]
    fn find_sole(&self, function: &'static str, name: &'static str) -> Res<&'a Object> {
        let [only] = self.bind(&Params { function, names: [name], required: 1, positional: 1 })?;
        Ok(only.expect("bind() has checked what is required"))
    }

    /// The same call with `names` by position, of which some are not: by keyword, then, or TypeError.
    #[cold]
    pub(crate) fn placed<R>(
        &self,
        function: &str,
        names: &[&str],
        call: impl FnOnce(Args<'_>) -> Res<R>,
    ) -> Res<R> {
        let mut places: Vec<Option<&Object>> = self.positional().iter().copied().map(Some).collect();
        places.resize(names.len().max(places.len()), None);
        let (mut other_names, mut others) = (Vec::new(), Vec::new());
        for (given, value) in self.keywords() {
            let Some(index) = names.iter().position(|name| spells(given, name)) else {
                other_names.push(given);
                others.push(value);
                continue;
            };
            if places[index].replace(value).is_some() {
                return multiple(function, names[index]);
            }
        }
        let missing: Vec<String> = names
            .iter()
            .zip(&places)
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| format!("'{name}'"))
            .collect();
        if !missing.is_empty() {
            let (count, plural) = (missing.len(), if missing.len() == 1 { "" } else { "s" });
            let missing = missing.join(" and ");
            return raise(
                builtin::type_error(),
                &format!("{function}() missing {count} required positional argument{plural}: {missing}"),
            );
        }
        let positional = places.len();
        let all: Vec<&Object> = places.into_iter().flatten().chain(others).collect();
        let tuple = match other_names.is_empty() {
            true => None,
            false => Some(tuple(other_names.into_iter())?),
        };
        call(Args { all: &all, positional, names: tuple.as_deref() })
    }

    /// The value of keyword `name` where it is the only keyword allowed; TypeError for any other.
    #[inline]
    pub(crate) fn only_keyword(&self, function: &str, name: &str) -> Res<Option<&'a Object>> {
        if self.names.is_none() { Ok(None) } else { self.find_only(function, name) }
    }

    #[cold]
    fn find_only(&self, function: &str, name: &str) -> Res<Option<&'a Object>> {
        let mut found = None;
        for (given, value) in self.keywords() {
            if !spells(given, name) {
                return unexpected(function, given);
            }
            found = Some(value);
        }
        Ok(found)
    }

    /// Sorts the arguments into the places of `params`.
    pub(crate) fn bind<const N: usize>(&self, params: &Params<N>) -> Res<[Option<&'a Object>; N]> {
        let mut bound = [None; N];
        if self.positional > params.positional {
            return too_many(params, self.positional);
        }
        for (place, value) in bound.iter_mut().zip(self.positional()) {
            *place = Some(*value);
        }
        for (given, value) in self.keywords() {
            let Some(index) = params.names.iter().position(|name| spells(given, name)) else {
                return unexpected(params.function, given);
            };
            if bound[index].is_some() {
                return multiple(params.function, params.names[index]);
            }
            bound[index] = Some(value);
        }
        if let Some(missing) = bound[..params.required].iter().position(Option::is_none) {
            return raise(
                builtin::type_error(),
                &format!(
                    "{}() missing 1 required positional argument: '{}'",
                    params.function, params.names[missing]
                ),
            );
        }
        Ok(bound)
    }
}

/// True if the str `given` spells `name`.
fn spells(given: &Object, name: &str) -> bool {
    let mut length = 0;
    // SAFETY: keyword names are live str objects; their UTF-8 form is cached inside them. A name that
    // has none (lone surrogates) is not ours, and the error is cleared.
    unsafe {
        let text = ffi::PyUnicode_AsUTF8AndSize(given.as_ptr(), &raw mut length);
        if text.is_null() {
            ffi::PyErr_Clear();
            return false;
        }
        std::slice::from_raw_parts(text.cast::<u8>(), length as usize) == name.as_bytes()
    }
}

/// Counted with self, as Python counts.
#[cold]
fn too_many<T, const N: usize>(params: &Params<N>, given: usize) -> Res<T> {
    let most = params.positional + 1;
    let range = match params.required.min(params.positional) + 1 {
        least if least < most => format!("from {least} to {most}"),
        _ => most.to_string(),
    };
    let arguments = if most == 1 { "argument" } else { "arguments" };
    raise(
        builtin::type_error(),
        &format!("{}() takes {range} positional {arguments} but {} were given", params.function, given + 1),
    )
}

fn multiple<T>(function: &str, name: &str) -> Res<T> {
    raise(builtin::type_error(), &format!("{function}() got multiple values for argument '{name}'"))
}

fn unexpected<T>(function: &str, given: &Object) -> Res<T> {
    let given = given.display()?;
    raise(builtin::type_error(), &format!("{function}() got an unexpected keyword argument '{given}'"))
}
