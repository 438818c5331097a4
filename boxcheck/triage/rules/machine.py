"""Rules about the machine around the GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.triage.rules import rule
from boxcheck.triage.rules.words import gpu_failed, indices
from boxcheck.triage.scene import Diagnosis, Scene, apart_seconds, gravest, helps, not_after

AFTERMATH_SECONDS = 900.0
"""A hung task is told after 120 s and again every 120 s; a GPU that does not come back keeps its users waiting."""


@rule("hang-after-gpu")
def hang_after_gpu(scene: Scene) -> Iterator[Diagnosis]:
    """Tasks or processors were stuck after a GPU failed: the failure's wake, not a fault of its own.

    Why: a driver that waits for a GPU that does not answer holds the kernel up.
    Not: the processor.
    Source: kernel/hung_task.c, kernel/watchdog.c.
    """
    causes = [sighting for sighting in scene.all if gpu_failed(scene, sighting)]
    stuck = []
    for sighting in scene.of("lockup", "kernel-warning", bad=True):
        for cause in causes:
            apart = apart_seconds(cause, sighting)
            if not_after(cause, sighting) and apart is not None and apart <= AFTERMATH_SECONDS:
                stuck.append((cause, sighting))
                break
    if not stuck:
        return
    cause = stuck[0][0]
    waiting = [sighting for _, sighting in stuck]
    name = scene.machine.name(cause.bdf) if cause.bdf is not None else "the GPU"
    yield Diagnosis(
        rule="", key="aftermath:", title=f"the kernel was held up after {name} failed", where="the processor",
        cause=cause.event.cause, sure="likely",
        because=(f"{name} failed first: {cause.event.says}",
                 *dict.fromkeys(sighting.event.says for sighting in waiting[:3])),
        events=indices(waiting), severity=gravest(waiting),
        help=("mend what failed first; see the problem above",), not_=("the processor, first",),
    )


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

