"""Width, speed and presence of links out of lspci, each judged as a pair of ports.

Width does not change at rest, so it is judged as it stands, against what both ends can do. Speed does: a GPU lowers it
by itself, so a low speed is a fault only where a port aims no higher, and otherwise must be read under load. lspci's
own `(downgraded)` compares an end with itself alone and is printed for idle GPUs and for narrow slots alike.

Source  PCI Express Base Specification, 7.5.3.6 to 7.5.3.20 (LnkCap to LnkSta2, SltSta); pciutils ls-caps.c
        (`link_compare`).
"""

from __future__ import annotations

from collections.abc import Iterator

from boxcheck.decode.klog.events import Event
from boxcheck.decode.lspci import LspciFunction
from boxcheck.decode.pci_link import LEGAL_WIDTHS
from boxcheck.model import Bdf
from boxcheck.triage.tools.card_form import is_mobile
from boxcheck.triage.tools.lspci_event import RESEAT, UNDER_LOAD, called, event, gpus_text
from boxcheck.triage.tools.lspci_scene import Gpu, Link, Scene, short
from boxcheck.triage.tools.steps import LOG_AROUND, NARROW_HELP

_LOST_REASONS = {0: "an uncorrectable error at the port itself", 1: "a non-fatal error message from below",
                 2: "a fatal error message from below", 3: "a root port error or software"}


def link_events(scene: Scene) -> Iterator[Event]:
    """Every judgement of a link, in the order of the text."""
    judged: set[Bdf] = set()
    for link in scene.links:
        yield from _port(scene, link)
        if link.below is None:
            yield from _below_unseen(link)
            continue
        if link.below.gone:
            continue
        if link.below.bdf is not None:
            judged.add(link.below.bdf)
        yield from _pair(scene, link)
    for gpu in scene.gpus:
        if gpu.bdf not in judged and not gpu.integrated and not gpu.function.gone:
            yield from _alone(scene, gpu)
    for function in scene.nameless:
        yield from _nameless(function)


def _best(*values: float | None) -> float | None:
    """The smallest, None as soon as one is not known."""
    known = [value for value in values if value is not None]
    return min(known) if len(known) == len(values) else None


def _subject(link: Link) -> tuple[Bdf | None, str]:
    """Whom an event about a link names: the GPU whose slot it is, else what hangs below."""
    assert link.below is not None
    if len(link.gpus) == 1:
        return link.gpus[0].bdf, gpus_text(link.gpus)
    return link.below.bdf, gpus_text(link.gpus) if link.gpus else ""


def _pair(scene: Scene, link: Link) -> Iterator[Event]:
    below = link.below
    assert below is not None
    bdf, name = _subject(link)
    who = name or called(scene, below)
    if (link.port.width in LEGAL_WIDTHS and below.width in LEGAL_WIDTHS and link.port.width != below.width):
        yield event(
            below, "link-ends-disagree", "info", None,
            f"the ends of the link of {who} do not agree: the port says x{link.port.width}, the card x{below.width}",
            bdf=bdf, limited_at=link.port.bdf,
            help=(f"sudo lspci -vv -s {short(link.port.bdf)}  reads the port again",))
        return
    yield from _pair_width(link, below, bdf, who)
    if not link.on_card:
        yield from _pair_speed(scene, link, below, bdf, who)


def _lanes(link: Link, below: LspciFunction) -> int | None:
    """How many lanes the lower end has: its own register, else what the database knows of the card."""
    if below.max_width is not None or len(link.gpus) != 1:
        return below.max_width
    gpu = link.gpus[0]
    return gpu.part.link_width if gpu.part is not None and gpu.bdf == below.bdf else None


