"""The vote of examples/fastapi_app.py: counted, watched and kept, however it is started."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import httpx
import pytest
from support.both_loops import Kind
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from .conftest import Start
from .programs import EXAMPLES, Program, loop_factory, module, python

APP = EXAMPLES / "fastapi_app.py"


@pytest.fixture(params=["alone", "under uvicorn"])
def command(request: pytest.FixtureRequest, kind: Kind) -> list[str]:
    if request.param == "alone":
        return python(kind, APP, "--port", "0")
    app = ("fastapi_app:app", "--app-dir", EXAMPLES)
    return module(kind, "uvicorn", *app, "--loop", loop_factory(kind), "--port", "0")


def address(program: Program) -> str:
    return program.expect(r"running on (http://[\d.:]+)")[1]


def stop(program: Program) -> None:
    program.end(signal.SIGINT)
    assert "Application shutdown complete" in program.output
    program.check()


def test_votes_are_counted_and_watched(start: Start, command: list[str]) -> None:
    program = start(command)
    url = address(program)
    nothing = {"tea": 0, "coffee": 0, "cocoa": 0}
    with httpx.Client(base_url=url) as client, connect(f"{url}/watch".replace("http", "ws")) as ws:
        assert json.loads(ws.recv()) == nothing
        assert client.post("/votes/tea").json() == {**nothing, "tea": 1}
        assert json.loads(ws.recv()) == {**nothing, "tea": 1}
        refused = client.post("/votes/water")
        assert refused.status_code == 404
        assert refused.json() == {"detail": "no such choice: there are tea, coffee, cocoa"}
        for _ in range(100):
            client.post("/votes/cocoa")
        assert client.get("/votes").json() == {**nothing, "tea": 1, "cocoa": 100}
        while json.loads(ws.recv())["cocoa"] != 100:
            pass  # whoever watches may miss some counts, but not the last one
        assert "What shall we drink?" in client.get("/").text
    stop(program)


def test_a_watcher_does_not_keep_the_server_from_stopping(start: Start, command: list[str]) -> None:
    program = start(command)
    with connect(f"{address(program)}/watch".replace("http", "ws")) as ws:
        ws.recv()
        program.process.send_signal(signal.SIGINT)
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1012  # "service restart"
    program.end()
    program.check()


def test_the_votes_outlive_the_server(start: Start, command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "votes"
    for before in range(2):
        program = start(command, VOTES_FILE=str(file))
        with httpx.Client(base_url=address(program)) as client:
            assert client.get("/votes").json()["coffee"] == before
            client.post("/votes/coffee")
        stop(program)
        assert json.loads(file.read_text())["coffee"] == before + 1
    assert list(tmp_path.iterdir()) == [file]
