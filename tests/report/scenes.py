"""Made-up acceptances that reports are tested and drawn with, each a real store: findings come from the engine's own
judges, the machine from the built boxes. The same at each run.

    scene = made("bad-riser", folder)        # scene.path, scene.acceptance
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal
from unittest.mock import patch

import msgspec

from boxcheck.certify.acceptance import Acceptance, Identity, Waiver
from boxcheck.engine.around import SOURCES
from boxcheck.engine.begin import AFTER
from boxcheck.engine.identities import with_cards
from boxcheck.engine.kept_profile import keep_profile
from boxcheck.engine.surroundings import keep
from boxcheck.model import Bdf, Outcome
from boxcheck.profile import BurnWanted
from boxcheck.riser.evidence import Notebook
from boxcheck.store.reader import RunReader
from boxcheck.store.rows import ProfileName, RunInfo
from boxcheck.stress.boundaries import COUNTERS, taken
from boxcheck.stress.happenings import Detail, Happening
from boxcheck.telemetry.boundary import GpuCounters, PortBits, Snapshot
from boxcheck.telemetry.readings import LinkReading
from tests.tui import box as tui_box
from tests.tui.box import Burning

PCIE3, PCIE5 = 2, 4
STEPS = (("doctor before", 8.0), ("matmul", 120.0), ("copy", 60.0), ("p2p", 150.0), ("doctor after", 8.0))
STRIX_TFLOPS = {"bf16": 31.5, "fp16": 32.3, "int8": 33.1, "fp32": 8.7}
"""Of the Radeon 8060S: fp16 and fp32 as ROCm issue 5807 measured them, the others made up near it. It has no fp8."""
STRIX_WATTS = (96, 120)
"""What the processor with its GPU may take: AMD's default for it is 55 W, and boards set it up to 120 W."""
RISERS = {f"PCIE{number}": f"R{number}" for number in range(1, 8)}


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    acceptance: Acceptance | None = None
    notebook: Notebook | None = None


class Acceptable(Burning):
    """With the plan as the engine keeps it, and its profile in the store."""

    def __init__(self, folder: str, box: str = "wopr-7x4090", left_out: tuple[str, ...] = (), scale: float = 1.0, **fields: Any) -> None:
        self.steps = tuple((name, seconds if name.startswith("doctor") else float(max(12, round(scale * seconds))))
                           for name, seconds in STEPS if name not in left_out)
        self.speeds: dict[str, float] = {}
        self.left: tuple[str, int] | None = None
        """The box as doctor finds it after the load, and the bad TLPs that the port of PCIE3 has counted; None: as before."""

        def named(name: str, revision: int, _: str) -> ProfileName:
            from boxcheck.profile import load_profile

            return ProfileName(name, revision, load_profile(name).sha256)

        def planned(**known: Any) -> RunInfo:
            kept = [{"name": name, "kind": "doctor" if name.startswith("doctor") else "stress",
                      "modules": [] if name.startswith("doctor") else [name], "seconds": seconds}
                     for name, seconds in self.steps]
            return RunInfo(**(known | {"plan": {
                "name": "acceptance", "certain": True, "steps": kept, "left_out": {
                    "nvme": "the profile leaves it out: no scratch drive"}}}))

        with patch.object(tui_box, "ProfileName", named), patch.object(tui_box, "RunInfo", planned):
            super().__init__(folder, box, planned=self.steps, **fields)
        if fields.get("backend") == "hip":
            self.infos = tuple(msgspec.structs.replace(one, driver="HIP 6.4, amdgpu") for one in self.infos)
        # The shipped profile wants hours; these runs are complete in minutes.
        self.want = msgspec.structs.replace(self.want, burn=BurnWanted(
            acceptance_seconds=sum(seconds for _, seconds in self.steps),
            acceptance_source="a made-up run of a made-up box"))
        keep_profile(self.store, self.want)
        self.infos = with_cards(self.infos, self.facts)
        self._followed("began")
        self._counters("")
        link = self.machine._link

        def slowed(bdf: Bdf, now: float) -> LinkReading:
            found = link(bdf, now)
            return msgspec.structs.replace(found, speed_gts=self.speeds[bdf]) if bdf in self.speeds else found

        self.machine._link = slowed  # type: ignore[method-assign]

    def _followed(self, state: Literal["began", "ended"]) -> None:
        """As the engine tells that it followed what happened around the run."""
        verb = {"began": "are", "ended": "were"}[state]
        for source in SOURCES:
            says = {"log": f"messages of the kernel's log {verb} followed", "devices": f"devices {verb} followed",
                    "memory": f"errors of the host's memory {verb} followed"}[source]
            keep(self.store, Happening(kind=f"{source}-followed", says=says, detail=Detail(source=source, state=state)))

    def _counters(self, after: str) -> None:
        """The counters between phases; none of them grows."""
        ports = {chain[0]: PortBits(managed=False, autonomous=False) for chain in self.machine._chains}
        gpus = {bdf: GpuCounters(replays=0) for bdf in self.machine.bdfs}
        found = taken(after, Snapshot(monotonic_seconds=self.hand.monotonic, ports=ports, gpus=gpus))
        self.store.event(COUNTERS, f"counters after {after or 'the start'}", data=msgspec.to_builtins(found))

    def finish(self, state: str = "finished", reason: str = "") -> str:
        self._counters(self.steps[-1][0])
        self._followed("ended")
        self.store.attach(AFTER, tui_box.packed(*self.left) if self.left else tui_box.packed(self.box), "application/gzip")
        return super().finish(state, reason)

    def whole(self, each: Callable[[int], None] = lambda second: None, left: Callable[[], tuple[str, int]] | None = None) -> None:
        """All steps of the plan. `left`: asked after the load for what the box is then."""
        self.doctor("doctor before")
        for name, seconds in self.steps[1:-1]:
            self.load(name, round(seconds), each=each)
        self.left = left() if left else None
        box, bad_tlps = self.left or (self.box, 0)
        self.doctor("doctor after", box=box, bad_tlps=bad_tlps)


