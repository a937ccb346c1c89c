#!/usr/bin/env python3
"""Finds the broken links of a web site: every page, images and styles included, many at a time.

    pip install aiohttp tqdm
    python examples/crawler.py                             # a small site of its own, on loopback
    python examples/crawler.py http://127.0.0.1:8000/ -n 8 # yours, eight requests at a time
    saburo run examples/crawler.py                         # the same program on saburo

The rule that makes it right: a link is a task from the moment it is found, and the group of tasks
is done when no link is left. It needs no queue and no workers; a semaphore limits the number of
requests at a time.

It stays on the host it was given. Links elsewhere are counted and not followed.

Exit codes: 0 no link is broken; 1 some are (each is a line on stdout); 2 a wrong command line, or
the first page cannot be fetched; 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import codecs
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL


def main(arguments: list[str] | None = None) -> int:
    options = command_line(arguments)
    try:
        return asyncio.run(crawl(options))
    except KeyboardInterrupt:
        print("crawler: interrupted", file=sys.stderr)
        return 130


async def crawl(options: argparse.Namespace) -> int:
    async with contextlib.AsyncExitStack() as stack:
        start: URL = options.url or await stack.enter_async_context(small_site())
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=options.limit),
                timeout=aiohttp.ClientTimeout(total=options.timeout),
            )
        )
        bar = stack.enter_context(progress(options.progress))
        crawler = Crawler(session, start, options, bar)
        await crawler.run()

    for link in sorted(crawler.broken, key=lambda link: str(link.url)):
        print(f"{link.url}: {link.why} (linked from {link.page or 'the command line'})")
    print(
        f"{crawler.pages} pages, {crawler.files} files, {crawler.bytes / 1e3:.0f} kB, "
        f"{len(crawler.elsewhere)} links elsewhere, {len(crawler.broken)} broken"
    )
    if any(link.page is None for link in crawler.broken):
        return 2
    return 1 if crawler.broken else 0


@dataclass
class Broken:
    url: URL
    why: str
    page: URL | None
    """Where the link was found first; None for the address on the command line."""


class Crawler:
    def __init__(
        self, session: aiohttp.ClientSession, start: URL, options: argparse.Namespace, bar: Any
    ) -> None:
        self.session = session
        self.start = start
        self.options = options
        self.bar = bar
        self.group = asyncio.TaskGroup()
        self.limit = asyncio.Semaphore(options.limit)
        self.seen: set[URL] = set()
        """The links that have or had a task: none is fetched twice."""
        self.elsewhere: set[URL] = set()
        self.broken: list[Broken] = []
        self.pages = self.files = self.bytes = 0

    async def run(self) -> None:
        async with self.group:
            self.found(self.start, None)

    def found(self, url: URL, page: URL | None) -> None:
        url = url.with_fragment(None)
        if url.scheme not in ("http", "https") or url in self.seen:
            return
        if url.origin() != self.start.origin():
            self.elsewhere.add(url)
        elif len(self.seen) < self.options.pages:
            self.seen.add(url)
            self.bar.total = len(self.seen)
            self.group.create_task(self.visit(url, page))

    async def visit(self, url: URL, page: URL | None) -> None:
        try:
            async with self.limit:
                await self.fetch(url)
        except aiohttp.ClientResponseError as error:
            self.broken.append(Broken(url, f"{error.status} {error.message}", page))
        except TimeoutError:
            self.broken.append(Broken(url, f"no answer in {self.options.timeout:g} s", page))
        except aiohttp.ClientError as error:
            self.broken.append(Broken(url, str(error) or type(error).__name__, page))
        self.bar.update()

    async def fetch(self, url: URL) -> None:
        async with self.session.get(url) as response:
            response.raise_for_status()
            # After a redirect this is another page, perhaps of another site, perhaps a known one.
            here = response.url.with_fragment(None)
            if here != url and here in self.seen:
                return
            self.seen.add(here)
            parser = None
            decoder = text_decoder(response.charset)
            if response.content_type == "text/html" and here.origin() == self.start.origin():
                self.pages += 1
                parser = Links()
            else:
                self.files += 1
            # In pieces: a file may be larger than the memory, and its first links are found early.
            async for chunk in response.content.iter_chunked(1 << 16):
                self.bytes += len(chunk)
                if parser is not None:
                    parser.feed(decoder.decode(chunk))
                    for link in parser.take():
                        with contextlib.suppress(ValueError):  # not a URL
                            self.found(here.join(URL(link)), here)


def text_decoder(charset: str | None) -> codecs.IncrementalDecoder:
    """For text that arrives in pieces, which may end within a character."""
    try:
        return codecs.getincrementaldecoder(charset or "utf-8")("replace")
    except LookupError:  # there is no such encoding
        return codecs.getincrementaldecoder("utf-8")("replace")


class Links(HTMLParser):
    """Finds the links in the parts of a page that it is fed."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.links.append(value.strip())

    def take(self) -> list[str]:
        links, self.links = self.links, []
        return links


