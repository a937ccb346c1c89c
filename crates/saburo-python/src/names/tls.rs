//! The names that TLS needs.

use crate::ffi::{Global, Obj, Res, import, int, intern, tuple};

static TLS_NAMES: Global<TlsNames> = Global::new();

/// What TLS needs beyond that; imported for the first connection that has it, as there are interpreters
/// without `ssl`.
pub(crate) struct TlsNames {
    pub(crate) certificate_error: Obj,
    pub(crate) memory_bio: Obj,
    pub(crate) ssl_error: Obj,
    pub(crate) ssl_object_read: Obj,
    pub(crate) ssl_object_write: Obj,
    pub(crate) syscall_error: Obj,
    pub(crate) want_read_error: Obj,
    pub(crate) sendfile_fallback: Obj,
    /// `("server_side", "server_hostname")`
    pub(crate) kw_wrap_bio: Obj,
    /// More bytes than any record has.
    pub(crate) most: Obj,
    pub(crate) flow_marks: Obj,
    pub(crate) log_eof: Obj,
    pub(crate) log_handshake: Obj,
    pub(crate) log_handshake_done: Obj,
    pub(crate) report_fatal: Obj,
    pub(crate) warn_closed: Obj,
    pub(crate) warn_keep_open: Obj,
}

/// The names for TLS; ImportError where there is none.
#[inline]
pub(crate) fn tls_names() -> Res<&'static TlsNames> {
    match TLS_NAMES.get() {
        Some(names) => Ok(names),
        None => load_tls_names(),
    }
}

#[cold]
fn load_tls_names() -> Res<&'static TlsNames> {
    let (read, write) = (intern(c"read")?, intern(c"write")?);
    let ssl_object = import(c"ssl", c"SSLObject")?;
    let ours = import(c"saburo._tls", c"")?;
    let our = |name: &std::ffi::CStr| ours.attr(&*intern(name)?);
    TLS_NAMES.set(TlsNames {
        certificate_error: import(c"ssl", c"CertificateError")?,
        memory_bio: import(c"ssl", c"MemoryBIO")?,
        ssl_error: import(c"ssl", c"SSLError")?,
        ssl_object_read: ssl_object.attr(&read)?,
        ssl_object_write: ssl_object.attr(&write)?,
        syscall_error: import(c"ssl", c"SSLSyscallError")?,
        want_read_error: import(c"ssl", c"SSLWantReadError")?,
        sendfile_fallback: import(c"asyncio.constants", c"_SendfileMode")?.attr(&*intern(c"FALLBACK")?)?,
        kw_wrap_bio: tuple([&*intern(c"server_side")?, &*intern(c"server_hostname")?].into_iter())?,
        most: int(1 << 20)?,
        flow_marks: our(c"flow_marks")?,
        log_eof: our(c"log_eof")?,
        log_handshake: our(c"log_handshake")?,
        log_handshake_done: our(c"log_handshake_done")?,
        report_fatal: our(c"report_fatal")?,
        warn_closed: our(c"warn_closed")?,
        warn_keep_open: our(c"warn_keep_open")?,
    });
    Ok(TLS_NAMES.get().expect("set just now"))
}
