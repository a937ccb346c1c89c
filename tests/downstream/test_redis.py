"""redis-py's asyncio client, which stands on asyncio's streams, with a real Redis."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError, WatchError

from .certificates import Certificates
from .conftest import Run
from .servers import HOST, Redis

MEGABYTES = os.urandom(5_000_000)


def connect(**options: Any) -> Any:
    """A client without types: those of its methods speak of the blocking client, too."""
    return redis.Redis(**options)


def connect_once(**options: Any) -> Any:
    """One that gives up at the first failure."""
    return redis.Redis(**options, retry=Retry(NoBackoff(), 0))


@pytest.fixture
def options(redis_server: Redis) -> dict[str, Any]:
    return {"host": HOST, "port": redis_server.port}


def test_values_of_every_kind_and_size(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        async with connect(**options) as client:
            await client.flushdb()
            assert await client.ping()
            await client.set("name", "三郎")
            assert await client.get("name") == "三郎".encode()
            assert await client.get("nothing") is None
            await client.set("megabytes", MEGABYTES)
            assert await client.get("megabytes") == MEGABYTES
            await client.hset("hash", mapping={"one": "1", "two": "2"})
            assert await client.hgetall("hash") == {b"one": b"1", b"two": b"2"}
            await client.rpush("list", *range(10_000))
            assert await client.lrange("list", 0, -1) == [b"%d" % n for n in range(10_000)]
            await client.mset({f"key:{n}": n for n in range(1000)})
            found = [key async for key in client.scan_iter("key:*", count=10)]
            assert sorted(found) == sorted(b"key:%d" % n for n in range(1000))
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                await client.incr("list")
            assert await client.eval("return ARGV[1]", 0, "from Lua") == b"from Lua"

    run(main())


def test_fifty_tasks_share_a_pool(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        pool = redis.BlockingConnectionPool(max_connections=10, timeout=30, **options)
        client: Any = redis.Redis.from_pool(pool)
        async with client:
            await client.delete("count")

            async def work() -> None:
                for _ in range(20):
                    await client.incr("count")

            await asyncio.gather(*(work() for _ in range(50)))
            assert await client.get("count") == b"1000"

    run(main())


def test_pipelines_and_transactions(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        async with connect(**options) as client:
            await client.delete("stock", "list")
            async with client.pipeline(transaction=False) as pipe:
                for number in range(10_000):
                    pipe.rpush("list", number)
                assert await pipe.execute() == list(range(1, 10_001))

            await client.set("stock", 20)

            async def buy() -> int:
                """Optimistic locking: whoever was overtaken tries again."""
                tries = 0
                async with client.pipeline() as pipe:
                    while True:
                        tries += 1
                        try:
                            await pipe.watch("stock")
                            left = int(await pipe.get("stock"))
                            pipe.multi()
                            pipe.set("stock", left - 1)
                            await pipe.execute()
                        except WatchError:
                            continue
                        return tries

            tries = await asyncio.gather(*(buy() for _ in range(20)))
            assert await client.get("stock") == b"0"
            assert sum(tries) >= 20

    run(main())


def test_publish_and_subscribe(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        async with connect(**options) as client:
            ready: asyncio.Queue[int] = asyncio.Queue()

            async def listen(number: int) -> list[bytes]:
                heard = []
                async with client.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe("news")
                    await channel.psubscribe("weather.*")
                    ready.put_nowait(number)
                    async for message in channel.listen():
                        heard.append(message["data"])
                        if message["data"] == b"end":
                            return heard
                raise AssertionError

            listeners = [asyncio.create_task(listen(number)) for number in range(20)]
            for _ in listeners:
                await ready.get()
            while (await client.pubsub_numsub("news"))[0][1] < 20:
                await asyncio.sleep(0.01)
            for number in range(50):
                assert await client.publish("news", number) == 20
            await client.publish("weather.here", "rain")
            await client.publish("news", "end")
            expected = [*(b"%d" % number for number in range(50)), b"rain", b"end"]
            assert await asyncio.gather(*listeners) == [expected] * 20

    run(main())


def test_blocking_pops_and_their_cancellation(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        async with connect(**options) as client:
            await client.delete("jobs", "results")
            assert await client.blpop("jobs", timeout=0.01) is None

            async def worker() -> int:
                done = 0
                while True:
                    _, job = await client.blpop("jobs")
                    if job == b"stop":
                        return done
                    await client.rpush("results", int(job) ** 2)
                    done += 1

            workers = [asyncio.create_task(worker()) for _ in range(5)]
            for job in range(200):
                await client.rpush("jobs", job)
            await client.rpush("jobs", *["stop"] * 5)
            assert sum(await asyncio.gather(*workers)) == 200
            results = await client.lrange("results", 0, -1)
            assert sorted(map(int, results)) == [job**2 for job in range(200)]

            for _ in range(10):
                pop = asyncio.create_task(client.blpop("jobs"))
                await asyncio.sleep(0.01)
                pop.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await pop
                # The reply of one that was cancelled must not become the answer to another.
                assert await client.echo("next") == b"next"
            await client.rpush("jobs", "kept")
            assert await client.lpop("jobs") == b"kept"

    run(main())


def test_connections_that_are_killed_are_made_again(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        async with connect(**options) as client, connect(**options) as killer:
            assert await client.echo("before") == b"before"
            await killer.client_kill_filter(_type="normal", skipme=True)
            assert await client.echo("after") == b"after"

            pop = asyncio.create_task(client.blpop("nothing comes"))
            while not any(each["cmd"] == "blpop" for each in await killer.client_list()):
                await asyncio.sleep(0.01)
            for each in await killer.client_list():
                if each["cmd"] == "blpop":
                    await killer.client_kill_filter(_id=each["id"])
                    break
            while not any(each["cmd"] == "blpop" for each in await killer.client_list()):
                await asyncio.sleep(0.01)  # it tries once more by itself
            await killer.rpush("nothing comes", "but this")
            assert tuple(await pop) == (b"nothing comes", b"but this")

    run(main())


def test_time_limits_and_nobody_there(run: Run, options: dict[str, Any]) -> None:
    async def main() -> None:
        async with connect_once(**options, socket_timeout=1) as client:
            with pytest.raises(redis.TimeoutError):
                await client.blpop("nothing comes")
            assert await client.echo("still there") == b"still there"
        async with connect_once(host=HOST, port=1) as client:
            with pytest.raises(RedisConnectionError):
                await client.ping()

    run(main())


def test_tls_and_unix_sockets(run: Run, redis_server: Redis, certificates: Certificates) -> None:
    async def main() -> None:
        options = {"host": "localhost", "port": redis_server.tls_port, "ssl": True}
        async with connect(**options, ssl_ca_certs=str(certificates.ca)) as client:
            await client.set("megabytes", MEGABYTES)
            assert await client.get("megabytes") == MEGABYTES
            await asyncio.gather(*(client.echo(str(number)) for number in range(50)))
        stranger = str(certificates.strangers_ca)
        async with connect_once(**options, ssl_ca_certs=stranger) as client:
            with pytest.raises(RedisConnectionError, match="certificate verify failed"):
                await client.ping()
        async with connect(unix_socket_path=str(redis_server.path)) as client:
            assert await client.echo("hello") == b"hello"

    run(main())
