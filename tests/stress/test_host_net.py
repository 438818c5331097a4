"""The network: both ends over the loopback, wrong bytes by a peer of the test, and every bad peer in one sentence."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from boxcheck.engine.plan import plan_for
from boxcheck.gpu import GpuError
from boxcheck.model import Outcome
from boxcheck.profile import BurnWanted, Profile
from boxcheck.stress import StressResults, host_net_wire
from boxcheck.stress.host_net_interface import counters, interface_of, speed_mbps
from boxcheck.stress.host_net_payload import BLOCK_BYTES, DATA, END, WORDS, Keys
from boxcheck.stress.host_net_wire import VERSION, Place, parse_place
from boxcheck.stress.options import is_asked
from tests.checks.judging import judge
from tests.stress.host_doubles import run
from tests.stress.host_net_ends import HELLO, HERE, answering, block_of, free_port


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


def test_a_second_address_with_a_label_is_that_of_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(address: str) -> Any:
        return SimpleNamespace(address=address)

    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {
        "eth0": [one("10.1.0.1"), one("fe80::1%eth0")], "eth1:second": [one("10.2.0.1")], "eth2": [one("02:fc:00:00:00:01")]})
    assert [interface_of(own, "10.9.9.9") for own in ("10.1.0.1", "10.2.0.1", "fe80::1%eth0", "10.3.0.1")] == [
        "eth0", "eth1", "eth0", ""]


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