# --- A site for a first try. ---


@contextlib.asynccontextmanager
async def small_site() -> AsyncIterator[URL]:
    """Serves a hundred pages and some broken links on loopback; yields the address of the first."""
    site = web.Application()
    site.router.add_get("/", home)
    site.router.add_get("/style.css", style)
    site.router.add_get("/page/{number}", numbered_page)
    site.router.add_get("/old", moved)
    runner = web.AppRunner(site)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield URL.build(scheme="http", host=host, port=port, path="/")
    finally:
        await runner.cleanup()


async def home(request: web.Request) -> web.Response:
    return html("Home", "page/1", "missing", "style.css")


async def style(request: web.Request) -> web.Response:
    return web.Response(text="body { color: #222 }", content_type="text/css")


async def numbered_page(request: web.Request) -> web.Response:
    number = int(request.match_info["number"])
    children = [f"/page/{child}" for child in (2 * number, 2 * number + 1) if child <= 100]
    match number:
        case 42:
            raise web.HTTPInternalServerError
        case 50:
            children += ["/old", "https://www.example.org/", "mailto:saburo@example.org"]
        case 77:
            children += ["/page/", "#top"]
    return html(f"Page {number}", "/", *children)


async def moved(request: web.Request) -> web.Response:
    raise web.HTTPMovedPermanently("/page/1")


def html(title: str, *links: str) -> web.Response:
    items = "\n".join(f'<li><a href="{link}">{link}</a>' for link in links)
    text = f"<!doctype html><title>{title}</title><h1>{title}</h1><ul>{items}</ul>"
    return web.Response(text=text, content_type="text/html")


# --- Input and output. ---


class NoBar:
    """In place of a progress bar where none is shown."""

    total = 0

    def update(self) -> None: ...


def progress(wanted: bool | None) -> contextlib.AbstractContextManager[Any]:
    """A progress bar whose total grows; by default only if stderr is a terminal."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        return contextlib.nullcontext(NoBar())
    try:
        from tqdm import tqdm
    except ImportError:
        print("crawler: no progress bar: tqdm is not installed (pip install tqdm)", file=sys.stderr)
        return contextlib.nullcontext(NoBar())
    bar: contextlib.AbstractContextManager[Any] = tqdm(unit="link", file=sys.stderr)
    return bar


def command_line(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="crawler", description="Finds the broken links of the site that URL is a page of."
    )
    parser.add_argument("url", type=web_address, nargs="?", metavar="URL", help="where to begin")
    parser.add_argument(
        "-n",
        "--limit",
        type=positive(int),
        default=16,
        metavar="N",
        help="requests at a time (16)",
    )
    parser.add_argument(
        "--pages",
        type=positive(int),
        default=10_000,
        metavar="N",
        help="give up finding more after so many links (10000)",
    )
    parser.add_argument(
        "--timeout",
        type=positive(float),
        default=30.0,
        metavar="SECONDS",
        help="time limit for one page (30)",
    )
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="a progress bar (default: if stderr is a terminal)",
    )
    return parser.parse_args(arguments)


def web_address(text: str) -> URL:
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError
    return url


web_address.__name__ = "http:// or https:// address"  # argparse names it in its message


def positive(number: type[int] | type[float]) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = number(text)
        if not value > 0:
            raise ValueError
        return value

    convert.__name__ = f"positive {number.__name__}"
    return convert


if __name__ == "__main__":
    sys.exit(main())
