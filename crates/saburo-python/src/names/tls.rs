//! The names that TLS needs.

use crate::ffi::{Global, Obj, Res, import, int, intern};

use super::names;
use super::table::{each, keywords, table};

static TLS_NAMES: Global<TlsNames> = Global::new();

table! {
    /// The names of TLS that are not in the table of names. They are imported for the first connection with
    /// TLS, because some interpreters have no `ssl`.
    TlsNames
    imports {
        certificate_error = c"ssl", c"CertificateError";
        log_eof = c"saburo._tls", c"log_eof";
        log_handshake = c"saburo._tls", c"log_handshake";
        log_handshake_done = c"saburo._tls", c"log_handshake_done";
        memory_bio = c"ssl", c"MemoryBIO";
        report_fatal = c"saburo._tls", c"report_fatal";
        ssl_error = c"ssl", c"SSLError";
        syscall_error = c"ssl", c"SSLSyscallError";
        want_read_error = c"ssl", c"SSLWantReadError";
        warn_closed = c"saburo._tls", c"warn_closed";
        warn_keep_open = c"saburo._tls", c"warn_keep_open";
    }
    keywords {
        kw_wrap_bio = c"server_side", c"server_hostname";
    }
    found {
        /// More bytes than any record has.
        most: Obj = int(1 << 20);
        sendfile_fallback: Obj = names().sendfile_mode.attr(&*intern(c"FALLBACK")?);
        ssl_object_read: Obj = import(c"ssl", c"SSLObject")?.attr(&names().read);
        ssl_object_write: Obj = import(c"ssl", c"SSLObject")?.attr(&names().write);
    }
}

/// The names for TLS; ImportError if the interpreter has no `ssl`.
#[inline]
pub(crate) fn tls_names() -> Res<&'static TlsNames> {
    match TLS_NAMES.get() {
        Some(names) => Ok(names),
        None => load_tls_names(),
    }
}

#[cold]
fn load_tls_names() -> Res<&'static TlsNames> {
    TLS_NAMES.set(TlsNames::load()?);
    Ok(TLS_NAMES.get().expect("set just now"))
}
