"""What the sections of a report are made of: everything of a run that a reader may want, in short. Pure data."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from boxcheck.account import bus_of
from boxcheck.certify.acceptance import Acceptance
from boxcheck.engine.inspect import Facts
from boxcheck.gpu import GpuInfo
from boxcheck.model import Bdf, Finding, Verdict
from boxcheck.profile import Profile
from boxcheck.report.acceptance_series import Series
from boxcheck.report.measured import Measured
from boxcheck.riser.evidence import Notebook
from boxcheck.store.rows import Event, Phase, Run
from boxcheck.stress import StressResults
from boxcheck.stress.boundaries import Boundaries
from boxcheck.stress.link_ledger import Direction
from boxcheck.stress.tally import Watching


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """One module in one phase."""

    phase: Phase
    results: StressResults
    """Without samples."""
    watching: Watching
    measured: Measured


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one function, by name."""

    first: Mapping[str, int] = {}
    last: Mapping[str, int] = {}
    unread: str | None = None


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """A document in the store."""

    name: str
    size_bytes: int
    sha256: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the sections are made of."""

    run: Run
    run_id: str
    acceptance: Acceptance | None
    notebook: Notebook | None
    want: Profile
    strict: bool = False
    """Whether `--strict` fails a marginal verdict."""
    profile_note: str
    verdict: Verdict
    judged: str
    """When and how it was judged."""
    missing: tuple[str, ...]
    """What is missing in the store, and what of the plan was not run. A report that has any says so on its cover."""
    phases: tuple[Phase, ...]
    done: tuple[Done, ...]
    facts: Facts
    has_capture: bool
    """Whether the store holds what was read of the machine before the load."""
    directions: tuple[Direction, ...]
    unattributed: Mapping[str, int]
    counted: Mapping[Bdf, Counted]
    boundaries: Boundaries
    series: Series
    events: tuple[Event, ...]
    """Those that tell of trouble."""
    documents: tuple[Attached, ...]
    store_sha256: str
    """Empty where the store is still written."""
    store_bytes: int
    seconds: float
    phases_of: Mapping[bytes, tuple[str, ...]] = {}
    """Names of the phases in which a finding was made; empty for a run that was judged again."""

    @property
    def gpus(self) -> tuple[GpuInfo, ...]:
        """All devices of the run, each once, in the order of their first phase; processors that were loaded as such
        left out where there are GPUs."""
        every = {info.key: info for one in self.done for info in one.results.gpus}
        real = tuple(info for info in every.values() if info.is_gpu)
        return real or tuple(every.values())

    @property
    def kind(self) -> str:
        """What those are called: a processor, or an OpenCL device that runs on it, is no GPU."""
        return "GPU" if all(info.is_gpu for info in self.gpus) else "device"

    @property
    def kinds(self) -> str:
        """The same as a heading."""
        return "GPUs" if self.kind == "GPU" else "Devices"

    @property
    def slots(self) -> Mapping[str, str]:
        """Key of a device -> label of its slot."""
        return {key: slot for one in self.done for key, slot in one.results.slots.items()}

    def place(self, info: GpuInfo) -> str:
        """Slot, else address, else key."""
        return self.slots.get(info.key) or (bus_of(Bdf(info.bdf)) if info.bdf else info.key)

    def placed(self, text: str) -> str:
        """A text in which the ports and cards of slots have the slot beside their address."""
        for one in self.directions:
            for bdf in (one.hop.port, one.hop.card):
                if bdf is not None and bdf in text:
                    slot = one.hop.slot if not one.hop.on_card else None
                    known = slot is not None and slot not in text
                    text = text.replace(bdf, f"{slot} ({bus_of(bdf)})" if known else bus_of(bdf))
        return text

    @property
    def is_whole(self) -> bool:
        """Whether the run came to its end and nothing is missing."""
        return self.run.state == "finished" and not self.missing

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.verdict.findings

    @property
    def risers(self) -> Mapping[str, str]:
        """Slot -> label of the riser, as far as anybody told."""
        known = {slot.label: slot.riser for slot in self.want.slots if slot.riser}
        return known | dict(self.acceptance.identity.risers if self.acceptance else {})


def bare_finding(one: Finding) -> bytes:
    """A finding without what the judge adds."""
    return msgspec.json.encode(msgspec.structs.replace(one, problem=None, blocker=False))
