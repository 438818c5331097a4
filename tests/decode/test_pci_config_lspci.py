"""The configuration space decoder against lspci, register by register.

`lspci -F FILE` decodes a hex dump without hardware, so the two can be compared on recorded machines, on this machine
and on functions made up here. Where they differ, the difference is in `EXPLAINED` with its reason; a reason that no
comparison needs any more is an error too.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.decode.pci_config import parse_hex_dump

from .lspci_compare import EXPRESS_REGISTERS, MISSING, Comparison, Difference, compare
from .pci_builder import hex_dump, root_port
from .pci_zoo import random_functions, switch_tree

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "pciutils"
LSPCI = os.environ.get("BOXCHECK_LSPCI") or shutil.which("lspci")

pytestmark = pytest.mark.skipif(LSPCI is None, reason="lspci is not installed")


def _version() -> tuple[int, ...]:
    if LSPCI is None:
        return (0,)
    text = subprocess.run([LSPCI, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


VERSION = _version()


class Explanation(msgspec.Struct, frozen=True):
    registers: tuple[str, ...]
    names: tuple[str, ...]
    why: str
    when: Callable[[Difference], bool]
    since: tuple[int, int] = (0, 0)
    before: tuple[int, int] = (99, 0)

    def explains(self, difference: Difference) -> bool:
        return (
            difference.register.split(" ")[0] in self.registers
            and difference.name in self.names
            and self.when(difference)
        )

    @property
    def applies(self) -> bool:
        return self.since <= VERSION < self.before


EXPLAINED = {
    "payload codes 6 and 7 are reserved": Explanation(
        ("DevCap", "DevCtl"),
        ("MaxPayload", "MaxReadReq"),
        "the specification stops at 4096 bytes; lspci goes on doubling, we say None",
        lambda d: d.ours is None and d.theirs in (8192, 16384),
    ),
    "speed code 7 is 128 GT/s": Explanation(
        ("LnkCap", "LnkSta", "LnkCtl2"),
        ("Speed", "Target Link Speed"),
        "Linux and the rule that code n is bit n of LnkCap2 say so; lspci does not know the code",
        lambda d: d.ours == 128.0 and d.theirs is None,
    ),
    "speed code 8 is reserved": Explanation(
        ("LnkCap", "LnkSta", "LnkCtl2"),
        ("Speed", "Target Link Speed"),
        "lspci prints 128 GT/s for it, which the vector's rule gives to code 7",
        lambda d: d.ours is None and d.theirs == 128.0,
        since=(3, 14),
    ),
    "64 GT/s in lspci 3.7": Explanation(
        ("LnkCap", "LnkSta", "LnkCtl2"),
        ("Speed", "Target Link Speed"),
        "it stops at 32 GT/s",
        lambda d: d.ours == 64.0 and d.theirs is None,
        before=(3, 8),
    ),
    "slot power from 250 W in lspci 3.7": Explanation(
        ("SltCap", "DevCap"),
        ("PowerLimit", "SlotPowerLimit"),
        "it takes the codes from 0xf0, which stand for steps of 25 W, as watts",
        lambda d: (d.ours is None or d.ours >= 250) and 240 <= d.theirs <= 255,
        before=(3, 8),
    ),
    "L1_PM_Substates in lspci 3.8": Explanation(
        ("L1SubCap",),
        ("L1_PM_Substates",),
        "it tests 0x16 instead of bit 4, so that any L1.1 or ASPM L1.2 bit sets it",
        lambda d: not d.ours and d.theirs,
        before=(3, 9),
    ),
    "target speed 0": Explanation(
        ("LnkCtl2",),
        ("Target Link Speed",),
        "only a function that knows no more than 2.5 GT/s may hardwire 0, elsewhere the code is reserved; "
        "lspci does not look at LnkCap",
        lambda d: d.ours is None and d.theirs == 2.5,
    ),
    "lspci hides LnkCap2 that is zero": Explanation(
        ("LnkCap2",),
        ("",),
        "before PCIe 3.0 the register was reserved; we give it with an empty vector",
        lambda d: d.theirs == MISSING and not any(d.ours.values()),
    ),
    "lspci hides LnkCap2 and LnkCtl2 of later functions": Explanation(
        ("LnkCap2", "LnkCtl2"),
        ("",),
        "lspci takes them as function 0's; the bytes are there, and a wrong target in them is worth seeing",
        lambda d: d.theirs == MISSING and d.port_type in ("endpoint", "legacy-endpoint") and not d.first_function,
    ),
    "LaneErrStat above lane 15": Explanation(
        ("LaneErrStat",),
        ("lanes",),
        "the register has 32 bits, lspci reads 16 of them",
        lambda d: tuple(lane for lane in d.ours if lane < 16) == d.theirs,
    ),
    "reserved LTR scales": Explanation(
        ("Max",),
        ("ns",),
        "scales 6 and 7 are not permitted; lspci shifts on (and past its 32 bits), we say None",
        lambda d: d.ours is None,
    ),
}


def unexplained(comparison: Comparison) -> list[Difference]:
    return [d for d in comparison.differences if not any(e.applies and e.explains(d) for e in EXPLAINED.values())]


def lspci(*arguments: str) -> str:
    assert LSPCI is not None
    done = subprocess.run([LSPCI, "-D", "-n", "-vvv", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def compare_dump(path: Path, source: str) -> Comparison:
    spaces = parse_hex_dump(path.read_text(errors="replace"))
    # A dump that ends at 64 or 256 bytes gives lspci its missing bytes as ones, or not at all; the decoder says so.
    return compare(source, spaces, lspci("-F", str(path)))


def _dump_files() -> Iterator[Any]:
    if not FIXTURES.is_dir():
        yield pytest.param(None, marks=pytest.mark.skip(reason="../shared/fixtures/pciutils is not there"))
        return
    for path in sorted(FIXTURES.iterdir()):
        if path.name != "SOURCES.md":
            yield pytest.param(path, id=path.name)


@pytest.mark.parametrize("path", list(_dump_files()))
def test_recorded_dump(path: Path) -> None:
    comparison = compare_dump(path, path.name)
    assert unexplained(comparison) == []
    assert comparison.compared["header"] > 0


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="../shared/fixtures/pciutils is not there")
def test_recorded_dumps_cover_the_registers() -> None:
    """A comparison that found nothing to compare would pass as well."""
    total: Counter[str] = Counter()
    for path in sorted(FIXTURES.iterdir()):
        if path.name != "SOURCES.md":
            total += compare_dump(path, path.name).compared
    wanted = ("LnkCap", "LnkCtl", "LnkSta", "DevCap", "DevCtl", "DevSta", "SltCap", "SltSta", "RootCtl", "UESta",
              "UEMsk", "UESvrt", "CESta", "CEMsk", "ACSCap", "ACSCtl", "LaneErrStat", "L1SubCtl1",
              "LnkCtl2", "LnkSta2", "DevCap2", "DevCtl2", "Bus", "BridgeCtl")  # fmt: skip
    assert {register for register in wanted if total[register] == 0} == set()
    assert any(register.startswith("BAR") for register in total)


def test_this_machine() -> None:
    devices = Path("/sys/bus/pci/devices")
    if not devices.is_dir() or not any(devices.iterdir()):
        pytest.skip("this machine has no PCI devices")
    if os.geteuid() != 0:
        pytest.skip("configuration space beyond its header needs root")
    spaces = {path.name: (path / "config").read_bytes() for path in sorted(devices.iterdir())}
    text = lspci()
    again = {path.name: (path / "config").read_bytes() for path in sorted(devices.iterdir())}
    # Status bits may change between the two readings of a function: what moved cannot be compared.
    steady = {bdf: data for bdf, data in spaces.items() if again.get(bdf) == data}
    blocks = [block for block in text.split("\n\n") if block.split(" ", 1)[0].strip() in steady]
    comparison = compare("this machine", steady, "\n\n".join(blocks))
    assert unexplained(comparison) == []
    assert comparison.compared["header"] >= 4


def test_root_port_with_fifteen_extended_capabilities(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_text(hex_dump({"0000:40:01.1": root_port().bytes()}))
    comparison = compare_dump(path, "root port")
    assert unexplained(comparison) == []
    assert comparison.compared["CESta"] >= 6
    assert comparison.compared["SltCap"] >= 10


@pytest.mark.parametrize("speed", [3, 4, 5, 6])
def test_switch_with_endpoint(tmp_path: Path, speed: int) -> None:
    path = tmp_path / "dump"
    path.write_text(hex_dump(switch_tree(speed)))
    comparison = compare_dump(path, f"switch at speed code {speed}")
    assert unexplained(comparison) == []
    assert comparison.compared["LnkSta"] >= 32


def _random_comparison(tmp_path: Path) -> Comparison:
    path = tmp_path / "dump"
    path.write_text(hex_dump(random_functions(random.Random(20240229), 256)))
    return compare_dump(path, "random registers")


def test_random_registers(tmp_path: Path) -> None:
    """Every bit of every register, set and clear, in every port type: no field is read from the wrong place."""
    comparison = _random_comparison(tmp_path)
    assert unexplained(comparison) == []
    wanted = (*EXPRESS_REGISTERS, "UESta", "UEMsk", "UESvrt", "CESta", "CEMsk", "AERCap", "HeaderLog", "RootCmd",
              "ErrorSrc", "ACSCap", "ACSCtl", "DpcCap", "DpcCtl", "DpcSta", "Source", "L1SubCap", "L1SubCtl1",
              "L1SubCtl2", "LnkCtl3", "LaneErrStat", "BAR 0", "Max snoop latency", "serial")  # fmt: skip
    assert {register for register in wanted if comparison.compared[register] < 10} == set()


def test_every_explanation_is_needed(tmp_path: Path) -> None:
    differences = _random_comparison(tmp_path).differences
    idle = [key for key, e in EXPLAINED.items() if e.applies and not any(e.explains(d) for d in differences)]
    assert idle == []
