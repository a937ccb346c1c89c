//! Addresses as Python writes them: tuples for the Internet, names for Unix.

use std::net::IpAddr;

use saburo_core::Address;

use crate::ffi::{Obj, Res, bytes, fs_decoded, int, string, tuple};

/// What `socket.getsockname()` gives for it.
pub(super) fn to_python(address: &Address) -> Res<Obj> {
    match address {
        Address::V4(v4) => pair(IpAddr::V4(*v4.ip()), v4.port()),
        Address::V6(v6) => {
            let host = string(&v6.ip().to_string())?;
            let numbers = [i64::from(v6.port()), i64::from(v6.flowinfo()), i64::from(v6.scope_id())];
            let [port, flow, scope] = numbers.map(int);
            tuple([&*host, &*port?, &*flow?, &*scope?].into_iter())
        }
        Address::Path(path) => fs_decoded(path),
        Address::Abstract(name) => {
            let mut whole = vec![0];
            whole.extend_from_slice(name);
            bytes(&whole)
        }
        Address::Unnamed => string(""),
    }
}

fn pair(host: IpAddr, port: u16) -> Res<Obj> {
    let host = string(&host.to_string())?;
    tuple([&*host, &*int(i64::from(port))?].into_iter())
}