def acceptance_of(run: Burning, path: str, **fields: Any) -> Acceptance:
    """As certify writes it, by the verdict of the run."""
    with RunReader(path) as reader:
        verdict, kept = reader.verdict(), reader.run()
    outcome = verdict.outcome if verdict is not None else Outcome.UNKNOWN
    disposition = {Outcome.PASS: "PASS", Outcome.MARGINAL: "MARGINAL PASS", Outcome.FAIL: "FAIL"}.get(
        outcome, "INCOMPLETE")
    leads = [verdict.findings[index] for problem in verdict.problems for index in problem.findings] if verdict else []
    bad = next((one for one in leads if one.blocker and one.outcome is Outcome.FAIL), None)
    known: dict[str, Any] = {
        "id": "8f14e45f-ceea-467f-a9d1-2b7c0f6c11aa", "version": "0.4.0", "attempt": 1, "attempts": 1,
        "identity": Identity(
            serial=kept.info.box, serial_from="operator", work_order="WO-2291", operator="M. Keller", station="bench 3",
            risers=RISERS if run.box.startswith("wopr") else {}, more={"rack": "B-07"}),
        "profile": run.want.name, "profile_revision": run.want.revision, "profile_sha256": run.want.sha256,
        "started": kept.started, "finished": kept.end.at.wall if kept.end else kept.started, "clock_trusted": True,
        "run": kept.info.id, "disposition": disposition, "verdict": outcome.value if outcome is not Outcome.SKIP else "unknown",
        "reason": verdict.reason if verdict else "the run did not come to its end",
        "verdict_string": f"{bad.check} {bad.subject}" if bad else ""}
    return Acceptance(**(known | fields))


def passing(folder: str, scale: float = 1.0) -> Scene:
    """Seven cards, all of it passed."""
    run = Acceptable(folder, scale=scale)
    run.whole()
    run.finish()
    return Scene(path=run.path, acceptance=acceptance_of(run, run.path))


