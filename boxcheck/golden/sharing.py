"""Makes a reference measurement of good runs: with nothing in it that names a box, its parts or its people.

What goes in is a list of fields (`reference`), not what is left after taking things out. The few texts that come from a
machine are then scrubbed by what redaction knows of its capture, and of the store; a text that still holds a secret, a
path, an address or a name is left out.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from boxcheck.engine.history_series import day
from boxcheck.engine.inspect import Facts, read_facts
from boxcheck.engine.watch_judging import BEFORE
from boxcheck.golden.limits import Drafted, LeftOut, Pattern
from boxcheck.golden.measure import Kind, Measurement, shared_name
from boxcheck.golden.reference import Box, CardKind, Conditions, Quantity, Reference, plain_driver, plain_release
from boxcheck.host.capture import CaptureHost
from boxcheck.host.write import Members, members_from, write_capture
from boxcheck.model import Unread
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.cpu import Cpu
from boxcheck.probes.dmi import Dmi
from boxcheck.probes.kernel import Kernel
from boxcheck.probes.memory import Memory
from boxcheck.probes.nvidia import Nvidia
from boxcheck.probes.nvml import Nvml
from boxcheck.profile import Profile, shipped_profiles
from boxcheck.redact import redact_members, scrubber_of
from boxcheck.redact.scrub import Scrubber
from boxcheck.redact.vocabulary import Vocabulary
from boxcheck.store.reader import RunReader

GIB = 1 << 30
LEAST_CHARACTERS = 6
"""Of a secret that is looked for everywhere: a shorter one stands in numbers and words by chance."""
_TEXT = re.compile(r"(?:[A-Za-z0-9 .,:+()_*-]|(?<=\d)/(?=\d)){1,160}")
"""Of texts that are shared: no path, no address of mail, nothing that a terminal or a page could act on. A stroke
stands between digits alone, as in the names of processors."""


class Private:
    """What of these runs must not be shared, and the machines they are of, without it."""

    def __init__(self, runs: Sequence[Measurement]) -> None:
        self._scrubs: list[Scrubber] = []
        self.facts: list[Facts] = []
        self._texts: set[str] = set()
        for run in runs:
            with RunReader(run.path) as reader:
                scrub, facts, extra = _of(reader, run)
            self._scrubs.append(scrub)
            self.facts += [facts] if facts is not None else []
            self._texts |= {text.lower() for text in extra if len(text) >= 4}

    def text(self, text: str) -> str | None:
        """The text as it may be shared; None where it may not."""
        line = " ".join(text.split())
        if not _TEXT.fullmatch(line) or any(scrub.text(line) != line for scrub in self._scrubs) or self.holds(line):
            return None
        return line

    def texts(self, some: Iterable[str | None]) -> tuple[str, ...]:
        return tuple(sorted({plain for text in some if text and (plain := self.text(text)) is not None}))

    def secrets(self) -> set[str]:
        """In lower case, those that are no words of boxcheck's own."""
        known = Vocabulary()
        found = self._texts.union(*(scrub.secrets.texts for scrub in self._scrubs))
        return {text for text in found if len(text) >= LEAST_CHARACTERS and not known.holds(text)}

    def holds(self, text: str) -> bool:
        """Whether a known secret stands in it."""
        lowered = text.lower()
        return any(secret in lowered for secret in self._texts) or any(
            scrub.known(text) != text for scrub in self._scrubs)


def _of(reader: RunReader, run: Measurement) -> tuple[Scrubber, Facts | None, set[str]]:
    """What redaction knows of the machine; its facts, read from the redacted capture; what the store alone holds."""
    info = reader.run().info
    extra = {info.box, info.host, info.id, info.boot, *_words_of_box(info.box)}
    for device in run.devices:
        extra |= {device.uuid or "", device.serial or ""}
    packed = reader.attachment(BEFORE)
    if packed is None:
        scrub, facts = scrubber_of(Members()), None
    else:
        with tempfile.TemporaryDirectory(prefix="boxcheck-") as folder:
            path = Path(folder) / BEFORE
            path.write_bytes(packed)
            members = members_from(CaptureHost(str(path)))
            scrub = scrubber_of(members)
            redacted = str(Path(folder) / "redacted.tar")
            write_capture(redact_members(members, scrub=scrub), redacted)
            facts = read_facts(CaptureHost(redacted))
    for text in extra:
        scrub.secrets.add(text)
    for name in (info.host, *_words_of_box(info.box)):
        scrub.secrets.add_name(name)
    return scrub, facts, {text for text in extra if text}


def _words_of_box(box: str) -> set[str]:
    """Serial number and host name of `W1234 (wopr)`."""
    return {word.strip("()") for word in box.split()}


