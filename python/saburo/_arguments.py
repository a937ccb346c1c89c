"""Checks of the sockets and TLS options that are given to connections and servers."""

from __future__ import annotations

import socket

try:
    import ssl
except ImportError:  # a CPython built without OpenSSL
    ssl = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    # The argument `ssl`: True asks for the default context.
    _Tls: TypeAlias = bool | ssl.SSLContext | None


def check_tls_times(
    ssl_argument: _Tls, handshake_timeout: float | None, shutdown_timeout: float | None
) -> None:
    if handshake_timeout is not None and not ssl_argument:
        raise ValueError("ssl_handshake_timeout is only meaningful with ssl")
    if shutdown_timeout is not None and not ssl_argument:
        raise ValueError("ssl_shutdown_timeout is only meaningful with ssl")


def check_stream(sock: socket.socket) -> None:
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")


def check_unix_stream(sock: socket.socket) -> None:
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")


def refuse_tls_socket(sock: socket.socket) -> None:
    # It may hold decrypted bytes when the descriptor is not readable.
    if ssl is not None and isinstance(sock, ssl.SSLSocket):
        raise TypeError("Socket cannot be of type SSLSocket")
