//! Datagrams and the addresses they come from.

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;

use saburo_core::{Address, net};

/// A folder of this test's own, gone with it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("saburo-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn sender_of_one(receiver: &UnixDatagram) -> Option<Address> {
    net::recv_from(receiver.as_raw_fd(), &mut [0; 16]).unwrap().1
}

#[test]
fn a_unix_datagram_names_its_senders_path() {
    let folder = Folder::new("path");
    let (here, there) = (folder.0.join("here"), folder.0.join("there"));
    let (sender, receiver) = (UnixDatagram::bind(&here).unwrap(), UnixDatagram::bind(&there).unwrap());
    let to = net::local_address(receiver.as_raw_fd()).unwrap().unwrap();
    net::send_to(sender.as_raw_fd(), b"tea", &to).unwrap();
    assert_eq!(sender_of_one(&receiver), Some(Address::Path(here.to_str().unwrap().as_bytes().into())));
}

#[test]
fn a_sender_without_a_name_has_no_address() {
    let (sender, receiver) = UnixDatagram::pair().unwrap();
    sender.send(b"tea").unwrap();
    assert_eq!(sender_of_one(&receiver), None);
    assert_eq!(net::peer_address(receiver.as_raw_fd()).unwrap(), Some(Address::Unnamed));
}

/// rustix 1.1 reads past the end of such an address.
#[test]
fn a_path_may_take_all_the_room_of_an_address() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, socket};

    let folder = Folder::new("long");
    let room = if cfg!(any(target_os = "linux", target_os = "android")) { 108 } else { 104 };
    let start = folder.0.to_str().unwrap();
    let path = format!("{start}/{}", "x".repeat(room - start.len() - 1));
    let sender = socket(AddressFamily::UNIX, SocketType::DGRAM, None).unwrap();
    bind(&sender, &SocketAddrUnix::new(path.as_str()).unwrap()).unwrap();
    let receiver = UnixDatagram::bind(folder.0.join("there")).unwrap();
    let to = net::local_address(receiver.as_raw_fd()).unwrap().unwrap();
    net::send_to(sender.as_raw_fd(), b"tea", &to).unwrap();
    assert_eq!(sender_of_one(&receiver), Some(Address::Path(path.as_bytes().into())));
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn an_abstract_name_may_hold_nulls_and_may_be_empty() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, socket};

    for name in [&b"saburo\0test"[..], b""] {
        let named = socket(AddressFamily::UNIX, SocketType::DGRAM, None).unwrap();
        let unique: Vec<u8> = [name, std::process::id().to_string().as_bytes()].concat();
        let name = if name.is_empty() { name } else { &unique };
        bind(&named, &SocketAddrUnix::new_abstract_name(name).unwrap()).unwrap();
        let address = net::local_address(named.as_raw_fd()).unwrap().unwrap();
        assert_eq!(address, Address::Abstract(name.into()));
        let sender = UnixDatagram::unbound().unwrap();
        net::send_to(sender.as_raw_fd(), b"tea", &address).unwrap();
        assert_eq!(net::recv_from(named.as_raw_fd(), &mut [0; 16]).unwrap(), (3, None));
    }
}

#[test]
fn what_does_not_fit_in_a_datagram_is_refused() {
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = net::local_address(receiver.as_raw_fd()).unwrap().unwrap();
    let error = net::send_to(receiver.as_raw_fd(), &[0; 70_000], &to).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MSGSIZE.raw_os_error()));
}

#[test]
fn an_address_of_another_family_is_refused() {
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let path = Address::Path(b"/nowhere"[..].into());
    assert!(net::send_to(sender.as_raw_fd(), b"tea", &path).is_err());
    assert!(net::send_to(sender.as_raw_fd(), b"tea", &Address::Unnamed).is_err());
}

#[test]
fn a_number_that_is_no_descriptor_is_an_error() {
    let to = Address::Path(b"/nowhere"[..].into());
    for fd in [-1, RawFd::MAX] {
        assert!(net::recv_from(fd, &mut [0; 16]).is_err_and(|error| error.kind() != ErrorKind::WouldBlock));
        assert!(net::send_to(fd, b"tea", &to).is_err());
    }
}
