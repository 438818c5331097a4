"""lspci text of every flavour gives the same facts; bytes are preferred, and what they contradict is named."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from boxcheck.decode.lspci import LspciFunction, parse

from ..decode.pci_builder import hex_dump, root_port
from ..decode.pci_zoo import random_functions, switch_tree
from .lspci_text import (
    acs,
    aer,
    bridge,
    dpc,
    flattened,
    lane_errors,
    new,
    nvidia,
    nvme,
    old,
    rdna_card,
    slot_lines,
    wrapped,
)

LSPCI = shutil.which("lspci")
needs_lspci = pytest.mark.skipif(LSPCI is None, reason="lspci is not installed")

MACHINE = "\n".join((
    bridge("40:01.1", 0x41, slot=slot_lines(3),
           extra=(aer(root=True, source="4100"), acs("SrcValid ReqRedir"), dpc(), lane_errors("3"))),
    nvidia("41:00.0", extra=(aer(ce="BadTLP AdvNonFatalErr", ue="UnsupReq"),)),
    rdna_card(0x61, "60:01.1"),
    nvme("04:00.0"),
))


def bare(text: str) -> list[LspciFunction]:
    """The functions without what depends on the version and on lines."""
    return [msgspec.structs.replace(function, line=0, speed_mark=None, width_mark=None)
            for function in parse(text.splitlines()).functions]


PLAIN = bare(MACHINE)


def test_the_registers_of_a_port_and_a_card() -> None:
    port, card = PLAIN[0], PLAIN[1]
    assert (port.bdf, port.vendor, port.device, port.class_code) == ("0000:40:01.1", 0x1022, 0x1483, 0x060400)
    assert (port.port_type, port.secondary_bus, port.slot_number) == ("root-port", 0x41, 3)
    assert (port.speed_gts, port.width, port.max_speed_gts, port.max_width, port.target_speed_gts) == (16, 16, 16, 16, 16)
    assert (port.dll_reporting, port.dll_active, port.presence, port.hot_plug, port.power_off) == (
        True, True, True, True, False)
    assert (port.correctable_source, port.root_correctable_interrupt, port.lane_errors) == (0x4100, True, (3,))
    assert port.acs_enabled == ("SrcValid", "ReqRedir")
    assert port.dpc_triggered is False
    assert port.driver == "pcieport"
    assert (card.vendor, card.device, card.revision, card.physical_slot, card.iommu_group) == (
        0x10DE, 0x2684, 0xA1, "3", 41)
    assert [(region.index, region.memory, region.state, region.size_bytes) for region in card.regions] == [
        (0, True, "assigned", 16 << 20), (1, True, "assigned", 32 << 30), (3, True, "assigned", 32 << 20),
        (5, False, "assigned", 128)]
    assert card.rebar is not None
    assert card.rebar[1].supported_sizes_bytes[-1] == 32 << 30
    assert (card.correctable_status, card.uncorrectable_status) == (("BadTLP", "NonFatalErr"), ("UnsupReq",))
    assert card.modules == ("nvidiafb", "nouveau", "nvidia_drm", "nvidia")


@pytest.mark.parametrize("shape", [
    flattened, old, new, wrapped,
    lambda text: wrapped(text, 80), lambda text: wrapped(text, 66), lambda text: flattened(wrapped(text)),
    lambda text: text.replace("\t", "        "), lambda text: text.replace(" ", "\xa0"),
    lambda text: "\n".join(line + "  " for line in text.splitlines()),
], ids=["flattened", "old", "new", "72", "80", "66", "flattened-72", "blanks", "nbsp", "trailing"])
def test_the_shape_of_the_text_changes_nothing(shape: Callable[[str], str]) -> None:
    assert bare(shape(MACHINE)) == PLAIN


def test_domains_of_four_and_eight_digits() -> None:
    for domain, bdf in (("0000", "0000:41:00.0"), ("10000", "10000:41:00.0"), ("00000000", "0000:41:00.0"),
                        ("00010000", "10000:41:00.0")):
        (function,) = parse(nvidia(f"{domain}:41:00.0").splitlines()).functions
        assert function.bdf == bdf


def test_speed_unknown_and_no_lanes() -> None:
    text = nvidia("41:00.0").replace("Speed 2.5GT/s (downgraded), Width x16 (ok)", "Speed unknown, Width x0")
    (function,) = parse(text.splitlines()).functions
    assert (function.speed_gts, function.width) == (None, 0)
    assert function.max_width == 16


@pytest.mark.parametrize(("line", "expected"), [
    ("41:00.0 0300: 10de:2684 (rev a1)", (0x10DE, 0x2684, 0xA1, 0x030000)),
    ("41:00.0 Class 0300: 10de:2684 (rev a1)", (0x10DE, 0x2684, 0xA1, 0x030000)),
    ("41:00.0 Class [0300]: Device [10de:2684] (rev a1)", (0x10DE, 0x2684, 0xA1, 0x030000)),
    ("41:00.0 VGA compatible controller: NVIDIA Corporation Device 2684 (rev a1)", (0x10DE, 0x2684, 0xA1, 0x030000)),
    ("41:00.0 3D controller: NVIDIA Corporation GA102GL [A10] (rev a1)", (0x10DE, None, 0xA1, 0x030200)),
    ("41:00.0 Processing accelerators [1200]: Advanced Micro Devices, Inc. [AMD/ATI] Device [1002:74a1]",
     (0x1002, 0x74A1, 0, 0x120000)),
    ('41:00.0 "VGA compatible controller [0300]" "NVIDIA Corporation [10de]" "AD102 [GeForce RTX 4090] [2684]" -ra1 '
     '"Gigabyte [1458]" "Device [40bf]"', (0x10DE, 0x2684, 0xA1, 0x030000)),
    ('41:00.0 "0300" "10de" "2684" -ra1 -p00 "1458" "40bf"', (0x10DE, 0x2684, 0xA1, 0x030000)),
])
def test_the_first_line_of_each_flavour(line: str, expected: tuple[int | None, ...]) -> None:
    (function,) = parse([line]).functions
    assert (function.vendor, function.device, function.revision, function.class_code) == expected


def test_key_and_value_output() -> None:
    text = ("Slot:\t41:00.0\nClass:\tVGA compatible controller [0300]\nVendor:\tNVIDIA Corporation [10de]\n"
            "Device:\tAD102 [GeForce RTX 4090] [2684]\nSVendor:\tGigabyte [1458]\nSDevice:\tDevice [40bf]\nPhySlot:\t3\n"
            "Rev:\ta1\nDriver:\tnvidia\nModule:\tnvidia\nNUMANode:\t1\nIOMMUGroup:\t41\n\nSlot:\t42:00.0\nClass:\t0108\n"
            "Vendor:\t144d\nDevice:\ta80a\n")
    card, disk = parse(text.splitlines()).functions
    assert (card.bdf, card.device, card.revision, card.subsystem_device, card.physical_slot, card.driver, card.numa_node,
            card.iommu_group) == ("0000:41:00.0", 0x2684, 0xA1, 0x40BF, "3", "nvidia", 1, 41)
    assert (disk.bdf, disk.vendor, disk.class_code) == ("0000:42:00.0", 0x144D, 0x010800)


TREE = """\
-+-[0000:40]-+-00.0  Advanced Micro Devices, Inc. [AMD] Device 14a4
 |           +-01.1-[41-43]----00.0-[42-43]----00.0-[43]--+-00.0  Advanced Micro Devices, Inc. [AMD/ATI] Navi 31
 |           |                                            \\-00.1  Advanced Micro Devices, Inc. [AMD/ATI] Navi 31 HDMI
 |           \\-03.1-[44]--
 \\-[0000:00]-+-00.0  1022:1480
             \\-01.1-[01]----00.0  10de:2684
