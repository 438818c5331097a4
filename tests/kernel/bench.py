"""A booted machine: its devices by name, faults that are put into it, and what boxcheck says of it."""

from __future__ import annotations

import json
import re
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.kernel.cache import Unavailable, asked, seconds
from tests.kernel.fetch import Bench, fetch, known
from tests.kernel.poke import AER, Space
from tests.kernel.topology import RNG, VIRTIO, Slot, Topology, dress_card
from tests.kernel.training import LNKCTL, Link, masks_of
from tests.kernel.vm import Done, Guest, GuestError

PCI = "/sys/bus/pci/devices"
SPACED_SECONDS = 0.02
"""After an injected error: one interrupt, one message and one line of the log."""

TAKEN_SECONDS = 30.0
"""For the kernel to count an error that was injected, and to clear it; most take some milliseconds."""
AER_COR_STATUS, AER_ROOT_STATUS, ROOT_COR_RECEIVED = 0x10, 0x30, 1
"""Offsets in the AER capability; ERR_COR Received (PCI Express Base Specification, 7.8.4)."""

SLTSTA, LNKSTA = 0x1A, 0x12
PRESENCE, PRESENCE_CHANGED, LINK_CHANGED, LINK_ACTIVE = 1 << 6, 1 << 3, 1 << 8, 1 << 13


@dataclass(frozen=True)
class Finding:
    check: str
    outcome: str
    says: str
    bdf: str | None
    cause: str | None
    """Id of its problem."""
    raw: dict[str, object] = field(repr=False, compare=False, default_factory=dict)


@dataclass(frozen=True)
class Account:
    """What `boxcheck doctor --json` said."""

    exit: int
    seconds: float
    findings: tuple[Finding, ...]
    problems: tuple[dict[str, object], ...]
    verdict: dict[str, object]
    whole: dict[str, object] = field(repr=False)

    def of(self, check: str, bdf: str | None = None) -> list[Finding]:
        return [item for item in self.findings if item.check == check and (bdf is None or item.bdf == bdf)]

    def one(self, check: str, bdf: str | None = None) -> Finding:
        found = self.of(check, bdf)
        assert len(found) == 1, f"{check} of {bdf}: {found or sorted({item.check for item in self.findings})}"
        return found[0]

    def outcomes(self, check: str) -> list[str]:
        return [item.outcome for item in self.of(check)]


