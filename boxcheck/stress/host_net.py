"""Payload over the network to another machine and back at once, every byte compared; where it is asked for.

One end listens, the other connects: the same module at both. Nothing is listened on unless `listen` says so, and then
on that address alone. The payload goes over TCP, which hides loss and most errors; what it hides shows in the counters
of the interface and in segments that were sent again, and what its sum of 16 bits lets through in the payload.

By hand  boxcheck stress run net --option listen=10.0.0.1:18550 --seconds 60      on one machine
         boxcheck stress run net --option peer=10.0.0.1:18550 --seconds 60        on the other
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from boxcheck.gpu import GpuError
from boxcheck.registry import stress
from boxcheck.stress import Rig, Sample

if TYPE_CHECKING:
    from boxcheck.stress.host_orders import Done, Job
    from boxcheck.stress.host_team import Team

PIECE_SECONDS, TEST_PIECE_SECONDS = 1.0, 0.2
STREAMS, MOST_STREAMS = 4, 64
WAIT_SECONDS, MOST_WAIT_SECONDS = 60, 3600
NAME = "net"
ENOUGH = 0.9
"""Part of the agreed time after which an end of the other side is no early one: clocks and pieces differ a little."""


@stress("net", scope="host", faults=("flip-payload",))
def net(rig: Rig) -> Iterator[Sample]:
    """Payload to another machine that runs this too, and back at the same time, every byte compared. Only where asked.

    Options: `peer` (HOST or HOST:PORT: connects there, to port 18550 where none is named), `listen` (PORT or
    ADDRESS:PORT: waits there for the other end; without an address on 127.0.0.1 only), `streams` (4, of the end that
    connects, at most 64), `wait` (60, seconds to wait for the other end), `size=test`.
    """
    if not rig.options.get("peer") and not rig.options.get("listen"):
        return
    from boxcheck.stress.host_team import Team

    job = _job(rig)
    way = "waiting for the other end on" if job.settings["way"] == "listen" else "connecting to"
    with Team(rig, [job]) as team:
        ready = team.ready(f"{way} {job.settings['host']}, port {job.settings['port']}")
        _raise_lost(team)
        rig.wait_for_start()
        team.restart()
        yield from _pieces(rig, team, {**ready[NAME].notes})


def _pieces(rig: Rig, team: Team, about: Mapping[str, str | int | float]) -> Iterator[Sample]:
    from boxcheck.stress.host_orders import Order, full_size

    seconds = float(about["agreed_seconds"])
    longest = PIECE_SECONDS if full_size(rig) else TEST_PIECE_SECONDS
    text = f"{about['streams']} streams to and from {about['other']}"
    done: Done | None = None
    while (left := seconds - team.elapsed) > 0 and not rig.stopping() and not _over(done):
        done = team.go(Order(do="flow", seconds=min(longest, left)), text).get(NAME)
        _raise_lost(team)
        assert done is not None
        yield from _samples(rig, about, done)
    done = team.go(Order(do="end"), text).get(NAME)
    _raise_lost(team)
    assert done is not None
    yield from _samples(rig, about, done, last=True)
    if rig.stopping():
        return
    if "failed" in done.notes:
        raise GpuError("error", str(done.notes["failed"]), "look at the other end; then repeat it")
    after = float(done.notes.get("peer_ended_after", seconds))
    if after < ENOUGH * seconds:
        raise GpuError(
            "error", f"the other end ({about['other']}) stopped after {after:.1f} s of the {seconds:.1f} s agreed on",
            "look at what it says there")


def _over(done: Done | None) -> bool:
    return done is not None and ("failed" in done.notes or "peer_ended_after" in done.notes)


def _samples(
    rig: Rig, about: Mapping[str, str | int | float], done: Done, *, last: bool = False
) -> Iterator[Sample]:
    """A sample for each direction. The last blocks are verified and not timed; what the interface counted goes with
    those that came."""
    key = rig.gpu.info.key
    confirmed, denied = int(done.notes["confirmed"]), int(done.notes["denied"])
    for what, checked, wrong in (("net.receive", done.checked, done.wrong), ("net.send", confirmed, denied)):
        came = what == "net.receive"
        timed = not last and done.seconds > 0 and checked
        yield Sample(
            what=what, gpu=key, seconds=done.seconds, of="bytes", checked=checked, wrong=wrong,
            value=checked / done.seconds / 1e9 if timed else None, unit="GB/s",
            words=done.words if came else (), notes={**about, **done.notes} if came and last else about)


def _raise_lost(team: Team) -> None:
    """GpuError where the one process did not come to its end."""
    if team.members:
        return
    (lost,) = team.lost.values()
    known = ("unsupported", "version", "busy", "forbidden", "out-of-memory")
    raise GpuError(lost.kind if lost.kind in known else "error", lost.says, lost.help)  # type: ignore[arg-type]


def _number(rig: Rig, name: str, usual: int, most: int) -> int:
    word = rig.options.get(name, str(usual))
    if not (word.isascii() and word.isdecimal()) or not 1 <= int(word) <= most:
        raise GpuError("unsupported", f"{name}={word} is no number from 1 to {most}")
    return int(word)


def _job(rig: Rig) -> Job:
    from boxcheck.stress.host_net_wire import parse_place
    from boxcheck.stress.host_orders import Job, fault_of

    peer, listen = rig.options.get("peer", ""), rig.options.get("listen", "")
    if peer and listen:
        raise GpuError("unsupported", "peer and listen at once", "one end listens, the other connects")
    place = parse_place(peer or listen, listening=bool(listen))
    fault, after = fault_of(rig)
    return Job(work="network", name=NAME, number=0, seed=rig.seed, fault=fault, after=after, settings={
        "way": "listen" if listen else "connect", "host": place.host, "port": place.port, "seconds": rig.seconds,
        "streams": _number(rig, "streams", STREAMS, MOST_STREAMS),
        "wait": _number(rig, "wait", WAIT_SECONDS, MOST_WAIT_SECONDS), "root": "/"})
