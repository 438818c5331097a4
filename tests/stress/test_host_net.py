"""The network: both ends over the loopback, wrong bytes by a peer of the test, and every bad peer in one sentence."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from boxcheck.engine.plan import plan_for
from boxcheck.gpu import GpuError
from boxcheck.model import Outcome
from boxcheck.profile import BurnWanted, Profile
from boxcheck.stress import StressResults, host_net_traffic, host_net_wire, host_net_work
from boxcheck.stress.host_child import Pulse
from boxcheck.stress.host_net_interface import counters, interface_of, speed_mbps
from boxcheck.stress.host_net_payload import BLOCK_BYTES, DATA, END, WORDS, Keys
from boxcheck.stress.host_net_traffic import Traffic
from boxcheck.stress.host_net_wire import MAGIC, VERSION, Hello, Joined, Place, connect, listen, parse_place
from boxcheck.stress.host_orders import Job, Order
from boxcheck.stress.options import is_asked
from tests.checks.judging import judge
from tests.stress.host_doubles import run

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


@pytest.mark.parametrize("kind", [DATA, END])
def test_a_block_is_right_where_it_belongs_and_nowhere_else(kind: int) -> None:
    keys = Keys(7, 2, 0)
    block = block_of(keys, 5, kind)
    assert keys.compare(block, 5) == (0, ())
    others = [(keys, 6), (Keys(7, 3, 0), 5), (Keys(7, 2, 1), 5), (Keys(8, 2, 0), 5)]
    for other, number in others:
        wrong, words = other.compare(block, number)
        assert wrong > 0.9 * BLOCK_BYTES, "all of it is out of place"
        assert words
    assert keys.compare(np.roll(block, 1), 5)[0] > 0.9 * BLOCK_BYTES


@pytest.mark.parametrize("place", [0, 1, 4, WORDS // 2, WORDS - 1])
def test_every_flipped_bit_is_found_and_placed(place: int) -> None:
    keys = Keys(7, 0, 1)
    block = block_of(keys, 3)
    block[place] ^= np.uint64(1 << 17)
    wrong, (word, *rest) = keys.compare(block, 3)
    assert (wrong, rest) == (1, [])
    assert word.where == f"byte {3 * BLOCK_BYTES + 8 * place} of the stream"
    assert word.flipped == 1 << 17


# Both ends.


def both(streams: int, *, seconds: float = 1.2, **connecting: Any) -> tuple[StressResults, StressResults]:
    """Results of the listening and of the connecting end; each works in a process of its own."""
    port, found = free_port(), dict[str, StressResults]()

    def serve() -> None:
        found["listen"] = run("net", seconds=seconds, listen=str(port), wait="20")

    thread = threading.Thread(target=serve)
    thread.start()
    found["connect"] = run("net", seconds=seconds, peer=f"{HERE}:{port}", streams=str(streams), wait="20", **connecting)
    thread.join(30)
    return found["listen"], found["connect"]


@pytest.mark.parametrize("streams", [1, 4])
def test_both_ends_verify_both_directions(streams: int) -> None:
    ends = both(streams)
    for end, other in (ends, ends[::-1]):
        got = [one for one in end.samples if one.what == "net.receive"]
        sent = [one for one in other.samples if one.what == "net.send"]
        assert sum(one.checked for one in got) > 0
        # What one end says that it verified is what the other counts as sent, but for what was on its way.
        assert 0 < sum(one.checked for one in sent) <= sum(one.checked for one in got)
        assert not any(one.wrong for one in end.samples)
        assert any(one.value for one in got)
        assert got[-1].notes["came_through"] == streams
        assert got[-1].notes["interface"] == "lo"
        assert [one.outcome for one in judge("net.wrong-payload", end)] == [Outcome.PASS, Outcome.PASS]
        assert {one.outcome for one in judge("net.rate", end, limits={"net.gbs": 1.0})} == {Outcome.SKIP}
        assert [one.outcome for one in judge("net.errors", end)] == [Outcome.SKIP]


def test_a_bit_that_was_flipped_at_one_end_is_told_at_both() -> None:
    listening, connecting = both(1, fault="flip-payload")
    (mine, theirs) = judge("net.wrong-payload", connecting)
    assert (mine.outcome, theirs.outcome) == (Outcome.FAIL, Outcome.PASS)
    assert "1 byte wrong" in mine.says
    assert "byte 655360 of the stream" in mine.notes[0]
    (mine, theirs) = judge("net.wrong-payload", listening)
    assert (mine.outcome, theirs.outcome) == (Outcome.PASS, Outcome.FAIL)
    assert "127.0.0.1 found 1 byte wrong" in theirs.says


def test_the_shorter_of_both_times_holds() -> None:
    port = free_port()
    thread = threading.Thread(target=run, args=("net",), kwargs={"seconds": 60.0, "listen": str(port)})
    thread.start()
    began = time.monotonic()
    found = run("net", seconds=1.0, peer=f"{HERE}:{port}", streams="1")
    thread.join(20)
    assert not thread.is_alive()
    assert time.monotonic() - began < 15
    assert found.samples[0].notes["agreed_seconds"] == 1.0


# Options.


def test_nothing_is_done_where_nobody_asked() -> None:
    found = run("net")
    assert found.samples == ()
    for check in ("net.wrong-payload", "net.rate", "net.errors"):
        (finding,) = judge(check, found)
        assert finding.outcome is Outcome.SKIP
        assert "peer=HOST" in finding.says


@pytest.mark.parametrize(("options", "says"), [
    ({"peer": "a", "listen": "1"}, "peer and listen at once"), ({"peer": "a:b:"}, "cannot be reached"),
    ({"listen": "0"}, "no place"), ({"listen": "99999"}, "no place"), ({"peer": "a:0"}, "no place"),
    ({"peer": "[::1]x"}, "no place"), ({"peer": "a:"}, "no place"), ({"peer": "a b"}, "no place"),
    ({"listen": "1", "streams": "65"}, "from 1 to 64"), ({"listen": "1", "wait": "x"}, "from 1 to 3600"),
    ({"peer": "nowhere.invalid", "wait": "1"}, "cannot be reached"), ({"peer": "x" * 70, "wait": "1"}, "no name"),
    ({"listen": "192.0.2.1:18550"}, "cannot listen on 192.0.2.1:18550"),
])
def test_a_wrong_option_is_one_sentence(options: dict[str, Any], says: str) -> None:
    with pytest.raises(GpuError, match=says):
        run("net", **options)


@pytest.mark.parametrize(("text", "listening", "place"), [
    ("box", False, "box:18550"), ("box:7", False, "box:7"), ("[fe80::1]:7", False, "[fe80::1]:7"),
    ("fe80::1", False, "[fe80::1]:18550"), ("7", True, "127.0.0.1:7"), ("0.0.0.0:7", True, "0.0.0.0:7"),
    ("[::]:7", True, "[::]:7"), ("10.0.0.1", True, "10.0.0.1:18550")])
def test_places(text: str, listening: bool, place: str) -> None:
    assert str(parse_place(text, listening=listening)) == place


def test_without_an_address_only_this_machine_can_connect() -> None:
    place = parse_place("7777", listening=True)
    assert place.host == HERE
    with host_net_wire._bound(Place(HERE, free_port())) as server:
        assert server.getsockname()[0] == HERE


def test_everything_and_all_take_the_network_in_only_where_it_is_asked_for() -> None:
    known = ("matmul", "cpu", "net")

    def modules(**options: str) -> tuple[str, ...]:
        want = Profile(name="x", revision=1, title="x", burn=BurnWanted(options={"everything": options}))
        plan = plan_for(900, "x", gpus=1, peers=1, known=known, want=want)
        return next(step.modules for step in plan.steps if step.name == "everything")

    assert modules() == ("matmul", "cpu")
    assert modules(peer="box") == ("matmul", "cpu", "net")
    assert modules(listen="10.0.0.1:7") == ("matmul", "cpu", "net")
    assert [is_asked("net", given) for given in ((), ("size",), ("peer",))] == [False, False, True]
    assert is_asked("nvme", ())


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


def knock(port: int) -> socket.socket:
    until = time.monotonic() + 5
    while True:
        try:
            return socket.create_connection((HERE, port), timeout=5)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


HELLO = Hello(streams=1, stream=0, seed=7, session=9, seconds=1.0)


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
    monkeypatch.setattr(host_net_work, "END_SECONDS", 0.8)
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
    assert time.monotonic() - began < (0.9 if stopping else 3)
    assert last.notes["failed"] == "the other end (127.0.0.1) did not end its streams"
    assert last.notes["came_through"] == 0


@pytest.mark.parametrize(("verified", "wrong"), [(1 << 62, 0), (0, 5), (1 << 63, 1 << 62)])
def test_a_peer_that_claims_more_than_was_sent_is_named(peer: Peer, verified: int, wrong: int) -> None:
    peer.drain()
    peer.send(0, verified=verified, wrong=wrong)
    peer.wait()
    assert "says that it got what was never sent to it" in peer.traffic.failed
    assert peer.traffic.counts().confirmed == 0


# The interface.


def test_the_interface_of_a_connection_is_found_by_its_own_address() -> None:
    assert interface_of("127.0.0.1", "127.0.0.1") == "lo"
    assert interface_of("127.1.2.3", "127.0.0.9") == "lo"
    assert interface_of("10.1.2.3", "10.1.2.3") == "lo"
    assert interface_of("::ffff:127.0.0.1", "::ffff:127.0.0.1") == "lo"
    assert interface_of("192.0.2.77", "192.0.2.1") == ""
    assert interface_of("2001:db8::77", "2001:db8::1") == ""


def test_every_address_of_this_machine_has_its_interface() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # nothing is sent; the kernel only looks for the way
        except OSError:
            pytest.skip("this machine has no way out")
        own = sock.getsockname()[0]
    assert interface_of(own, "192.0.2.1") in os.listdir("/sys/class/net")


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    base = tmp_path / "sys/class/net/eth0"
    (base / "statistics").mkdir(parents=True)
    (base / "statistics/rx_errors").write_text("5\n")
    (base / "statistics/tx_errors").write_text("nonsense\n")
    (base / "carrier_changes").write_text("3\n")
    (base / "speed").write_text("10000\n")
    assert counters("eth0", str(tmp_path)) == {"rx_errors": 5, "carrier_changes": 3}
    assert speed_mbps("eth0", str(tmp_path)) is None, "it is no device"
    (base / "device").mkdir()
    assert speed_mbps("eth0", str(tmp_path)) == 10000
    (base / "speed").write_text("-1\n")
    assert speed_mbps("eth0", str(tmp_path)) is None


# The whole command.


def command(tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "boxcheck", "stress", "run", "net", "--profile", "generic", "--json",
         str(tmp_path / f"{words[0].partition('=')[0]}.json"), *(part for word in words for part in ("--option", word)),
         "--seconds", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={
            # The two ends are two boxes.
            **os.environ, "XDG_STATE_HOME": str(tmp_path), "BOXCHECK_LOCK": f"test-{words[0]}-{os.getpid()}"})


def test_both_commands_pass_and_a_bad_peer_is_code_3_without_a_traceback(tmp_path: Path) -> None:
    port = free_port()
    ends = [command(tmp_path, f"listen={port}"), command(tmp_path, f"peer={HERE}:{port}")]
    assert [end.wait(60) for end in ends] == [0, 0], [end.stderr.read() for end in ends if end.stderr]
    found = json.loads((tmp_path / "peer.json").read_text())
    assert {one["outcome"] for one in found["findings"] if one["check"] == "net.wrong-payload"} == {"pass"}
    for end in ends:
        end.communicate()
    lonely = command(tmp_path, f"peer={HERE}:{answering(b'HTTP/1.1 400')}", "wait=1")
    out, errors = lonely.communicate(timeout=60)
    assert lonely.returncode == 3, errors
    assert "answered something that is no hello of boxcheck" in " ".join(out.split())
    assert "Traceback" not in out + errors




def test_a_version_is_in_the_hello() -> None:
    assert HELLO.version == VERSION
    assert host_net_wire.unpack(HELLO.packed()) == HELLO
    assert host_net_wire.unpack(b"\0" * host_net_wire.HELLO.size) is None
