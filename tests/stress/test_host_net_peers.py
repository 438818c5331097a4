"""The network: every bad peer at either end, in one sentence."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from boxcheck.gpu import GpuError
from boxcheck.stress import host_net_traffic, host_net_wire, host_net_work
from boxcheck.stress.host_child import Pulse
from boxcheck.stress.host_net_payload import BLOCK_BYTES, DATA, END, Keys
from boxcheck.stress.host_net_traffic import Traffic
from boxcheck.stress.host_net_wire import MAGIC, Joined, Place, connect
from boxcheck.stress.host_orders import Job, Order
from tests.stress.host_net_ends import HELLO, HERE, answering, block_of, free_port, idle, listening, no


def knock(port: int) -> socket.socket:
    until = time.monotonic() + 5
    while True:
        try:
            return socket.create_connection((HERE, port), timeout=5)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


@pytest.mark.parametrize(("data", "says"), [
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "sent something that is no hello of boxcheck"),
    (bytes(range(256)) * 4096, "sent something that is no hello of boxcheck"),
    (b"", "closed it before its hello"),
    (MAGIC[:4], "closed it before its hello"),
    (msgspec.structs.replace(HELLO, version=2).packed(), "speaks version 2, and this boxcheck version 1"),
    (msgspec.structs.replace(HELLO, streams=65).packed(), "wants stream 0 of 65, which cannot be"),
    (msgspec.structs.replace(HELLO, stream=1).packed(), "wants stream 1 of 1, which cannot be"),
    (msgspec.structs.replace(HELLO, seconds=float("nan")).packed(), "which cannot be"),
    (msgspec.structs.replace(HELLO, seconds=float("-inf")).packed(), "which cannot be"),
])
def test_whoever_says_nothing_sensible_is_let_go_and_named(data: bytes, says: str) -> None:
    with listening() as (port, result):
        sock = knock(port)
        with suppress(OSError):  # it is let go in the middle
            sock.sendall(data)
        sock.close()
        error = result()
    assert isinstance(error, GpuError)
    assert "no boxcheck connected to 127.0.0.1" in error.says
    assert "the last that tried: 127.0.0.1 " in error.says
    assert says in error.says


@pytest.mark.parametrize(("sent", "says"), [
    (b"", "said nothing for"), (MAGIC, "broke off in its hello"),
    (msgspec.structs.replace(HELLO, streams=3).packed(), "opened 1 of 3 streams")])
def test_silence_is_waited_for_no_longer_than_it_may_last(
    sent: bytes, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_net_wire, "HELLO_SECONDS", 0.3)
    with listening(wait=0.8) as (port, result), knock(port) as sock:
        sock.sendall(sent)
        error = result()
    assert says in error.says


def test_garbage_and_silence_do_not_keep_the_right_one_out() -> None:
    with listening(wait=5) as (port, result):
        silent = [knock(port) for _ in range(20)]
        with knock(port) as bad:
            bad.sendall(b"\x16\x03\x01\x02\x00")
        with knock(port) as right:
            right.sendall(HELLO.packed())
            answer = right.recv(host_net_wire.HELLO.size)
            joined = result()
        for sock in silent:
            sock.close()
    assert isinstance(joined, Joined)
    found = host_net_wire.unpack(answer)
    assert found is not None
    assert (found.answer, found.seconds) == (host_net_wire.OK, 1.0)
    for one in joined.sockets:
        one.close()


def test_a_second_machine_is_told_that_the_first_is_there() -> None:
    with listening(wait=5) as (port, result):
        first = knock(port)
        first.sendall(msgspec.structs.replace(HELLO, streams=2).packed())
        time.sleep(0.3)
        with pytest.raises(GpuError, match="it is working with another machine"):
            connect(Place(HERE, port), msgspec.structs.replace(HELLO, session=5), 2, alive=idle, stopping=no)
        with knock(port) as second:
            second.sendall(msgspec.structs.replace(HELLO, streams=2, stream=1).packed())
            joined = result()
        first.close()
    assert len(joined.sockets) == 2
    for one in joined.sockets:
        one.close()


@pytest.mark.parametrize(("data", "says"), [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answered something that is no hello of boxcheck"),
    (b"\0" * 100_000, "answered something that is no hello of boxcheck"),
    (None, "closed the connection before it began"),
    (MAGIC, "closed the connection before it began"),
    (msgspec.structs.replace(HELLO, version=2).packed(), "it speaks version 2 and this boxcheck version 1"),
    (msgspec.structs.replace(HELLO, answer=2).packed(), "it is working with another machine"),
    (msgspec.structs.replace(HELLO, answer=99).packed(), "refused: it says no more"),
    (msgspec.structs.replace(HELLO, session=1).packed(), "answered for another stream"),
    (msgspec.structs.replace(HELLO, seconds=float("nan")).packed(), "answered for another stream"),
])
def test_a_listener_that_answers_nothing_sensible_is_one_sentence(data: bytes | None, says: str) -> None:
    with pytest.raises(GpuError, match=says):
        connect(Place(HERE, answering(data)), HELLO, 1, alive=idle, stopping=no)


def test_a_listener_that_does_not_answer_and_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_net_wire, "HELLO_SECONDS", 0.3)
    with pytest.raises(GpuError, match="took the connection and did not answer"):
        connect(Place(HERE, answering(b"", hold=3)), HELLO, 1, alive=idle, stopping=no)
    with pytest.raises(GpuError, match="cannot be reached: Connection refused"):
        connect(Place(HERE, free_port()), HELLO, 0.3, alive=idle, stopping=no)


# Bad peers in the payload.


def take(sock: socket.socket) -> None:
    """Takes what comes, as long as it comes."""
    with suppress(OSError):
        while sock.recv(1 << 20):
            pass


class Peer:
    """A connecting end by the test: one stream, whose bytes the test chooses."""

    def __init__(self) -> None:
        ours, self.sock = socket.socketpair()
        self.sock.close()
        ours.close()
        server = socket.create_server((HERE, 0))
        self.sock = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
        server.close()
        self.keys = Keys(7, 0, 0)
        self.traffic = Traffic(Joined(sockets=(ours,), hello=HELLO, seconds=1.0, listening=True))
        self.traffic.start()

    def send(self, number: int, kind: int = DATA, *, flip: bool = False, verified: int = 0, wrong: int = 0) -> None:
        block = block_of(self.keys, number, kind)
        block[2], block[3] = verified, wrong
        if flip:
            block[100] ^= np.uint64(1)
        self.sock.sendall(block.tobytes())

    def drain(self) -> None:
        """Takes what comes, as long as it comes."""

        threading.Thread(target=take, args=(self.sock,), daemon=True).start()

    def wait(self, seconds: float = 5.0) -> None:
        until = time.monotonic() + seconds
        while not self.traffic.over and time.monotonic() < until:
            time.sleep(0.02)
        assert self.traffic.over

    def close(self) -> None:
        self.traffic.close()
        self.sock.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    one = Peer()
    yield one
    one.close()


def test_wrong_bytes_of_a_peer_are_counted_and_the_rest_is_still_verified(peer: Peer) -> None:
    peer.drain()
    for number, flip in enumerate((False, True, False)):
        peer.send(number, flip=flip)
    peer.send(3, END)
    peer.wait()
    counts = peer.traffic.counts()
    assert (counts.received, counts.wrong) == (4 * BLOCK_BYTES, 1)
    assert (peer.traffic.failed, peer.traffic.came_through) == ("", 1)
    (word,) = peer.traffic.taken_words()
    assert word.where == f"byte {BLOCK_BYTES + 800} of the stream"


def test_an_endless_stream_of_garbage_is_all_wrong_and_takes_no_memory(peer: Peer) -> None:
    peer.drain()
    before = _resident()
    try:
        for _ in range(60):
            peer.sock.sendall(b"\xa5" * (1 << 20))
    except OSError:
        pass
    until = time.monotonic() + 5
    while peer.traffic.counts().received < 200 * BLOCK_BYTES and time.monotonic() < until:
        time.sleep(0.02)
    counts = peer.traffic.counts()
    assert counts.received >= 200 * BLOCK_BYTES
    assert counts.wrong > 0.9 * counts.received
    assert len(peer.traffic.taken_words()) <= 16
    assert _resident() - before < 30 << 20
    peer.traffic.give_up()
    peer.wait()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("blocks", [0.0, 1.0, 1.5])
def test_a_peer_that_closes_early_is_named(peer: Peer, blocks: float) -> None:
    peer.drain()
    peer.sock.sendall(b"".join(block_of(peer.keys, number).tobytes() for number in range(2))[:int(blocks * BLOCK_BYTES)])
    time.sleep(0.1)
    peer.sock.shutdown(socket.SHUT_RDWR)
    peer.wait()
    assert "the other end (127.0.0.1) closed the connection before its end" in peer.traffic.failed
    assert peer.traffic.came_through == 0


def test_a_peer_that_resets_the_connection_is_named(peer: Peer) -> None:
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.sock.close()
    peer.wait()
    assert "closed the connection before its end" in peer.traffic.failed


def test_a_peer_that_falls_silent_is_named(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_net_traffic, "SILENT_SECONDS", 0.6)
    peer.drain()
    peer.send(0)
    peer.wait(6)
    assert peer.traffic.failed == "the other end (127.0.0.1) sent nothing for 1 s"


def test_a_peer_that_takes_nothing_is_named(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_net_traffic, "SILENT_SECONDS", 0.6)
    for number in range(40):
        if peer.traffic.over:
            break
        peer.send(number)
        time.sleep(0.1)
    peer.wait(6)
    assert peer.traffic.failed == "the other end (127.0.0.1) took nothing for 1 s"


@pytest.mark.parametrize("stopping", [False, True])
def test_a_peer_that_never_ends_is_left(stopping: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right data, on and on, whatever this end says."""
    monkeypatch.setattr(host_net_work, "END_SECONDS", 2.5)
    port, found = free_port(), list[Any]()
    job = Job(work="network", name="net", number=0, settings={
        "way": "listen", "host": HERE, "port": port, "seconds": 5.0, "streams": 1, "wait": 5, "root": "/"})
    pulse = Pulse(lambda report: None)
    thread = threading.Thread(target=lambda: found.append(host_net_work.begin(job, pulse)), daemon=True)
    thread.start()

    def endless() -> None:
        keys, number = Keys(HELLO.seed, 0, 0), 0
        with knock(port) as sock:
            sock.sendall(HELLO.packed())
            threading.Thread(target=take, args=(sock,), daemon=True).start()
            try:
                while True:
                    sock.sendall(block_of(keys, number).tobytes())
                    number += 1
            except OSError:
                pass

    threading.Thread(target=endless, daemon=True).start()
    thread.join(10)
    (work,) = found
    done = work.do(Order(do="flow", seconds=0.2))
    assert done.checked > 0
    assert done.wrong == 0
    if stopping:
        pulse.stop()
    began = time.monotonic()
    last = work.do(Order(do="end"))
    assert time.monotonic() - began < (2.0 if stopping else 7.5)
    assert last.notes["failed"] == "the other end (127.0.0.1) did not end its streams"
    assert last.notes["came_through"] == 0


@pytest.mark.parametrize(("verified", "wrong"), [(1 << 62, 0), (0, 5), (1 << 63, 1 << 62)])
def test_a_peer_that_claims_more_than_was_sent_is_named(peer: Peer, verified: int, wrong: int) -> None:
    peer.drain()
    peer.send(0, verified=verified, wrong=wrong)
    peer.wait()
    assert "says that it got what was never sent to it" in peer.traffic.failed
    assert peer.traffic.counts().confirmed == 0
