"""How two ends come together: addresses as options, the hello of each stream, who is let in. All sizes are bounded.

A stream begins with one hello of 40 bytes from the end that connects, and one back when all streams of that end have
come. The listening end binds the address that it was given and no other, takes one set of streams, lets go of whoever
says nothing sensible within HELLO_SECONDS, and goes on to wait for the right one.
"""

from __future__ import annotations

import errno
import selectors
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from boxcheck.gpu import GpuError

VERSION = 1
PORT = 18550
LOOPBACK = "127.0.0.1"
MAGIC = b"boxchk\r\n"
HELLO = struct.Struct("<8sHHHHQQd")
"""Magic, version, streams, number of this stream, answer, seed, session, seconds."""
HELLO_SECONDS = 10.0
RETRY_SECONDS = 0.3
MOST_STREAMS = 64
MOST_WAITING = 128
"""Connections that may be there without having said who they are."""
OK, OTHER_VERSION, OCCUPIED, MISFIT = range(4)
REFUSALS = {
    OTHER_VERSION: "it speaks version {theirs} and this boxcheck version {ours}; run the same release at both ends",
    OCCUPIED: "it is working with another machine",
    MISFIT: "it does not take these streams",
}


class Place(msgspec.Struct, frozen=True):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    version: int = VERSION
    streams: int
    stream: int
    answer: int = OK
    seed: int
    session: int
    seconds: float

    def packed(self) -> bytes:
        return HELLO.pack(
            MAGIC, self.version, self.streams, self.stream, self.answer, self.seed, self.session, self.seconds)


def unpack(data: bytes) -> Hello | None:
    """None where it is no hello of boxcheck."""
    magic, version, streams, stream, answer, seed, session, seconds = HELLO.unpack(data)
    if magic != MAGIC:
        return None
    return Hello(version=version, streams=streams, stream=stream, answer=answer, seed=seed, session=session,
                 seconds=seconds)


def parse_place(text: str, *, listening: bool) -> Place:
    """`HOST`, `HOST:PORT`, `[ADDRESS]:PORT`; where it listens also `PORT`, on the loopback. GpuError says what is
    wrong."""
    host, port = text, ""
    if text.startswith("[") and "]" in text:
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest.startswith(":") or not rest else "?"
    elif text.count(":") == 1:
        host, port = text.split(":")
        if not port:
            port = "?"
    elif listening and text.isdecimal():
        host, port = LOOPBACK, text
    number = int(port) if port.isascii() and port.isdecimal() and len(port) < 6 else PORT if not port else -1
    # Port 0 lets the kernel choose, and nobody could tell the other end.
    if not host or not 1 <= number <= 65535 or any(one.isspace() for one in host):
        form = "listen=[ADDRESS:]PORT" if listening else "peer=HOST[:PORT]"
        raise GpuError(
            "unsupported", f"{text!r} is no place in a network", f"write it as {form}, an IPv6 address in []")
    return Place(host, number)


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """Streams that are ready for their payload."""

    sockets: tuple[socket.socket, ...]
    hello: Hello
    """Of the connecting end."""
    seconds: float
    """What both ends agreed on: the shorter of what each wants."""
    listening: bool


def listen(
    place: Place, wanted_seconds: float, wait_seconds: float, *, alive: Callable[[], None], stopping: Callable[[], bool]
) -> Joined:
    """Waits for one peer and its streams. GpuError where none came, with what is to be said of the last that tried."""
    with _bound(place) as server, selectors.DefaultSelector() as selector:
        door = _Door(server, selector, wanted_seconds)
        try:
            until = time.monotonic() + wait_seconds
            while not stopping():
                alive()
                now = time.monotonic()
                if now > until and not door.busy:
                    last = f"; the last that tried: {door.said}" if door.said else ""
                    raise GpuError(
                        "error", f"no boxcheck connected to {place} within {wait_seconds:.0f} s{last}",
                        f"at the other end: boxcheck stress run net --option peer=ADDRESS:{place.port}")
                joined = door.step(now)
                if joined is not None:
                    return joined
            raise GpuError("error", f"stopped while it waited for the other end on {place}")
        except BaseException:
            door.close()
            raise


