"""Which descriptor belongs to a transport, for whoever makes one over a socket of the program's."""

from __future__ import annotations

from ._report import Reporting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


class Descriptors(Reporting):
    """Checks before a transport is made, and the way back."""

    def _leave_socket(self, fd: int) -> None:
        """Ends the transport over a socket, which stays open: it is its owner's again."""
        transport = self._transport_of(fd)
        if transport is not None:
            transport._leave_socket()

    def _ensure_fd_no_transport(self, fd: FileDescriptorLike) -> None:
        """Raises RuntimeError if a transport uses the descriptor, ValueError if it is none."""
        if isinstance(fd, int):
            number = fd
        else:
            try:
                number = int(fd.fileno())
            except (AttributeError, TypeError, ValueError):
                raise ValueError(f"Invalid file object: {fd!r}") from None
        transport = self._transport_of(number)
        if transport is not None and not transport.is_closing():
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")
