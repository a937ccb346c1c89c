"""aiofiles does everything in `run_in_executor(None, ...)`: many files, and what stands in them."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import aiofiles
import aiofiles.os
import aiofiles.tempfile
import pytest
from support.both_loops import Kind

from .conftest import Run
from .programs import python

MEGABYTES = os.urandom(5_000_000)


def test_files_are_written_and_read(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with aiofiles.open(tmp_path / "bytes", "wb") as file:
            assert await file.write(MEGABYTES) == len(MEGABYTES)
        async with aiofiles.open(tmp_path / "bytes", "rb") as file:
            await file.seek(1000)
            assert await file.read(1000) == MEGABYTES[1000:2000]
            assert await file.tell() == 2000
            assert await file.read() == MEGABYTES[2000:]
        lines = [f"line {number} of 三郎\n" for number in range(1000)]
        async with aiofiles.open(tmp_path / "text", "w", encoding="utf-8") as text:
            await text.writelines(lines)
        async with aiofiles.open(tmp_path / "text", encoding="utf-8") as text:
            assert [line async for line in text] == lines
        with pytest.raises(FileNotFoundError):
            await aiofiles.open(tmp_path / "nothing")

    run(main())


def test_many_files_at_once(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async def write_and_read(number: int) -> str:
            async with aiofiles.open(tmp_path / str(number), "w+") as file:
                await file.write(f"{number}\n" * 1000)
                await file.seek(0)
                text: str = await file.read()
                return text

        texts = await asyncio.gather(*(write_and_read(number) for number in range(200)))
        assert texts == [f"{number}\n" * 1000 for number in range(200)]
        assert sorted(map(int, await aiofiles.os.listdir(tmp_path))) == list(range(200))

    run(main())


def test_the_rest_of_os_and_temporary_files(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        await aiofiles.os.makedirs(tmp_path / "one" / "two")
        async with aiofiles.tempfile.NamedTemporaryFile("wb", dir=tmp_path, delete=False) as file:
            await file.write(b"hello")
        path = str(file.name)
        await aiofiles.os.rename(path, tmp_path / "kept")
        assert (await aiofiles.os.stat(tmp_path / "kept")).st_size == 5
        await aiofiles.os.remove(tmp_path / "kept")
        assert not await aiofiles.os.path.exists(tmp_path / "kept")
        async with aiofiles.tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            assert await aiofiles.os.path.isdir(folder)
        assert not await aiofiles.os.path.exists(folder)

    run(main())


def test_the_standard_streams(kind: Kind, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio, aiofiles\n"
        "async def main():\n"
        "    async for line in aiofiles.stdin:\n"
        "        await aiofiles.stdout.write(line.upper())\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        python(kind, program), input="one\ntwo\n", capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("ONE\nTWO\n", "")
