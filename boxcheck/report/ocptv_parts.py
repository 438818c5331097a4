"""The parts of a box as OCP's `dutInfo` has them, and which of them a device or a finding is about.

Made from what stands in a store when its first phase begins (the run's own list of devices, the capture), since
`dutInfo` is told once, in the first line after the version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from boxcheck.engine.inspect import Facts, name_slots
from boxcheck.engine.watch_judging import BEFORE, facts_in
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Finding, Subject, Unread
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import Run
from boxcheck.usage import UsageError

Part = dict[str, str]


class Parts:
    """The hardware of one run."""

    def __init__(self, reader: RunReader, run: Run) -> None:
        self.infos: list[Part] = []
        self.software: list[Part] = []
        self._ids: dict[str, str] = {}
        self._slots: dict[str, str] = {}
        facts = facts_in(reader, BEFORE) or Facts()
        _name_slots(reader, facts)
        box = self._add("box", run.info.box or "unnamed", "box")
        if run.info.box:
            self.infos[int(box)]["serialNumber"] = run.info.box
        for info in devices_of(run.info.plan):
            self._device(info, facts)
        self._gpus(facts)
        self._links(facts)
        self._software(run)

    def id_of(self, *names: str | None) -> str | None:
        """The first that is known of: an address, a key, a slot."""
        return next((self._ids[name] for name in names if name and name in self._ids), None)

    def name_of(self, device: str) -> str:
        """A device for a person: its slot, else what it is called."""
        return self._slots.get(device, device)

    def of_subject(self, subject: Subject) -> str | None:
        return "0" if subject.kind == "box" else self.id_of(
            subject.bdf, subject.slot and f"slot {subject.slot}", subject.name)

    def of_findings(self, findings: Sequence[Finding]) -> dict[tuple[str, str], str]:
        """As `boxcheck.report.ocptv` asks for them."""
        from boxcheck.report.ocptv import _part

        return {_part(one.subject): id for one in findings if (id := self.of_subject(one.subject)) is not None}

    def _add(self, key: str, name: str, kind: str, **more: str | None) -> str:
        if key not in self._ids:
            self._ids[key] = str(len(self.infos))
            self.infos.append({
                "hardwareInfoId": self._ids[key], "name": name, "partType": kind,
                **{field: value for field, value in more.items() if value}})
        return self._ids[key]

    def _device(self, info: GpuInfo, facts: Facts) -> None:
        from boxcheck.engine.stress import slots_of

        slot = slots_of((info,), facts).get(info.key)
        id = self._add(
            info.bdf or info.key, info.name, "gpu" if info.is_gpu else "processor", location=slot or info.bdf,
            serialNumber=info.serial or info.uuid, version=info.arch)
        self._ids.setdefault(info.key, id)
        self._place(id, slot, info.bdf, info.key)
        if info.driver:
            self._software_part(info.driver, "SYSTEM")

    def _gpus(self, facts: Facts) -> None:
        from boxcheck.probes.gpus import Gpus

        found = facts.of(Gpus)
        for gpu in () if isinstance(found, Unread) else found.gpus:
            id = self._add(str(gpu.bdf), gpu.name or "GPU", "gpu", location=gpu.slot or gpu.bdf)
            self._place(id, gpu.slot, gpu.bdf)

    def _links(self, facts: Facts) -> None:
        from boxcheck.probes.links import Links

        found = facts.of(Links)
        if isinstance(found, Unread):
            return
        for link in {link.id: link for name in list(self._ids) for link in found.chain(Bdf(name))}.values():
            id = self._add(link.id, f"link {link.id}", "link", location=link.slot or link.id)
            if link.upstream is not None:  # of a switch; a GPU has its own part already
                self._ids.setdefault(link.upstream.bdf, id)
            if link.slot:
                self._slots.setdefault(link.id, link.slot)

    def _place(self, id: str, slot: str | None, *names: str | None) -> None:
        if slot:
            self._ids.setdefault(f"slot {slot}", id)
            self._slots |= {name: slot for name in names if name}

    def _software(self, run: Run) -> None:
        self.software.insert(0, {
            "softwareInfoId": "boxcheck", "name": "boxcheck", "version": run.info.version,
            **({"revision": run.info.commit} if run.info.commit else {}), "softwareType": "APPLICATION"})

    def _software_part(self, name: str, kind: str) -> None:
        if name not in [one["name"] for one in self.software]:
            self.software.append({
                "softwareInfoId": f"driver-{len(self.software)}", "name": name, "softwareType": kind})


def devices_of(plan: Any) -> tuple[GpuInfo, ...]:
    """The devices that a run was begun with, by its stored plan."""
    job = plan.get("job") if isinstance(plan, dict) else None
    found = job.get("devices") if isinstance(job, Mapping) else None
    try:
        return msgspec.convert(found or (), tuple[GpuInfo, ...])
    except msgspec.ValidationError:
        return ()


def _name_slots(reader: RunReader, facts: Facts) -> None:
    """By the run's own profile, where it has one."""
    from boxcheck.engine.kept_profile import profile_of
    from boxcheck.profile import ProfileError

    try:
        name_slots(facts, profile_of(reader)[0])
    except (ProfileError, UsageError):
        return