def bad_riser(folder: str, scale: float = 1.0) -> Scene:
    """The riser of PCIE3 damages packets, and the link falls to eight lanes; a waiver for something else, one expired."""
    run = Acceptable(folder, scale=scale)
    machine, port = run.machine, run.machine._chains[PCIE3][0]
    machine.hot[PCIE5] = 9.0
    age, begin = 0, 25 * scale

    def each(_: int) -> None:
        nonlocal age
        age += 1
        if age > begin:
            machine.lanes.update(dict.fromkeys(machine._chains[PCIE3], 8))
            machine.slow[PCIE3] = 0.5 if run._number > 2 else 0.97 if age % 7 else 0.71
        if age > begin and age % 5 == 0:
            machine.errors[port] = machine.errors.get(port, 0) + 61
            run.event("aer-correctable", "61 bad TLPs", severity="warn", subject=port)

    run.whole(each, left=lambda: ("wopr-7x4090+riser-x8", machine.errors[port]))
    run.finish()
    return Scene(path=run.path, acceptance=acceptance_of(
        run, run.path, attempt=2, attempts=2, earlier=("1: FAIL 2026-11-20",), waivers=(
            Waiver(check="thermal.idle-spread", where="PCIE5", who="A. Rossi, quality", why="fan on order, PO 5512",
                   until="2026-12-31", state="unused"),
            Waiver(check="pcie.link-width", where="PCIE3", who="A. Rossi, quality", why="riser was to be replaced",
                   until="2026-11-01", state="expired"))))


def hidden_gen3(folder: str, scale: float = 1.0) -> Scene:
    """A tinybox red: the slot's link of one card runs at 8 GT/s, hidden by the card's own switch, which shows 16."""
    run = Acceptable(folder, "tinybox-red+hidden-gen3-behind-1478", scale=scale, serial="TR-0131", backend="hip", arch="gfx1100")
    chain = run.machine._chains[PCIE3]
    run.speeds = dict.fromkeys(chain[:2], 8.0)
    run.machine.slow = dict.fromkeys(range(len(run.infos)), 1.08)

    def each(_: int) -> None:
        if run._number > 2:  # copies, and not products, which no link holds back
            run.machine.slow[PCIE3] = 0.52

    run.whole(each)
    run.finish()
    return Scene(path=run.path, acceptance=acceptance_of(run, run.path))


def strix(folder: str, scale: float = 1.0) -> Scene:
    """A Strix Halo: one GPU, part of the processor."""
    run = Acceptable(folder, "strix-halo", ("p2p",), scale, serial="FW-DESK-3", backend="hip", arch="gfx1151")
    run.tflops = STRIX_TFLOPS
    run.machine.amd_watts, run.machine.amd_limit_watts = STRIX_WATTS, float(STRIX_WATTS[1])
    run.machine.cpu_watts, run.machine.supply_watts = 110.0, (150, 172)
    run.doctor("doctor before")
    run.infos = tuple(msgspec.structs.replace(one, unified=True) for one in run.infos)
    seconds = dict(run.steps)
    run.load("matmul", round(seconds["matmul"]))
    run.machine.slow[0] = 3.5
    run.load("copy", round(seconds["copy"]))
    run.doctor("doctor after")
    run.finish()
    return Scene(path=run.path, acceptance=acceptance_of(run, run.path))


def crashed(folder: str, scale: float = 1.0) -> Scene:
    """The machine went down in the middle of the copies between GPUs."""
    run = Acceptable(folder, scale=scale)
    run.doctor("doctor before")
    run.load("matmul", round(dict(run.steps)["matmul"]))

    def each(second: int) -> None:
        run.silent |= {6} if second >= 20 * scale else set()

    run.load("p2p", max(8, round(45 * scale)), planned=dict(run.steps)["p2p"], ends=False, each=each)
    run.crash()
    return Scene(path=run.path)


SCENES: Mapping[str, Callable[[str, float], Scene]] = {
    "passing": passing, "bad-riser": bad_riser, "hidden-gen3": hidden_gen3, "strix": strix, "crashed": crashed}


def made(name: str, folder: str, scale: float = 1.0) -> Scene:
    """`scale`: of the lengths of phases; tests need less than pictures."""
    return SCENES[name](folder, scale)
