"""The time between the end of a session that was cut off and the one that goes on: what can be said of it afterwards.

A killed engine leaves the following of the log, the devices and the memory open, and nothing that happened from then on
was told. Two things are left: the kernel's log of that boot, which is read once (aftermath.py), and the list of
devices, which is compared with the one from before when the run is gone on with. Each closes its own gap, with what it
found as happenings like those that are told live; what neither shows stays a gap. A list of devices does not show one
that left and came back, so it closes a gap only where the log of that time was read as well.

The log is one of this boot, or the journal of a boot that was shut down in order: of one that went down abruptly the
journal may lack its last minutes (journald.conf(5), SyncIntervalSec=), and a file in /var/log tells no monotonic time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from boxcheck.decode.klog import parse_log
from boxcheck.decode.pci_config import ConfigSpace
from boxcheck.engine.around import happenings_in
from boxcheck.engine.inspect import Facts, read_facts
from boxcheck.engine.leftovers import End
from boxcheck.engine.removable import DRIVES, USB4_CLASS, can_hot_plug
from boxcheck.engine.surroundings import happening_of_log
from boxcheck.engine.watch_judging import BEFORE, facts_in
from boxcheck.host.live import LiveHost
from boxcheck.model import Bdf, Unread
from boxcheck.probes.gpus import DISPLAY_CLASSES, GPU_VENDORS
from boxcheck.probes.pci import PciFunction, PciInventory
from boxcheck.store.errors import StoreError
from boxcheck.store.reader import RunReader
from boxcheck.stress.happenings import Concerned, Detail, Happening, Severity
from boxcheck.telemetry.links import ports_above

BEFORE_SECONDS = 60.0
"""The log is read from this long before the last record: a look that hung told nothing, and clocks drift."""
AFTER_SECONDS = 60.0
"""Workers end with their engine; what a box that stays up logs later is not of the run."""
OF_SESSION = "session "
"""How the label of a bridge begins that says after which session it stands."""
_STAMP = re.compile(rb"\[\s*([0-9]+\.[0-9]+)\]")


def bridge_log(
    reader: RunReader, text: bytes, end: End, where: str, orderly: str, root: str = "/", *, session: int,
    until: float | None = None,
) -> list[Happening]:
    """What the log of the time after a session's last record told, and that the gap is closed; nothing where it does
    not reach over that time. `where`: where it was read, `orderly`: that the boot was shut down in order, in words;
    `until`: of this boot's clock, AFTER_SECONDS after the last record by default."""
    if not where or where.startswith("/") or (end.rebooted and not orderly):
        return []
    first = end.last_seconds - BEFORE_SECONDS
    whole = parse_log(text)
    if whole.first_seconds is None or whole.first_seconds > max(first, 0.0) + 1.0 or whole.truncated:
        return []  # its beginning was overwritten, and may have told of it
    last = float("inf") if end.rebooted else end.last_seconds + AFTER_SECONDS if until is None else until
    told = {(one.kind, one.detail.bdf, one.detail.labels) for one in happenings_in(reader)}
    gpus = _gpus(reader)
    below = _below(gpus, root)
    found = []
    for event in parse_log(_within(text, first, last)).events:
        known = (event.kind, event.bdf, event.labels) in told
        if event.severity == "benign" or (known and isinstance(event.last, float) and event.last <= end.last_seconds):
            continue
        gpu = None if event.bdf is None else gpus.get(event.bdf.rsplit(".", 1)[0]) or below.get(event.bdf)
        found.append(happening_of_log(event, event.count, gpu))
    after = f"{AFTER_SECONDS:.0f} s" if until is None and not end.rebooted else "time"
    closed = f"of the {after} after it was cut off, {where} was read afterwards"
    return [
        *found, Happening(kind="log-bridged", says=closed, detail=Detail(
            source="log", state="bridged", labels=(f"{OF_SESSION}{session}",))),
        # EDAC writes each error that it counts into the kernel's log (edac_mc_log_ce, edac_mc_log_ue: on by default).
        Happening(kind="memory-bridged", says=closed, detail=Detail(source="memory", state="bridged"))]


def bridged_sessions(reader: RunReader) -> set[int | None]:
    """Sessions of which the log of the time after was read. None: one of which the store does not tell the number."""
    return {
        next((int(word.removeprefix(OF_SESSION)) for word in one.detail.labels if re.fullmatch(
            f"{OF_SESSION}[0-9]{{1,9}}", word)), None)
        for one in happenings_in(reader) if one.detail.source == "log" and one.detail.state == "bridged"}


def _within(text: bytes, first: float, last: float) -> bytes:
    """Lines of a time; one without a stamp belongs to the line before."""
    found, inside = [], False
    for line in text.splitlines():
        stamp = _STAMP.search(line[:48])
        if stamp is not None:
            inside = first <= float(stamp[1]) <= last
        if inside:
            found.append(line)
    return b"\n".join(found)