def _below_unseen(link: Link) -> Iterator[Event]:
    """A port that has a link, in a text that does not show what is below it (`lspci -s`)."""
    port = link.port
    width, most = port.width, port.max_width
    if width not in LEGAL_WIDTHS or most not in LEGAL_WIDTHS or width is None or most is None or width >= most:
        return
    yield event(
        port, "link-width", "info", None,
        f"the port{slot_text(port)} trained x{width} of its x{most}; what hangs below, and how many lanes it has, is "
        "not in this text", labels=(f"x{width} of x{most}",), width=width, speed_gts=port.speed_gts, capable_width=most,
        help=("sudo lspci -vvv, whole, shows both ends",))


def _pair_width(link: Link, below: LspciFunction, bdf: Bdf | None, who: str) -> Iterator[Event]:
    capable = _best(link.port.max_width, _lanes(link, below))
    width = link.port.width if link.port.width in LEGAL_WIDTHS else below.width
    if width not in LEGAL_WIDTHS or capable is None or width is None or width >= capable:
        return
    place = "inside the card" if link.on_card else f"port {short(link.port.bdf)}"
    yield event(
        below, "link-width", "fail" if link.gpus and not link.on_card else "warn", "signal",
        f"the link of {who} trained x{width} where both ends can do x{capable:.0f} ({place})",
        bdf=bdf, limited_at=link.port.bdf, labels=(f"x{width} of x{capable:.0f}",), width=width,
        speed_gts=link.port.speed_gts, capable_width=int(capable), help=RESEAT)


def _pair_speed(scene: Scene, link: Link, below: LspciFunction, bdf: Bdf | None, who: str) -> Iterator[Event]:
    capable = _best(link.port.best_speed_gts, below.best_speed_gts)
    speed = link.port.speed_gts if link.port.speed_gts is not None else below.speed_gts
    if capable is None or speed is None or speed >= capable or not link.port.width:
        return
    more = {
        "bdf": bdf, "limited_at": link.port.bdf, "labels": (f"{speed:g} of {capable:g} GT/s",), "speed_gts": speed,
        "width": link.port.width, "capable_speed_gts": capable,
    }
    for end, target in ((link.port, link.port.target_speed_gts), (below, below.target_speed_gts)):
        if target is not None and target < capable:
            yield event(
                below, "link-speed", "warn", "config",
                f"the link of {who} is capped: {short(end.bdf)} aims for {target:g} GT/s, both ends can do {capable:g}",
                help=("BIOS setup: PCIe link speed of that slot to Auto or the highest generation",
                      "a kernel that once failed to train the link holds it down too: look for `retraining` in dmesg"),
                **more)
            return
    rests = link.gpus and (below.bdf in scene.gpu_at or scene.own_switch(below))
    if rests:
        yield event(
            below, "link-speed", "info", None,
            f"the link of {who} ran at {speed:g} GT/s of {capable:g} when it was read; GPUs lower it at rest",
            help=(UNDER_LOAD.format(bdf=short(link.port.bdf)),), **more)
        return
    yield event(
        below, "link-speed", "warn", "signal",
        f"the link of {who} trained at {speed:g} GT/s where both ends can do {capable:g}, and such devices do not "
        "lower it at rest", help=RESEAT, **more)


