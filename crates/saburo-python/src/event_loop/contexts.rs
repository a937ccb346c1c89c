//! Contexts with no other reference left, to be used again.
//!
//! Every callback and every task runs in a context of its own, a copy of the current one; most end
//! unchanged and unseen. Those are as good as new copies wherever the variables are still the same: the
//! ones of the context that the loop runs in. No other variables are kept, so that nothing lives longer
//! because of this than the run of the loop.

use std::cell::{Cell, RefCell};

use crate::ffi::{Context, Holds, Res, Slot, Vars, current_vars, fields};

/// The contexts of a loop, while it runs.
pub(crate) struct Contexts {
    /// A copy of the context that the loop runs in; it keeps the variables alive.
    base: Slot<Context>,
    vars: Cell<Option<Vars>>,
    /// Unused, all with `vars`, and hidden from the collector: they hold nothing else.
    spare: RefCell<Vec<Context>>,
    /// How many were asked for here and have not come back. No more than these are kept: contexts that were
    /// copied elsewhere come back, too, and would pile up where nobody asks for them.
    lent: Cell<usize>,
}

/// Two megabytes of them.
const AT_MOST: usize = (2 << 20) / 80;

impl Contexts {
    pub(crate) const fn new() -> Contexts {
        Contexts {
            base: Slot::empty(),
            vars: Cell::new(None),
            spare: RefCell::new(Vec::new()),
            lent: Cell::new(0),
        }
    }

    /// A run begins.
    pub(super) fn begin(&self) -> Res<()> {
        let base = Context::copy_current()?;
        self.vars.set(base.vars());
        self.base.set(Some(base));
        self.lent.set(0);
        Ok(())
    }

    /// The run is over.
    pub(super) fn end(&self) {
        self.vars.set(None);
        // Out of the field first: letting go of them may run code that looks here.
        let spare = std::mem::take(&mut *self.spare.borrow_mut());
        spare.iter().for_each(Context::reveal);
        drop(spare);
        self.base.set(None);
    }

    /// A copy of the current context.
    #[inline]
    pub(crate) fn copy_current(&self) -> Res<Context> {
        self.lend(current_vars(), Context::copy_current)
    }

    /// A copy of a context.
    #[inline]
    pub(crate) fn copy_of(&self, context: &Context) -> Res<Context> {
        self.lend(context.vars(), || context.copied())
    }

    #[inline]
    fn lend(&self, wanted: Option<Vars>, copy: impl FnOnce() -> Res<Context>) -> Res<Context> {
        self.lent.set(self.lent.get() + 1);
        if wanted.is_some()
            && wanted == self.vars.get()
            && let Some(context) = self.spare.borrow_mut().pop()
        {
            context.reveal();
            return Ok(context);
        }
        copy()
    }

    /// Takes a context back from code that is done with it.
    #[inline]
    pub(crate) fn recycle(&self, context: Context) {
        if !context.is_private() || self.lent.get() == 0 {
            return;
        }
        self.lent.set(self.lent.get() - 1);
        let vars = self.vars.get();
        if vars.is_some() && context.vars() == vars {
            let mut spare = self.spare.borrow_mut();
            if cfg!(not(saburo_no_reuse)) && spare.len() < AT_MOST {
                context.hide();
                spare.push(context);
            }
        }
    }
}

impl Holds for Contexts {
    fields! {
        part;
        objects { base }
        // Hidden from the collector, and with nothing but the variables of `base`.
        unseen { spare }
        plain { vars, lent }
    }
}
