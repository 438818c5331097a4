"""The built machines against lspci: it must print what was meant, for every function of every box.

Also what no foreign program knows: addresses fit their windows, links lead somewhere, and the bytes are the same every
time.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.boxes import BOXES, MUTATIONS, Symlink, Tree, build, machine
from tests.boxes.pci_build import Function
from tests.boxes.pci_config import CORRECTABLE, Express
from tests.boxes.pci_extended import Acs, Aer, Dpc, ResizableBar, SecondaryExpress

LSPCI = shutil.which("lspci")
needs_lspci = pytest.mark.skipif(LSPCI is None, reason="lspci is not installed")
CORRECTABLE_OF_LSPCI = {**{name: name for name in CORRECTABLE}, "NonFatalErr": "AdvNonFatalErr"}
MUTATED = [
    "wopr-7x4090+riser-x8",
    "wopr-7x4090+gen3-target-capped",
    "wopr-7x4090+bar-256mb",
    "wopr-7x4090+card-absent",
    "wopr-7x4090+gpu-fallen-off",
    "wopr-7x4090+aer-firmware-raw-status",
    "wopr-7x4090+acs-redirect",
    "tinybox-red+hidden-gen3-behind-1478",
    "tinybox-red+badtlp-card",
    "tinybox-red+nvme-x2",
    "tinybox-red+lane-errors",
    "tinybox-red+wrong-revision",
    "wopr-7x4090+dpc-triggered",
    "geohot-amd-dev+above-4g-off",
]


READ_BY_LSPCI = frozenset(
    [
        "config",
        "resource",
        "irq",
        "vendor",
        "device",
        "class",
        "revision",
        "subsystem_vendor",
        "subsystem_device",
        "numa_node",
        "driver",
        "iommu_group",
        "label",
    ]
)


def lspci_of(tree: Tree, folder: Path, whole: bool = False) -> dict[str, str]:
    """What lspci -vvv prints of a tree, by address. Files that lspci does not open are left out unless `whole`."""
    if not whole:
        tree.nodes = {
            path: node
            for path, node in tree.items()
            if path.startswith("/sys/bus/pci/")
            or (path.startswith("/sys/devices/pci") and path.rsplit("/", 1)[1] in READ_BY_LSPCI)
        }
        tree.readings, tree.directories = [], set()
    root = tree.write_dir(folder)
    done = subprocess.run(
        [LSPCI or "", "-A", "linux-sysfs", "-O", f"sysfs.path={root}/sys/bus/pci", "-D", "-vvvnn"],
        capture_output=True,
        text=True,
        check=True,
    )
    complaints = [line for line in done.stderr.splitlines() if "libkmod" not in line]
    assert complaints == []
    return {block.split(" ", 1)[0]: block for block in done.stdout.split("\n\n") if block.strip()}


def hexdump(function: Function) -> str:
    """The form that lspci -F reads."""
    rows = [f"{function.bdf[5:]} {function.name}"]
    data = function.config()
    rows += [f"{at:02x}: " + " ".join(f"{byte:02x}" for byte in data[at : at + 16]) for at in range(0, len(data), 16)]
    return "\n".join(rows) + "\n\n"


def number(speed_gts: float) -> str:
    return f"{speed_gts:g}GT/s"


def expected(function: Function) -> list[str]:
    """Fragments that lspci must print for a function, from the machine's own description."""
    out = []
    if function.lost:
        return ["!!! Unknown header type 7f"]
    express = function.get(Express)
    if express is not None and express.has_link:
        out += [
            f"Speed {number(express.max_speed_gts)}, Width x{express.max_width}",
            f"MaxPayload {express.max_payload} bytes",
        ]
        target = express.target_speed_gts or express.max_speed_gts
        if (function.device_number == 0 and function.function_number == 0) or express.downstream_facing:
            out.append(f"LnkCtl2: Target Link Speed: {number(target)}")
        if express.slot is not None:
            out.append(f"Slot #{express.slot}, PowerLimit {express.slot_power_watts:g}W")
            out.append(f"PresDet{'+' if express.presence else '-'}")
    aer = function.get(Aer)
    if aer is not None:
        flags = [
            f"{shown}{'+' if aer.correctable_status >> CORRECTABLE[name] & 1 else '-'}"
            for name, shown in CORRECTABLE_OF_LSPCI.items()
            if CORRECTABLE[name] <= 13
        ]
        out.append("CESta:\t" + " ".join(flags))
        if aer.root:
            on = "+" if aer.root_command & 1 else "-"
            out.append(f"CERptEn{on}")
    acs = function.get(Acs)
    if acs is not None:
        out.append(f"SrcValid{'+' if acs.control & 1 else '-'} TransBlk- ReqRedir{'+' if acs.control & 4 else '-'}")
    lanes = function.get(SecondaryExpress)
    if lanes is not None:
        errors = [str(lane) for lane in range(16) if lanes.lane_errors >> lane & 1]
        out.append("LaneErrStat: " + (f"LaneErr at lane: {' '.join(errors)}" if errors else "0"))
    rebar = function.get(ResizableBar)
    for entry in rebar.entries if rebar else []:
        size = f"{entry.current_mib // 1024}GB" if entry.current_mib >= 1024 else f"{entry.current_mib}MB"
        out.append(f"BAR {entry.bar}: current size: {size}")
    dpc = function.get(Dpc)
    if dpc is not None:
        out.append(f"DpcSta:\tTrigger{'+' if dpc.status & 1 else '-'}")
    if function.bridge:
        below = f"secondary={function.secondary:02x}, subordinate={function.subordinate:02x}"
        out.append(f"Bus: primary={function.bus:02x}, {below}")
    return out


