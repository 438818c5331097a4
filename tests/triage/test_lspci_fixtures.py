"""Every lspci among the public captures, through the cutter and the reader: what is found, checked by hand."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import pytest

from boxcheck.decode.lspci import parse
from boxcheck.triage.cut import cut
from boxcheck.triage.evidence import Evidence
from boxcheck.triage.tools import lspci

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
pytestmark = pytest.mark.skipif(not FIXTURES.is_dir(), reason="../shared/fixtures is not beside the checkout")

Told = tuple[str, str, str | None]
"""Kind, severity, address."""


@cache
def sections(name: str) -> tuple[Evidence, ...]:
    found, _ = cut((FIXTURES / name).read_bytes())
    return tuple(reader.read(section) for reader, section in found if reader is lspci)  # type: ignore[comparison-overlap]


def told(name: str) -> list[Told]:
    return [(event.kind, event.severity, event.bdf) for evidence in sections(name) for event in evidence.events]


def devices(name: str) -> int:
    return sum(len(evidence.devices) for evidence in sections(name))


H100 = ("19", "3b", "4c", "5d", "9b", "bb", "cb", "db")
H100_PORTS = ("17", "39", "4a", "5b", "99", "b9", "c9", "d9")

EXPECTED: dict[str, tuple[int, list[Told]]] = {
    # A sound server: eight H100 at 32 GT/s x16. All bits of CEMsk are set at both ends of their links, so what is in
    # CESta was never cleared since power-on; said, and not held against the links.
    "gpud/lspci-vvv.dell-h100": (517, sorted([
        ("aer-correctable", "info", None), ("aer-nonfatal", "info", None),
        *(("aer-correctable", "info", f"0000:{bus}:00.0") for bus in H100),
        *(("aer-correctable", "info", f"0000:{bus}:01.0") for bus in H100_PORTS),
    ], key=str)),
    "gpud/lspci.nn.a10": (20, []),
    "issues/lspci-7900xtx-devcap2-atomics-on.txt": (1, []),
    # The doorbell window has no address: the driver gives up (the log lines below it say so). 256 MiB of 16 GiB.
    "issues/lspci-bar-ignored-navi21-3gpu.txt": (1, [
        ("bar-assign-fail", "fail", "0000:04:00.0"), ("bar-small", "warn", "0000:04:00.0")]),
    "issues/lspci-lnksta-speed-unknown-6700xt.txt": (1, [("aer-correctable", "info", None)]),
    "jc/lspci-mmv.out": (46, []),
    "jc/lspci-nmmv.out": (46, []),
    "jc/lspci-nnmmv.out": (46, []),
    # The port keeps the sender of a correctable error though reporting is off (RootCmd CERptEn-); the card is idle.
    "linuxhw-LsPCI/ROMED8-2T-B3DE8D2A1D8F-6.2.0.excerpt.lspci": (2, [
        ("aer-correctable", "info", "0000:01:00.0"), ("link-speed", "info", "0000:c1:00.0")]),
    "lkml/lspci-bar-resize-gpu-2024.txt": (21, []),
    "lkml/lspci-gpu-nmi-2026.txt": (40, []),
    "lkml/lspci-hotinsert-lmr-2023.txt": (2, [
        ("aer-correctable", "info", "0000:83:00.0"), ("aer-nonfatal", "info", "0000:83:00.0")]),
    # Two machines in one mail thread: QEMU's NVMe at x1 first, a ConnectX-5 after it; cut apart by the grep between.
    "lkml/dmesg-sriov-flr-aer.txt": (3, []),
    # Four idle RTX 6000 Ada, two ConnectX-7 that firmware probed. 46 ACSCtl lines of a grep at the end.
    "stelline/asus-esc8000a-e12.md": (252, sorted([
        *(("link-speed", "info", f"0000:{bus}:00.0") for bus in ("01", "41", "c1", "e1")),
        *(("aer-correctable", "info", f"0000:{bus}:00.0") for bus in ("21", "81")),
        *(("aer-nonfatal", "info", f"0000:{bus}:00.0") for bus in ("21", "81")),
    ], key=str)),
    "pciutils/tree-fsl-p2020": (6, []),
    "pciutils/tree-fujitsu-p8010": (22, [("aer-correctable", "info", None), ("aer-nonfatal", "info", "0000:14:00.0")]),
    "pciutils/cap-ide": (1, [("aer-correctable", "info", "0000:e1:00.0")]),
    "pciutils/cap-vc-pat": (1, [("aer-nonfatal", "info", "0000:12:08.0")]),
    "pciutils/PCI-X-bridges-and-domains": (31, []),
    # One port alone, x8 of its x16: what is below is not in the file.
    "pciutils/cap-MSI-mapping": (1, [("link-width", "info", "0000:0a:01.0")]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_capture_says(name: str) -> None:
    count, events = EXPECTED[name]
    assert sorted(told(name), key=str) == sorted(events, key=str)
    assert devices(name) == count


@pytest.mark.parametrize("path", sorted((FIXTURES / "pciutils").glob("[!S]*")) if FIXTURES.is_dir() else [], ids=lambda path: path.name)
def test_words_and_bytes_of_pciutils_own_dumps_agree(path: Path) -> None:
    """Their text was printed by many versions over fifteen years, the bytes below it are decoded by us."""
    functions = parse(path.read_text(errors="replace").splitlines()).functions
    assert functions
    assert [(function.bdf, function.disagrees) for function in functions if function.disagrees] == []
    if path.name not in EXPECTED and f"pciutils/{path.name}" not in EXPECTED:
        assert told(f"pciutils/{path.name}") == []


def test_a_dump_is_one_section() -> None:
    for name in ("gpud/lspci-vvv.dell-h100", "pciutils/cap-ide", "pciutils/tree-fujitsu-p8010", "jc/lspci-mmv.out",
                 "lkml/lspci-hotinsert-lmr-2023.txt", "lkml/lspci-bar-resize-gpu-2024.txt"):
        assert len(sections(name)) == 1, name


def test_the_server_of_517_functions() -> None:
    (evidence,) = sections("gpud/lspci-vvv.dell-h100")
    known = {device.bdf: device for device in evidence.devices}
    gpus = [device for device in evidence.devices if device.more.get("part") == "h100-sxm5"]
    assert len(gpus) == 8
    for gpu in gpus:
        assert gpu.link is not None
        assert (gpu.link.speed_gts, gpu.link.width) == (32, 16)
        assert gpu.driver == "nvidia"
        assert gpu.bars[1].size_bytes == 128 << 30
    chain = evidence.readings["gpu_chains"]["0000:19:00.0"]
    assert [known[bdf].port_type for bdf in chain] == ["root-port", "upstream-port", "downstream-port"]
    assert any("nobody counts" in note for note in evidence.notes)


def test_517_functions_are_read_in_time() -> None:
    text = (FIXTURES / "gpud/lspci-vvv.dell-h100").read_bytes()
    best = 9.0
    for _ in range(3):
        start = time.process_time()
        found, _ = cut(text)
        found[0][0].read(found[0][1])
        best = min(best, time.process_time() - start)
    assert best < 1.5


def test_a_broken_and_quoted_mail() -> None:
    (evidence,) = sections("lkml/lspci-hotinsert-lmr-2023.txt")
    drive, port = evidence.devices
    assert (drive.bdf, drive.driver, drive.slot, drive.iommu_group) == ("0000:83:00.0", "vfio-pci", "14", 41)
    assert drive.parent == port.bdf == "0000:80:03.2"
    assert port.link is not None
    assert (port.link.speed_gts, port.link.width, port.link.target_speed_gts) == (16, 4, 16)
    assert port.more["acs_enabled"] == "SrcValid, ReqRedir, CmpltRedir, UpstreamFwd"
    assert drive.name == "Samsung Electronics Co Ltd NVMe SSD Controller PM9A1/PM9A3/980PRO"


def test_a_tree_gives_parents() -> None:
    tree = sections("stelline/asus-esc8000a-e12.md")[0]
    parents = {device.bdf: device.parent for device in tree.devices}
    assert len(parents) == 198
    assert parents["0000:41:00.0"] == "0000:40:01.1"  # type: ignore[index]
    assert parents["0000:65:00.0"] == "0000:64:10.0"  # type: ignore[index]
    assert parents["0000:64:10.0"] == "0000:63:00.0"  # type: ignore[index]
    assert tree.events == ()


@pytest.mark.parametrize("folder", ["issues", "lkml", "gpud", "linuxhw-DMI", "thamada-nvidia-smi", "superbenchmark", "ghw"])
def test_nothing_else_is_taken_for_lspci(folder: str) -> None:
    for path in sorted((FIXTURES / folder).iterdir()):
        if path.is_dir() or "lspci" in path.name or path.name in ("dmesg-sriov-flr-aer.txt", "SOURCES.md"):
            continue
        lines = path.read_text(errors="replace").splitlines()
        assert [line for line in lines if lspci.begins(line)] == [], path.name
