"""TLS, both ends on the loop. Most of it is OpenSSL's own work."""

from __future__ import annotations

from benches.cases.protocols import Echo
from benches.count.workload import workload
from benches.count.workloads.ends import KIB, connected


# Each run has a handshake, and OpenSSL's random numbers cost it more or less: hence so many.
@workload(100, 2_100)
async def tls_echo(operations: int) -> int:
    """A message of 1 KiB there and back."""
    message = bytes(KIB)
    seen = 0
    async with connected(Echo, secure=True) as client:
        for _ in range(operations):
            client.transport.write(message)
            await client.arrived(KIB)
            seen += 1
    return seen


@workload(5, 15)
async def tls_handshake(operations: int) -> int:
    """A connection made, a byte there and back, and an abrupt end."""
    seen = 0
    for _ in range(operations):
        async with connected(Echo, secure=True) as client:
            client.transport.write(b"x")
            await client.arrived(1)
            seen += 1
    return seen
