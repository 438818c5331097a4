"""The payload of a connection, both ways at once: two threads a stream, buffers of a fixed size, nothing queued.

Each end sends for as long as both agreed on, then one last block; whoever gets it stops sending too and answers with
its own. What comes after that, comes never, or comes too late is said in one sentence.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec
import numpy as np

from boxcheck.stress import WrongWord
from boxcheck.stress.host_memory_patterns import U64
from boxcheck.stress.host_net_payload import BLOCK_BYTES, DATA, END, MOST_WORDS, WORDS, Header, Keys, header_of
from boxcheck.stress.host_net_wire import Joined

SILENT_SECONDS = 10.0
"""Without a byte of a stream, or without one that the other end takes. TCP sends again after 0.2 s, 0.4 s, 0.8 s ...
(RFC 6298), so a cable that was out for some seconds is still waited for."""
TURN_SECONDS = 0.5
"""How long a thread waits in the kernel before it looks whether it is to stop."""
TOTAL_RETRANSMITS = 100
"""Offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h)."""
TCP_INFO_BYTES = 104


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What a side has done and has been told, all streams together."""

    received: int = 0
    """Bytes that came and were compared."""
    wrong: int = 0
    confirmed: int = 0
    """Bytes that the other end says it got and compared."""
    denied: int = 0
    """Of these, bytes that it says were wrong."""
    sent: int = 0


class Traffic:
    """All streams of a connection."""

    def __init__(self, joined: Joined, *, damage: Callable[[int, U64], None] = lambda number, block: None) -> None:
        """`damage(number, block)` may change what came on the first stream before it is compared: a fault put in."""
        self.failed = ""
        """The first thing that went wrong with the connection, as a sentence."""
        self.closing = threading.Event()
        """Send no more data; the last block is next."""
        self.given_up = threading.Event()
        self._words: list[WrongWord] = []
        self.ended_at: float | None = None
        """When the other end said that it was done, by CLOCK_MONOTONIC."""
        self._lock = threading.Lock()
        self._streams = [
            _Stream(self, sock, number, joined, damage if number == 0 else lambda number, block: None)
            for number, sock in enumerate(joined.sockets)]

    def start(self) -> None:
        for stream in self._streams:
            for thread in stream.threads:
                thread.start()

    def counts(self) -> Counts:
        parts = self._streams
        return Counts(
            received=sum(one.received for one in parts), wrong=sum(one.wrong for one in parts),
            confirmed=sum(one.told.verified for one in parts), denied=sum(one.told.wrong for one in parts),
            sent=sum(one.sent for one in parts))

    @property
    def over(self) -> bool:
        """Whether every stream has come to its end, one way or the other."""
        return not any(thread.is_alive() for stream in self._streams for thread in stream.threads)

    @property
    def came_through(self) -> int:
        return sum(one.ended for one in self._streams)

    def retransmits(self) -> int:
        """Segments that TCP sent once more, on all streams."""
        return sum(one.retransmits() for one in self._streams)

    def fail(self, says: str) -> None:
        with self._lock:
            self.failed = self.failed or says
        self.give_up()

    def peer_ended(self) -> None:
        with self._lock:
            if self.ended_at is None:
                self.ended_at = time.monotonic()
        self.closing.set()

    def taken_words(self) -> tuple[WrongWord, ...]:
        """The first wrong words since the last time."""
        with self._lock:
            words, self._words = tuple(self._words), []
        return words

    def remember(self, words: tuple[WrongWord, ...]) -> None:
        with self._lock:
            self._words += words[:MOST_WORDS - len(self._words)]

    def give_up(self) -> None:
        """Ends all threads within TURN_SECONDS."""
        self.closing.set()
        self.given_up.set()

    def close(self) -> None:
        self.give_up()
        for stream in self._streams:
            stream.close()


