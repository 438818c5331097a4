"""Which profile a box is, by what it says of itself; and when nobody can know."""

from __future__ import annotations

import msgspec
import pytest

from boxcheck.model import Unread
from boxcheck.profile import Profile, load_profile, part_of, shipped_profiles
from boxcheck.profile_detect import BoxSigns, Detection, SeenGpu, _fitted_gib, detect_signs
from tests.checks.memories import memory

UNREAD = Unread("the board name needs root", "permission")


def cards(count: int, pci_id: str, revision: int = 0xA1) -> tuple[SeenGpu, ...]:
    part = part_of(pci_id, revision)
    return (SeenGpu(pci_id, part.key if part else None),) * count


XTX = ("1002:744c", 0xC8)
WOPR = BoxSigns(board="ROMED8-2T", cpu="AMD Eng Sample: 100-000000314-04_30/16_N", gpus=cards(7, "10de:2684"))
GREEN = BoxSigns(board="X", cpu="AMD EPYC 7532 32-Core Processor", gpus=cards(6, "10de:2684"))
RED = msgspec.structs.replace(GREEN, gpus=cards(6, *XTX))
DEV = BoxSigns(board="ROMED8-2T/BCM", cpu="AMD EPYC 7662 64-Core Processor", gpus=cards(2, *XTX))
STRIX = BoxSigns(board="FRANMFCP06", cpu="AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", gpus=cards(1, "1002:1586", 0xD1))
PRO = BoxSigns(board="X", cpu="AMD EPYC 9354 32-Core Processor", sockets=2, gpus=cards(8, "10de:2684"))


@pytest.fixture(scope="module")
def profiles() -> list[Profile]:
    return [load_profile(name) for name in shipped_profiles()]


def changed(signs: BoxSigns, **values: object) -> BoxSigns:
    return msgspec.structs.replace(signs, **values)


@pytest.mark.parametrize(("seen", "name", "why"), [
    (WOPR, "wopr-7x4090", "matched by board name and 7 x 10de:2684"),
    (changed(WOPR, gpus=cards(6, "10de:2684")), "wopr-7x4090", "matched by board name and 6 of 7 x 10de:2684"),
    (changed(WOPR, cpu=UNREAD), "wopr-7x4090", "matched by board name and 7 x 10de:2684"),
    (GREEN, "tinybox-green", "matched by processor and 6 x 10de:2684"),
    (changed(GREEN, board=None), "tinybox-green", "matched by processor and 6 x 10de:2684"),
    (changed(GREEN, gpus=cards(5, "10de:2684")), "tinybox-green", "matched by processor and 5 of 6 x 10de:2684"),
    (RED, "tinybox-red", "matched by processor and 6 x 1002:744c"),
    (changed(RED, gpus=(*cards(5, *XTX), *cards(1, "1002:744c", 0xCC))), "tinybox-red",
     "matched by processor and 6 x 1002:744c"),
    (DEV, "geohot-amd-dev", "matched by board name, processor and 2 x 1002:744c"),
    (changed(DEV, gpus=cards(1, *XTX)), "geohot-amd-dev", "matched by board name, processor and 1 of 2 x 1002:744c"),
    (changed(DEV, gpus=cards(6, *XTX)), "geohot-amd-dev", "matched by board name, processor and 6 x 1002:744c"),
    (STRIX, "strix-halo", "matched by processor and 1 x 1002:1586"),
    (PRO, "tinybox-pro", "matched by processor, number of sockets and 8 x 10de:2684"),
    (changed(GREEN, cpu="AMD EPYC 9354 32-Core Processor", gpus=cards(4, "10de:2b85")), "tinybox-green-v2",
     "matched by processor and 4 x 10de:2b85"),
    (changed(RED, gpus=cards(4, "1002:7550", 0xC0)), "tinybox-red-v2", "matched by processor and 4 x 1002:7550"),
])
def test_a_box_is_recognised(profiles: list[Profile], seen: BoxSigns, name: str, why: str) -> None:
    assert detect_signs(seen, profiles) == Detection(name, why, (name,))


