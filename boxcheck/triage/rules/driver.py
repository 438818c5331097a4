"""Rules about drivers, firmware and applications."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import Bdf
from boxcheck.triage.rules import rule
from boxcheck.triage.rules.words import HUNG, START_FAILED, counted, indices, is_lost, is_signal, wake_of
from boxcheck.triage.scene import Diagnosis, Scene, Sighting, gravest, helps, not_after, same_log

PROGRAM_XIDS = frozenset(("13", "31", "43", "45", "68", "69"))
"""Numbers that a faulty program causes on a GPU without a fault (NVIDIA's Xid catalogue: user application)."""
GSP_XIDS = frozenset(("119", "120"))


def _cards(sightings: list[Sighting]) -> list[str | None]:
    return list(dict.fromkeys(_card(sighting.bdf) for sighting in sightings))


def _card(bdf: Bdf | None) -> str | None:
    return bdf.rsplit(".", 1)[0] if bdf is not None else None


@rule("driver-mismatch")
def driver_mismatch(scene: Scene) -> Iterator[Diagnosis]:
    """NVIDIA's libraries and its kernel module are of different versions: packages, not hardware.

    Why: an upgrade replaced the libraries while the old module stays loaded until a reboot.
    Not: a GPU: nothing was asked of it.
    Source: NVIDIA's open kernel modules (the version check that logs API mismatch).
    """
    signs = list(scene.of("driver-mismatch"))
    if not signs:
        return
    failed = [sighting for sighting in scene.of("driver-missing", "nvidia-init-fail", bad=True)
              if sighting.kind == "driver-missing"]
    yield Diagnosis(
        rule="", key="driver-mismatch:", title="the NVIDIA libraries and the kernel module differ",
        where="the driver's packages", cause="driver", sure="certain",
        because=tuple(dict.fromkeys(sign.event.says for sign in signs)), events=indices(signs, failed),
        severity=gravest(signs), help=helps(signs), not_=("a GPU, slot or riser",),
    )


@rule("firmware-missing")
def firmware_missing(scene: Scene) -> Iterator[Diagnosis]:
    """A firmware file was not found, and the GPU did not start: the firmware package.

    Why: amdgpu loads its microcontrollers' firmware from linux-firmware; a kernel newer than the package asks for files
    that are not there yet.
    Not: the card.
    Source: drivers/base/firmware_loader/main.c; drivers/gpu/drm/amd/amdgpu/amdgpu_ucode.c.
    """
    missing = [sighting for sighting in scene.of("firmware-load-fail") if sighting.bad]
    for card in _cards(missing):
        mine = [sighting for sighting in missing if _card(sighting.bdf) == card]
        failed = [sighting for sighting in scene.of(*START_FAILED, bad=True)
                  if _card(sighting.bdf) in (card, None) and any(not_after(sign, sighting) for sign in mine)]
        if not failed:
            continue
        bdf = mine[0].bdf or failed[0].bdf
        yield Diagnosis(
            rule="", key=f"firmware:{bdf or ''}", title="firmware for the GPU is missing, so it did not start",
            where=scene.machine.where(bdf) if bdf is not None else "a GPU that the log does not name",
            cause="firmware", sure="likely",
            because=(*(sign.event.says for sign in mine[:3]), *(sighting.event.says for sighting in failed[:2])),
            events=indices(mine, failed), severity=gravest(failed),
            help=("install the newest linux-firmware package (a kernel from elsewhere needs firmware as new), rebuild"
                  " the initramfs, reboot", *helps(mine)),
            not_=("a broken card",),
        )


@rule("gpu-hung")
def gpu_hung(scene: Scene) -> Iterator[Diagnosis]:
    """An AMD GPU hung and its driver reset it, or could not.

    Why: a ring that does not move, a scheduler (MES) or power controller (SMU) that does not answer and the reset after
    it are one happening. A page fault just before points to the program or its libraries; a reset that fails, to
    firmware, power or the card.
    Not: the link, as long as its port reports no errors.
    Source: drivers/gpu/drm/amd/amdgpu/amdgpu_device.c (amdgpu_device_gpu_recover), mes_v11_0.c, smu_cmn.c.
    """
    hangs = [sighting for sighting in scene.free if sighting.kind in HUNG]
    named = [sighting for sighting in hangs if sighting.bad and sighting.bdf is not None]
    cards = _cards(named) if named else _cards([sighting for sighting in hangs if sighting.bad])
    if len(cards) > 1:
        cards += [None] if any(sighting.bad and sighting.bdf is None for sighting in hangs) else []
    for card in cards:
        # What names no card goes with the only one that hung, and with none where there are several.
        whose = (card, None) if len(cards) == 1 else (card,)
        mine = [sighting for sighting in hangs if _card(sighting.bdf) in whose]
        if _never_started(scene, card, mine):
            continue
        faults = [sighting for sighting in scene.of("amdgpu-page-fault") if _card(sighting.bdf) in whose]
        faults = [fault for fault in faults if any(same_log(fault, hang) for hang in mine)]
        # Only a fault before all else is where it began: a microcontroller that failed first leaves faults behind.
        before = [fault for fault in faults if all(not_after(fault, hang) for hang in mine)]
        after = [sighting for sighting in scene.free if _card(sighting.bdf) == card and card is not None and (
            is_lost(sighting) or sighting.kind in (*START_FAILED, "amdgpu-ras"))
            and any(not_after(hang, sighting) for hang in mine)]
        bdf = next((sighting.bdf for sighting in mine if sighting.bdf is not None), None)
        kinds = {sighting.kind for sighting in mine}
        because = list(dict.fromkeys(sighting.event.says for sighting in (*before, *mine, *after)))[:6]
        if before:
            cause, sure = "driver", "possible"
            because.append("a page fault came first: a program or its libraries used an address that is not mapped")
        elif "amdgpu-mes-fail" in kinds or "amdgpu-smu-fail" in kinds:
            cause, sure = "firmware", "likely"
            because.append("the GPU's own microcontroller stopped answering: firmware or driver version first")
        else:
            cause, sure = "driver", "possible"
        name = scene.machine.name(bdf) if bdf is not None else "an AMD GPU"
        yield Diagnosis(
            rule="", key=f"gpu-hung:{bdf or ''}", title=f"{name} hung" + _end(after),
            where=scene.machine.where(bdf) if bdf is not None else "a GPU that the log does not name",
            cause=cause, sure=sure,  # type: ignore[arg-type]
            because=tuple(because), events=indices(mine, faults, after), severity=gravest([*mine, *after]),
            help=helps([*mine, *before, *after])[:6],
            not_=("its link, as far as this evidence goes: no port reports an error for it",)
            if bdf is not None and not _link_errors(scene, bdf) else (),
        )


def _never_started(scene: Scene, card: str | None, hangs: list[Sighting]) -> bool:
    """Whether the card's firmware did not answer while its driver was starting it: no work ran on it yet."""
    started = any(sighting.kind in ("amdgpu-ring-timeout", "amdgpu-reset", "amdgpu-ring-reset") for sighting in hangs)
    return not started and any(
        _card(sighting.bdf) in (card, None) and any(same_log(sighting, hang) for hang in hangs)
        for sighting in scene.of("amdgpu-init-fail", bad=True))


def _end(after: list[Sighting]) -> str:
    if any(is_lost(sighting) for sighting in after):
        return " and was lost"
    return " and did not come back" if after else ""


def _link_errors(scene: Scene, bdf: Bdf) -> bool:
    link = scene.machine.slot_link(bdf)
    return any(scene.on_link(sighting, link) and is_signal(sighting) for sighting in scene.all)


@rule("gpu-did-not-start")
def gpu_did_not_start(scene: Scene) -> Iterator[Diagnosis]:
    """A driver could not start a GPU, and nothing in the evidence says why: driver and firmware versions first.

    Why: several cards that do not start share the driver and its firmware. One of several that are alike points to that
    card, its slot or its power plugs.
    Not: its link, as long as its port reports no errors.
    Source: drivers/gpu/drm/amd/amdgpu/amdgpu_device.c (amdgpu_device_ip_init); NVIDIA's RmInitAdapter messages.
    """
    failed = list(scene.of(*START_FAILED, bad=True))
    if not failed:
        return
    failed += [sighting for sighting in scene.of(*HUNG, bad=True) if any(
        _card(sighting.bdf) in (_card(one.bdf), None) for one in failed)]
    cards = [card for card in _cards(failed) if card is not None]
    named = [bdf for bdf in dict.fromkeys(sighting.bdf for sighting in failed) if bdf is not None]
    names = ", ".join(scene.machine.short(bdf) for bdf in named[:8])
    others = [gpu for gpu in scene.machine.gpus() if _card(gpu) not in cards]
    one_of_many = len(cards) == 1 and len(others) > 0
    because = list(dict.fromkeys(sighting.event.says for sighting in failed[:4]))
    if len(cards) > 1:
        because.append("several cards at once share the driver and its firmware")
    elif one_of_many:
        because.append(f"the {len(others)} other GPUs are not in these lines: the card, its slot or its power plugs")
    yield Diagnosis(
        rule="", key="gpu-start:" + (named[0] if len(named) == 1 else ""),
        title=f"{len(cards)} GPUs did not start" if len(cards) > 1 else f"{names or 'a GPU'} did not start",
        where=scene.machine.where(named[0]) if len(named) == 1 else names or "a GPU that the log does not name",
        cause="firmware" if not one_of_many else None, sure="possible", because=tuple(because),
        events=indices(failed), severity=gravest(failed), help=_start_steps(failed, len(cards)),
    )


def _start_steps(failed: list[Sighting], cards: int) -> tuple[str, ...]:
    if cards < 2:
        return helps(failed)[:6]
    return (
        "power the machine off and on (a warm reboot may leave firmware hung)",
        "update kernel, linux-firmware and the driver together, to versions that know these cards",
        "read the first error of the first card in the log: what follows repeats it",
    )


@rule("gsp-timeout")
def gsp_timeout(scene: Scene) -> Iterator[Diagnosis]:
    """An NVIDIA GPU's own processor (GSP) stopped answering the driver: driver and firmware first.

    Why: Xid 119 and 120 are time-outs and errors of the GSP, whose firmware comes with the driver.
    Not: an application, in most cases; the link, as long as its port reports no errors.
    Source: NVIDIA's Xid catalogue (119, 120).
    """
    signs = list(scene.of("xid", labels=GSP_XIDS)) + list(scene.of("gsp-timeout"))
    for card in _cards(signs):
        mine = [sighting for sighting in signs if _card(sighting.bdf) == card]
        after = [sighting for sighting in scene.of("xid", "nvidia-init-fail") if sighting not in mine
                 and _card(sighting.bdf) == card and any(not_after(sign, sighting) for sign in mine)]
        bdf = mine[0].bdf
        name = scene.machine.name(bdf) if bdf is not None else "a GPU"
        yield Diagnosis(
            rule="", key=f"gsp:{bdf or ''}", title=f"{name}: its GSP does not answer",
            where=scene.machine.where(bdf) if bdf is not None else "a GPU that the log does not name", cause="firmware",
            sure="likely", because=tuple(dict.fromkeys(counted(sign) for sign in (*mine, *after)))[:4],
            events=indices(mine, after), severity=gravest(mine), help=helps([*mine, *after])[:5],
            not_=("a riser or slot, as far as this evidence goes: no port reports an error for it",)
            if bdf is not None and not _link_errors(scene, bdf) else (),
        )


@rule("program-faults")
def program_faults(scene: Scene) -> Iterator[Diagnosis]:
    """Only errors that a program can cause: look at the program before the GPU.

    Why: an access to an address that is not mapped, a channel that was killed, a kernel that ran into an exception:
    the GPU stopped the program, as it should.
    Not: proof that the GPU is sound: bad memory can show itself so, mostly on one GPU only and with any program.
    Source: NVIDIA's Xid catalogue (13, 31, 43, 45: user application).
    """
    graver = [sighting for sighting in scene.of("xid", bad=True) if not set(sighting.labels) & PROGRAM_XIDS]
    wake = wake_of(scene, graver)
    signs = [sighting for sighting in scene.of("xid", labels=PROGRAM_XIDS) if sighting not in wake]
    if not signs:
        return
    cards = _cards(signs)
    names = tuple(dict.fromkeys(
        f"program {sign.event.process}" for sign in signs if sign.event.process))[:3]
    where = ", ".join(dict.fromkeys(scene.machine.short(sign.bdf) for sign in signs if sign.bdf is not None))
    yield Diagnosis(
        rule="", key="program:",
        title="a program failed on " + (f"{len(cards)} GPUs" if len(cards) > 1 else where or "a GPU"),
        where=where or "a GPU that the log does not name", cause="driver",
        sure="likely" if len(cards) > 1 or len(names) == 1 else "possible",
        because=(*dict.fromkeys(counted(sign) for sign in signs[:4]), *names),
        events=indices(signs), severity=gravest(signs),
        help=("run the program under compute-sanitizer; run another one on the same GPU",
              "always the same GPU, whatever runs: test its memory (boxcheck doctor nvidia shows its ECC counters)"),
        not_=("a link or power fault: none of these numbers is",),
    )
