"""What decides how many instructions the same source takes: counts of different builds are not
compared with each other.
"""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
import sys
from pathlib import Path


def observe() -> dict[str, str]:
    """The builds of this environment, by name."""
    return {
        "python": " ".join(sys.version.split()),
        "rustc": _first_line("rustc", "--version"),
        "libc": os.confstr("CS_GNU_LIBC_VERSION") or " ".join(platform.libc_ver()),
        "openssl": ssl.OPENSSL_VERSION,
        "valgrind": _first_line("valgrind", "--version"),
        "processor": _processor(),
    }


def _first_line(*command: str) -> str:
    try:
        output = subprocess.run(command, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return "missing"
    return output.partition("\n")[0].strip()


def _processor() -> str:
    """Its kind, and what of it the C library, OpenSSL and memchr choose their code by."""
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except FileNotFoundError:
        flags = []
    return " ".join(
        [platform.machine(), *sorted({"avx", "avx2", "aes", "bmi2", "fma"} & set(flags))]
    )