def link_status(text: str) -> tuple[float, int] | None:
    found = re.search(r"LnkSta:\tSpeed (?:([\d.]+)GT/s|unknown)[^,]*, Width x(\d+)", text)
    return (float(found[1] or 0), int(found[2])) if found else None


@needs_lspci
@pytest.mark.parametrize("name", [*BOXES, *MUTATED])
def test_lspci_prints_what_was_meant(name: str, tmp_path: Path) -> None:
    box = machine(name)
    shown = lspci_of(box.tree(), tmp_path, whole=name == "tinybox-red")
    functions = list(box.functions())
    assert set(shown) == {function.bdf for function in functions}
    for function in functions:
        text = shown[function.bdf]
        for fragment in expected(function):
            assert fragment in text, f"{function.name} {function.bdf}: {fragment!r} not in\n{text}"
        assert f"[{function.vendor:04x}:{function.device:04x}]" in text
        express = function.get(Express)
        if express is not None and express.has_link and not function.lost:
            assert link_status(text) == (express.speed_gts, express.width)
        if function.driver:
            assert f"Kernel driver in use: {function.driver}" in text
        for bar in function.bars:
            if bar.address is not None and bar.assign and not function.lost:
                assert f"{bar.address:x}" in text


@needs_lspci
@pytest.mark.parametrize("name", ["wopr-7x4090", "tinybox-red", "tinybox-green-v2"])
def test_lspci_reads_the_hex_dump_alike(name: str, tmp_path: Path) -> None:
    functions = list(machine(name).functions())
    dump = tmp_path / "dump"
    dump.write_text("".join(hexdump(function) for function in functions))
    done = subprocess.run([LSPCI or "", "-F", str(dump), "-vvvnn"], capture_output=True, text=True, check=True)
    blocks = [block for block in done.stdout.split("\n\n") if block.strip()]
    assert len(blocks) == len(functions)
    shown = {block.split(" ", 1)[0]: block for block in blocks}
    for function in functions:
        for fragment in expected(function):
            assert fragment in shown[function.bdf[5:]]


@pytest.mark.parametrize("name", [*BOXES, "geohot-amd-dev+above-4g-off", "tinybox-red+bar-256mb-all"])
def test_addresses_fit(name: str) -> None:
    """No two BARs overlap and each lies in all windows above it."""
    spaces: dict[bool, list[tuple[int, int, str]]] = {True: [], False: []}
    for function in machine(name).functions():
        for bar in function.bars:
            assert bar.address is not None
            assert bar.address % bar.size == 0
            spaces[bar.kind == "io"].append((bar.address, bar.address + bar.size, function.bdf))
            if bar.kind in ("mem32", "mem64"):
                assert bar.address + bar.size <= 1 << 32
            above = function.parent
            while above is not None:
                kind = "io_window" if bar.kind == "io" else "prefetch_window" if bar.prefetchable else "memory_window"
                window = getattr(above, kind)
                assert window.start <= bar.address
                assert bar.address + bar.size <= window.start + window.size
                above = above.parent
    for taken in spaces.values():
        ordered = sorted(taken)
        assert all(first[1] <= second[0] for first, second in pairwise(ordered))


