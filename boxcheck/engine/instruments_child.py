"""Reads the instruments once a second, in a process of its own: `python -m boxcheck.engine.instruments_child`.

A driver that hangs, hangs the call. Here that costs the readings; whoever follows still sees the log, the devices and
the end of the command that is watched. It puts no load on anything, and ends when its standard input does.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import suppress

import msgspec

from boxcheck.host.programs import STARTED, start_session
from boxcheck.model import Bdf
from boxcheck.telemetry.readings import Reading

EVERY_SECONDS = 1.0
LINE_LIMIT_BYTES = 8 << 20


class Asked(msgspec.Struct, frozen=True):
    """What is to be read."""

    gpus: tuple[tuple[Bdf, str], ...]
    """Addresses with the vendor's PCI id."""
    root: str = "/"
    every_seconds: float = EVERY_SECONDS


class InstrumentsChild:
    """That process, seen from outside."""

    def __init__(self, asked: Asked) -> None:
        import subprocess

        # -P: it must not import from the directory that boxcheck was started in.
        self._process = start_session(
            [sys.executable, "-P", "-m", "boxcheck.engine.instruments_child"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(msgspec.json.encode(asked) + b"\n")
            self._process.stdin.flush()
        self.out = self._process.stdout.fileno()
        os.set_blocking(self.out, False)
        self._half = bytearray()
        self.alive = True

    def read(self) -> list[tuple[Reading, ...]]:
        """Readings that have come; never waits. `alive` turns False when there will be no more."""
        while self.alive:
            try:
                chunk = os.read(self.out, 1 << 18)
            except BlockingIOError:
                break
            if not chunk or len(self._half) > LINE_LIMIT_BYTES:
                self.alive = False
                break
            self._half += chunk
        *lines, rest = bytes(self._half).split(b"\n")
        self._half = bytearray(rest)
        found: list[tuple[Reading, ...]] = []
        for line in lines:
            with suppress(msgspec.DecodeError):  # a library may print; a reading that is lost is missed as silence
                found.append(_decoder.decode(line))
        return found

    def close(self) -> None:
        """Ends it. One that hangs in a driver cannot be ended, and is left to the kernel."""
        import signal

        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self.alive = False
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(Exception):
            self._process.wait(timeout=1)
        STARTED.discard(self._process.pid)


_decoder = msgspec.json.Decoder(tuple[Reading, ...])


def main() -> None:
    from boxcheck.telemetry.box import BOX_SECONDS, BoxReader
    from boxcheck.telemetry.instruments import Instruments

    out = os.dup(1)
    os.dup2(2, 1)  # a library that prints does not print into the readings
    source = sys.stdin.buffer
    asked = msgspec.json.decode(source.readline(), type=Asked)
    encode = msgspec.json.Encoder().encode
    with Instruments(asked.gpus, asked.root) as instruments:
        at = around_due = time.monotonic()
        around = BoxReader(asked.root.rstrip("/"))
        while True:
            readings = instruments.read()
            if at >= around_due:
                around_due = at + BOX_SECONDS
                readings = (*readings, around.read(time.monotonic()))
            if not _written(out, encode(readings) + b"\n"):
                return
            # A reading that took long leaves out those that it overtook.
            now = time.monotonic()
            at = max(at + asked.every_seconds, now)
            if select.select([source], [], [], at - now)[0]:
                return


def _written(out: int, data: bytes) -> bool:
    try:
        while data:
            data = data[os.write(out, data):]
    except OSError:  # whoever follows is gone
        return False
    return True


if __name__ == "__main__":
    main()
