//! Objects from saburo's own Python modules. These modules do not exist yet when the table is filled, so each
//! object is imported when first needed.

use std::ffi::CStr;

use crate::ffi::{Global, Obj, Res, import};

/// `saburo._transport_socket.TransportSocket`; imported when a program first asks a connection for its
/// socket.
pub(crate) fn transport_socket() -> Res<&'static Obj> {
    static FOUND: Global<Obj> = Global::new();
    found_once(&FOUND, c"saburo._transport_socket", c"TransportSocket")
}

/// `saburo._streams.start_tls`; imported when the first stream is to be encrypted.
pub(crate) fn start_tls() -> Res<&'static Obj> {
    static FOUND: Global<Obj> = Global::new();
    found_once(&FOUND, c"saburo._streams", c"start_tls")
}

/// `saburo._tls.flow_marks`; imported when a program sets the marks of TLS, or others to what is no plain number.
pub(crate) fn flow_marks() -> Res<&'static Obj> {
    static FOUND: Global<Obj> = Global::new();
    found_once(&FOUND, c"saburo._tls", c"flow_marks")
}

fn found_once(place: &'static Global<Obj>, module: &CStr, name: &CStr) -> Res<&'static Obj> {
    if place.get().is_none() {
        place.set(import(module, name)?);
    }
    Ok(place.get().expect("set just now"))
}