"""


def test_a_tree_tells_what_hangs_below_what() -> None:
    functions = {function.bdf: function for function in parse(TREE.splitlines()).functions}
    assert functions["0000:43:00.0"].tree_parent == "0000:42:00.0"  # type: ignore[index]
    assert functions["0000:43:00.1"].tree_parent == "0000:42:00.0"  # type: ignore[index]
    assert functions["0000:42:00.0"].tree_parent == "0000:41:00.0"  # type: ignore[index]
    assert functions["0000:41:00.0"].tree_parent == "0000:40:01.1"  # type: ignore[index]
    assert functions["0000:40:01.1"].tree_parent is None  # type: ignore[index]
    assert (functions["0000:40:01.1"].secondary_bus, functions["0000:40:01.1"].subordinate_bus) == (0x41, 0x43)  # type: ignore[index]
    assert (functions["0000:01:00.0"].vendor, functions["0000:01:00.0"].device) == (0x10DE, 0x2684)  # type: ignore[index]
    assert functions["0000:01:00.0"].tree_parent == "0000:00:01.1"  # type: ignore[index]


def test_a_tree_without_its_columns_says_so() -> None:
    dump = parse(flattened(TREE).splitlines())
    assert dump.tree_flattened
    assert all((function.bdf is not None and function.bdf[5:7] == "40") or function.tree_parent for function in dump.functions)


def test_hidden_capabilities_are_not_absent() -> None:
    text = "41:00.0 3D controller: NVIDIA Corporation Device 2330 (rev a1)\n\tCapabilities: <access denied>\n"
    (function,) = parse(text.splitlines()).functions
    assert function.denied
    assert not function.detailed
    assert function.correctable_status is None
    assert function.width is None


def test_a_lost_device_by_its_revision_and_by_its_header() -> None:
    for text in ("41:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev ff)",
                 "41:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD102 [10de:2684] (rev ff) (prog-if ff)\n"
                 "\t!!! Unknown header type 7f\n\tKernel driver in use: nvidia"):
        (function,) = parse(text.splitlines()).functions
        assert function.gone
    (function,) = parse(["41:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev fe)"]).functions
    assert not function.gone


def test_registers_without_their_device() -> None:
    text = "\t\tLnkSta:\tSpeed 2.5GT/s (downgraded), Width x16 (ok)\n\t\tLnkSta:\tSpeed 16GT/s (ok), Width x8 (downgraded)"
    first, second = parse(text.splitlines()).functions
    assert (first.bdf, first.width, first.speed_mark) == (None, 16, "downgraded")
    assert (second.bdf, second.width, second.width_mark) == (None, 8, "downgraded")


def test_two_runs_the_last_counts_and_the_change_is_told() -> None:
    before = nvidia("41:00.0", width=16)
    after = nvidia("41:00.0", width=8)
    dump = parse((before + "\n" + after).splitlines())
    (function,) = dump.functions
    assert dump.runs == 2
    assert function.width == 8
    assert [(change.field, change.before, change.after) for change in dump.changes] == [("width", 16, 8)]
    assert parse((before + "\n" + before).splitlines()).changes == ()


def test_a_short_run_after_a_long_one_takes_nothing_away() -> None:
    dump = parse((nvidia("41:00.0", width=8) + "\n41:00.0 VGA compatible controller: NVIDIA Corporation AD102 "
                  "[GeForce RTX 4090] (rev a1)\n").splitlines())
    assert dump.functions[0].width == 8
    assert dump.changes == ()


def test_a_device_that_is_lost_in_the_second_run() -> None:
    dump = parse((nvidia("41:00.0") + "\n41:00.0 VGA compatible controller: NVIDIA Corporation AD102 "
                  "[GeForce RTX 4090] (rev ff)\n").splitlines())
    (function,) = dump.functions
    assert function.gone
    assert function.width is None
    assert function.device == 0x2684
    assert [change.field for change in dump.changes] == ["gone"]


def test_another_device_at_the_address_is_not_mixed_with_the_first() -> None:
    dump = parse((nvme("41:00.0") + "\n" + nvidia("41:00.0")).splitlines())
    (function,) = dump.functions
    assert (function.device, function.max_width) == (0x2684, 16)
    assert [(change.field, change.before, change.after) for change in dump.changes] == [
        ("device", "144d:a80a", "10de:2684")]


def test_prose_after_a_paste_does_not_become_a_register() -> None:
    text = "41:00.0 3D controller: NVIDIA Corporation GA102GL [A10] (rev a1)\n\t\tLnkSta:\tSpeed 16GT/s, Width x16\nWidth was x8 before\n"
    (function,) = parse(text.splitlines()).functions
    assert function.width == 16
    assert function.name == "NVIDIA Corporation GA102GL [A10]"


def printed(spaces: dict[str, bytes], tmp_path: Path, *options: str) -> str:
    """What the installed lspci makes of configuration space."""
    assert LSPCI is not None
    path = tmp_path / "dump"
    path.write_text(hex_dump(spaces))
    done = subprocess.run([LSPCI, "-F", str(path), *options], capture_output=True, text=True, check=True)
    return done.stdout


@needs_lspci
@pytest.mark.parametrize("seed", range(4))
def test_words_and_bytes_of_lspci_itself_agree(seed: int, tmp_path: Path) -> None:
    """lspci prints the words, our decoder reads the bytes under them: an independent pair."""
    for spaces in (switch_tree(3 + seed), {"0000:40:01.1": root_port().bytes()},
                   random_functions(random.Random(seed), 40)):
        functions = parse(printed(spaces, tmp_path, "-vvv", "-xxxx", "-nn").splitlines()).functions
        assert len(functions) == len(spaces)
        assert [(function.bdf, function.disagrees) for function in functions if function.disagrees] == []
        assert all(function.hex_bytes == 4096 for function in functions)


@needs_lspci
def test_words_alone_give_what_the_bytes_give(tmp_path: Path) -> None:
    spaces = switch_tree(5)
    words = parse(printed(spaces, tmp_path, "-vvv", "-nn").splitlines()).functions
    both = parse(printed(spaces, tmp_path, "-vvv", "-nn", "-xxxx").splitlines()).functions
    for alone, full in zip(words, both, strict=True):
        for field in ("width", "speed_gts", "max_width", "target_speed_gts", "port_type", "correctable_status",
                      "uncorrectable_status", "secondary_bus", "acs_enabled", "lane_errors"):
            if getattr(alone, field) is not None:
                assert getattr(alone, field) == getattr(full, field), (alone.bdf, field)


@needs_lspci
def test_a_word_that_the_bytes_contradict_is_named(tmp_path: Path) -> None:
    text = printed(switch_tree(5), tmp_path, "-vvv", "-xxxx")
    text, changed = re.subn(r"(LnkSta:\tSpeed \S+(?: \(\w+\))?, Width )x16", r"\1x8", text, count=1)
    assert changed == 1
    first = parse(text.splitlines()).functions[0]
    assert first.disagrees == ("width",)
    assert first.width == 16