class _Waiting(msgspec.Struct):
    sock: socket.socket
    who: str
    deadline: float
    data: bytes = b""


class _Door:
    """Connections that have come, until one peer has all its streams."""

    def __init__(self, server: socket.socket, selector: selectors.BaseSelector, seconds: float) -> None:
        self._server, self._selector, self._seconds = server, selector, seconds
        self._waiting: dict[socket.socket, _Waiting] = {}
        self._first: Hello | None = None
        self._host = ""
        self._came: dict[int, socket.socket] = {}
        self._full_by = 0.0
        self.said = ""
        """What was wrong with the last one that was let go."""
        selector.register(server, selectors.EVENT_READ)

    @property
    def busy(self) -> bool:
        """Whether some streams of a peer are there and others are about to come."""
        return self._first is not None

    def step(self, now: float) -> Joined | None:
        for key, _ in self._selector.select(0.1):
            if key.fileobj is self._server:
                self._accept(now)
            elif (one := self._waiting.get(key.fileobj)) is not None:  # type: ignore[call-overload]
                self._hear(one, now)
        for one in [one for one in self._waiting.values() if now > one.deadline]:
            self._let_go(one, f"said nothing for {HELLO_SECONDS:.0f} s" if not one.data else "broke off in its hello")
        first = self._first
        if first is None:
            return None
        if len(self._came) == first.streams:
            return self._join(first)
        if now > self._full_by:
            self.said = f"{self._host} opened {len(self._came)} of {first.streams} streams"
            self._drop_set()
        return None

    def _accept(self, now: float) -> None:
        with suppress(OSError):
            sock, address = self._server.accept()
            sock.setblocking(False)
            if len(self._waiting) >= MOST_WAITING:
                sock.close()
                return
            self._waiting[sock] = _Waiting(sock, str(address[0]), now + HELLO_SECONDS)
            self._selector.register(sock, selectors.EVENT_READ)

    def _hear(self, one: _Waiting, now: float) -> None:
        try:
            data = one.sock.recv(HELLO.size - len(one.data))
        except BlockingIOError:
            return
        except OSError as error:
            self._let_go(one, f"closed it before its hello ({error.strerror})")
            return
        one.data += data
        if not data:
            self._let_go(one, "closed it before its hello")
        elif not (MAGIC.startswith(one.data[:len(MAGIC)]) or one.data.startswith(MAGIC)):
            self._let_go(one, "sent something that is no hello of boxcheck")
        elif len(one.data) == HELLO.size:
            self._judge(one, now)

    def _judge(self, one: _Waiting, now: float) -> None:
        hello, first = unpack(one.data), self._first
        assert hello is not None
        if hello.version != VERSION:
            says = f"speaks version {hello.version}, and this boxcheck version {VERSION}"
            self._refuse(one, hello, OTHER_VERSION, says)
        elif first is not None and hello.session != first.session:
            self._refuse(one, hello, OCCUPIED, "came while another was there")
        elif not (1 <= hello.streams <= MOST_STREAMS and hello.stream < hello.streams and 0 < hello.seconds < 1e9) or (
                first is not None and (hello.streams, hello.seed) != (first.streams, first.seed)) or (
                hello.stream in self._came):
            self._refuse(one, hello, MISFIT, f"wants stream {hello.stream} of {hello.streams}, which cannot be")
        else:
            if first is None:
                self._first, self._host, self._full_by = hello, one.who, now + HELLO_SECONDS
            del self._waiting[one.sock]
            self._selector.unregister(one.sock)
            self._came[hello.stream] = one.sock

    def _refuse(self, one: _Waiting, hello: Hello, answer: int, says: str) -> None:
        with suppress(OSError):
            one.sock.send(msgspec.structs.replace(hello, version=VERSION, answer=answer).packed())
        self._let_go(one, says)

    def _let_go(self, one: _Waiting, says: str) -> None:
        self.said = f"{one.who} {says}"
        self._waiting.pop(one.sock, None)
        self._selector.unregister(one.sock)
        one.sock.close()

    def _drop_set(self) -> None:
        for sock in self._came.values():
            sock.close()
        self._came, self._first = {}, None

    def _join(self, first: Hello) -> Joined | None:
        sockets = tuple(self._came[number] for number in range(first.streams))
        answer = msgspec.structs.replace(first, seconds=self._seconds)
        try:
            for number, sock in enumerate(sockets):
                sock.setblocking(True)
                sock.sendall(msgspec.structs.replace(answer, stream=number).packed())
        except OSError as error:
            self.said = f"{self._host} closed it before it began ({error.strerror})"
            self._drop_set()
            return None
        self._came = {}
        self.close()
        return Joined(sockets=sockets, hello=first, listening=True, seconds=min(first.seconds, self._seconds))

    def close(self) -> None:
        for sock in (*self._waiting, *self._came.values()):
            sock.close()
        self._waiting, self._came = {}, {}