@pytest.mark.parametrize(("seen", "why", "candidates"), [
    (changed(WOPR, gpus=()), "no GPU of a known box", ()),
    (changed(WOPR, gpus=cards(1, "10de:1b81")), "1 x 10de:1b81 on board ROMED8-2T: no GPU of a known box", ()),
    (changed(WOPR, board="H12SSL-i"), "7 x 10de:2684 on board H12SSL-i: no profile matches; near: wopr-7x4090 but for board name", ()),
    (changed(WOPR, gpus=cards(2, "10de:2684")), "2 x 10de:2684 on board ROMED8-2T: no profile matches; near: wopr-7x4090 but for the number of cards (7)", ()),
    (changed(WOPR, board=UNREAD), "7 x 10de:2684: could be wopr-7x4090; board name not read", ("wopr-7x4090",)),
    (changed(GREEN, board=UNREAD, cpu=UNREAD),
     "6 x 10de:2684: could be tinybox-green or wopr-7x4090; processor and board name not read; say which was built with --profile NAME",
     ("tinybox-green", "wopr-7x4090")),
    (changed(WOPR, gpus=UNREAD), "the GPUs were not read: the board name needs root", ()),
    (changed(RED, gpus=cards(6, "1002:744c", 0xCC)), "6 x 1002:744c on board X: no GPU of a known box", ()),
])
def test_a_box_that_nobody_can_name(
        profiles: list[Profile], seen: BoxSigns, why: str, candidates: tuple[str, ...]) -> None:
    found = detect_signs(seen, profiles)
    assert (found.name, found.why, found.candidates) == (None, why, candidates)
    assert found.near == (("wopr-7x4090",) if "near:" in why else ())


def test_two_profiles_that_match_equally_are_ambiguous(profiles: list[Profile]) -> None:
    wopr = next(profile for profile in profiles if profile.name == "wopr-7x4090")
    twin = msgspec.structs.replace(wopr, name="my-own-7x4090")
    found = detect_signs(WOPR, [wopr, twin])
    assert found == Detection(
        None, "7 x 10de:2684: wopr-7x4090 and my-own-7x4090 match equally (wopr-7x4090 by board name and 7 of 7 cards; "
        "my-own-7x4090 by board name and 7 of 7 cards); say which was built with --profile NAME", ("wopr-7x4090", "my-own-7x4090"))


def test_the_right_number_of_cards_does_not_outvote_the_name_of_the_board(profiles: list[Profile]) -> None:
    seen = changed(WOPR, cpu=GREEN.cpu, gpus=cards(6, "10de:2684"))  # one card lost, and another processor
    found = detect_signs(seen, profiles)
    assert (found.name, set(found.candidates)) == (None, {"tinybox-green", "wopr-7x4090"})
    assert found.why == (
        "6 x 10de:2684: tinybox-green and wopr-7x4090 match (tinybox-green by processor and 6 of 6 cards; wopr-7x4090 by "
        "board name and 6 of 7 cards); say which was built with --profile NAME")


@pytest.mark.parametrize(("gib", "name"), [
    (128.0, "strix-halo"), (96.0, "strix-halo"), (95.9, None), (64.0, None), (UNREAD, "strix-halo")])
def test_half_the_memory_is_another_box(profiles: list[Profile], gib: object, name: str | None) -> None:
    assert detect_signs(changed(STRIX, memory_gib=gib), profiles).name == name


@pytest.mark.parametrize(("changes", "gib"), [
    ({}, 128.0), ({"installed_bytes": UNREAD, "total_bytes": 123 << 30, "carve_out_bytes": 1 << 29}, 128.0),
    ({"installed_bytes": UNREAD, "total_bytes": 31 << 30, "carve_out_bytes": 96 << 30}, 128.0),
    ({"installed_bytes": UNREAD, "total_bytes": 62 << 30, "carve_out_bytes": None}, 64.0),
    ({"installed_bytes": UNREAD, "total_bytes": UNREAD}, None)])
def test_how_much_memory_is_fitted(changes: dict[str, object], gib: float | None) -> None:
    found = _fitted_gib(memory(**changes))
    assert (None if isinstance(found, Unread) else found) == gib
