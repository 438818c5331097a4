from __future__ import annotations

from pathlib import Path

from boxcheck.model import Unread
from boxcheck.probes.memory import Memory, parse_meminfo
from tests.boxes import build
from tests.boxes import smbios_build as smbios
from tests.probes.reading import HOSTILE, fact, host, kind_of, live, never_raises, tree

GIB = 1 << 30
MEMINFO = (
    "MemTotal:       131072000 kB\nSwapTotal:       8388604 kB\nHugePages_Total:     512\nHugepagesize:       2048 kB\n"
)
EDAC = "/sys/devices/system/edac/mc"


def tables(*structures: smbios.Structure) -> dict[str, bytes]:
    table, entry = smbios.table((smbios.memory_array(), *structures))
    return {"/sys/firmware/dmi/tables/DMI": table, "/sys/firmware/dmi/tables/smbios_entry_point": entry}


def test_meminfo_rows() -> None:
    assert parse_meminfo(MEMINFO, "MemTotal") == 131072000 << 10
    assert parse_meminfo(MEMINFO, "HugePages_Total") == 512
    assert kind_of(parse_meminfo(MEMINFO, "MemFree")) == "malformed"
    assert kind_of(parse_meminfo("MemTotal:  lots kB", "MemTotal")) == "malformed"
    never_raises(lambda text: parse_meminfo(text, "MemTotal"), *HOSTILE)


def test_modules_by_channel_as_on_romed8_2t(tmp_path: Path) -> None:
    found = tables(smbios.memory_device("DIMM 0", "P0 CHANNEL A"), smbios.empty_memory_device("DIMM 0", "P0 CHANNEL B"))
    memory = fact(Memory, tree({"/proc/meminfo": MEMINFO, **found}), tmp_path)
    assert isinstance(memory.channels, tuple)
    assert [(channel.name, channel.populated) for channel in memory.channels] == [("A", True), ("B", False)]
    # `DIMM 0` names every socket of this board, so the bank belongs to the name
    assert [channel.modules[0].label for channel in memory.channels] == ["P0 CHANNEL A DIMM 0", "P0 CHANNEL B DIMM 0"]
    assert memory.installed_bytes == 16 * GIB
    assert memory.ecc is True
    assert memory.huge_pages_bytes == 512 * 2048 << 10


def test_labels_are_the_locators_where_these_are_unique(tmp_path: Path) -> None:
    memory = fact(Memory, tree(tables(
        smbios.memory_device("DIMM_A1", "NODE 1"), smbios.memory_device("DIMM_B1", "NODE 1", 8 * GIB,
        configured_speed_mts=2666, total_width_bits=64))), tmp_path)
    assert isinstance(memory.modules, tuple)
    first, second = memory.modules
    assert (first.label, first.channel, first.check_bits) == ("DIMM_A1", "A", 8)
    assert (second.label, second.size_bytes, second.configured_mts, second.rated_mts, second.check_bits) == (
        "DIMM_B1", 8 * GIB, 2666, 3200, 0)


def test_an_unknown_spelling_leaves_channels_unread(tmp_path: Path) -> None:
    memory = fact(Memory, tree(tables(smbios.memory_device("RAM slot #0", "RAM slot #0"))), tmp_path)
    assert kind_of(memory.channels) == "unsupported"
    assert isinstance(memory.modules, tuple)


def test_without_root_the_modules_are_unread_and_the_kernel_tells_the_sum(tmp_path: Path) -> None:
    made = tree({"/proc/meminfo": MEMINFO}, root=False)
    made.denied("/sys/firmware/dmi/tables/DMI", "permission denied")
    memory = fact(Memory, made, tmp_path)
    assert memory.total_bytes == 131072000 << 10
    unread = (memory.modules, memory.channels, memory.installed_bytes, memory.ecc)
    assert {kind_of(value) for value in unread} == {"permission"}
    assert memory.edac == ()
    assert memory.carve_out_bytes is None


def test_edac(tmp_path: Path) -> None:
    memory = fact(Memory, tree({
        f"{EDAC}/mc0/mc_name": "F17h_M30h", f"{EDAC}/mc0/ce_count": "3", f"{EDAC}/mc0/ue_count": "0",
        f"{EDAC}/mc0/seconds_since_reset": "3600", f"{EDAC}/mc0/rank2/dimm_label": "mc#0csrow#0channel#2",
        f"{EDAC}/mc0/rank2/dimm_location": "csrow 0 channel 2 ", f"{EDAC}/mc0/rank2/dimm_ce_count": "3",
        f"{EDAC}/mc0/rank2/dimm_ue_count": "junk", f"{EDAC}/mc0/rank2/size": "16384"}), tmp_path)
    assert isinstance(memory.edac, tuple)
    controller = memory.edac[0]
    assert (controller.name, controller.driver) == ("mc0", "F17h_M30h")
    assert (controller.corrected, controller.seconds) == (3, 3600)
    module = controller.modules[0]
    assert (module.name, module.location, module.corrected) == ("rank2", "csrow 0 channel 2", 3)
    assert kind_of(module.uncorrected) == "malformed"
    assert kind_of(controller.corrected_unplaced) == "absent"


def test_a_built_box_with_a_gpu_in_the_processor(tmp_path: Path) -> None:
    from boxcheck.engine.inspect import read_facts

    facts = read_facts(host(build("strix-halo"), tmp_path), [Memory])
    memory = facts.of(Memory)
    assert isinstance(memory, Memory)
    assert memory.installed_bytes == 128 * GIB
    assert isinstance(memory.carve_out_bytes, int)
    assert memory.carve_out_bytes > 0


def test_this_machine() -> None:
    memory = live(Memory)
    assert isinstance(memory.total_bytes, int)
    assert memory.total_bytes > 0


def test_a_counter_does_not_fall_below_zero(tmp_path: Path) -> None:
    base = "/sys/devices/system/edac/mc/mc0"
    made = tree({f"{base}/mc_name": "F17h_M30h", f"{base}/ce_count": -5, f"{base}/ue_count": 0,
                 f"{base}/dimm0/dimm_ce_count": -1, f"{base}/dimm0/dimm_ue_count": 0})
    found = fact(Memory, made, tmp_path).edac
    assert not isinstance(found, Unread)
    assert (kind_of(found[0].corrected), found[0].uncorrected) == ("malformed", 0)
    assert (kind_of(found[0].modules[0].corrected), found[0].modules[0].uncorrected) == ("malformed", 0)
