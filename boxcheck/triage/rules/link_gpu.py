"""The rule about a link that takes its GPU with it."""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.model import Bdf
from boxcheck.triage.machine import bus_of
from boxcheck.triage.rules import rule
from boxcheck.triage.rules.links import direction, goes_with, is_training, trouble
from boxcheck.triage.rules.words import (
    AER,
    DROPPED_LABELS,
    LINK_TROUBLE,
    READ_BOTH_ENDS,
    SWAP,
    gpu_failed,
    indices,
    is_lost,
    is_narrow,
    is_signal,
    reseat,
    sign_text,
    wake_of,
)
from boxcheck.triage.scene import Diagnosis, Scene, Sighting, Sure, apart_seconds, gravest, not_after, span_text

FALL_SECONDS = 2.0
GUESS_SECONDS = 60.0
"""A port and a GPU of which no evidence says that they belong together: only this near is it worth a guess."""


@rule("link-took-the-gpu")
def link_took_the_gpu(scene: Scene) -> Iterator[Diagnosis]:
    """A link failed, and the GPU behind it with it: it is the link, not the GPU.

    Why: a card whose packets arrive damaged looks broken to its driver: it does not start, times out, or is gone. The
    port's own errors say that the wire went first.
    Not: the driver or the GPU's firmware, as long as the link shows errors.
    Source: PCI Express Base Specification 6.2 (which errors are the link's); Linux Documentation/PCI/pcieaer-howto.
    """
    for failed in [sighting for sighting in scene.free if gpu_failed(scene, sighting) and sighting.bdf is not None]:
        if failed not in scene.free or failed.bdf is None:
            continue
        link = scene.machine.slot_link(failed.bdf)
        signs = [sign for one in dict.fromkeys((scene.machine.link(failed.bdf), link))
                 for sign in trouble(scene, one) if goes_with(sign, failed)]
        guessed = not signs
        if guessed:
            signs = _guess(scene, failed)
        if not signs or all(is_training(sign) for sign in signs):
            continue
        with_it = [
            sighting for sighting in scene.free
            if sighting.bdf is not None and scene.machine.same_card(sighting.bdf, failed.bdf)
            and (gpu_failed(scene, sighting) or is_lost(sighting))]
        with_it += wake_of(scene, [failed, *with_it])
        with_it += _same_fall(scene, failed, signs)
        with_it += [sighting for sighting in scene.free if is_narrow(sighting) and sighting.link == link]
        yield _took(scene, link if not guessed else signs[0].link or link, failed, signs, with_it, guessed)


def _same_fall(scene: Scene, failed: Sighting, signs: list[Sighting]) -> list[Sighting]:
    """What the ports of these links reported within a second or two of the loss: requests that nobody answered any
    more, devices that were not brought back."""
    links = {sign.link for sign in signs} | {failed.link}
    found = []
    for sighting in scene.of(*AER, "aer-recovery-failed", "link-down"):
        apart = apart_seconds(failed, sighting)
        if sighting.link in links and apart is not None and apart <= FALL_SECONDS:
            found.append(sighting)
    return found


def _guess(scene: Scene, failed: Sighting) -> list[Sighting]:
    """The one port with damage just before, where no evidence says what hangs below it."""
    near = []
    for sign in scene.free:
        apart = apart_seconds(sign, failed)
        if (is_signal(sign) and sign.bdf is not None and not scene.machine.below(sign.bdf)
                and not scene.machine.is_gpu(sign.bdf) and apart is not None and apart <= GUESS_SECONDS
                and not_after(sign, failed)):
            near.append(sign)
    failures = {sighting.bdf for sighting in scene.all if gpu_failed(scene, sighting)}
    return near if len({sign.bdf for sign in near}) == 1 and len(failures) == 1 else []


def _took(
    scene: Scene, link: Bdf, failed: Sighting, signs: list[Sighting], with_it: list[Sighting], guessed: bool
) -> Diagnosis:
    assert failed.bdf is not None
    gpu = scene.machine.name(failed.bdf)
    # Lanes or speed that a link lost are the strongest fact, and a bit that stands since nobody knows when the weakest.
    order = sorted(signs, key=lambda sign: (sign.kind not in LINK_TROUBLE, not sign.log, sign.index))
    because = [sign_text(sign) for sign in order[:4]]
    apart = next((one for sign in signs if (one := apart_seconds(sign, failed)) is not None), None)
    when = f", {span_text(apart)} after the first sign" if apart is not None else ""
    because.append(f"then {gpu}: {failed.event.says}{when}")
    if guessed:
        because.append(f"no evidence says what hangs below {bus_of(link)}: this GPU is a guess, from the time")
    because += [text for sign in signs if (text := direction(scene, sign)) is not None][:1]
    dropped = any(set(sign.labels) & DROPPED_LABELS or sign.kind == "link-down" for sign in signs)
    sure: Sure = "possible" if guessed else "likely"
    steps = (
        "power off; check the card's power plugs, then reseat the card and both ends of its riser; power on",
        READ_BOTH_ENDS, SWAP,
    ) if dropped else (reseat(scene, link), READ_BOTH_ENDS, SWAP)
    return Diagnosis(
        rule="", key=f"link:{link}", title=f"the link of {gpu} failed, and the GPU with it",
        where=scene.machine.where(link if not guessed else failed.bdf), cause="signal", sure=sure,
        because=tuple(dict.fromkeys(because)), events=indices(signs, with_it, [failed]),
        severity=gravest([*signs, failed, *with_it]),
        help=steps, not_=("the GPU itself, first: its link failed before it did", "a driver bug: it cannot damage "
                          "packets on the wire"),
    )
