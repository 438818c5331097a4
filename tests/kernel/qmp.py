"""QEMU's monitor (QMP), with the human one (HMP) inside, which has the injection of PCI Express errors."""

from __future__ import annotations

import json
import socket
from pathlib import Path


class MonitorError(Exception):
    """QEMU refused, in its words."""


class Monitor:
    def __init__(self, path: Path, seconds: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rw")
        json.loads(self._file.readline())
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: object) -> object:
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        while True:
            line = self._file.readline()
            if not line:
                raise MonitorError("QEMU ended")
            answer = json.loads(line)
            if "error" in answer:
                raise MonitorError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def human(self, line: str) -> str:
        return str(self.ask("human-monitor-command", **{"command-line": line}))

    def close(self) -> None:
        self._file.close()
        self._socket.close()