class _Stream:
    def __init__(
        self, traffic: Traffic, sock: socket.socket, number: int, joined: Joined, damage: Callable[[int, U64], None]
    ) -> None:
        self._traffic, self._sock, self._damage = traffic, sock, damage
        out = 1 if joined.listening else 0
        self._out = Keys(joined.hello.seed, number, out)
        self._in = Keys(joined.hello.seed, number, 1 - out)
        self._who = f"the other end ({sock.getpeername()[0]})"
        self.received = self.wrong = self.sent = 0
        self.told = Header(DATA, 0, 0, 0)
        self.ended = False
        turn = struct.pack("ll", int(TURN_SECONDS), int(TURN_SECONDS % 1 * 1e6))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, turn)
        self.threads = (
            threading.Thread(target=self._guarded, args=(self._send,), daemon=True),
            threading.Thread(target=self._guarded, args=(self._receive,), daemon=True))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            if error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED):
                self._traffic.fail(f"{self._who} closed the connection before its end ({error.strerror})")
            else:
                self._traffic.fail(f"the connection to {self._who} broke: {error.strerror}")

    def _send(self) -> None:
        block = np.empty(WORDS, np.uint64)
        view = block.data.cast("B")
        number, last = 0, False
        while not last and not self._traffic.given_up.is_set():
            last = self._traffic.closing.is_set()
            self._out.fill(block, number, END if last else DATA, self.received, self.wrong)
            if not self._push(view):
                return
            self.sent += BLOCK_BYTES
            number += 1

    def _push(self, view: memoryview) -> bool:
        """Sends all of it. False where that was given up."""
        at, moved = 0, time.monotonic()
        while at < len(view):
            try:
                at += self._sock.send(view[at:])
                moved = time.monotonic()
            except BlockingIOError:
                if self._traffic.given_up.is_set():
                    return False
                if time.monotonic() - moved > SILENT_SECONDS:
                    self._traffic.fail(f"{self._who} took nothing for {SILENT_SECONDS:.0f} s")
                    return False
        return True

    def _receive(self) -> None:
        block = np.empty(WORDS, np.uint64)
        view = block.data.cast("B")
        number = 0
        while self._pull(view):
            self._damage(number, block)
            wrong, words = self._in.compare(block, number)
            if wrong:
                self._traffic.remember(words)
            self.wrong += wrong
            self.received += BLOCK_BYTES
            number += 1
            header = header_of(block)
            if header.kind in (DATA, END) and header.number == number - 1 and not self._believe(header):
                return
            # A wrong header ends nothing: the next block begins where this one ends.
            if header.kind == END and header.number == number - 1:
                self.ended = True
                self._traffic.peer_ended()
                return

    def _believe(self, header: Header) -> bool:
        """Takes in what the other end says it has compared; False where it cannot have."""
        if header.verified > self.sent + BLOCK_BYTES or header.wrong > header.verified or (
                header.verified < self.told.verified):
            self._traffic.fail(f"{self._who} says that it got what was never sent to it")
            return False
        self.told = header
        return True

    def _pull(self, view: memoryview) -> bool:
        """One whole block. False where there is none any more."""
        at, moved = 0, time.monotonic()
        while at < len(view):
            if self._traffic.given_up.is_set():
                return False
            try:
                got = self._sock.recv_into(view[at:], 0, socket.MSG_WAITALL)
            except BlockingIOError:
                if time.monotonic() - moved > SILENT_SECONDS:
                    self._traffic.fail(f"{self._who} sent nothing for {SILENT_SECONDS:.0f} s")
                    return False
                continue
            if not got:
                if not self._traffic.given_up.is_set():
                    self._traffic.fail(f"{self._who} closed the connection before its end")
                return False
            at += got
            moved = time.monotonic()
        return True

    def retransmits(self) -> int:
        try:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        except OSError:
            return 0
        return int(struct.unpack_from("I", info, TOTAL_RETRANSMITS)[0]) if len(info) >= TCP_INFO_BYTES else 0

    def close(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
