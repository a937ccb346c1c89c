//! Every Python name that this crate looks up: interned strings, and objects imported from modules.
//!
//! Rust code says `names().call_exception_handler`; no other file spells an import or an attribute. Only
//! `ffi`, in the layer below, does its own lookups.

mod ours;
mod table;
mod tls;

use crate::ffi::{Global, Obj, Object, Res, import, intern, tuple};

pub(crate) use ours::{flow_marks, start_tls, transport_socket};
pub(crate) use tls::tls_names;

use table::{each, keywords, table};

static NAMES: Global<Names> = Global::new();

/// The table; only valid once the module has been imported.
#[inline]
pub(crate) fn names() -> &'static Names {
    NAMES.get().expect("the module fills the table of names when it is imported")
}

/// Fills the table, if it is empty.
pub(crate) fn load() -> Res<()> {
    if NAMES.get().is_none() {
        NAMES.set(Names::load()?);
    }
    Ok(())
}

table! {
    /// Interned strings and imported objects.
    Names
    strings {
        abort,
        accept_connection = c"_accept_connection",
        add_done_callback,
        any_sock_recv = c"_any_sock_recv",
        any_sock_recv_into = c"_any_sock_recv_into",
        any_sock_sendall = c"_any_sock_sendall",
        args,
        asyncio_future_blocking = c"_asyncio_future_blocking",
        buffer_updated,
        call_connection_lost = c"_call_connection_lost",
        call_exception_handler,
        call_later,
        call_soon,
        can_write_eof,
        cancel,
        cancelled,
        check_handshake_timeout = c"_check_handshake_timeout",
        check_shutdown_timeout = c"_check_shutdown_timeout",
        cipher,
        clients = c"_clients",
        close,
        co_filename,
        co_flags,
        co_name,
        compression,
        connection_lost,
        connection_made,
        context,
        create_future,
        create_task,
        data_received,
        datagram_received,
        debug,
        debug_transport = c"_debug_transport",
        detach,
        do_handshake,
        do_read = c"_do_read",
        done,
        drain_helper = c"_drain_helper",
        dunder_await = c"__await__",
        dunder_cause = c"__cause__",
        dunder_context = c"__context__",
        dunder_init = c"__init__",
        dunder_name = c"__name__",
        dunder_new = c"__new__",
        dunder_self = c"__self__",
        eager_start,
        end_if_over = c"_end_if_over",
        eof_received,
        error_received,
        exception,
        extend,
        extra = c"_extra",
        f_back,
        f_code,
        f_lineno,
        family,
        feed_data,
        feed_eof,
        filename,
        fileno,
        force_close = c"_force_close",
        func,
        future,
        get,
        get_buffer,
        get_close_waiter = c"_get_close_waiter",
        get_debug,
        get_extra_info,
        get_loop,
        get_running_loop = c"_get_running_loop",
        getitem = c"__getitem__",
        getpeercert,
        getpeername,
        getsockname,
        handle,
        handle_signals = c"_handle_signals",
        handler_done = c"_handler_done",
        is_closed,
        is_closing,
        is_running,
        lineno,
        log_accepted = c"_log_accepted",
        log_closed_by_peer = c"_log_closed_by_peer",
        loop_ = c"loop",
        message,
        name,
        pause_reading,
        pause_writing,
        peercert,
        peername,
        pending,
        pipe,
        private_buffer = c"_buffer",
        private_loop = c"_loop",
        private_source_traceback = c"_source_traceback",
        private_stream_reader = c"_stream_reader",
        proto,
        protocol,
        read,
        read_ready = c"_read_ready",
        recvfrom,
        replace_transport = c"_replace_transport",
        report_read_pipe = c"_report_read_pipe",
        report_slow = c"_report_slow",
        report_throttle = c"_report_throttle",
        report_transport = c"_report_transport",
        result,
        resume = c"_resume",
        resume_reading,
        resume_writing,
        retry = c"_retry",
        run_in_any_executor = c"_run_in_any_executor",
        send,
        sendto,
        set_exception,
        set_name,
        set_result,
        set_transport,
        socket,
        sockname,
        source_traceback,
        ssl_object,
        sslcontext,
        sslobj = c"_sslobj",
        start_thread = c"_start_thread",
        task,
        throw,
        time,
        transport,
        try_native = c"TRY_NATIVE",
        type_ = c"type",
        unwrap,
        update,
        warning,
        wrap_bio,
        write,
        write_eof,
        write_ready = c"_write_ready",
        writelines,
    }
    imports {
        asyncio = c"asyncio", c"";
        bytearray_class = c"builtins", c"bytearray";
        bytes_class = c"builtins", c"bytes";
        cancelled_error = c"asyncio.exceptions", c"CancelledError";
        class_buffered_protocol = c"asyncio.protocols", c"BufferedProtocol";
        class_coroutine = c"types", c"CoroutineType";
        class_datagram_transport = c"asyncio.transports", c"DatagramTransport";
        class_file = c"io", c"FileIO";
        class_flow_control_mixin = c"asyncio.streams", c"FlowControlMixin";
        class_future = c"asyncio.futures", c"Future";
        class_handle = c"asyncio.events", c"Handle";
        class_protocol = c"asyncio.protocols", c"Protocol";
        class_read_transport = c"asyncio.transports", c"ReadTransport";
        class_socket = c"socket", c"socket";
        class_stream_reader = c"asyncio.streams", c"StreamReader";
        class_stream_reader_protocol = c"asyncio.streams", c"StreamReaderProtocol";
        class_stream_writer = c"asyncio.streams", c"StreamWriter";
        class_task = c"asyncio.tasks", c"Task";
        class_timer_handle = c"asyncio.events", c"TimerHandle";
        class_transport = c"asyncio.transports", c"Transport";
        class_transport_socket = c"asyncio.trsock", c"TransportSocket";
        convert_exception = c"asyncio.futures", c"_convert_future_exc";
        extract_stack = c"asyncio.format_helpers", c"extract_stack";
        false_ = c"builtins", c"False";
        format_callback_source = c"asyncio.format_helpers", c"_format_callback_source";
        future_repr = c"asyncio.base_futures", c"_future_repr";
        get_event_loop = c"asyncio.events", c"get_event_loop";
        get_frame = c"sys", c"_getframe";
        incomplete_read_error = c"asyncio.exceptions", c"IncompleteReadError";
        int_class = c"builtins", c"int";
        invalid_state_error = c"asyncio.exceptions", c"InvalidStateError";
        is_coroutine = c"asyncio.coroutines", c"iscoroutine";
        is_coroutine_function = c"inspect", c"iscoroutinefunction";
        limit_overrun_error = c"asyncio.exceptions", c"LimitOverrunError";
        logger = c"asyncio.log", c"logger";
        origin_tracking_depth = c"sys", c"get_coroutine_origin_tracking_depth";
        partial = c"functools", c"partial";
        register_task = c"asyncio.tasks", c"_register_task";
        sendfile_mode = c"asyncio.constants", c"_SendfileMode";
        set_class = c"builtins", c"set";
        str_class = c"builtins", c"str";
        task_get_stack = c"asyncio.base_tasks", c"_task_get_stack";
        task_print_stack = c"asyncio.base_tasks", c"_task_print_stack";
        task_repr = c"asyncio.base_tasks", c"_task_repr";
        traceback_class = c"types", c"TracebackType";
        tuple_class = c"builtins", c"tuple";
        unregister_task = c"asyncio.tasks", c"_unregister_task";
        warn = c"warnings", c"warn";
        warn_unawaited_coroutine = c"warnings", c"_warn_unawaited_coroutine";
    }
    optional {
        /// asyncio's own record of which task awaits which future (3.14 and later).
        add_to_awaited_by = c"asyncio.futures", c"future_add_to_awaited_by";
        /// The class of handles that other threads use.
        class_shared_handle = c"asyncio.events", c"_ThreadSafeHandle";
        discard_from_awaited_by = c"asyncio.futures", c"future_discard_from_awaited_by";
        eager_factory = c"asyncio", c"eager_task_factory";
    }
    keywords {
        kw_context = c"context";
        kw_fileno = c"fileno";
        kw_loop = c"loop";
        kw_msg = c"msg";
        kw_source = c"source";
    }
    found {
        /// A map from loop to running task.
        #[cfg(not(Py_3_14))]
        current_tasks: Obj = import(c"asyncio.tasks", c"_current_tasks");
        #[cfg(Py_3_14)]
        get_thread_ident: Obj = import(c"threading", c"get_ident");
        #[cfg(Py_3_14)]
        ident: Obj = intern(c"ident");
        #[cfg(Py_3_14)]
        main_thread: Obj = import(c"threading", c"main_thread");
        #[cfg(Py_3_14)]
        set_running_loop: Obj = import(c"asyncio.events", c"_set_running_loop");
        /// Changes the running task of a thread.
        #[cfg(Py_3_14)]
        swap_current_task: Obj = import(c"_asyncio", c"_swap_current_task");
        /// `("debug",)`, where `_format_callback_source` takes it.
        kw_debug: Option<Obj> = keyword_of_callback_source();
    }
}

impl Names {
    /// True for `asyncio.eager_task_factory`, which asks for eager tasks and nothing else.
    pub(crate) fn is_eager_factory(&self, factory: &Object) -> bool {
        self.eager_factory.as_ref().is_some_and(|known| known.is(factory))
    }
}

fn keyword_of_callback_source() -> Res<Option<Obj>> {
    let function = import(c"asyncio.format_helpers", c"_format_callback_source")?;
    if function.attr(&*intern(c"__kwdefaults__")?)?.is_none() {
        return Ok(None);
    }
    tuple([&*intern(c"debug")?].into_iter()).map(Some)
}

/// `socket.socket`, looked up each time: other code replaces it by its own class.
pub(crate) fn socket_class_now() -> Res<Obj> {
    import(c"socket", c"socket")
}