class Machine:
    def __init__(self, topology: Topology, guest: Guest) -> None:
        self.topology, self.guest = topology, guest
        self.addresses: dict[str, str] = {}
        self._spaces: dict[str, Space] = {}
        self.find_addresses()

    @property
    def slots(self) -> tuple[Slot, ...]:
        return self.topology.slots

    @property
    def kernel(self) -> str:
        return self.guest.kernel.release

    def find_addresses(self) -> None:
        """Which address each device of QEMU has in the guest. Bus numbers are the guest's own."""
        def walk(devices: Sequence[dict[str, object]]) -> Iterator[tuple[str, str]]:
            for device in devices:
                name = str(device.get("qdev_id", ""))
                if name:
                    yield name, f"0000:{device['bus']:02x}:{device['slot']:02x}.{device['function']}"
                bridge = device.get("pci_bridge")
                if isinstance(bridge, dict):
                    yield from walk(bridge.get("devices", []))

        buses = self.guest.monitor.ask("query-pci")
        assert isinstance(buses, list)
        self.addresses = {name: bdf for bus in buses for name, bdf in walk(bus["devices"])}

    def bdf(self, name: str) -> str:
        return self.addresses[name]

    def path(self, name: str, attribute: str) -> str:
        return f"{PCI}/{self.bdf(name)}/{attribute}"

    def text(self, name: str, attribute: str) -> str:
        return self.guest.read(self.path(name, attribute)).get(self.path(name, attribute), "").strip()

    # --- what is injected

    def space(self, name: str) -> Space:
        """Configuration space of a device, found once by what the guest reads of it."""
        if name not in self._spaces:
            missing = [one for one in self.addresses if re.fullmatch(r"(g|rp|s|d)\d+", one) and one not in self._spaces]
            texts = self.guest.read(*(self.path(one, "config") for one in missing))
            headers = {one: texts[self.path(one, "config")][:64].encode("latin-1") for one in missing
                       if self.path(one, "config") in texts}
            self._spaces.update(self.guest.memory.by_header(headers))
        return self._spaces[name]

    def inject(self, name: str, error: str, count: int = 1, spaced: float = SPACED_SECONDS) -> None:
        """Errors as the device itself would report them. QEMU says OK also where nothing is delivered: look at sysfs."""
        for _ in range(count):
            answer = self.guest.monitor.human(f"pcie_aer_inject_error {name} {error}")
            if not answer.startswith("OK"):
                raise GuestError(f"pcie_aer_inject_error {name} {error}: {answer.strip()}")
            time.sleep(spaced)

    def inject_counted(self, name: str, error: str, count: int) -> None:
        """Correctable errors, each after the kernel has taken the one before: it clears the status registers of the
        reporter and of the root port when it has counted. So none shares a message with another, however busy the host
        is. Raises where nobody takes them, as with pci=noaer."""
        reporter, port = self.space(name), self.space(f"rp{re.sub('[^0-9]', '', name)}")
        status, root = reporter.extended(AER) + AER_COR_STATUS, port.extended(AER) + AER_ROOT_STATUS
        for _ in range(count):
            self.inject(name, error, spaced=0)
            end = time.monotonic() + seconds(TAKEN_SECONDS)
            while reporter.long(status) or port.long(root) & ROOT_COR_RECEIVED:
                if time.monotonic() > end:
                    raise GuestError(f"{error} at {name} stands in the registers after {TAKEN_SECONDS:g} s: nobody counts")
                time.sleep(0.002)

    def boxcheck_under(
        self, words: Sequence[str], act: Callable[[], None], *, once: str, limit: float = 400, links: Iterable[Link] = (),
    ) -> Done:
        """boxcheck in the guest, with something done to the machine meanwhile: as soon as its errors or output match `once`.
        Nothing else can be asked of the guest until it has ended, so `act` injects or writes registers, and reads nothing
        through the guest. `links`: those that somebody trains, so that a retraining which is asked for is made."""
        bdf_of = {space.at: self.bdf(name) for name, space in self._spaces.items()}
        self.guest.send(limit, boxcheck=list(words), user=None, env={}, taken=[
            [bdf_of[link.port.at], link.port.express + LNKCTL] for link in links])
        end = time.monotonic() + seconds(limit)
        while not re.search(once, self.guest.said()):
            if time.monotonic() > end or self.guest.answered():
                done = self.guest.receive()
                raise GuestError(f"boxcheck {' '.join(words)} ended with {done.exit} and never said {once!r}: {done.err[-1500:]}")
            time.sleep(0.05)
        act()
        return self.guest.receive()

    def inject_inside(self, name: str, correctable: int = 0, uncorrectable: int = 0) -> None:
        """Bits of the status registers by the kernel's own aer_inject. Not on a port that QEMU injects into as well: the
        module puts itself between the kernel and the registers."""
        self.guest.load("aer_inject")
        domain, bus, rest = self.bdf(name).split(":")
        device, function = rest.split(".")
        data = struct.pack("<BBBxIIIIIII", int(bus, 16), int(device, 16), int(function), uncorrectable, correctable,
                           0, 0, 0, 0, int(domain, 16))
        octal = "".join(f"\\{byte:03o}" for byte in data)
        self.guest.sh(f"printf '{octal}' >/dev/aer_inject")

    def counters(self, name: str, kind: str = "correctable") -> dict[str, int]:
        """aer_dev_* without its zeros."""
        rows = (line.rsplit(" ", 1) for line in self.text(name, f"aer_dev_{kind}").splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) == 2 and int(row[1])}

    def root_total(self, name: str, kind: str) -> int:
        return int(self.text(name, f"aer_rootport_total_err_{kind}"))

    def settled(self, name: str, kind: str, total: int, limit: float = 10.0) -> dict[str, int]:
        """The counters as soon as they add up to `total`, else as they are after `limit` seconds."""
        end = time.monotonic() + seconds(limit)
        while True:
            found = self.counters(name, kind)
            named = sum(count for key, count in found.items() if not key.startswith("TOTAL"))
            if named >= total or time.monotonic() > end:
                return found
            time.sleep(0.1)

    def all_ones(self, name: str) -> bytes:
        """The card no longer answers. Gives what it was, for `answers_again`."""
        before = self.space(name).whole()
        self.space(name).write(0, b"\xff" * len(before))
        return before

    def answers_again(self, name: str, before: bytes) -> None:
        self.space(name).write(0, before)

    def link_down(self, port: str, present: bool) -> None:
        """The port sees its link go down; with `present` the slot still feels a card."""
        space = self.space(port)
        at = space.express
        # QEMU never sets the bit for a changed link, and lets nobody clear it: the kernel's thread for the slot would go on
        # about it for ever and take the guest's processor.
        masks_of(space)[1].set_word(at + SLTSTA, LINK_CHANGED, LINK_CHANGED)
        while space.word(at + LNKSTA) & LINK_ACTIVE:
            space.set_word(at + LNKSTA, 0, LINK_ACTIVE)
            # QEMU reads, changes and writes this register whenever the guest reads it, so perhaps with what it had read before.
            time.sleep(0.005)
        space.set_word(at + SLTSTA, (PRESENCE if present else 0) | PRESENCE_CHANGED | LINK_CHANGED,
                       PRESENCE | PRESENCE_CHANGED | LINK_CHANGED)

    def hot_add(self, slot: Slot) -> None:
        """A card is put into an empty slot. The guest stands still until the card is what it shall be."""
        self.guest.monitor.ask("stop")
        self.guest.monitor.ask("device_add", driver="virtio-rng-pci", id=slot.gpu, bus=slot.port, aer=True,
                               **{"disable-legacy": "on"})
        dress_card(self.guest.memory.by_identity(VIRTIO, RNG, 1)[0], self.topology.identity)
        self.guest.monitor.ask("cont")

    def watch_under(self, words: Sequence[str], act: Callable[[], None], until_told: Sequence[str], limit: float = 60) -> Done:
        """`boxcheck watch` of a command; `act` after the first reading, which tells that there is no NVML, and the command
        ends some readings after watch has told what `act` did (all of `until_told`): neither end hangs on time. What is
        written with --json must go to a file: standard output is the command's."""
        over = self.guest.folder / "out/over"
        over.unlink(missing_ok=True)

        def once_begun() -> None:
            act()
            end = time.monotonic() + seconds(limit)
            while not self.guest.answered() and time.monotonic() < end:
                said = " ".join(self.guest.said().split())
                if all(text in said for text in until_told):
                    break
                time.sleep(0.1)
            over.touch()

        # watch prints the words of its command too, and not what they come to.
        script = "echo began $((40 + 2)); until [ -e /out/over ]; do sleep 0.2; done; sleep 3"
        return self.boxcheck_under(["watch", *words, "--", "/bench/busybox", "sh", "-c", script], once_begun,
                                   once="(?s)tells nothing.*began 42")

    def wait(self, test: str, limit: float = 20.0) -> bool:
        """Until a test of the guest's shell holds."""
        end = time.monotonic() + seconds(limit)
        while time.monotonic() < end:
            if self.guest.run("/bench/busybox", "sh", "-c", test).exit == 0:
                return True
            time.sleep(0.2)
        return False

    # --- what boxcheck says

    def doctor(self, *words: str, user: Sequence[int] | None = None) -> Account:
        """`user`: groups of the unprivileged user that asks; None for root."""
        env = {} if user is None else {"XDG_STATE_HOME": "/tmp/of-tester"}
        return account(self.guest.boxcheck("doctor", "--no-wake", "--json", "-", *words, user=user, env=env))

    def capture(self, name: str, user: Sequence[int] | None = None) -> Path:
        """`boxcheck capture` in the guest; the file on the host."""
        done = self.guest.boxcheck("capture", f"/out/{name}", user=user)
        done.ok()
        return self.guest.folder / "out" / name

    def dmesg(self) -> str:
        return self.guest.run("/usr/bin/dmesg").ok()