@pytest.mark.parametrize("name", BOXES)
def test_links_lead_somewhere(name: str) -> None:
    tree = build(name)
    folders = {path.rsplit("/", depth)[0] for path in tree for depth in range(1, path.count("/"))} | tree.directories
    for path, node in tree.items():
        if isinstance(node, Symlink):
            real = tree.resolve(path)
            assert real in tree or real in folders, f"{path} -> {real}"


@pytest.mark.parametrize("name", BOXES)
def test_sysfs_says_what_the_registers_say(name: str) -> None:
    """Link speed and width from the bytes of `config`, read here by hand, equal the attributes."""
    tree = build(name)
    for bdf in tree.listing("/sys/bus/pci/devices"):
        base = tree.resolve(f"/sys/bus/pci/devices/{bdf}")
        config = tree[f"{base}/config"]
        assert isinstance(config, bytes)
        assert len(config) in (256, 4096)
        assert int.from_bytes(config[0:2], "little") == int(tree.text(f"{base}/vendor"), 16)
        assert config[8] == int(tree.text(f"{base}/revision"), 16)
        at = config[0x34]
        while at and config[at] != 0x10:
            at = config[at + 1]
        if not at or (config[at + 2] >> 4) == 9:
            continue
        status = int.from_bytes(config[at + 0x12 : at + 0x14], "little")
        speed = {1: "2.5", 2: "5.0", 3: "8.0", 4: "16.0", 5: "32.0"}[status & 0xF]
        assert tree.text(f"{base}/current_link_speed") == f"{speed} GT/s PCIe\n"
        assert tree.text(f"{base}/current_link_width") == f"{status >> 4 & 0x3F}\n"


def test_bytes_never_change(tmp_path: Path) -> None:
    first = machine("tinybox-red").tree().write_tar(tmp_path / "a.tar.gz").read_bytes()
    second = machine("tinybox-red").tree().write_tar(tmp_path / "b.tar.gz").read_bytes()
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
    assert len(first) < 2 << 20


def test_builds_are_the_callers_own() -> None:
    tree = build("laptop")
    tree.put("/proc/cmdline", "changed")
    assert build("laptop").text("/proc/cmdline") != "changed\n"


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_changes_bytes(name: str) -> None:
    mutation = MUTATIONS[name]
    before, after = build(mutation.base), build(f"{mutation.base}+{name}")
    if name != "4090-idle-gen1":  # the WOPR idles so in its healthy state
        assert {**before.nodes, **before.extras()} != {**after.nodes, **after.extras()}
    if mutation.slot and mutation.slot.startswith("PCIE"):
        machine(mutation.base).slot(mutation.slot)


@pytest.mark.parametrize("name", [name for name, mutation in MUTATIONS.items() if len(mutation.bases) > 1])
def test_mutations_fit_all_their_boxes(name: str) -> None:
    for base in MUTATIONS[name].bases:
        machine(f"{base}+{name}")


def test_an_ordinary_user_reads_less() -> None:
    root, user = build("wopr-7x4090"), build("wopr-7x4090+not-root")
    path = root.resolve("/sys/bus/pci/devices/0000:41:00.0") + "/config"
    whole, header = root[path], user[path]
    assert isinstance(whole, bytes)
    assert len(whole) == 4096
    assert header == whole[:64]
    assert "/var/log/dmesg" in root
    assert "/var/log/dmesg" not in user
    assert {entry["path"] for entry in user.unread} >= {"/sys/firmware/dmi/tables/DMI", "/var/log/dmesg"}


def test_load_readings_are_recorded() -> None:
    tree = build("wopr-7x4090")
    path = tree.resolve("/sys/bus/pci/devices/0000:41:00.0") + "/current_link_speed"
    assert tree.text(path) == "2.5 GT/s PCIe\n"
    seen = [(reading.phase, reading.data) for reading in tree.readings if reading.path == path]
    assert seen == [("load", b"16.0 GT/s PCIe\n"), ("load", b"16.0 GT/s PCIe\n"), ("after", b"2.5 GT/s PCIe\n")]
    assert build("wopr-7x4090-one-reading").readings == []
