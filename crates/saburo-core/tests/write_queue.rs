//! The write queue against a naive model: a string of bytes, and a peer that reads when it likes.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use proptest::prelude::*;
use saburo_core::WriteQueue;

#[derive(Clone, Debug)]
enum Op {
    Push(usize),
    /// Make the last piece longer.
    Extend(usize),
    Flush,
    /// The peer reads up to so many bytes.
    Read(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => prop_oneof![0..20_usize, 0..3000_usize, 50_000..300_000_usize].prop_map(Op::Push),
        1 => (1..50_usize).prop_map(Op::Extend),
        3 => Just(Op::Flush),
        2 => prop_oneof![1..100_usize, 1..500_000_usize].prop_map(Op::Read),
    ]
}

proptest! {
    #[test]
    fn every_byte_arrives_once_and_in_order(ops in prop::collection::vec(op(), 1..60)) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut queue: WriteQueue<Vec<u8>> = WriteQueue::new();
        let (mut written, mut received) = (Vec::new(), Vec::new());
        let mut next = 0_u8;
        let mut piece = |len: usize| -> Vec<u8> {
            (0..len).map(|_| { next = next.wrapping_add(1); next }).collect()
        };
        let (mut pushed, mut done) = (0, 0);
        let mut read = |received: &mut Vec<u8>, most: usize| {
            let mut buffer = vec![0; most];
            let count = theirs.read(&mut buffer).unwrap_or(0);
            received.extend_from_slice(&buffer[..count]);
            count
        };
        for op in ops {
            match op {
                Op::Push(len) => {
                    let data = piece(len);
                    written.extend_from_slice(&data);
                    pushed += usize::from(len > 0);
                    queue.push(data);
                }
                Op::Extend(len) => {
                    let mut data = piece(len);
                    queue.extend_last(|last| {
                        written.extend_from_slice(&data);
                        last.append(&mut data);
                        len
                    });
                }
                Op::Flush => queue.flush(ours.as_raw_fd(), |_| done += 1).unwrap(),
                Op::Read(most) => { read(&mut received, most); }
            }
            prop_assert!(written.starts_with(&received));
            prop_assert!(queue.len() <= written.len() - received.len());
            prop_assert_eq!(queue.is_empty(), done == pushed);
            prop_assert_eq!(queue.iter().count(), pushed - done);
        }
        while received.len() < written.len() {
            queue.flush(ours.as_raw_fd(), |_| done += 1).unwrap();
            prop_assert!(read(&mut received, 1 << 20) > 0, "the rest never arrives");
        }
        prop_assert_eq!(received, written);
        prop_assert!(queue.is_empty() && done == pushed);
    }
}

#[test]
fn what_a_dead_peer_did_not_take_is_handed_back() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let mut queue = WriteQueue::new();
    queue.push("one");
    queue.push("two");
    assert!(queue.flush(ours.as_raw_fd(), |_| panic!("nothing has left")).is_err());
    assert_eq!(queue.take(), ["one", "two"]);
    assert_eq!(queue.len(), 0);
}

#[test]
fn as_many_pieces_as_the_array_has_places_for_leave_in_one_call() {
    // There each call is a message.
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    for count in (1..=20).chain([127, 128]) {
        let mut queue: WriteQueue<Vec<u8>> = WriteQueue::new();
        let whole: Vec<u8> = (0..count).collect();
        whole.iter().for_each(|&number| queue.push(vec![number]));
        let mut done = Vec::new();
        queue.flush(ours.as_raw_fd(), |piece| done.extend(piece)).unwrap();
        assert_eq!(done, whole);
        let mut buffer = [0; 256];
        let received = theirs.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..received], whole);
    }
}