def _gpus(reader: RunReader) -> Mapping[str, Concerned]:
    """GPUs of the run by address without function."""
    return {
        info.bdf.rsplit(".", 1)[0]: Concerned(info.bdf, info.key, info.name, phase.start.slots.get(info.key))
        for phase in reader.phases() if phase.start is not None for info in phase.start.gpus if info.bdf is not None}


def _below(gpus: Mapping[str, Concerned], root: str) -> Mapping[Bdf, Concerned | None]:
    found: dict[Bdf, Concerned | None] = {}
    for one in gpus.values():
        for port in ports_above(root.rstrip("/"), one.bdf)[:-1]:
            found[port] = None if port in found else one
    return found


def bridge_devices(path: str, now: PciInventory | Unread | None = None, *, closes: bool) -> list[Happening]:
    """Devices that were there when a run began and are not when it is gone on with; nothing where one of both was not
    read. `now`: of this machine, which is read by default; `closes`: whether the gap is closed by that."""
    if now is None:
        now = _inventory(read_facts(LiveHost(), {PciInventory}))
    try:
        with RunReader(path) as reader:
            before = _inventory(facts_in(reader, BEFORE))
            told = {one.detail.bdf for one in happenings_in(reader) if one.detail.source == "devices"}
            gpus = _gpus(reader)
    except StoreError:
        return []
    if isinstance(before, Unread) or isinstance(now, Unread):
        return []
    found = [
        _missing(one, before, gpus) for one in _gone(before, now)
        if one.bdf not in told and not any(port.bdf in told for port in before.ancestors(one.bdf))]
    says = "the devices were compared with those before it was cut off; what happened in between was not seen"
    return [*found, *([Happening(
        kind="devices-bridged", says=says, detail=Detail(source="devices", state="bridged"))] if closes else [])]


def _inventory(facts: Facts | None) -> PciInventory | Unread:
    if facts is None:
        return Unread("nothing was read of the machine", "absent")
    found = facts.of(PciInventory)
    return found if isinstance(found, Unread) or found.unreadable is None else found.unreadable


def _gone(before: PciInventory, now: PciInventory) -> Iterator[PciFunction]:
    """Functions of which there are fewer, those above first and nothing below them. By what they are, and not by
    address alone: a start may give every bus another number."""
    left = Counter(map(_identity, before.functions.values()))
    left.subtract(map(_identity, now.functions.values()))
    gone: set[Bdf] = set()
    for bdf, one in sorted(before.functions.items(), key=lambda item: len(list(before.ancestors(item[0])))):
        if left[_identity(one)] > 0 and bdf not in now.functions:
            left[_identity(one)] -= 1
            taken = any(port.bdf in gone for port in before.ancestors(bdf)) or Bdf(f"{bdf[:-1]}0") in gone
            gone.add(bdf)
            if not taken:
                yield one
    for bdf, one in before.functions.items():  # addresses moved: that one is missing is known, and not which
        if left[_identity(one)] > 0 and bdf not in gone:
            left[_identity(one)] -= 1
            yield one


def _identity(one: PciFunction) -> tuple[int, int, int | None, int]:
    return one.vendor, one.device, one.subsystem_device, one.class_code


def _missing(one: PciFunction, before: PciInventory, gpus: Mapping[str, Concerned]) -> Happening:
    below = [at for at in before.functions if any(port.bdf == one.bdf for port in before.ancestors(at))]
    lost = tuple(filter(None, (_gpu(before.functions[bdf], gpus) for bdf in (one.bdf, *below))))
    severity: Severity = "fail" if lost else "info" if _may_leave(one, before) else "warn"
    itself = len(lost) == 1 and lost[0].bdf == one.bdf
    name = "" if itself else f"device {one.bdf} "
    return Happening(
        kind="device-left", severity=severity,
        says=f"{name}was there before the run was cut off, and not when it was gone on with",
        detail=Detail(
            source="devices", bdf=one.bdf, name="" if lost else f"device {one.bdf}", gpus=lost, lost=bool(lost)))


def _gpu(one: PciFunction, gpus: Mapping[str, Concerned]) -> Concerned | None:
    if one.class_code >> 8 not in DISPLAY_CLASSES or one.vendor not in GPU_VENDORS or one.virtual_function:
        return None
    return gpus.get(one.bdf.rsplit(".", 1)[0]) or Concerned(one.bdf, "", "GPU")


def _may_leave(one: PciFunction, before: PciInventory) -> bool:
    return one.virtual_function or one.class_code == USB4_CLASS or (one.class_code >> 8 not in DRIVES and any(
        isinstance(port.config, ConfigSpace) and can_hot_plug(port.config) for port in before.ancestors(one.bdf)))