def _bound(place: Place) -> socket.socket:
    server: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        server = socket.socket(family, kind, protocol)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen(MOST_STREAMS)
        server.setblocking(False)
        return server
    except OSError as error:
        if server is not None:
            server.close()
        kind_of = "busy" if error.errno == errno.EADDRINUSE else "error"
        raise GpuError(kind_of, f"cannot listen on {place}: {_words(error)}") from None  # type: ignore[arg-type]


def connect(
    place: Place, hello: Hello, wait_seconds: float, *, alive: Callable[[], None], stopping: Callable[[], bool]
) -> Joined:
    """Opens the streams, and tries again as long as nobody listens there yet."""
    sockets: list[socket.socket] = []
    until = time.monotonic() + wait_seconds
    try:
        while len(sockets) < hello.streams:
            alive()
            if stopping():
                raise GpuError("error", f"stopped before {place} answered")
            try:
                sockets.append(socket.create_connection((place.host, place.port), timeout=2.0))
            except OSError as error:
                if isinstance(error, socket.gaierror) or time.monotonic() > until:
                    raise GpuError(
                        "error", f"{place} cannot be reached: {_words(error)}",
                        f"at the other end: boxcheck stress run net --option listen=ADDRESS:{place.port}") from None
                time.sleep(RETRY_SECONDS)
        for number, sock in enumerate(sockets):
            sock.sendall(msgspec.structs.replace(hello, stream=number).packed())
        seconds = hello.seconds
        for number, sock in enumerate(sockets):
            seconds = min(seconds, _answer(place, sock, number, hello, alive))
            sock.settimeout(None)
    except OSError as error:
        _close(sockets)
        raise GpuError("error", f"{place} closed the connection before it began ({_words(error)})") from None
    except BaseException:
        _close(sockets)
        raise
    return Joined(sockets=tuple(sockets), hello=hello, seconds=seconds, listening=False)


def _answer(place: Place, sock: socket.socket, number: int, hello: Hello, alive: Callable[[], None]) -> float:
    """Seconds that the listening end wants. GpuError for an answer that is none."""
    data, deadline = b"", time.monotonic() + HELLO_SECONDS
    sock.settimeout(0.3)
    while len(data) < HELLO.size:
        alive()
        try:
            more = sock.recv(HELLO.size - len(data))
        except TimeoutError:
            if time.monotonic() > deadline:
                raise GpuError(
                    "error", f"{place} took the connection and did not answer for {HELLO_SECONDS:.0f} s",
                    "is it boxcheck that listens there?") from None
            continue
        if not more:
            raise GpuError("error", f"{place} closed the connection before it began", "is it busy, or no boxcheck?")
        data += more
        if not data.startswith(MAGIC[:len(data)]):
            raise GpuError(
                "error", f"{place} answered something that is no hello of boxcheck", "is it another service?")
    answer = unpack(data)
    assert answer is not None
    if answer.version != VERSION or answer.answer != OK:
        number_of = OTHER_VERSION if answer.version != VERSION else answer.answer
        says = REFUSALS.get(number_of, "it says no more").format(theirs=answer.version, ours=VERSION)
        raise GpuError("version" if number_of == OTHER_VERSION else "error", f"{place} refused: {says}")
    if (answer.session, answer.stream) != (hello.session, number) or not 0 < answer.seconds < 1e9:
        raise GpuError("error", f"{place} answered for another stream than it was asked for")
    return answer.seconds


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _words(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
