//! Where a coroutine is made; `cr_origin` shows it in debug mode.

use crate::ffi::{Obj, Res, tuple};
use crate::names::names;

/// The calls that make a coroutine now, as (file, line, function), innermost first, as deep as the
/// interpreter is set to track.
#[cold]
pub(super) fn here() -> Res<Option<Obj>> {
    let names = names();
    let depth = names.origin_tracking_depth.call0()?.as_i64()?;
    if depth <= 0 {
        return Ok(None);
    }
    let mut places = Vec::new();
    let mut frame = names.get_frame.call0()?;
    for _ in 0..depth {
        if frame.is_none() {
            break;
        }
        let code = frame.attr(&names.f_code)?;
        let line = frame.attr(&names.f_lineno)?;
        places.push(tuple(
            [&*code.attr(&names.co_filename)?, &*line, &*code.attr(&names.co_name)?].into_iter(),
        )?);
        frame = frame.attr(&names.f_back)?;
    }
    tuple(places.iter().map(|place| &**place)).map(Some)
}
