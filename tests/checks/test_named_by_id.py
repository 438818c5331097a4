"""Cards that a profile names by PCI id, as a draft does for a card that no list knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxcheck.checks.wording import a
from boxcheck.probes.links import Links
from boxcheck.profile import GpuPart, GpusWanted, load_profile
from tests.checks.cards import gpu, gpus, nvidia
from tests.checks.judging import judge, outcome, want

NO_LINKS = Links({}, {}, None)


def named(*revisions: int) -> Any:
    part = GpuPart(key="10de:2684", name="10de:2684", pci_ids=("10de:2684",), revisions=revisions)
    return msgspec.structs.replace(want(), gpus=GpusWanted(parts=(part,)))


@pytest.mark.parametrize(("revisions", "revision", "wanted"), [
    ((), 0xA1, "pass"), ((0xA1,), 0xA1, "pass"), ((0xA2,), 0xA1, "fail"), ((0xA1,), None, "unknown"), ((), None, "pass")])
def test_a_card_is_known_by_its_id_and_revision(revisions: tuple[int, ...], revision: int | None, wanted: str) -> None:
    one = msgspec.structs.replace(nvidia(), revision=revision)
    assert outcome("inventory.gpu-model", gpus(one), NO_LINKS, profile=named(*revisions)) == wanted


def test_another_card_is_not_it() -> None:
    found = judge("inventory.gpu-model", gpus(gpu()), NO_LINKS, profile=named(0xA1))
    assert [finding.outcome.value for finding in found] == ["marginal"]  # beside none that is wanted


@pytest.mark.parametrize(("id_text", "revision", "wanted"), [
    ("10de:2684", 0xA1, "pass"), ("10de:2684 rev a1", 0xA1, "pass"), ("10de:2684 rev a2", 0xA1, "fail")])
def test_a_profile_that_names_a_known_card_by_id(
        id_text: str, revision: int, wanted: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "mine"\nrevision = 1\ntitle = "mine"\n\n[gpus]\npci_id = "{id_text}"\n')
    one = msgspec.structs.replace(nvidia(), revision=revision)
    assert outcome("inventory.gpu-model", gpus(one), NO_LINKS, profile=load_profile(str(path))) == wanted


def test_articles_are_as_spoken() -> None:
    names = ("RTX 4090", "RX 7900 XTX", "Intel GPU 8086:56a0", "Radeon VII", "10de:2684", "8086:56a0", "MI50", "H100",
             "B200", "Arc A770", "UHD 770", "GeForce GT 710", "NVIDIA GPU 10de:1")
    assert [a(name).split(" ")[0] for name in names] == [
        "an", "an", "an", "a", "a", "an", "an", "an", "a", "an", "a", "a", "an"]


@pytest.mark.parametrize(("id_text", "name", "memory_gib"), [
    ("10de:2684", "RTX 4090", 24.0), ("1002:744c rev c8", "RX 7900 XTX", 24.0), ("1002:744c rev cc", "RX 7900 XT", 20.0),
    ("1002:744c", "1002:744c", None),  # four cards share the id
    ("1002:744c rev 01", "1002:744c rev 01", None), ("10de:ffff", "10de:ffff", None)])
def test_a_card_named_by_id_has_the_facts_of_the_database(
        id_text: str, name: str, memory_gib: float | None, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "mine"\nrevision = 1\ntitle = "mine"\n\n[gpus]\npci_id = "{id_text}"\n')
    (part,) = load_profile(str(path)).gpus.parts
    assert (part.name, part.vram_gib) == (name, memory_gib)
    assert part.pci_ids == (id_text[:9],)
    assert not id_text[9:] or part.revisions == (int(id_text[-2:], 16),)  # never wider than it was named
