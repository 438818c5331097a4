"""Rules about the machine around the GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.triage.rules import rule
from boxcheck.triage.rules.words import HARDWARE_ERRORS, gpu_failed, indices
from boxcheck.triage.scene import Diagnosis, Scene, Sighting, apart_seconds, gravest, helps, not_after

_WAKE = ("lockup", "kernel-panic", "oops", "nmi")
WAKE_SECONDS = 900.0
"""A hung task is told after 120 s and again every 120 s; a GPU that does not come back keeps its users waiting."""
STOP_SECONDS = 10.0
"""A fatal hardware error ends in a panic within the same second; the console may be slow."""


@rule("aftermath")
def aftermath(scene: Scene) -> Iterator[Diagnosis]:
    """The kernel hung, crashed or stopped after a GPU failed or the hardware reported an error: its wake.

    Why: a driver that waits for a GPU that does not answer holds the kernel up; an uncorrected hardware error stops it.
    Not: a fault of its own, as long as the first one stands.
    Source: kernel/hung_task.c, kernel/watchdog.c; drivers/acpi/apei/ghes.c (a fatal record ends in a panic).
    """
    wakes: dict[int, list[Sighting]] = {}
    for sighting in scene.of(*_WAKE, bad=True):
        for cause in scene.all:
            apart = apart_seconds(cause, sighting)
            if apart is None or not not_after(cause, sighting) or cause is sighting:
                continue
            if (gpu_failed(scene, cause) and apart <= WAKE_SECONDS) or (
                    cause.kind in HARDWARE_ERRORS and cause.event.severity == "fail" and apart <= STOP_SECONDS):
                wakes.setdefault(cause.index, []).append(sighting)
                break
    for index, group in wakes.items():
        cause = scene.by_index(index)
        name = scene.machine.name(cause.bdf) if cause.bdf is not None else "the hardware"
        yield Diagnosis(
            rule="", key=f"aftermath:{cause.event.kind}", title=f"the kernel {_what(group)} after {name} failed",
            where="the kernel", cause=cause.event.cause, sure="likely",
            because=(f"first: {cause.event.says}", *dict.fromkeys(sighting.event.says for sighting in group[:3])),
            events=indices(group), severity=gravest(group),
            help=("mend what failed first; it is a problem of its own here",),
            not_=("the processor or the kernel, first",),
        )


def _what(group: list[Sighting]) -> str:
    kinds = {sighting.kind for sighting in group}
    return "stopped" if "kernel-panic" in kinds else "crashed" if kinds & {"oops", "nmi"} else "was held up"


@rule("too-hot")
def too_hot(scene: Scene) -> Iterator[Diagnosis]:
    """Something was too hot, or slowed down for power.

    Why: what throttles is slower than it should be, and what reaches its limit shuts down.
    Not: a defect of the part itself, in most cases: cooling or supply first.
    Source: arch/x86/kernel/cpu/mce/therm_throt.c; NVML clocks event reasons; amdgpu's thermal interrupts.
    """
    for kind, title in (("thermal", "something became too hot"), ("throttled", "a GPU was slowed down"),
                        ("power-limit", "power is limited")):
        group = list(scene.of(kind, bad=True))
        if not group:
            continue
        where = ", ".join(dict.fromkeys(
            scene.machine.short(sighting.bdf) for sighting in group if sighting.bdf is not None)) or "the processor"
        yield Diagnosis(
            rule="", key=f"{kind}:", title=title, where=where, cause="power", sure="certain",
            because=tuple(dict.fromkeys(sighting.event.says for sighting in group))[:4], events=indices(group),
            severity=gravest(group), help=helps(group)[:4],
        )