def _alone(scene: Scene, gpu: Gpu) -> Iterator[Event]:
    """A GPU without the port above it in the text: its own end alone, which cannot tell a narrow slot from a fault.
    What grep left of it may lack what the card can do: then the database tells, or lspci's own mark."""
    function = gpu.function
    if gpu.has_own_switch:
        return
    who = f"the {gpu.name}"
    more = {"speed_gts": function.speed_gts, "width": function.width}
    if function.width == 0:
        yield event(
            function, "link-width", "warn", None, f"{who} answers, and reports a link of no lanes (x0)", labels=("x0",),
            help=("the port above tells more: sudo lspci -vvv, whole",), **more)
        return
    width, most = function.width, function.max_width or (gpu.part.link_width if gpu.part is not None else None)
    most = most if most in LEGAL_WIDTHS else None
    narrower = function.width_mark == "downgraded" if most is None else (width or most) < most
    if width in LEGAL_WIDTHS and narrower:
        mobile = is_mobile(function.name)
        can = f" of the x{most} that it can do" if most is not None else ", fewer lanes than it can do"
        yield event(
            function, "link-width", "info" if mobile else "warn", None,
            f"{who} trained x{width}{can}"
            + (", as many laptops are wired" if mobile else "; how many its slot has is not in this text"),
            labels=(f"x{width} of x{most}" if most is not None else f"x{width}",), capable_width=most,
            help=NARROW_HELP, **more)
    speed, top = function.speed_gts, function.best_speed_gts
    if speed is None or top is None or speed >= top:
        return
    target = function.target_speed_gts
    if target is not None and target < top:
        says = f"{who} runs at {speed:g} GT/s and aims for {target:g} of the {top:g} that it can do"
        yield event(
            function, "link-speed", "warn", "config", says, labels=(f"{speed:g} of {top:g} GT/s",),
            capable_speed_gts=top, help=("BIOS setup: PCIe link speed of that slot to Auto",), **more)
        return
    yield event(
        function, "link-speed", "info", None,
        f"{who} ran at {speed:g} GT/s of {top:g} when it was read; GPUs lower it at rest, and its slot may do no more",
        labels=(f"{speed:g} of {top:g} GT/s",), capable_speed_gts=top,
        help=(UNDER_LOAD.format(bdf=short(gpu.bdf)),), **more)


def _nameless(function: LspciFunction) -> Iterator[Event]:
    """Registers found by grep: lspci's own marks are all that tells."""
    if function.speed_gts is None and function.width == 0:
        return
    if function.width_mark == "downgraded":
        yield event(
            function, "link-width", "info", None,
            f"a device trained x{function.width}, fewer lanes than it can do; which one, and what its slot has, is not "
            "in this text", labels=(f"x{function.width}",), width=function.width,
            help=("sudo lspci -vvv, whole, names the device and the port above it",))
    if function.speed_mark == "downgraded":
        yield event(
            function, "link-speed", "info", None,
            f"a device ran at {function.speed_gts:g} GT/s, slower than it can do; GPUs lower it at rest"
            if function.speed_gts is not None else "a device ran slower than it can do; GPUs lower it at rest",
            speed_gts=function.speed_gts, help=("sudo lspci -vvv, whole, while the device works",))


def _port(scene: Scene, link: Link) -> Iterator[Event]:
    """A port that holds its link down, or that feels a card and has no link."""
    port = link.port
    slot = slot_text(port)
    if port.dpc_triggered:
        reason = _LOST_REASONS.get(port.dpc_reason if port.dpc_reason is not None else -1, "an error")
        yield event(
            port, "dpc", "fail", "signal",
            f"the port{slot} holds its link down (Downstream Port Containment) after {reason}",
            labels=(f"reason {port.dpc_reason}",),
            help=(LOG_AROUND,
                  "a reboot, or power off and on, releases it; then look at what hangs below"))
        return
    alive = link.below is not None and not link.below.gone
    if not port.presence or not port.dll_reporting or port.dll_active is not False or alive:
        return
    if port.slot_implemented is False or port.link_disabled or port.power_off or link.below is not None:
        return
    yield event(
        port, "link-down", "warn" if port.hot_plug else "info", "signal",
        f"the port{slot} feels a card (PresDet+) and has no link to it (DLActive-)"
        + ("" if port.hot_plug else "; without hot-plug support some slots always say that a card is there"),
        labels=(f"slot {port.slot_number}",) if port.slot_number else (),
        help=("an empty slot with closed presence pins looks the same: is a card in it?",
              "power off; check every power lead of the card, reseat both ends of its riser, try it without the riser"))


def slot_text(port: LspciFunction) -> str:
    """` (slot 3)`, empty where the port has no number of its own."""
    return f" (slot {port.slot_number})" if port.slot_number else ""
