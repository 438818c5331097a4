"""Traffic on chosen GPUs while their links are watched: by the engine's workers, verified, told as it crosses.

Each GPU has a worker of its own (`wake` with options `way` and `pieces`), so that one that hangs or vanishes ends its
own part with a sentence; copies between GPUs have one for each pair (`p2p`). A piece of payload is known by the time in
which it crossed, so that it counts for the speed that the link had then. The limits at which load must end hold here as
in a burn-in (boxcheck.engine.guarding).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Literal, Protocol

import msgspec

from boxcheck.checks.wording import counted
from boxcheck.engine.guarding import Guarding
from boxcheck.engine.messages import Beat, Run, Watched
from boxcheck.engine.safety import Limits
from boxcheck.engine.supervise import SILENCE_SECONDS, Crew, Told
from boxcheck.gpu import GpuInfo
from boxcheck.riser.measuring.looks import Moved
from boxcheck.stress import Sample, Trouble
from boxcheck.stress.link_routes import LinkMap, crossed
from boxcheck.stress.safety import Safety
from boxcheck.telemetry.readings import Reading

BESIDE = "matmul"
Direction = Literal["both", "to", "from", "peers", "heat"]
"""`to`: to the card alone, `from`: from it alone; `peers`: between cards of one kind, two by two, and both ways from
and to the host for one that is left over; `heat`: products at full power, which move nothing over links."""
READY_SECONDS = 90.0
"""For workers to open their devices and to begin: a driver without persistence mode starts the GPU first, and kernels
are built where one way alone is compared on the device."""
SPARE_SECONDS = 10.0
"""Beyond the time that was asked for, before a worker is told to stop."""
END_SECONDS = 15.0
"""For workers to end."""
AT_ONCE_SECONDS = 0.05
"""Samples that come so near to each other are of one piece of work."""


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that went one way between two ends, in a time, verified."""

    way: str
    """As a sample names it: `host>cuda:0`."""
    size_bytes: int
    began: float
    ended: float


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a GPU's part ended."""

    key: str
    says: str
    early: bool
    """Before its time, for a reason of its own."""
    lost: bool = False
    """The GPU is gone, or its driver has given it up."""
    wrong_words: int = 0
    """Words that arrived other than they were sent."""


class Guard(Protocol):
    """What ends load before harm: `boxcheck.engine.guarding.Guarding`."""

    def halted(self) -> bool: ...

    def see(self, worker: int, readings: Sequence[Reading]) -> None: ...


class _NoGuard:
    """Of devices that are no GPUs on a bus."""

    def halted(self) -> bool:
        return False

    def see(self, worker: int, readings: Sequence[Reading]) -> None: ...


class _Part:
    """One worker over one device or a pair of them, in a thread of its own."""

    def __init__(
        self, group: Sequence[GpuInfo], order: Run, told: threading.Condition,
        environment: Mapping[str, str] | None, silence_seconds: float, guard: Guard, number: int,
    ) -> None:
        self.group = tuple(group)
        self._guard, self._number = guard, number
        self.is_beside = order.module == BESIDE
        """Whether it draws power beside traffic, and moves nothing itself."""
        self._order, self._told = order, told
        self._environment, self._silence = environment, silence_seconds
        self.flows: list[Flow] = []
        self.wrong = 0
        """Words that arrived wrong, of all samples."""
        self.begun = self.over = False
        self.trouble: Trouble | None = None
        self.why = ""
        self._began = self._since = 0.0
        """When the piece of work began that is told of now, and when something was told last."""
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._work, name=f"riser traffic {self.group[0].key}", daemon=True)

    def stop(self) -> None:
        self._stop.set()

    def _halted(self) -> bool:
        return self._stop.is_set() or self._guard.halted()

    def _work(self) -> None:
        why = ""
        try:
            with Crew([self.group], environment=self._environment, silence_seconds=self._silence) as crew:
                self._began = self._since = time.monotonic()
                (part,) = crew.run(
                    self._order, stopping=self._halted, seen=self._seen, hurry=self._guard.halted)
                if part.trouble is not None and part.trouble.kind != "stopped":
                    self.trouble, why = part.trouble, part.trouble.says
        except Exception as error:  # noqa: BLE001  one GPU's part is lost, and says so
            why = f"boxcheck's own error: {type(error).__name__}: {error}"
            self.trouble = Trouble(gpus=(self.group[0].key,), module="wake", kind="bug", says=why)
        with self._told:
            self.over, self.why = True, why
            self._told.notify_all()

    def _seen(self, of: tuple[GpuInfo, ...], what: Told) -> None:
        now = time.monotonic()
        if isinstance(what, Watched):
            self._guard.see(self._number, what.readings)
        with self._told:
            if isinstance(what, Beat) and what.done > 0 and what.stage == "load":
                self.begun = True
                self._told.notify_all()
            elif isinstance(what, Sample):
                if now - self._since > AT_ONCE_SECONDS:
                    self._began = self._since
                if what.wrong:  # nothing is known of what crossed
                    self.wrong += what.wrong
                elif what.moved:
                    self.begun = True
                    self.flows += [
                        Flow(way=way, size_bytes=size, began=self._began, ended=now)
                        for way, size in what.moved.items()]
                self._since = now
                self._told.notify_all()


