"""Counters that are read between the phases of a run: a snapshot, and what grew from one to the next.

Reads   `config` of each port on the way to a GPU (Link Status)                                                (root)
        replays and bytes of the links as NVML and amdgpu count them; /proc/interrupts, lines of `PCIe bwctrl`
        /sys/devices/system/edac/mc/mc*/{ce,ue}_count                                                     (any user)
Since   `PCIe bwctrl` Linux 6.13
By hand sudo setpci -s 40:01.1 CAP_EXP+12.w (bit 14 LBMS, 15 LABS); nvidia-smi -q | grep -i replay

`python -m boxcheck.telemetry.boundary` takes `[["0000:41:00.0", "10de"], ...]` on standard input and prints a
Snapshot: a driver that hangs while it is asked hangs that process alone.

LBMS says that a port retrained its link, or lowered it to keep it working; LABS that the link changed its width or
speed by itself for another reason, as a GPU does to save power. Both stay until somebody writes 1 to them, which
nothing here does; the kernel's bandwidth controller clears them as they come, and its interrupts tell instead
(drivers/pci/pcie/bwctrl.c), of either kind.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

import msgspec

from boxcheck.decode.pci_config import decode_config
from boxcheck.model import Bdf, Unread
from boxcheck.probes.pcie_runtime import parse_link_changes
from boxcheck.telemetry.files import SysFile, names_in, text_of
from boxcheck.telemetry.instruments import Instruments
from boxcheck.telemetry.links import DEVICES
from boxcheck.telemetry.readings import GpuReading, GpuSilent, LinkReading

EDAC = "/sys/devices/system/edac/mc"
CONFIG_BYTES = 256
"""All that is needed of it: the PCI Express capability lies there."""
MANY_BYTES = 4 << 20
"""/proc/interrupts of a machine with 256 processors has half of that."""
NO_ROOT = Unread("its Link Status lies beyond the 64 bytes that an ordinary user reads", "permission")


class PortBits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one port on the way to a GPU shows."""

    managed: bool | None | Unread = None
    """LBMS. None where the port is no upper end of a link, or cannot tell."""
    autonomous: bool | None | Unread = None
    """LABS."""
    notified: int | None | Unread = None
    """Interrupts of the kernel's bandwidth controller; None before Linux 6.13 and where no line names the port."""


class GpuCounters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a GPU's driver counts of its link."""

    replays: int | None | Unread = None
    received_bytes: int | None | Unread = None
    sent_bytes: int | None | Unread = None
    errors: Mapping[str, int] = {}
    silent: str = ""
    """Why it told nothing."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Counters at one moment."""

    monotonic_seconds: float
    ports: Mapping[Bdf, PortBits] = {}
    gpus: Mapping[Bdf, GpuCounters] = {}
    memory: Mapping[str, int | Unread] = {}
    """`mc0 corrected`, `mc0 uncorrected`; empty where no driver of EDAC is loaded. `edac corrected`, `edac uncorrected`
    are Unread where controllers could not be listed."""


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """What became of counters from one snapshot to the next."""

    seconds: float
    grown: Mapping[str, Mapping[str, int]] = {}
    """By address or memory controller, then by name: `replays`, `LBMS`, `corrected` ..., growth alone."""
    bytes: Mapping[str, Mapping[str, int]] = {}
    """By GPU: `received`, `sent`."""
    anew: Mapping[str, tuple[str, ...]] = {}
    """Counters that fell: what they had counted before is not known, and their growth is at least what is told."""
    unread: Mapping[str, Mapping[str, str]] = {}
    """What could not be compared, and why."""
    compared: Mapping[str, tuple[str, ...]] = {}
    """What was read both times, so that the absence of growth means something."""
    uncounted: tuple[str, ...] = ()
    """GPUs whose driver answered both times and counts nothing of their link."""


STANDING = "it stood before, and stays until somebody clears it"


def difference(before: Snapshot, after: Snapshot) -> Grown:
    """Pure. What was absent both times is left out; what was read only once is unread."""
    grown: dict[str, dict[str, int]] = {}
    moved: dict[str, dict[str, int]] = {}
    anew: dict[str, list[str]] = {}
    unread: dict[str, dict[str, str]] = {}
    compared: dict[str, list[str]] = {}
    uncounted: list[str] = []

    def step(of: str, name: str, was: object, now: object, into: dict[str, dict[str, int]]) -> None:
        if was is None and now is None:
            return
        missing = next((one for one in (was, now) if not isinstance(one, int)), None)
        if missing is not None or was is None or now is None:
            why = missing.why if isinstance(missing, Unread) else "it was there only once"
            unread.setdefault(of, {})[name] = why
            return
        assert isinstance(was, int)
        assert isinstance(now, int)
        if name in ("LBMS", "LABS") and was:
            unread.setdefault(of, {})[name] = STANDING
            return
        compared.setdefault(of, []).append(name)
        if now < was:
            anew.setdefault(of, []).append(name)
        more = now - was if now >= was else now
        if more:
            into.setdefault(of, {})[name] = more

    for bdf in sorted({*before.ports, *after.ports}):
        old, new = before.ports.get(bdf), after.ports.get(bdf)
        for name, field in PORT_FIELDS.items():
            step(bdf, name, getattr(old, field, None), getattr(new, field, None), grown)
    for bdf in sorted({*before.gpus, *after.gpus}):
        was, now = before.gpus.get(bdf, GpuCounters()), after.gpus.get(bdf, GpuCounters())
        silent = was.silent or now.silent
        if silent:
            unread.setdefault(bdf, {})["replays"] = silent
            continue
        step(bdf, "replays", was.replays, now.replays, grown)
        names = sorted({*was.errors, *now.errors})
        if was.replays is None and now.replays is None and not names:
            uncounted.append(bdf)
        for name in names:
            step(bdf, name, was.errors.get(name), now.errors.get(name), grown)
        step(bdf, "received", was.received_bytes, now.received_bytes, moved)
        step(bdf, "sent", was.sent_bytes, now.sent_bytes, moved)
    for name in sorted({*before.memory, *after.memory}):
        controller, _, kind = name.partition(" ")
        step(controller, kind, before.memory.get(name), after.memory.get(name), grown)
    return Grown(
        seconds=after.monotonic_seconds - before.monotonic_seconds, grown=grown, bytes=moved, unread=unread,
        anew={of: tuple(names) for of, names in anew.items()},
        compared={of: tuple(names) for of, names in compared.items()}, uncounted=tuple(uncounted))


