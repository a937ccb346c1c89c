//! A signal handler that does the one thing it may: write the signal's number to the waker.

use std::ffi::c_int;
use std::io;
use std::sync::Arc;

use signal_hook_registry::{FORBIDDEN, SigId, register, unregister};

use super::Waker;

/// Installed while it lives.
#[derive(Debug)]
pub(crate) struct SignalHandler {
    id: SigId,
}

impl SignalHandler {
    pub(crate) fn install(signum: c_int, waker: Arc<Waker>) -> io::Result<Self> {
        let byte = match u8::try_from(signum) {
            // The registry panics for those that cannot be caught or cannot be survived.
            Ok(byte) if byte != 0 && !FORBIDDEN.contains(&signum) => byte,
            _ => {
                let message = format!("signal {signum} cannot be handled");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        };
        // SAFETY: the action is async-signal-safe: `Waker::write` is a `write` on a descriptor
        // that the `Arc` keeps open, and the registry saves errno around it. The registry frees
        // the action, and with it the `Arc`, outside of signal context.
        let id = unsafe { register(signum, move || waker.write(byte)) }?;
        Ok(SignalHandler { id })
    }
}

impl Drop for SignalHandler {
    fn drop(&mut self) {
        unregister(self.id);
    }
}
