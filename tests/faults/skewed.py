"""Runs `fanpulse worker` under a wall clock that the harness can step: `python -m tests.faults.skewed FILE`.

FILE holds one little-endian double, the seconds by which time.time() is ahead. The process cannot tell this
from a machine whose clock was set; monotonic time and the services' clocks go on undisturbed.
"""

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path


def skew(file: Path) -> None:
    true_time = time.time
    with file.open("r+b") as opened:
        ahead = mmap.mmap(opened.fileno(), 8)
    time.time = lambda: true_time() + struct.unpack("<d", ahead[:8])[0]


if __name__ == "__main__":
    skew(Path(sys.argv[1]))
    sys.argv = ["fanpulse", "worker"]
    runpy.run_module("stream", run_name="__main__")
