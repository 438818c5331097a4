"""Stress modules over devices: who works on what, one module or several side by side, and what each gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from boxcheck.engine.guarding import Guarding
from boxcheck.engine.messages import Run, Watched
from boxcheck.engine.safety import Limits
from boxcheck.engine.sparing import spare
from boxcheck.engine.supervise import SILENCE_SECONDS, Crew, Part, Told, list_devices
from boxcheck.gpu import BACKENDS, Backend, GpuInfo
from boxcheck.registry import Stress
from boxcheck.stress import StressResults, Trouble
from boxcheck.stress.options import options_of
from boxcheck.stress.safety import BlindStop, Safety, SafetyStop
from boxcheck.stress.safety_checks import GPU_HEAT, HELP
from boxcheck.stress.watched import Tally, Watching

Seen = Callable[[Stress, int, tuple[GpuInfo, ...], Told], None]
"""Called with the module, the number of its worker, the worker's devices, and what it said. A worker that ran alone
first has another number when it runs beside others: results have the samples in the order of these numbers."""

TOGETHER = frozenset(("power-pulse",))
"""Modules whose workers begin at one moment."""


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
    warm_up: bool = False
    """Whether this only warms the box: rates are not judged then."""
    limits: Limits = Limits()
    """At which load must end."""
    root: str = "/"
    """Where the sys/ is that safety looks into."""


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
    has = wanted.inject in share.module.faults
    return Run(
        module=share.module.name, seconds=wanted.seconds, seed=wanted.seed, options=wanted.options,
        inject=wanted.inject if has else None, inject_after=wanted.inject_after,
        together=share.module.name in TOGETHER)


def _results(
    share: _Share, parts: Sequence[Part], slots: Mapping[str, str], wanted: Wanted, safety: Safety
) -> StressResults:
    broken = [*_too_hot(share, safety.stop), *(part.trouble for part in parts if part.trouble is not None)]
    worked = [info for group in share.groups for info in group]
    return StressResults(
        module=share.module.name, gpus=share.gpus, slots=slots,
        samples=tuple(one for part in parts for one in part.samples), troubles=(*share.troubles, *broken),
        ended=tuple(
            info.key for info in worked if not any(info in part.gpus for part in parts if part.trouble is not None)),
        stopped=any(part.stopped for part in parts), injected=wanted.inject, full_size=share.full_size, safety=safety,
        warm_up=wanted.warm_up, options=options_of(share.module.name, wanted.options))


def _too_hot(share: _Share, stop: SafetyStop | None) -> list[Trouble]:
    """The trouble of the GPU whose heat stopped all."""
    hot = [info.key for info in share.gpus if stop is not None and stop.subject in (info.bdf, info.key)]
    return [Trouble(gpus=tuple(hot), module=share.module.name, kind="too-hot", says=f"stopped for safety: {stop.says}",
                    help=HELP[stop.limit])] if hot and stop is not None and stop.limit in GPU_HEAT else []


def run_module(
    module: Stress, gpus: Sequence[GpuInfo], slots: Mapping[str, str], wanted: Wanted, *,
    stopping: Callable[[], bool] = lambda: False, seen: Seen = lambda module, worker, gpus, what: None,
    crossed: Callable[[SafetyStop | BlindStop], None] = lambda stop: None,
) -> tuple[StressResults, Watching]:
    """One module over the devices: a worker each, one for all of a backend, or one for the host."""
    ((results, watching),) = run_together(
        [module], gpus, slots, wanted, stopping=stopping, seen=seen, crossed=crossed)
    return results, watching


def run_together(
    modules: Sequence[Stress], gpus: Sequence[GpuInfo], slots: Mapping[str, str], wanted: Wanted, *,
    stopping: Callable[[], bool] = lambda: False, seen: Seen = lambda module, worker, gpus, what: None,
    crossed: Callable[[SafetyStop | BlindStop], None] = lambda stop: None,
) -> list[tuple[StressResults, Watching]]:
    """Several modules at the same time. One that has each GPU run alone first does so only when it is the only one.
    What is beyond a limit of `wanted.limits` ends all of them at once, and `crossed` is told."""
    shares = [_share(module, gpus, wanted) for module in modules]
    places = [(share, group) for share in shares for group in share.groups]
    tallies = {share.module.name: Tally(share.gpus) for share in shares}
    parts: dict[str, list[Part]] = {share.module.name: [] for share in shares}
    guarding = Guarding(gpus, wanted.limits, root=wanted.root, crossed=crossed)

    def halted() -> bool:
        return guarding.halted() or stopping()

    def heard(number: int, what: Told, before: int = 0) -> None:
        share, group = places[number]
        if isinstance(what, Watched):
            guarding.see(number, what.readings)
            tallies[share.module.name].add(what.readings)
            box = guarding.box()  # is no worker's, and goes into the record with what one of them read
            what = what if box is None else Watched((*what.readings, box))
        seen(share.module, before + number, group, what)

    if places:
        on_gpus = sum(share.module.scope != "host" for share, _ in places)
        orders = [spare(_order(share, wanted), on_gpus) for share, _ in places]
        with guarding, Crew(
            [group for _, group in places], environment=wanted.environment, silence_seconds=wanted.silence_seconds
        ) as crew:
            if len(shares) == 1 and shares[0].module.alone_first and len(places) > 1:
                parts[shares[0].module.name] += _alone(crew, orders, halted, heard, guarding.halted)
            beside = partial(heard, before=len(places))
            together = [Part(gpus=group, samples=(), trouble=None, stopped=True) for _, group in places] if (
                guarding.halted()) else crew.run(orders, stopping=halted, heard=beside, hurry=guarding.halted)
            guarding.load_ended()
            for (share, _), part in zip(places, together, strict=True):
                parts[share.module.name].append(part)
    safety = guarding.result()
    return [
        (_results(share, parts[share.module.name], slots, wanted, safety), tallies[share.module.name].result())
        for share in shares]


def _alone(
    crew: Crew, orders: Sequence[Run], stopping: Callable[[], bool],
    heard: Callable[[int, Told], None], hurry: Callable[[], bool],
) -> list[Part]:
    """Each worker by itself, one after the other, in half of the time between them."""
    parts: list[Part] = []
    for number, order in enumerate(orders):
        one = msgspec.structs.replace(
            order, seconds=order.seconds / 2 / len(orders), options={**order.options, "together": "no"})
        if not stopping():
            parts += crew.run([one] * len(orders), only=number, stopping=stopping, heard=heard, hurry=hurry)
    return parts
