"""examples/crawler.py finds what is broken, asks for nothing twice and for few things at once."""

from __future__ import annotations

import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.both_loops import Kind

from .conftest import Start
from .programs import EXAMPLES, Program, python

CRAWLER = EXAMPLES / "crawler.py"


class Site(ThreadingHTTPServer):
    """Pages as a dictionary: a path and its links. What is no page is not found."""

    daemon_threads = True

    def __init__(self, pages: dict[str, list[str]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages = pages
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0
        self.gate: threading.Event | None = None
        """Answers wait for it, if there is one."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        site = self.server
        with site.lock:
            site.asked[self.path] += 1
            site.at_once += 1
            site.most_at_once = max(site.most_at_once, site.at_once)
        if site.gate is not None:
            site.gate.wait()
        links = site.pages.get(self.path)
        body = "".join(f'<a href="{link}">' for link in links or []).encode()
        with site.lock:
            site.at_once -= 1
        self.send_response(404 if links is None else 200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # who asked has lost patience
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site({})
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    if site.gate is not None:
        site.gate.set()
    site.shutdown()
    thread.join()
    site.server_close()


def crawled(program: Program) -> list[str]:
    program.end()
    program.check()
    return program.output.splitlines()


def test_its_own_site_has_three_broken_links(kind: Kind, start: Start) -> None:
    program = start(python(kind, CRAWLER, "--no-progress"))
    lines = [re.sub(r"http://127\.0\.0\.1:\d+", "", line) for line in crawled(program)]
    assert lines == [
        "/missing: 404 Not Found (linked from /)",
        "/page/: 404 Not Found (linked from /page/77)",
        "/page/42: 500 Internal Server Error (linked from /page/21)",
        "98 pages, 1 files, 12 kB, 1 links elsewhere, 3 broken",
    ]
    assert program.process.returncode == 1


def test_the_progress_bar_counts_every_link(kind: Kind, start: Start) -> None:
    program = start(python(kind, CRAWLER, "--progress"))
    program.end()
    assert "103/103 " in program.output


def test_circles_are_asked_for_once_and_a_few_at_a_time(
    kind: Kind, start: Start, site: Site
) -> None:
    names = [f"/{number}" for number in range(50)]
    site.pages = {name: [*names, f"{name}#part", "mailto:a@b", "http://[bad"] for name in names}
    program = start(python(kind, CRAWLER, f"{site.url}/0", "-n", "3"))
    assert crawled(program)[-1].startswith("50 pages, 0 files, ")
    assert program.process.returncode == 0
    assert site.asked == dict.fromkeys(names, 1)
    assert site.most_at_once <= 3


def test_other_hosts_are_left_alone(kind: Kind, start: Start, site: Site) -> None:
    site.pages = {"/": ["http://127.0.0.1:1/", "https://127.0.0.1/", "/"]}
    program = start(python(kind, CRAWLER, site.url))
    assert crawled(program) == ["1 pages, 0 files, 0 kB, 2 links elsewhere, 0 broken"]


def test_a_slow_page_is_broken_and_the_others_are_read(
    kind: Kind, start: Start, site: Site
) -> None:
    site.gate = threading.Event()
    program = start(python(kind, CRAWLER, site.url, "--timeout", "0.2"))
    assert crawled(program)[0] == f"{site.url}: no answer in 0.2 s (linked from the command line)"
    assert program.process.returncode == 2


def test_ctrl_c_ends_it(kind: Kind, start: Start, site: Site) -> None:
    site.gate = threading.Event()
    program = start(python(kind, CRAWLER, site.url))
    while not site.asked:
        pass
    assert program.end(signal.SIGINT) == 130
    assert program.output == "crawler: interrupted\n"


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/", "http://"])
def test_what_is_no_web_address_ends_with_code_2(kind: Kind, start: Start, url: str) -> None:
    program = start(python(kind, CRAWLER, url))
    assert program.end() == 2
    assert "invalid http:// or https:// address value" in program.output
