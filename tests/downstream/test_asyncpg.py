"""asyncpg, whose protocol is written in Cython, with a real PostgreSQL."""

from __future__ import annotations

import asyncio
import datetime
import io
import os
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from .certificates import Certificates
from .conftest import Run
from .servers import HOST, PostgreSQL

MEGABYTES = os.urandom(5_000_000)


@pytest.fixture
def options(postgresql: PostgreSQL) -> dict[str, Any]:
    return {
        "host": HOST,
        "port": postgresql.port,
        "user": postgresql.user,
        "password": postgresql.password,
        "database": postgresql.database,
        "ssl": False,
    }


def test_queries_and_values_of_every_kind(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(**options)
        values = [1, 2.5, "三郎", b"\0\1", None, True, [1, 2], datetime.date(2026, 1, 1), MEGABYTES]
        types = ["int", "float8", "text", "bytea", "int", "bool", "int[]", "date", "bytea"]
        columns = ", ".join(f"${at}::{name}" for at, name in enumerate(types, 1))
        assert list(await connection.fetchrow(f"SELECT {columns}", *values)) == values
        rows = await connection.fetch("SELECT n, n * n AS square FROM generate_series(1, 40000) n")
        assert [tuple(row) for row in rows] == [(n, n * n) for n in range(1, 40_001)]
        statement = await connection.prepare("SELECT $1::int + 1")
        assert [await statement.fetchval(n) for n in range(100)] == list(range(1, 101))
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetchval("SELECT 1 / 0")
        with pytest.raises(asyncpg.InterfaceError, match="another operation is in progress"):
            await asyncio.gather(connection.fetch("SELECT 1"), connection.fetch("SELECT 2"))
        await connection.close()

    run(main())


def test_transactions_and_cursors(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(**options)
        await connection.execute("CREATE TEMP TABLE kept (n int)")
        async with connection.transaction():
            await connection.execute("INSERT INTO kept VALUES (1)")
            with pytest.raises(LookupError):
                async with connection.transaction():  # a savepoint
                    await connection.execute("INSERT INTO kept VALUES (2)")
                    raise LookupError
            await connection.executemany("INSERT INTO kept VALUES ($1)", [(3,), (4,)])
        with pytest.raises(asyncpg.SyntaxOrAccessError):
            async with connection.transaction():
                await connection.execute("INSERT INTO kept VALUES (5)")
                await connection.execute("this is no SQL")
        assert [row["n"] for row in await connection.fetch("SELECT n FROM kept")] == [1, 3, 4]
        async with connection.transaction():
            cursor = connection.cursor("SELECT * FROM generate_series(1, 1000)", prefetch=7)
            assert [row[0] async for row in cursor] == list(range(1, 1001))
        await connection.close()

    run(main())


def test_copying_in_and_out(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(**options)
        await connection.execute("CREATE TEMP TABLE copied (n int, data bytea)")
        records = [(n, os.urandom(1000)) for n in range(3000)]
        assert await connection.copy_records_to_table("copied", records=records) == "COPY 3000"
        rows = await connection.fetch("SELECT n, data FROM copied ORDER BY n")
        assert [tuple(row) for row in rows] == records

        out = io.BytesIO()
        await connection.copy_from_query("SELECT * FROM generate_series(1, 100000)", output=out)
        assert out.getvalue() == b"".join(b"%d\n" % n for n in range(1, 100_001))

        async def lines() -> AsyncIterator[bytes]:
            for n in range(10_000):
                yield b"%d\t\\\\x00\n" % n

        await connection.execute("TRUNCATE copied")
        assert await connection.copy_to_table("copied", source=lines()) == "COPY 10000"
        await connection.close()

    run(main())


def test_listen_and_notify(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()
        listener, speaker = await asyncpg.connect(**options), await asyncpg.connect(**options)

        def listen(connection: object, pid: int, channel: str, payload: str) -> None:
            heard.put_nowait(payload)

        await listener.add_listener("news", listen)
        for number in range(100):
            await speaker.execute("SELECT pg_notify('news', $1)", str(number))
        assert [await heard.get() for _ in range(100)] == [str(number) for number in range(100)]
        await listener.remove_listener("news", listen)
        await listener.close()
        await speaker.close()

    run(main())


def test_cancelled_queries_leave_a_connection_of_use(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(**options)
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await connection.execute("SELECT pg_sleep(1000)", timeout=0.02)
            assert await connection.fetchval("SELECT 1") == 1
            query = asyncio.create_task(connection.execute("SELECT pg_sleep(1000)"))
            await asyncio.sleep(0.02)
            query.cancel()
            with pytest.raises(asyncio.CancelledError):
                await query
            assert await connection.fetchval("SELECT 2") == 2
        await connection.close()

    run(main())


def test_a_pool_shares_few_connections_among_many_tasks(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        async with asyncpg.create_pool(**options, min_size=2, max_size=5) as pool:

            async def work(number: int) -> tuple[int, int]:
                async with pool.acquire() as connection:
                    value = await connection.fetchval("SELECT $1::int FROM pg_sleep(0.001)", number)
                    return value, connection.get_server_pid()

            done = await asyncio.gather(*(work(number) for number in range(200)))
            assert [value for value, _ in done] == list(range(200))
            assert len({pid for _, pid in done}) <= 5

            tasks = [asyncio.create_task(work(number)) for number in range(100)]
            await asyncio.sleep(0.005)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert await pool.fetchval("SELECT 3") == 3

    run(main())


def test_a_connection_that_the_server_ends(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        victim, killer = await asyncpg.connect(**options), await asyncpg.connect(**options)
        ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        victim.add_termination_listener(ended.set_result)
        query = asyncio.create_task(victim.execute("SELECT pg_sleep(1000)"))
        await asyncio.sleep(0.02)
        await killer.execute("SELECT pg_terminate_backend($1)", victim.get_server_pid())
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await query
        assert await ended is victim
        assert victim.is_closed()
        await killer.close()

        aborted = await asyncpg.connect(**options)
        aborted.terminate()
        assert aborted.is_closed()

    run(main())


def test_who_may_not_come_in(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(**{**options, "password": "wrong"})
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await asyncpg.connect(**{**options, "database": "nowhere"})
        with pytest.raises(OSError, match="refused|Connect call failed"):
            await asyncpg.connect(**{**options, "port": 1})

    run(main())


def test_tls_is_begun_on_an_open_connection(
    run: Run, options: dict[str, Any], certificates: Certificates
) -> None:
    async def main() -> None:
        secure = {**options, "ssl": certificates.client(), "host": "localhost"}
        connection = await asyncpg.connect(**secure)
        assert await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert await connection.fetchval("SELECT $1::bytea", MEGABYTES) == MEGABYTES
        with pytest.raises(TimeoutError):
            await connection.execute("SELECT pg_sleep(1000)", timeout=0.02)
        await connection.close()
        with pytest.raises(OSError, match="certificate verify failed"):
            await asyncpg.connect(**{**secure, "ssl": certificates.stranger()})

    run(main())


def test_unix_sockets(run: Run, options: dict[str, Any], postgresql: PostgreSQL) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(**{**options, "host": str(postgresql.folder)})
        assert await connection.fetchval("SELECT inet_server_addr()") is None
        await connection.close()

    run(main())