class Moving:
    """Traffic that goes on."""

    def __init__(self, parts: Sequence[_Part], told: threading.Condition, safety: Callable[[], Safety | None]) -> None:
        self._parts, self._told, self._safety = tuple(parts), told, safety

    def wait_begun(self, stopping: Callable[[], bool]) -> None:
        """Until every worker moves data or has failed, or time is up."""
        until = time.monotonic() + READY_SECONDS
        with self._told:
            while not all(part.begun or part.over for part in self._parts):
                if stopping() or time.monotonic() > until:
                    return
                self._told.wait(0.1)

    def wait_over(self, seconds: float, stopping: Callable[[], bool]) -> None:
        """For these seconds, or until every worker has ended."""
        until = time.monotonic() + seconds
        with self._told:
            while time.monotonic() < until and not stopping() and not all(part.over for part in self._parts):
                self._told.wait(min(0.1, max(0.0, until - time.monotonic())))

    def end(self) -> None:
        """Tells all to stop and waits for them."""
        for part in self._parts:
            part.stop()
        until = time.monotonic() + END_SECONDS
        for part in self._parts:
            part.thread.join(max(0.0, until - time.monotonic()))

    def moving(self) -> frozenset[str]:
        """Keys of the devices that move data now."""
        with self._told:
            own = [part for part in self._parts if not part.is_beside] or self._parts
            return frozenset(info.key for part in own for info in part.group if part.begun and not part.over)

    def paired(self) -> frozenset[str]:
        """Keys of the devices that copy to another one."""
        return frozenset(info.key for part in self._parts if len(part.group) > 1 for info in part.group)

    def flows(self) -> tuple[Flow, ...]:
        with self._told:
            return tuple(flow for part in self._parts for flow in part.flows)

    def ended(self) -> tuple[Ended, ...]:
        """Parts that came to nothing or to an early end, and those whose data arrived wrong, each with a sentence."""
        safety = self._safety()
        stop = None if safety is None else safety.stop or safety.blind_stop
        why = "" if stop is None else f"load was ended for safety: {stop.subject}: {stop.says}"
        with self._told:
            return tuple(one for part in self._parts for one in _ended(part, why))


def _ended(part: _Part, stopped: str) -> Iterator[Ended]:
    for info in part.group:
        if stopped:
            yield Ended(key=info.key, says=stopped, early=True)
        elif part.trouble is not None and info.key in (part.trouble.gpus or (info.key,)):
            what = "its traffic broke off" if part.begun else "it moved nothing"
            if part.is_beside:
                what = f"its work at full power {'broke off' if part.begun else 'did not begin'}"
            yield Ended(key=info.key, says=f"{info.key}: {what}: {part.trouble.says}", early=True,
                        lost=part.trouble.kind == "lost")
        elif not part.begun:
            yield Ended(key=info.key, early=True, says=f"{info.key}: it did not begin to "
                        f"{'work at full power' if part.is_beside else 'move data'} in time")
        if part.wrong:
            yield Ended(key=info.key, early=False, wrong_words=part.wrong, says=(
                f"{info.key}: {counted(part.wrong, 'word')} arrived wrong, which is no fault of the wire alone; what "
                "moved with them counts for nothing"))


