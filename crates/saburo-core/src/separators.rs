//! Where the next piece of a stream ends.
//!
//! A search goes on where it left off when more bytes have come, so that every byte is looked at once,
//! and the last few twice. The piece that ends first wins, whichever separator ends it; how far it may
//! reach is the caller's limit, and counts without the separator. All of this is asyncio's `readuntil`.

use std::ops::Range;

use memchr::{memchr, memmem};

/// A search for the first of several separators, in bytes that are still coming in.
///
/// ```
/// use saburo_core::{Search, Sought};
///
/// let (mut search, ends) = (Search::new(), [b"\r\n"]);
/// assert_eq!(search.go_on(b"GET / HTT", &ends, 100), Sought::Missing);
/// assert_eq!(search.go_on(b"GET / HTTP/1.1\r\nHost", &ends, 100), Sought::Found(14..16));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Search {
    /// Before this no separator begins.
    searched: usize,
}

/// What a search has come to so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Sought {
    /// Here is the separator; the piece ends with it.
    Found(Range<usize>),
    /// It begins here, and that is beyond the limit.
    FoundTooFar(usize),
    /// There is none, and more bytes are needed.
    Missing,
    /// There is none before this place, which is beyond the limit.
    MissingTooFar(usize),
}

impl Search {
    /// Before this place no separator begins.
    pub const fn searched(&self) -> usize {
        self.searched
    }

    /// A search from the start.
    pub const fn new() -> Search {
        Search { searched: 0 }
    }

    /// Looks through what has come: `unread` is all of it, from the start of the piece.
    ///
    /// `separators` is the same each time: not empty, the shortest first, none of them of no bytes. Nothing
    /// is within a negative limit, not even a separator at the start.
    #[inline]
    pub fn go_on<S: AsRef<[u8]>>(&mut self, unread: &[u8], separators: &[S], limit: isize) -> Sought {
        let length = |separator: Option<&S>| separator.map_or(0, |bytes| bytes.as_ref().len());
        let (shortest, longest) = (length(separators.first()), length(separators.last()));
        debug_assert!(shortest > 0, "a separator has bytes");
        if unread.len() < self.searched + shortest {
            return Sought::Missing;
        }
        let mut first: Option<Range<usize>> = None;
        for separator in separators {
            let separator = separator.as_ref();
            // Only what ends sooner is of interest.
            let end = first.as_ref().map_or(unread.len(), |first| first.end - 1);
            if let Some(found) = find(&unread[self.searched..end], separator) {
                let start = self.searched + found;
                first = Some(start..start + separator.len());
            }
        }
        match first {
            Some(first) if first.start as isize > limit => Sought::FoundTooFar(first.start),
            Some(first) => Sought::Found(first),
            None => {
                // The longest may have begun in the last bytes.
                self.searched = (unread.len() + 1).saturating_sub(longest);
                if self.searched as isize > limit {
                    Sought::MissingTooFar(self.searched)
                } else {
                    Sought::Missing
                }
            }
        }
    }
}

#[inline]
fn find(haystack: &[u8], separator: &[u8]) -> Option<usize> {
    match separator {
        [byte] => memchr(*byte, haystack),
        _ => memmem::find(haystack, separator),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Search, Sought};

    #[test]
    fn the_piece_that_ends_first_wins_even_with_the_longer_separator() {
        let sought = Search::new().go_on(b"ABCDEFG", &[&b"DEF"[..], b"BCDE"], 100);
        assert_eq!(sought, Sought::Found(1..5));
    }

    #[test]
    fn the_limit_counts_without_the_separator() {
        assert_eq!(Search::new().go_on(b"abc\n", &[b"\n"], 3), Sought::Found(3..4));
        assert_eq!(Search::new().go_on(b"abcd\n", &[b"\n"], 3), Sought::FoundTooFar(4));
        assert_eq!(Search::new().go_on(b"abc", &[b"\n"], 3), Sought::Missing);
        assert_eq!(Search::new().go_on(b"abcd", &[b"\n"], 3), Sought::MissingTooFar(4));
    }

    #[test]
    fn a_separator_that_came_in_halves_is_found() {
        let mut search = Search::new();
        let ends = [&b"A"[..], b"long end"];
        assert_eq!(search.go_on(b"datalong", &ends, 100), Sought::Missing);
        assert_eq!(search.go_on(b"datalong e", &ends, 100), Sought::Missing);
        assert_eq!(search.go_on(b"datalong endA", &ends, 100), Sought::Found(4..12));
    }

    /// asyncio's rule without its memory: looks at everything each time.
    fn naive(unread: &[u8], separators: &[Vec<u8>], limit: isize) -> Sought {
        let shortest = separators[0].len();
        let longest = separators[separators.len() - 1].len();
        let ends = (1..=unread.len()).find_map(|end| {
            let ending = separators.iter().find(|separator| unread[..end].ends_with(separator));
            ending.map(|separator| end - separator.len()..end)
        });
        match ends {
            Some(found) if found.start as isize > limit => Sought::FoundTooFar(found.start),
            Some(found) => Sought::Found(found),
            None if unread.len() < shortest => Sought::Missing,
            None => {
                let searched = (unread.len() + 1).saturating_sub(longest);
                if searched as isize > limit { Sought::MissingTooFar(searched) } else { Sought::Missing }
            }
        }
    }

    proptest! {
        #[test]
        fn it_finds_what_looking_at_everything_each_time_finds(
            chunks in prop::collection::vec("[ab\n]{0,7}", 1..9),
            mut separators in prop::collection::vec("[ab\n]{1,4}", 1..4),
            limit in -2_isize..30,
        ) {
            separators.sort_by_key(String::len);
            let separators: Vec<Vec<u8>> = separators.into_iter().map(String::into_bytes).collect();
            let (mut search, mut unread) = (Search::new(), Vec::new());
            for chunk in chunks {
                unread.extend_from_slice(chunk.as_bytes());
                let sought = search.go_on(&unread, &separators, limit);
                prop_assert_eq!(&sought, &naive(&unread, &separators, limit));
                if sought != Sought::Missing {
                    break;
                }
            }
        }
    }
}