def reference_of(
    pattern: Pattern, want: Profile, drafted: Sequence[Drafted], left_out: Sequence[LeftOut], *, private: Private,
    made: float, self_signed: bool,
) -> Reference:
    """The reference measurement. `made`: seconds since the epoch."""
    runs = pattern.runs
    useless = [one.measured for one in left_out if one.measured is not None]
    return Reference(
        made=day(made), boxes=len(pattern.boxes), runs=len(runs), box=_box(runs[-1], want, private),
        conditions=Conditions(
            boxcheck=private.texts(run.version for run in runs),
            drivers=private.texts(plain_driver(driver) for run in runs for driver in run.drivers),
            kernels=private.texts(map(_release, private.facts)), seconds=_seconds(runs),
            hottest_celsius=_hottest(runs, private),
            most_watts=max((run.most_watts for run in runs if run.most_watts is not None), default=None),
            held_unread=any(run.held_unread for run in runs), self_signed=self_signed),
        measured=tuple(sorted(
            [*(_quantity(one, private, True) for one in drafted), *(_quantity(one, private, False) for one in useless)],
            key=lambda one: one.limit)),
        not_measured=tuple(one.limit for one in left_out if one.measured is None))


def _quantity(one: Drafted, private: Private, useful: bool) -> Quantity:
    return Quantity(
        limit=one.limit, unit=one.unit, better="higher" if one.compare == "ge" else "lower", mean=_rounded(one.mean),
        worst=_rounded(one.worst), best=_rounded(one.best), spread_percent=_percent(one.spread_percent),
        between_percent=_percent(one.between_percent), over_time_percent=_percent(one.over_time_percent),
        bound=one.bound, margin_percent=_rounded(one.margin_percent), useful=useful, rule=one.rule,
        devices=one.devices, boxes=one.boxes, runs=one.runs, samples=one.samples,
        by=private.texts(one.by))


def _rounded(value: float) -> float:
    """Six digits: more is neither measured nor read."""
    return float(f"{value:.6g}")


def _percent(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")


def _box(run: Measurement, want: Profile, private: Private) -> Box:
    facts = private.facts[-1] if private.facts else Facts()
    cpu, dmi, memory = facts.of(Cpu), facts.of(Dmi), facts.of(Memory)
    shipped = want.name in shipped_profiles()

    def shared(value: object) -> str | None:
        return private.text(value) if isinstance(value, str) else None

    def number(value: object, unit: int = 1) -> int | None:
        return int(value) // unit if isinstance(value, int | float) and value > 0 else None

    return Box(
        profile=want.name if shipped else None, profile_revision=want.revision, profile_sha256=want.sha256,
        gpus=tuple(_kind(kind, run.cards.count(kind), facts, private) for kind in dict.fromkeys(run.cards)),
        board=None if isinstance(dmi, Unread) else shared(dmi.board_name),
        cpu=None if isinstance(cpu, Unread) else shared(cpu.model),
        cpu_sockets=None if isinstance(cpu, Unread) else number(cpu.sockets),
        cpu_cores=None if isinstance(cpu, Unread) else number(cpu.cores),
        memory_gib=None if isinstance(memory, Unread) else number(memory.installed_bytes, GIB))


def _kind(kind: Kind, count: int, facts: Facts, private: Private) -> CardKind:
    return CardKind(
        name=shared_name(kind), pci_id=kind.pci_id,
        revision=kind.revision if kind.revision >= 0 else None, memory_gib=kind.memory_gib, count=count,
        vbios=private.texts(_vbios(facts)))


def _vbios(facts: Facts) -> list[str]:
    found: list[object] = []
    nvml, nvidia, amdgpu = facts.of(Nvml), facts.of(Nvidia), facts.of(Amdgpu)
    if not isinstance(nvml, Unread) and not isinstance(nvml.gpus, Unread):
        found += [one.vbios for one in nvml.gpus]
    if not isinstance(nvidia, Unread) and not isinstance(nvidia.gpus, Unread):
        found += [one.vbios for one in nvidia.gpus]
    if not isinstance(amdgpu, Unread):
        found += [one.vbios for one in amdgpu.cards.values()]
    return [one for one in found if isinstance(one, str)]


def _release(facts: Facts) -> str:
    kernel = facts.of(Kernel)
    return "" if isinstance(kernel, Unread) or isinstance(kernel.release, Unread) else plain_release(kernel.release)


def _seconds(runs: Sequence[Measurement]) -> dict[str, float]:
    found: dict[str, float] = {}
    for run in runs:
        for module, seconds, _ in run.phases:
            found[module] = max(found.get(module, 0.0), seconds)
    return dict(sorted(found.items()))


def _hottest(runs: Sequence[Measurement], private: Private) -> dict[str, float]:
    found: dict[str, float] = {}
    for run in runs:
        for sensor, celsius in run.hottest_celsius.items():
            if private.text(sensor) is not None:
                found[sensor] = max(found.get(sensor, celsius), celsius)
    return dict(sorted(found.items()))


def leaked(data: bytes, private: Private) -> bool:
    """Whether anything known to be private stands in the bytes after all: then they are not written."""
    text = data.decode().lower()
    return any(secret in text for secret in private.secrets())