class Traffic:
    """Devices that can be put under traffic, and how."""

    def __init__(
        self, devices: Sequence[GpuInfo], *, direction: Direction = "both", options: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None, silence_seconds: float = SILENCE_SECONDS, seed: int = 1,
        power: bool = False, limits: Limits | None = None, root: str = "/",
        guarding: Callable[..., Guarding] = Guarding, behind: Mapping[str, str] | None = None,
    ) -> None:
        """`options` of the modules, such as `size=test`. `power`: products at full power beside the copies, so that the
        cards draw what they can. `limits` at which load ends: those of the profile; None: the defaults. `behind`: key
        of a device -> name of the link that it hangs on; two of one link are no pair, since what they copy to each
        other need not cross it."""
        self._limits, self._root, self._guarding = limits or Limits(), root, guarding
        self.devices = tuple(devices)
        self.direction = direction
        self.power = power
        self._options = dict(options or {})
        self._environment, self._silence, self._seed = environment, silence_seconds, seed
        self._behind = dict(behind or {})

    def going(
        self, direction: Direction | None = None, *, power: bool = False, first: Collection[str] = (),
        behind: Mapping[str, str] | None = None,
    ) -> Traffic:
        """The same devices under other traffic. `first`: keys of those that are paired before the others."""
        devices = sorted(self.devices, key=lambda info: info.key not in first)
        return Traffic(
            devices, direction=direction or self.direction, options=self._options, environment=self._environment,
            silence_seconds=self._silence, seed=self._seed, power=power, limits=self._limits, root=self._root,
            guarding=self._guarding, behind=self._behind if behind is None else behind)

    @contextmanager
    def on(self, keys: Sequence[str], seconds: float) -> Iterator[Moving]:
        """Begins the traffic on these devices; leaving ends it, whatever happens."""
        told = threading.Condition()
        chosen = [info for info in self.devices if info.key in keys]
        # A worker goes on longer than it has to, until the last one has begun and the time is over.
        lasting = READY_SECONDS + seconds + SPARE_SECONDS
        groups: list[tuple[Sequence[GpuInfo], Run]] = [
            (group, self._order(group, lasting))
            for group in (_pairs(chosen, self._behind) if self.direction == "peers" else ((info,) for info in chosen))]
        if self.power and self.direction != "heat":
            groups += [((info,), self._heat(lasting)) for info in chosen]
        watched = any(info.bdf is not None for info in chosen)
        guarding = self._guarding(chosen, self._limits, root=self._root) if watched else None
        with guarding or nullcontext():
            guard: Guard = guarding or _NoGuard()
            parts = [
                _Part(group, order, told, self._environment, self._silence, guard, number)
                for number, (group, order) in enumerate(groups)]
            moving = Moving(parts, told, guarding.result if guarding is not None else lambda: None)
            try:
                for part in parts:
                    part.thread.start()
                yield moving
            finally:
                moving.end()
                if guarding is not None:
                    guarding.load_ended()

    def pairs_up(self, key: str) -> bool:
        """Whether another device is of one backend and architecture with this one, so that they can copy."""
        mine = next((info for info in self.devices if info.key == key), None)
        return mine is not None and any(
            info.key != key and (info.backend, info.arch) == (mine.backend, mine.arch) for info in self.devices)

    def _order(self, group: Sequence[GpuInfo], seconds: float) -> Run:
        if len(group) > 1:
            return Run(module="p2p", seconds=seconds, seed=self._seed, options=self._sizes)
        if self.direction == "heat":
            return self._heat(seconds)
        way = "both" if self.direction == "peers" else self.direction
        return Run(module="wake", seconds=seconds, seed=self._seed, options={
            **self._sizes, "way": way, "pieces": "mixed"})

    def _heat(self, seconds: float) -> Run:
        return Run(module=BESIDE, seconds=seconds, seed=self._seed, options={**self._sizes, "phase": "power"})

    @property
    def _sizes(self) -> Mapping[str, str]:
        return {name: value for name, value in self._options.items() if name == "size"}


def _pairs(chosen: Sequence[GpuInfo], behind: Mapping[str, str]) -> Iterator[tuple[GpuInfo, ...]]:
    """Devices of one backend and architecture and of two links, two by two; those that are left over by themselves."""
    waiting: list[GpuInfo] = []
    for info in chosen:
        other = next((one for one in waiting if (one.backend, one.arch) == (info.backend, info.arch) and (
            info.key not in behind or behind.get(one.key) != behind[info.key])), None)
        if other is None:
            waiting.append(info)
        else:
            waiting.remove(other)
            yield other, info
    for info in waiting:
        yield (info,)


def moved_over(flows: Sequence[Flow], where: LinkMap) -> Mapping[str, tuple[Moved, ...]]:
    """What crossed each link, by the address of its port. Payload whose way is not known is on none."""
    found: dict[str, list[Moved]] = {}
    for flow in flows:
        for port, toward in crossed(flow.way, where).hops:
            found.setdefault(port, []).append(Moved(
                toward=toward, size_bytes=flow.size_bytes, began=flow.began, ended=flow.ended))
    return {port: tuple(pieces) for port, pieces in found.items()}
