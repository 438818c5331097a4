"""The profiles and parts that come with boxcheck: sound, complete, and each limit with its source."""

from __future__ import annotations

import re
import time
import tomllib
from pathlib import Path

import msgspec
import pytest

from boxcheck import profile_resolve
from boxcheck.commands.profile import coverage
from boxcheck.model import Outcome
from boxcheck.profile import (
    GpusWanted,
    Profile,
    check_profile,
    load_gpus,
    load_profile,
    profiles_directory,
    shipped_profiles,
)
from boxcheck.profile_gpus import parse_gpus
from boxcheck.profile_resolve import digest
from boxcheck.registry import CHECKS, discover, selected

ROOT = Path(__file__).parents[1]
GPU_BOXES = [name for name in shipped_profiles() if name != "generic"]


def test_the_boxes_that_were_asked_for_are_there() -> None:
    assert set(shipped_profiles()) >= {
        "tinybox-red", "tinybox-red-v2", "tinybox-green", "tinybox-green-v2", "tinybox-pro", "wopr-7x4090",
        "geohot-amd-dev", "strix-halo", "generic"}


@pytest.mark.parametrize("name", shipped_profiles())
def test_a_shipped_profile_is_sound(name: str) -> None:
    assert check_profile(name) == []
    profile = load_profile(name)
    assert profile.name == name
    assert profile.inspect
    assert all(limit.source for limit in profile.limits.values())
    assert re.fullmatch(r"[0-9a-f]{64}", profile.sha256)