def account(done: Done) -> Account:
    if done.exit not in (0, 1, 3, 5):
        raise GuestError(f"boxcheck doctor ended with {done.exit}: {done.err[-3000:] or done.out[-1000:]}")
    return account_of(done.out, done.exit, done.seconds)


def account_of(text: str, exit: int, spent: float) -> Account:
    whole = json.loads(text)
    findings = tuple(
        Finding(item["check"], item["outcome"], item["says"], item["subject"].get("bdf"),
                None if item["problem"] is None else whole["problems"][item["problem"]]["id"], item)
        for item in whole["findings"])
    return Account(exit, spent, findings, tuple(whole["problems"]), whole["verdict"], whole)


QEMUS_OWN_FAULT = "iotlb_to_section"
"""An assertion of QEMU 10.0 that fails now and then while a guest boots and its processors race for their translations
(system/physmem.c; seen once in some fifty boots, on a busy machine)."""


@contextmanager
def boot(bench: Bench, topology: Topology, series: str | None = None) -> Iterator[Machine]:
    """The machine of a topology, booted, its cards dressed before its kernel looked. Once more where QEMU breaks."""
    with ExitStack() as stack:
        try:
            machine = stack.enter_context(_boot(bench, topology, series))
        except GuestError as error:
            if QEMUS_OWN_FAULT not in str(error):
                raise
            machine = stack.enter_context(_boot(bench, topology, series))
        yield machine


@contextmanager
def _boot(bench: Bench, topology: Topology, series: str | None) -> Iterator[Machine]:
    with Guest(bench, bench.kernel(series), topology.arguments(), topology.cmdline, topology.before, paused=True,
               name=topology.name) as guest:
        topology.dress(guest.memory)
        guest.resume()
        yield Machine(topology, guest)


def on_every_kernel(topology: str) -> list[str]:
    """The topology once for each kernel that is fetched, the newest first, as the fixture `machine` takes it. Where
    nothing is fetched its name alone, and the fixture says why."""
    try:
        bench = fetch() if asked() else known()
    except Unavailable:
        bench = None
    return [f"{topology}@{kernel.series}" for kernel in bench.kernels[::-1]] if bench else [topology]