PORT_FIELDS = {"LBMS": "managed", "LABS": "autonomous", "notified": "notified"}


def snapshot(gpus: Sequence[tuple[Bdf, str]], monotonic_seconds: float, root: str = "/") -> Snapshot:
    """Reads all of it. May hang where a driver does."""
    root = root.rstrip("/")
    ports: dict[Bdf, PortBits] = {}
    counters: dict[Bdf, GpuCounters] = {}
    notified = _notified(root)
    with Instruments(gpus, root=root or "/") as instruments:
        for one in instruments.read():
            if isinstance(one, GpuReading):
                counters[one.bdf] = GpuCounters(
                    replays=one.pcie.replays, received_bytes=one.pcie.received_bytes, sent_bytes=one.pcie.sent_bytes,
                    errors={count.name: count.count for count in (
                        () if isinstance(one.pcie.errors, Unread) else one.pcie.errors)
                        if isinstance(count.count, int)})
            elif isinstance(one, GpuSilent):
                counters[one.bdf] = GpuCounters(silent=one.why.why)
            elif isinstance(one, LinkReading):
                ports[one.bdf] = _port(root, one.bdf, notified)
    return Snapshot(monotonic_seconds=monotonic_seconds, ports=ports, gpus=counters, memory=_memory(root))


def _port(root: str, bdf: Bdf, notified: Mapping[Bdf, int] | Unread) -> PortBits:
    managed, autonomous = _bits(root, bdf)
    return PortBits(managed=managed, autonomous=autonomous,
                    notified=notified if isinstance(notified, Unread) else notified.get(bdf))


def _bits(root: str, bdf: Bdf) -> tuple[bool | None | Unread, bool | None | Unread]:
    """LBMS and LABS of a root port or a downstream port; None for other functions."""
    file = SysFile(root, f"{DEVICES}/{bdf}/config", CONFIG_BYTES)
    data = file.read()
    absent = file.absent
    file.close()
    if isinstance(data, Unread):
        return (None, None) if absent else (data, data)
    config = decode_config(data)
    if isinstance(config, Unread):
        return config, config
    if config.all_ones:
        gone = Unread(f"the registers of {bdf} read all ones", "error")
        return gone, gone
    if config.header_type != 1:
        return None, None
    express = config.express
    if isinstance(express, Unread):
        unread = NO_ROOT if express.kind == "permission" else express
        return unread, unread
    if express is None or express.port_type not in ("root-port", "downstream-port"):
        return None, None
    status, able = express.link_sta, express.link_cap
    if status is None or able is None or not able.bandwidth_notification:
        return None, None
    return status.bw_management, status.autonomous_bw


def _notified(root: str) -> Mapping[Bdf, int] | Unread:
    file = SysFile(root, "/proc/interrupts", MANY_BYTES)
    data = file.read()
    absent = file.absent
    file.close()
    if isinstance(data, Unread):
        return {} if absent else data
    return parse_link_changes(data.decode("ascii", "replace"))


def _memory(root: str) -> Mapping[str, int | Unread]:
    names = names_in(root, EDAC)
    if isinstance(names, Unread):
        return {} if names.kind == "absent" else dict.fromkeys(("edac corrected", "edac uncorrected"), names)
    found: dict[str, int | Unread] = {}
    for name in names:
        if not (name.startswith("mc") and name[2:].isdecimal()):
            continue
        for word, file in (("corrected", "ce_count"), ("uncorrected", "ue_count")):
            text = text_of(root, f"{EDAC}/{name}/{file}")
            found[f"{name} {word}"] = text if isinstance(text, Unread) else int(text) if text.isdecimal() else Unread(
                f"{file} of {name} holds no number", "malformed")
    return found


def main() -> None:
    import time

    gpus = msgspec.json.decode(sys.stdin.buffer.read(), type=list[tuple[str, str]])
    found = snapshot([(Bdf(bdf), vendor) for bdf, vendor in gpus], time.monotonic())
    sys.stdout.buffer.write(msgspec.json.encode(found))
    sys.stdout.flush()
    os._exit(0)  # a vendor's library may hang while it is unloaded


if __name__ == "__main__":
    main()
