"""Stress modules over devices: who works on what, one module or several side by side, and what each gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from boxcheck.engine.messages import Beat, Run, Watched
from boxcheck.engine.supervise import SILENCE_SECONDS, Crew, Part, list_devices
from boxcheck.gpu import BACKENDS, Backend, GpuInfo
from boxcheck.registry import Stress
from boxcheck.stress import Sample, StressResults, Trouble
from boxcheck.stress.watched import Tally, Watching

Seen = Callable[[Stress, int, tuple[GpuInfo, ...], Beat | Sample | Watched], None]
"""Called with the module, the number of its worker, the worker's devices, and what it said."""

START_TOGETHER_SECONDS = {True: 5.0, False: 2.0}
"""For modules that need a common start: from when all workers have their devices, until kernels are ready. By full
size."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run."""

    modules: tuple[str, ...]
    seconds: float
    """For each module."""
    backend: Backend | None = None
    """None: every GPU by the runtime of its vendor; processors only when named."""
    gpus: tuple[str, ...] = ()
    """Keys, numbers in the list, addresses or slots; empty: all."""
    seed: int = 1
    options: Mapping[str, str] = {}
    inject: str | None = None
    inject_after: int = 2
    silence_seconds: float = SILENCE_SECONDS
    environment: Mapping[str, str] | None = None


class _Share(msgspec.Struct, frozen=True, kw_only=True):
    """What one module works on."""

    module: Stress
    gpus: tuple[GpuInfo, ...]
    groups: tuple[tuple[GpuInfo, ...], ...]
    """A worker each."""
    troubles: tuple[Trouble, ...]
    """Devices that are too few for it."""
    full_size: bool


def _share(module: Stress, gpus: Sequence[GpuInfo], wanted: Wanted) -> _Share:
    troubles: list[Trouble] = []
    if module.scope == "host":
        host = list_devices("cpu", environment=wanted.environment)
        if isinstance(host, Trouble):
            return _Share(module=module, gpus=(), groups=(), troubles=(host,), full_size=False)
        gpus = host[:1]
        groups = [list(gpus)]
    elif module.scope == "each":
        groups = [[info] for info in gpus]
    else:
        by_backend = {name: [info for info in gpus if info.backend == name] for name in BACKENDS}
        groups = [found for found in by_backend.values() if len(found) >= module.peers]
    worked = [info for group in groups for info in group]
    left_out = [info for info in gpus if info not in worked]
    if left_out:
        here = f"{len(left_out)} {'is' if len(left_out) == 1 else 'are'} here"
        troubles.append(Trouble(
            gpus=tuple(info.key for info in left_out), module=module.name, kind="unsupported",
            says=f"it needs {module.peers} GPUs of one runtime, {here}"))
    full_size = wanted.options.get("size") != "test" and (
        module.scope == "host" or all(info.is_gpu for info in gpus))
    return _Share(
        module=module, gpus=tuple(gpus), groups=tuple(map(tuple, groups)), troubles=tuple(troubles),
        full_size=full_size)


def _order(share: _Share, wanted: Wanted) -> Run:
    together = share.module.name == "power-pulse"
    has = wanted.inject in share.module.faults
    return Run(
        module=share.module.name, seconds=wanted.seconds, seed=wanted.seed, options=wanted.options,
        inject=wanted.inject if has else None, inject_after=wanted.inject_after,
        start_at=START_TOGETHER_SECONDS[share.full_size] if together else None)


def _results(
    share: _Share, parts: Sequence[Part], slots: Mapping[str, str], wanted: Wanted
) -> StressResults:
    broken = [part.trouble for part in parts if part.trouble is not None]
    worked = [info for group in share.groups for info in group]
    return StressResults(
        module=share.module.name, gpus=share.gpus, slots=slots,
        samples=tuple(one for part in parts for one in part.samples), troubles=(*share.troubles, *broken),
        ended=tuple(
            info.key for info in worked if not any(info in part.gpus for part in parts if part.trouble is not None)),
        stopped=any(part.stopped for part in parts), injected=wanted.inject, full_size=share.full_size)


def run_module(
    module: Stress, gpus: Sequence[GpuInfo], slots: Mapping[str, str], wanted: Wanted, *,
    stopping: Callable[[], bool] = lambda: False, seen: Seen = lambda module, worker, gpus, what: None,
) -> tuple[StressResults, Watching]:
    """One module over the devices: a worker each, one for all of a backend, or one for the host."""
    ((results, watching),) = run_together([module], gpus, slots, wanted, stopping=stopping, seen=seen)
    return results, watching


def run_together(
    modules: Sequence[Stress], gpus: Sequence[GpuInfo], slots: Mapping[str, str], wanted: Wanted, *,
    stopping: Callable[[], bool] = lambda: False, seen: Seen = lambda module, worker, gpus, what: None,
) -> list[tuple[StressResults, Watching]]:
    """Several modules at the same time. One that has each GPU run alone first does so only when it is the only one."""
    shares = [_share(module, gpus, wanted) for module in modules]
    places = [(share, group) for share in shares for group in share.groups]
    tallies = {share.module.name: Tally(share.gpus) for share in shares}
    parts: dict[str, list[Part]] = {share.module.name: [] for share in shares}

    def heard(number: int, what: Beat | Sample | Watched) -> None:
        share, group = places[number]
        if isinstance(what, Watched):
            tallies[share.module.name].add(what.readings)
        seen(share.module, number, group, what)

    if places:
        orders = [_order(share, wanted) for share, _ in places]
        with Crew(
            [group for _, group in places], environment=wanted.environment, silence_seconds=wanted.silence_seconds
        ) as crew:
            if len(shares) == 1 and shares[0].module.alone_first and len(places) > 1:
                parts[shares[0].module.name] += _alone(crew, orders, stopping, heard)
            for (share, _), part in zip(places, crew.run(orders, stopping=stopping, heard=heard), strict=True):
                parts[share.module.name].append(part)
    return [
        (_results(share, parts[share.module.name], slots, wanted), tallies[share.module.name].result())
        for share in shares]


def _alone(
    crew: Crew, orders: Sequence[Run], stopping: Callable[[], bool],
    heard: Callable[[int, Beat | Sample | Watched], None],
) -> list[Part]:
    """Each worker by itself, one after the other, in half of the time between them."""
    parts: list[Part] = []
    for number, order in enumerate(orders):
        one = msgspec.structs.replace(
            order, seconds=order.seconds / 2 / len(orders), options={**order.options, "together": "no"})
        if not stopping():
            parts += crew.run([one] * len(orders), only=number, stopping=stopping, heard=heard)
    return parts