@pytest.mark.parametrize("path", sorted((profiles_directory() / "parts").glob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_part_is_named_by_a_profile(path: Path) -> None:
    assert any(path.stem in load_profile(name).parts for name in shipped_profiles())


def test_every_declared_limit_is_read_by_a_check_and_set_by_a_profile() -> None:
    assert coverage() == []


@pytest.mark.parametrize("name", GPU_BOXES)
def test_every_check_is_required_or_advisory_on_purpose(name: str) -> None:
    """A check that no list names would be advisory by accident. Strix Halo's own checks are named by its profile."""
    discover()
    profile = load_profile(name)
    patterns = (*profile.inspect, *profile.stress, *profile.faults, *profile.advisory)
    left = [id for id in sorted(CHECKS) if not selected(patterns, id)]
    assert [id for id in left if not id.startswith("strix.")] == []
    assert not left or name != "strix-halo"


@pytest.mark.parametrize("name", GPU_BOXES)
def test_a_proven_fault_blocks_where_an_unread_one_does_not(name: str) -> None:
    profile = load_profile(name)
    assert profile.blocks("power.psu-missing", Outcome.FAIL)
    assert not profile.blocks("power.psu-missing", Outcome.UNKNOWN)
    assert profile.blocks("pcie.link-width", Outcome.UNKNOWN)


@pytest.mark.parametrize("name", GPU_BOXES)
def test_a_gpu_box_blocks_on_what_it_is_built_for(name: str) -> None:
    profile = load_profile(name)
    for id in ("inventory.gpu-count", "inventory.gpu-model", "pcie.link-width", "memory.total", "kernel.too-old"):
        assert profile.is_blocker(id), id
    for id in ("cpu.governor", "power.budget", "limits.memlock", "bmc.present", "clock.synchronized"):
        assert not profile.is_blocker(id), id


WRONG_RESULTS = (
    "matmul.damaged-inputs", "matmul.repeatability", "matmul.self-test", "matmul.wrong-elements", "vram.self-test",
    "vram.wrong-words", "copy.wrong-words", "p2p.wrong-words", "collective.wrong-products", "collective.wrong-words",
    "power-pulse.repeatability", "wake.wrong-words", "stress.completed", "stress.injected",
)


@pytest.mark.parametrize("name", shipped_profiles())
def test_no_box_is_certified_with_a_wrong_result_or_an_unfinished_run(name: str) -> None:
    profile = load_profile(name)
    alone = profile.gpus.count == 1
    for id in WRONG_RESULTS:
        between_gpus = CHECKS[id].stress in ("p2p", "collective")
        assert profile.is_blocker(id, "stress") is not (alone and between_gpus), id


@pytest.mark.parametrize("name", shipped_profiles())
def test_what_stress_modules_measure_decides_certify_and_never_doctor(name: str) -> None:
    discover()
    profile = load_profile(name)
    for id, check in CHECKS.items():
        assert not (check.stress is not None and profile.is_blocker(id)), id
        assert not (check.stress is None and profile.is_blocker(id, "stress")), id


@pytest.mark.parametrize("name", GPU_BOXES)
def test_rates_between_gpus_are_asked_where_peer_access_is(name: str) -> None:
    """Without it copies are staged, which is no rate between GPUs: such a box could never be certified."""
    profile = load_profile(name)
    access = profile.limit("p2p.access")
    asked = [one for one in profile.limits if one.startswith(("p2p.", "collective.")) and one != "p2p.access"]
    assert not asked or (access is not None and access.must is True), asked


def test_limits_of_a_box_come_from_its_parts_and_its_own_win() -> None:
    wopr = load_profile("wopr-7x4090")
    assert wopr.parts == ("gpu-box", "romed8-2t", "p2p", "rtx4090-rates")
    channels, budget = wopr.limit("memory.channels"), wopr.limit("power.budget_percent")
    assert channels is not None
    assert channels.must == 8
    assert budget is not None
    assert budget.should == 90  # its own; the part gpu-box says 95
    assert [slot.label for slot in wopr.slots] == [f"PCIE{number}" for number in range(1, 8)]


def test_what_the_owner_of_a_strix_halo_should_set_comes_with_its_source() -> None:
    recommended = {(entry.group, entry.name): entry for entry in load_profile("strix-halo").recommend}
    assert recommended["env", "HSA_ENABLE_SDMA"].value == "0"
    assert recommended["training", "dataloader_num_workers"].value == 0
    assert recommended["training", "dataloader_pin_memory"].value is False
    # 124 of 128 GiB in pages of 4 KiB: the guide's own number leaves nothing to the system.
    assert recommended["boot", "ttm.pages_limit"].value == 124 * (1 << 30) // 4096
    assert all(entry.source for entry in recommended.values())
    assert any("0666" in note and "render" in note for note in load_profile("strix-halo").notes)


def test_the_sum_changes_with_what_is_judged_and_with_nothing_else() -> None:
    profile = load_profile("wopr-7x4090")
    same = msgspec.structs.replace(
        profile, title="another", notes=("other",), path="", limits={
            name: msgspec.structs.replace(limit, source="elsewhere") for name, limit in profile.limits.items()})
    assert digest(same) == profile.sha256
    width = msgspec.structs.replace(profile.limits["link.width"], must=8)
    for changed in (
        {"limits": {**profile.limits, "link.width": width}}, {"goal": "vm"}, {"inspect": profile.inspect[1:]},
        {"gpus": GpusWanted(parts=profile.gpus.parts, count=6)}, {"slots": profile.slots[1:]},
    ):
        assert digest(msgspec.structs.replace(profile, **changed)) != profile.sha256
    assert load_profile("wopr-7x4090").sha256 == profile.sha256


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


HEAD = 'name = "box"\nrevision = 1\ntitle = "a box"\n'


def part(name: str, width: int, extra: str = "") -> str:
    return (f'part = "{name}"\ntitle = "x"\n[link]\nwidth = {width}\n'
            f'[[source]]\nlimit = "link.width"\nfrom = "page of {name}"\n{extra}')


def test_a_part_beside_the_profile_is_used(tmp_path: Path) -> None:
    write(tmp_path, "parts/mine.toml", part("mine", 8, '[require]\ninspect = ["pcie.link-width"]\n'))
    profile = load_profile(write(tmp_path, "box.toml", HEAD + 'parts = ["mine"]\n'))
    width = profile.limit("link.width")
    assert width is not None
    assert (width.must, width.source) == (8, "page of mine")
    assert profile.is_blocker("pcie.link-width")


def test_two_parts_that_contradict_each_other_must_be_settled(tmp_path: Path) -> None:
    write(tmp_path, "parts/a.toml", part("a", 8))
    write(tmp_path, "parts/b.toml", part("b", 16))
    path = write(tmp_path, "box.toml", HEAD + 'parts = ["a", "b"]\n')
    assert [(one.line, one.says, one.help) for one in check_profile(path)] == [
        (4, "parts a and b set link.width differently", "set link.width in the profile itself")]
    own = '[link]\nwidth = 4\n[[source]]\nlimit = "link.width"\nfrom = "mine"\n'
    settled = load_profile(write(tmp_path, "box.toml", HEAD + 'parts = ["a", "b"]\n' + own))
    assert settled.limits["link.width"].must == 4


@pytest.mark.parametrize(("text", "file", "says"), [
    (part("mine", 63), "parts/mine.toml", "link.width is 63, possible are 1, 2, 4, 8, 12, 16, 32"),
    (part("other", 8), "parts/mine.toml", 'part is "other", in a file called mine.toml'),
    ("part = [\n", "parts/mine.toml", "not valid TOML"),
    (part("mine", 8, '[gpus]\npart = "rtx4090"\n'), "parts/mine.toml", "[gpus] is not a table of a part"),
])
def test_a_mistake_in_a_part_is_named_with_the_part(tmp_path: Path, text: str, file: str, says: str) -> None:
    write(tmp_path, "parts/mine.toml", text)
    found = check_profile(write(tmp_path, "box.toml", HEAD + 'parts = ["mine"]\n'))
    assert [(one.file, one.says.startswith(says)) for one in found] == [(file, True)]


def test_a_card_that_the_database_does_not_hold_is_named_by_id(tmp_path: Path) -> None:
    profile = load_profile(write(
        tmp_path, "box.toml", HEAD + '[gpus]\npci_id = ["10de:1b81", "1002:744c rev c8"]\ncount = 2\n'))
    assert [(card.pci_ids, card.revisions) for card in profile.gpus.parts] == [
        (("10de:1b81",), ()), (("1002:744c",), (0xC8,))]
    assert profile.gpus.vendors == {"10de", "1002"}


def test_the_example_in_the_documentation_is_sound(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reference" / "profiles.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    for number, text in enumerate(examples):
        assert check_profile(write(tmp_path, f"example{number}.toml", text)) == []
    for name in shipped_profiles():
        assert f"`{name}`" in page
    for path in (profiles_directory() / "parts").glob("*.toml"):
        assert f"`{path.stem}`" in page


def least(function: object) -> float:
    times = []
    for _ in range(7):
        before = time.perf_counter()
        function()  # type: ignore[operator]
        times.append(time.perf_counter() - before)
    return min(times)


def test_loading_costs_little_more_than_parsing() -> None:
    """About 9 ms on the machine this was written on, of which 7 are tomllib's own."""
    directory = profiles_directory()
    parts = load_profile("tinybox-red").parts
    files = [directory / "gpus.toml", directory / "tinybox-red.toml", *(directory / f"parts/{p}.toml" for p in parts)]
    texts = [path.read_text() for path in files]

    def everything() -> None:
        profile_resolve._part_sheet.cache_clear()
        parse_gpus(texts[0], "gpus.toml")
        load_profile("tinybox-red")

    load_gpus()
    assert least(everything) < 3 * least(lambda: [tomllib.loads(text) for text in texts])


def test_a_profile_refuses_the_name_of_a_limit_that_does_not_exist() -> None:
    with pytest.raises(KeyError, match="no limit is called"):
        Profile(name="x", revision=1, title="x").limit("link.colour")
