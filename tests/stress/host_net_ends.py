"""What tests of the network share: a port, a place, somebody who does nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from boxcheck.gpu import GpuError
from boxcheck.stress.host_net_payload import DATA, WORDS, Keys
from boxcheck.stress.host_net_wire import Hello, Place, listen

HERE = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HERE, 0))
        return int(sock.getsockname()[1])


def no() -> bool:
    return False


def idle() -> None:
    pass


# Payload.


def block_of(keys: Keys, number: int, kind: int = DATA) -> Any:
    block = np.empty(WORDS, np.uint64)
    keys.fill(block, number, kind, 0, 0)
    return block


# Bad peers of the end that listens.


@contextmanager
def listening(wait: float = 1.0, seconds: float = 1.0) -> Iterator[tuple[int, Callable[[], Any]]]:
    """A listening end in a thread: its port, and what it came to (Joined or GpuError)."""
    port, found = free_port(), list[Any]()

    def serve() -> None:
        try:
            found.append(listen(Place(HERE, port), seconds, wait, alive=idle, stopping=no))
        except GpuError as error:
            found.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def result() -> Any:
        thread.join(15)
        assert found, "it came to no end"
        return found[0]

    yield port, result


HELLO = Hello(streams=1, stream=0, seed=7, session=9, seconds=1.0)


# Bad peers of the end that connects.


def answering(data: bytes | None, hold: float = 0.0) -> int:
    """The port of a server that answers so, once; None: it closes at once."""
    server = socket.create_server((HERE, 0))

    def serve() -> None:
        with server:
            sock, _ = server.accept()
            with sock:
                if data is not None:
                    sock.recv(4096)
                    sock.sendall(data)
                    time.sleep(hold)

    threading.Thread(target=serve, daemon=True).start()
    return int(server.getsockname()[1])
