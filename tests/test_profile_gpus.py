"""The GPU database: cards are told apart by id and revision."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from boxcheck.profile import ProfileError, load_gpus, part_of
from boxcheck.profile_gpus import parse_gpus

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.mark.parametrize(("pci_id", "revision", "key"), [
    ("1002:744c", 0xC8, "rx7900xtx"), ("1002:744c", 0xCC, "rx7900xt"), ("1002:744c", 0xCE, "rx7900gre"),
    ("1002:744c", 0xCF, "rx7900m"), ("1002:744c", 0x00, None), ("1002:744c", None, None),
    ("1002:7550", 0xC0, "rx9070xt"), ("1002:7550", 0xC2, "rx9070gre"), ("1002:7550", 0xC3, "rx9070"),
    ("1002:7551", 0xC0, "r9700"), ("1002:7551", 0xC8, "r9600d"),
    ("1002:66a1", 0x02, "mi50"), ("1002:66a1", 0x06, "radeon-pro-vii"),
    ("1002:747e", 0xC8, "rx7800xt"), ("1002:747e", 0xFF, "rx7700xt"),
    ("1002:73bf", 0xC0, "rx6900xt"), ("1002:73bf", 0xC1, "rx6800xt"), ("1002:73bf", 0xC3, "rx6800"),
    ("1002:73af", 0xC0, "rx6900xt"),
    ("1002:1586", 0xD1, "strix-halo"), ("1002:1586", 0xD5, "strix-halo"), ("1002:1586", None, "strix-halo"),
    ("10de:2684", 0xA1, "rtx4090"), ("10de:2684", None, "rtx4090"), ("10de:2685", 0xA1, "rtx4090d"),
    ("10de:0000", 0xA1, None), ("", None, None),
])
def test_a_card_is_known_by_id_and_revision(pci_id: str, revision: int | None, key: str | None) -> None:
    part = part_of(pci_id, revision)
    assert (part.key if part else None) == key


def test_the_figures_of_a_card() -> None:
    card = load_gpus()["rtx4090"]
    assert (card.name, card.vendor, card.arch, card.vram_gib) == ("RTX 4090", "10de", "sm_89", 24)
    assert (card.link_generation, card.link_width, card.board_power_watts, card.bar_gib) == (4, 16, 450, 32)
    assert card.measured_tflops["fp16"] == (162, 171)


def test_every_entry_is_plausible_and_names_its_source() -> None:
    for key, part in load_gpus().items():
        assert part.source, key
        assert all(id == id.lower() and id[4] == ":" and len(id) == 9 for id in part.pci_ids), key
        assert part.link_width in (None, 16), key
        if part.bar_gib is not None:
            assert part.vram_gib is not None, key
            assert part.vram_gib <= part.bar_gib < 2 * part.vram_gib, key
        for low, high in part.measured_tflops.values():
            assert 0 < low <= high, key


def test_the_database_holds_every_gpu_that_was_studied() -> None:
    table = SHARED / "gpu-db.tsv"
    if not table.exists():
        pytest.skip(f"{table} is not there")
    with table.open(newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            revisions = [int(text, 16) for text in row["rev"].split("/")] if row["rev"] else [None]
            for revision in revisions:
                assert part_of(row["pci_id"], revision) is not None, row


@pytest.mark.parametrize(("text", "says"), [
    ('[a]\nname = "A"\npci_ids = ["10de:1"]\n[b]\nname = "B"\npci_ids = ["10de:1"]\n',
     ":4: b claims the id and revision of a"),
    ('[a]\nname = "A"\npci_ids = []\n', ":1: a has no pci_ids"),
    ('[a]\nname = "A"\npci_ids = ["10de:1"]\nvram = 5\n', ":1: a has an unknown key vram"),
    ('[a]\nname = "A"\npci_ids = ["10de:1"]\nvram_gib = "5"\n', ":1: a: Expected"),
    ("a = 5\n", ":1: a is not a table"),
    ("[a\n", ":1: not valid TOML"),
])
def test_a_damaged_database_is_named_with_its_line(text: str, says: str) -> None:
    with pytest.raises(ProfileError) as caught:
        parse_gpus(text, "gpus.toml")
    assert f"profile gpus.toml{says}" in str(caught.value)
