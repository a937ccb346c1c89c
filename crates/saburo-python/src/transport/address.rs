//! Addresses as Python writes them: tuples for the Internet, names for Unix.

use std::net::{Ipv4Addr, SocketAddrV4, SocketAddrV6};

use saburo_core::Address;

use crate::ffi::{Bytes, Obj, Object, Res, bytes, fs_decoded, int, lend_text, string, tuple};

/// A family of addresses that we can read and write ourselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    V4,
    V6,
    Unix,
}

impl Family {
    /// The family of the socket that has this address.
    pub(super) fn of(address: &Address) -> Family {
        match address {
            Address::V4(_) => Family::V4,
            Address::V6(_) => Family::V6,
            Address::Path(_) | Address::Abstract(_) | Address::Unnamed => Family::Unix,
        }
    }
}

/// The address as `socket.getsockname()` returns it.
pub(super) fn to_python(address: &Address) -> Res<Obj> {
    match address {
        Address::V4(v4) => tuple([&*host_v4(*v4.ip())?, &*int(i64::from(v4.port()))?].into_iter()),
        Address::V6(v6) => {
            let numbers = [i64::from(v6.port()), i64::from(v6.flowinfo()), i64::from(v6.scope_id())];
            let [port, flow, scope] = numbers.map(int);
            let host = string(&v6.ip().to_string())?;
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

/// Parses an address that Python code wrote in the plain form that this file writes. Returns None for
/// anything else, such as a host name, a scope name or a wrong type: Python's `socket` resolves or refuses
/// those.
pub(super) fn from_python(family: Family, address: &Object) -> Option<Address> {
    match family {
        Family::V4 => {
            let [host, port] = items(address)?;
            let port = number(&*port?, u16::MAX.into())? as u16;
            Some(Address::V4(SocketAddrV4::new(parsed(&*host?)?, port)))
        }
        Family::V6 => {
            let [host, port, flow, scope] = items(address)?;
            let optional = |value: Option<Obj>, most| value.map_or(Some(0), |value| number(&value, most));
            let port = number(&*port?, u16::MAX.into())? as u16;
            let (flow, scope) = (optional(flow, MOST_FLOW)?, optional(scope, u32::MAX)?);
            Some(Address::V6(SocketAddrV6::new(parsed(&*host?)?, port, flow, scope)))
        }
        Family::Unix => match Bytes::exact(address) {
            Some(name) => match name.as_ref() {
                [0, name @ ..] if name.len() < ROOM => Some(Address::Abstract(name.into())),
                path => plain_path(path),
            },
            // Python itself encodes a name that is not ASCII.
            None => {
                lend_text(address, |path| if path.is_ascii() { plain_path(path.as_bytes()) } else { None })?
            }
        },
    }
}

/// The largest flow information that Python takes: twenty bits.
const MOST_FLOW: u32 = 0xf_ffff;
/// Every system has room for this many bytes of a Unix socket's name, including the final null.
const ROOM: usize = 104;

fn plain_path(path: &[u8]) -> Option<Address> {
    (!path.is_empty() && path.len() < ROOM && !path.contains(&0)).then(|| Address::Path(path.into()))
}

/// The items of a tuple of two to `N` items.
#[inline]
fn items<const N: usize>(address: &Object) -> Option<[Option<Obj>; N]> {
    if !address.is_exact_tuple() || address.tuple_item(N).is_some() {
        return None;
    }
    let items = std::array::from_fn(|index| address.tuple_item(index));
    items[1].is_some().then_some(items)
}

/// A host that is written as numbers.
#[inline]
fn parsed<T: std::str::FromStr>(host: &Object) -> Option<T> {
    lend_text(host, |text| text.parse().ok())?
}

#[inline]
fn number(value: &Object, most: u32) -> Option<u32> {
    if !value.is_int() {
        return None;
    }
    match value.as_i64() {
        Ok(value) => u32::try_from(value).ok().filter(|&value| value <= most),
        Err(raised) => {
            raised.swallow();
            None
        }
    }
}

#[inline]
fn host_v4(ip: Ipv4Addr) -> Res<Obj> {
    // Formatted by hand, because every datagram that arrives has a host: 25 ns, against 170 with `format!`
    // (2026-11-25).
    let mut text = [0; 15];
    let mut length = 0;
    let mut push = |byte: u8| {
        text[length] = byte;
        length += 1;
    };
    for (index, octet) in ip.octets().into_iter().enumerate() {
        if index > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    string(std::str::from_utf8(&text[..length]).unwrap_or_default())
}
