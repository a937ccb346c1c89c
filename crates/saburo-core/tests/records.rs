//! Records: the ends that are found are the ends there are, however the stream is cut.

use proptest::prelude::*;
use saburo_core::{MAX_RECORD, Records, Seen};

fn record(body: usize) -> Vec<u8> {
    let mut record = vec![23, 3, 3];
    record.extend(u16::try_from(body).unwrap().to_be_bytes());
    record.extend(std::iter::repeat_n(0x17, body));
    record
}

fn follow(data: &[u8]) -> (Records, Seen) {
    let mut records = Records::new();
    let seen = records.follow(data, usize::MAX);
    (records, seen)
}

#[test]
fn a_whole_record_leaves_nothing_unfinished() {
    let (records, seen) = follow(&record(100));
    assert_eq!(seen, Seen { bytes: 105, records: 1 });
    assert_eq!(records.unfinished(), Some(0));
}

#[test]
fn an_empty_record_ends_with_its_header() {
    let (records, seen) = follow(&record(0));
    assert_eq!(seen, Seen { bytes: 5, records: 1 });
    assert_eq!(records.unfinished(), Some(0));
}

#[test]
fn a_stream_of_something_else_is_given_up_for_good() {
    for garbage in [&b"GET / HTTP/1.1\r\n"[..], b"\x17\x02\x03\x00\x01", b"\x18\x03\x03\x00\x01"] {
        let (mut records, seen) = follow(garbage);
        assert_eq!(seen, Seen { bytes: garbage.len(), records: 0 });
        assert_eq!(records.unfinished(), None);
        assert_eq!(records.follow(&record(1), usize::MAX).records, 0);
        assert_eq!(records.unfinished(), None);
    }
}

#[test]
fn four_bytes_of_garbage_may_become_a_header_yet() {
    let (records, _) = follow(b"GET ");
    assert_eq!(records.unfinished(), Some(4));
}

#[test]
fn a_record_longer_than_any_is_given_up() {
    let (records, _) = follow(&record(MAX_RECORD - 5));
    assert_eq!(records.unfinished(), Some(0));
    let (records, _) = follow(&record(MAX_RECORD - 4)[..5]);
    assert_eq!(records.unfinished(), None);
}

#[test]
fn a_limit_ends_at_the_end_of_a_record() {
    let stream = [record(100), record(200), record(300)].concat();
    let mut records = Records::new();
    assert_eq!(records.follow(&stream, 400), Seen { bytes: 310, records: 2 });
    assert_eq!(records.unfinished(), Some(0));
    assert_eq!(records.follow(&stream[310..], 400), Seen { bytes: 305, records: 1 });
}

#[test]
fn a_limit_within_the_only_record_cuts_it() {
    let mut records = Records::new();
    assert_eq!(records.follow(&record(100), 50), Seen { bytes: 50, records: 0 });
    assert_eq!(records.unfinished(), Some(50));
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_its_records_are_found(
        bodies in prop::collection::vec(0_usize..1000, 0..20),
        cuts in prop::collection::vec((1_usize..3000, 1_usize..3000), 1..100),
    ) {
        let stream: Vec<u8> = bodies.iter().flat_map(|&body| record(body)).collect();
        let mut ends = vec![0];
        for &body in &bodies {
            ends.push(ends[ends.len() - 1] + 5 + body);
        }
        let mut records = Records::new();
        let (mut place, mut found) = (0, 0);
        for &(length, limit) in cuts.iter().cycle() {
            if place == stream.len() {
                break;
            }
            let cut = &stream[place..stream.len().min(place + length)];
            let seen = records.follow(cut, limit);
            prop_assert!(seen.bytes > 0 && seen.bytes <= cut.len().min(limit));
            place += seen.bytes;
            found += seen.records;
            prop_assert_eq!(found, ends.iter().filter(|&&end| end > 0 && end <= place).count());
            let last_end = ends.iter().rev().find(|&&end| end <= place).unwrap();
            prop_assert_eq!(records.unfinished(), Some(place - last_end));
        }
        prop_assert_eq!(found, bodies.len());
    }
}
