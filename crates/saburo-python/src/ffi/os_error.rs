//! The one place where an error of the operating system becomes an exception of Python's.
//!
//! `?` does it where the exception is to be raised; [`Raised::os`] where there is something else to do with it.

use std::io::{self, ErrorKind};

use super::error::{Raised, Res, builtin, no_memory, raise};
use super::interpreter::Global;
use super::object::{Obj, Object, import, int, string};

/// `os.strerror`
static STRERROR: Global<Obj> = Global::new();

/// To be called when the module is imported.
pub(crate) fn find_strerror() -> Res<()> {
    if STRERROR.get().is_none() {
        STRERROR.set(import(c"os", c"strerror")?);
    }
    Ok(())
}

/// Raises the OSError, or the class derived from it, that stands for the error's number. MemoryError where it
/// was saburo that had no memory.
impl From<io::Error> for Raised {
    #[cold]
    fn from(error: io::Error) -> Raised {
        Raised::os(&error)
    }
}

impl Raised {
    /// The same for an error that is lent.
    #[cold]
    pub(crate) fn os(error: &io::Error) -> Raised {
        let raised: Res<()> = match error.raw_os_error() {
            Some(number) => raise_numbered(number, message),
            None if error.kind() == ErrorKind::OutOfMemory => no_memory(),
            None => raise(builtin::os_error(), &error.to_string()),
        };
        raised.unwrap_err()
    }

    /// The same with other words than the system's.
    #[cold]
    pub(crate) fn os_saying(error: &io::Error, words: &str) -> Raised {
        let number = error.raw_os_error().unwrap_or_default();
        raise_numbered(number, |_| string(words)).unwrap_err()
    }
}

fn raise_numbered(number: i32, words: impl FnOnce(&Object) -> Res<Obj>) -> Res<()> {
    let number = int(i64::from(number))?;
    let words = words(&number)?;
    // OSError itself chooses the class.
    Err(Raised::raising(&*builtin::os_error().call(&[&number, &words])?))
}

fn message(number: &Object) -> Res<Obj> {
    STRERROR.get().expect("found when the module is imported").call(&[number])
}
