from __future__ import annotations

from typing import Any

import msgspec
import pytest

from boxcheck.model import Bdf, Unread
from boxcheck.probes.nvidia import Library, Nvidia, NvidiaGpu
from boxcheck.probes.nvml import Nvml
from boxcheck.probes.packages import Dkms, DkmsModule, Package, Packages
from tests.checks.cards import card, gpu, gpus, nvidia, nvml
from tests.checks.judging import DENIED, GONE, judge, outcome, outcomes, want
from tests.checks.test_kernel import NVIDIA_PART, RELEASE, box, log, settings
from tests.checks.test_log import LINKS, ROOT_PORT

VERSION = "570.133.20"
FIRST = msgspec.structs.replace(nvidia(0), slot_link=ROOT_PORT)
SECOND = nvidia(1)
BOTH = gpus(FIRST, SECOND)
PROFILE = box(part=NVIDIA_PART, goal="cuda-p2p")
LIBRARY = Library(f"/usr/lib/x86_64-linux-gnu/libcuda.so.{VERSION}", VERSION)
NVML_LIBRARY = Library(f"/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{VERSION}", VERSION)


def listed(of: Any, **changes: Any) -> NvidiaGpu:
    return msgspec.structs.replace(
        NvidiaGpu(of.bdf, "RTX 4090", f"GPU-{of.index}", "95.02.3c.40.b1", of.index, False), **changes)


def driver(**changes: Any) -> Nvidia:
    made = Nvidia(
        loaded=True, version=VERSION, open_module=True, parameters={"RegistryDwords": '""'},
        gpus=(listed(FIRST), listed(SECOND)), libraries=(LIBRARY, NVML_LIBRARY), uvm_loaded=True, nouveau_loaded=False,
        persistenced=True)
    return msgspec.structs.replace(made, **changes)


UNLOADED = driver(loaded=False, version=None, open_module=None, parameters=GONE, gpus=GONE)
SILENT = nvml(unread=GONE)
HEALTHY = nvml(card(FIRST), card(SECOND))


@pytest.mark.parametrize(("changes", "limit", "wanted"), [
    ({}, None, "pass"), ({}, VERSION, "pass"), ({}, "570.133.21", "fail"), ({}, {"should": "575"}, "marginal"),
    ({"loaded": False, "version": None}, None, "fail"), ({"loaded": GONE}, None, "unknown"),
    ({"version": GONE}, None, "unknown"), ({"version": None}, None, "unknown"),
    ({"version": "custom"}, None, "pass"), ({"version": "custom"}, VERSION, "unknown")])
def test_loaded(changes: dict[str, Any], limit: Any, wanted: str) -> None:
    profile = box({"driver.nvidia_version": limit} if limit else None, part=NVIDIA_PART)
    assert outcome("driver.nvidia-loaded", BOTH, driver(**changes), settings(), profile=profile) == wanted


def test_a_machine_without_nvidia_is_not_asked() -> None:
    assert outcome("driver.nvidia-loaded", gpus(gpu()), UNLOADED, settings()) == "skip"
    assert outcome("driver.nvidia-loaded", BOTH, UNLOADED, settings()) == "pass"  # a desktop that nobody computes on
    tiny = box(part=NVIDIA_PART, goal="tinygrad")
    assert outcome("driver.nvidia-loaded", BOTH, UNLOADED, settings(), profile=tiny) == "pass"


@pytest.mark.parametrize(("loaded", "bound", "profile", "wanted"), [
    (False, "nvidia", PROFILE, "pass"), (True, "nouveau", PROFILE, "fail"), (True, "nouveau", want(), "pass"),
    (False, "nouveau", PROFILE, "fail"), (GONE, "nvidia", PROFILE, "unknown")])
def test_nouveau(loaded: Any, bound: str, profile: Any, wanted: str) -> None:
    cards = gpus(msgspec.structs.replace(FIRST, driver=bound))
    facts = (cards, driver(nouveau_loaded=loaded), settings())
    assert outcome("driver.nouveau", *facts, profile=profile) == wanted


@pytest.mark.parametrize(("changes", "nvml_says", "wanted"), [
    ({}, SILENT, "pass"), ({"version": "570.133.21"}, SILENT, "fail"),
    ({"libraries": (Library("/usr/lib/libcuda.so.570.133.07", "570.133.07"),)}, SILENT, "fail"),
    ({"version": "570.124.04", "libraries": (Library("x", "570.124.06"),)}, SILENT, "fail"),  # to the last digit
    ({"version": f"{VERSION}-p2p"}, SILENT, "pass"), ({}, msgspec.structs.replace(SILENT, mismatch=True), "fail"),
    ({"libraries": ()}, SILENT, "unknown"), ({"libraries": ()}, msgspec.structs.replace(SILENT, mismatch=True), "fail"),
    ({"version": GONE}, SILENT, "unknown"), ({"loaded": False}, SILENT, "unknown")])
def test_mismatch(changes: dict[str, Any], nvml_says: Nvml, wanted: str) -> None:
    found = judge("driver.nvidia-mismatch", BOTH, driver(**changes), nvml_says, profile=PROFILE)
    assert outcomes(found) == [wanted]
    assert found[0].cause in (None, "driver-mismatch:nvidia")


@pytest.mark.parametrize(("there", "missing"), [(NVML_LIBRARY, "libcuda.so.1"), (LIBRARY, "libnvidia-ml.so.1")])
def test_a_library_that_is_not_there_agrees_with_nothing(there: Library, missing: str) -> None:
    (finding,) = judge("driver.nvidia-mismatch", BOTH, driver(libraries=(there,)), HEALTHY, profile=PROFILE)
    assert finding.outcome.value == "unknown"
    assert f"no {missing} " in finding.says


@pytest.mark.parametrize(("is_open", "wanted"), [(True, "pass"), (False, "marginal"), (None, "unknown")])
def test_flavour(is_open: bool | None, wanted: str) -> None:
    profile = box({"driver.nvidia_flavour": {"should": "open"}}, part=NVIDIA_PART)
    assert outcome("driver.nvidia-flavour", BOTH, driver(open_module=is_open), profile=profile) == wanted
    assert outcome("driver.nvidia-flavour", BOTH, driver(), profile=PROFILE) == "skip"
    assert outcome("driver.nvidia-flavour", BOTH, UNLOADED, profile=profile) == "unknown"


NO_PACKAGES = Packages(None, Unread("none", "absent"))
NO_DKMS = Dkms(Unread("none", "absent"))
ALLOWED = msgspec.structs.replace(HEALTHY, peers={(0, 1): 0, (1, 0): 0})
PARTLY = msgspec.structs.replace(HEALTHY, peers={(0, 1): 0})
REFUSED = msgspec.structs.replace(HEALTHY, peers={(0, 1): 0, (1, 0): 2})
FORCED = driver(parameters={"RegistryDwords": '"ForceP2P=0x11"'})
LYING_ABOUT = Dkms((DkmsModule("nvidia", (f"{VERSION}-p2p",), {"6.5.0-1-generic": f"{VERSION}-p2p"}, (), True),))
NAMED = Dkms((DkmsModule("nvidia", (f"{VERSION}-p2p",), {RELEASE: f"{VERSION}-p2p"}, (), True),))
STATIC = "[    5.1] NVRM: GPU0 kbusEnableStaticBar1Mapping_GH100: Static bar1 mapped offset 0x0 size 0x5ff000000"


@pytest.mark.parametrize(("nvidia_says", "nvml_says", "dkms", "text", "wanted"), [
    (driver(), ALLOWED, NO_DKMS, "", "pass"), (driver(), PARTLY, NO_DKMS, "", "unknown"), (driver(), REFUSED, NO_DKMS, "", "marginal"),
    (FORCED, SILENT, NO_DKMS, "", "pass"), (driver(), SILENT, NAMED, "", "pass"), (driver(), SILENT, NO_DKMS, STATIC, "pass"),
    (driver(), SILENT, LYING_ABOUT, "", "unknown"), (driver(version=f"{VERSION}-p2p"), SILENT, NO_DKMS, "", "pass"),
    (driver(), SILENT, NO_DKMS, "", "marginal"), (driver(parameters=GONE), SILENT, NO_DKMS, "", "unknown"),
    (driver(loaded=False), SILENT, NO_DKMS, "", "unknown")])
def test_p2p(nvidia_says: Nvidia, nvml_says: Nvml, dkms: Dkms, text: str, wanted: str) -> None:
    facts = (BOTH, nvidia_says, nvml_says, NO_PACKAGES, dkms, msgspec.structs.replace(log(text), release=RELEASE))
    assert outcome("driver.nvidia-p2p", *facts, profile=PROFILE) == wanted


def test_a_patched_package_that_an_upgrade_left_on_the_disk_is_no_patched_module() -> None:
    left = Packages("dpkg", {"nvidia-dkms-570": Package("nvidia-dkms-570", f"{VERSION}-p2p1", False)})
    facts = (BOTH, driver(), SILENT, left, NO_DKMS, log())
    assert outcome("driver.nvidia-p2p", *facts, profile=PROFILE) == "unknown"


def test_p2p_that_the_profile_requires() -> None:
    facts = (BOTH, driver(), REFUSED, NO_PACKAGES, NO_DKMS, log())
    required = box({"driver.nvidia_p2p": True}, part=NVIDIA_PART, goal="any")
    assert outcome("driver.nvidia-p2p", *facts, profile=required) == "fail"
    assert outcome("driver.nvidia-p2p", *facts, profile=box(part=NVIDIA_PART)) == "skip"
    hidden = msgspec.structs.replace(log(), this_boot=DENIED)
    assert outcome("driver.nvidia-p2p", BOTH, driver(), SILENT, NO_PACKAGES, NO_DKMS, hidden, profile=PROFILE) == "unknown"


def packages(held: bool, manager: str | None = "dpkg") -> Packages:
    names = ("nvidia-driver-570-open", "libnvidia-compute-570", "nvidia-settings")
    return Packages(manager, {name: Package(name, VERSION, held and "settings" not in name) for name in names})


@pytest.mark.parametrize(("found", "wanted"), [
    (packages(True), "pass"), (packages(False), "marginal"), (packages(False, "rpm"), "skip"), (Packages("dpkg", GONE), "unknown"),
    (Packages("dpkg", {}), "skip"), (NO_PACKAGES, "unknown")])
def test_held(found: Packages, wanted: str) -> None:
    profile = box({"driver.nvidia_held": {"should": True}}, part=NVIDIA_PART)
    assert outcome("driver.nvidia-held", BOTH, found, profile=profile) == wanted
    assert outcome("driver.nvidia-held", BOTH, found, profile=PROFILE) == "skip"


@pytest.mark.parametrize(("nvidia_says", "modes", "wanted"), [
    (driver(), (True, True), "pass"), (driver(), (True, False), "marginal"),
    (driver(), (None, None), "unknown"),  # nvidia-persistenced runs, with --no-persistence-mode on Debian and Ubuntu
    (driver(persistenced=False), (None, None), "unknown"), (driver(persistenced=GONE), (None, None), "unknown"),
    (driver(persistenced=False), (True, True), "pass"), (driver(loaded=False), (True, True), "unknown")])
def test_persistence(nvidia_says: Nvidia, modes: tuple[Any, Any], wanted: str) -> None:
    profile = box({"driver.nvidia_persistence": {"should": True}}, part=NVIDIA_PART)
    says = nvml(card(FIRST, persistence=modes[0]), card(SECOND, persistence=modes[1]))
    assert outcome("driver.nvidia-persistence", BOTH, nvidia_says, says, profile=profile) == wanted


@pytest.mark.parametrize(("first", "wanted"), [(True, "unknown"), (False, "marginal")])
def test_persistence_of_a_gpu_that_did_not_answer_is_not_on(first: bool, wanted: str) -> None:
    profile = box({"driver.nvidia_persistence": {"should": True}}, part=NVIDIA_PART)
    says = nvml(card(FIRST, persistence=first), card(SECOND, unread={"persistence": "Unknown Error"}))
    assert outcome("driver.nvidia-persistence", BOTH, driver(), says, profile=profile) == wanted


# The cards


@pytest.mark.parametrize(("nvidia_says", "nvml_says", "wanted"), [
    (driver(), HEALTHY, ["pass", "pass"]), (driver(), SILENT, ["unknown"]),
    (driver(), nvml(card(FIRST), card(SECOND, lost=True, error="GPU is lost")), ["pass", "fail"]),
    (driver(), nvml(card(FIRST), card(SECOND, error="Unknown Error")), ["pass", "unknown"]),
    (driver(gpus=(listed(FIRST),)), HEALTHY, ["pass", "fail"]), (driver(), nvml(card(FIRST)), ["pass", "fail"]),
    (driver(gpus=(listed(FIRST), listed(SECOND, silent=True, vbios=None))), HEALTHY, ["pass", "fail"]),
    (driver(gpus=GONE), HEALTHY, ["unknown", "unknown"])])
def test_runtime_count(nvidia_says: Nvidia, nvml_says: Nvml, wanted: list[str]) -> None:
    assert outcomes(judge("nvidia.runtime-count", BOTH, nvidia_says, nvml_says, profile=PROFILE)) == wanted


def test_a_silent_card_is_lost() -> None:
    silent = driver(gpus=(listed(FIRST, silent=True, vbios=None),))
    (finding,) = judge("nvidia.runtime-count", gpus(FIRST), silent, HEALTHY, profile=PROFILE)
    assert finding.cause == f"gpu-lost:{FIRST.bdf}"


def test_a_card_that_nvml_calls_lost_is_lost() -> None:
    lost = nvml(card(FIRST, lost=True, error="GPU is lost"))
    (finding,) = judge("nvidia.runtime-count", gpus(FIRST), driver(), lost, profile=PROFILE)
    assert (finding.outcome.value, finding.cause) == ("fail", f"gpu-lost:{FIRST.bdf}")


@pytest.mark.parametrize(("cards", "wanted"), [
    ((listed(FIRST), listed(SECOND)), "pass"), ((listed(FIRST), listed(SECOND, vbios="95.02.18")), "marginal"),
    ((listed(FIRST, vbios=None), listed(SECOND, vbios=None)), "unknown"), (GONE, "unknown"),
    ((listed(FIRST),), "both"), ((listed(FIRST), listed(SECOND, vbios=None)), "both")])
def test_vbios_uniform(cards: Any, wanted: str) -> None:
    found = outcomes(judge("nvidia.vbios-uniform", BOTH, driver(gpus=cards), HEALTHY, profile=PROFILE))
    assert found == (["unknown", "pass"] if wanted == "both" else [wanted])


def test_cards_of_two_models_have_two_vbioses() -> None:
    other = msgspec.structs.replace(SECOND, pci_id="10de:2204", name="RTX 3090")
    facts = (gpus(FIRST, other), driver(gpus=(listed(FIRST), listed(SECOND, vbios="94.02.42"))), HEALTHY)
    assert outcomes(judge("nvidia.vbios-uniform", *facts)) == ["pass", "pass"]


@pytest.mark.parametrize(("cards", "wanted"), [
    ((listed(FIRST), listed(SECOND)), "pass"), ((listed(FIRST), listed(SECOND, uuid="GPU-0")), "fail"),
    ((listed(FIRST, uuid=None),), "unknown"), ((listed(FIRST), listed(SECOND, uuid=None)), "unknown"),
    (GONE, "unknown")])
def test_uuid(cards: Any, wanted: str) -> None:
    assert outcome("nvidia.uuid", BOTH, driver(gpus=cards), HEALTHY, profile=PROFILE) == wanted


@pytest.mark.parametrize(("changes", "wanted"), [
    ({"remapped_uncorrected": 0}, "pass"), ({"remapped_uncorrected": 1}, "marginal"), ({"remap_pending": True}, "fail"),
    ({"remap_failed": True}, "fail"), ({"retired_pending": True}, "fail"), ({"retired_pending": False}, "pass"),
    ({"ecc_uncorrected": 0}, "pass"), ({"ecc_uncorrected": 1}, "marginal"), ({"ecc_uncorrected_volatile": 1}, "fail"),
    ({"remapped_corrected": 7, "remapped_uncorrected": 0}, "pass"), ({}, "skip"),
    ({"unread": {"remap_failed": "Unknown Error"}}, "unknown"),
    ({"remap_failed": False, "unread": {"ecc_uncorrected": "GPU is lost"}}, "unknown"),
    ({"remap_failed": True, "unread": {"ecc_uncorrected": "GPU is lost"}}, "fail"),
    ({"remap_failed": False, "unread": {"pcie_replays": "GPU is lost"}}, "pass"), ({"error": "x"}, "unknown")])
def test_row_remap(changes: dict[str, Any], wanted: str) -> None:
    facts = (gpus(FIRST), driver(), nvml(card(FIRST, **changes)))
    assert outcome("nvidia.row-remap", *facts, profile=PROFILE) == wanted


def test_rows_that_nobody_told_of() -> None:
    assert outcome("nvidia.row-remap", gpus(FIRST), driver(), SILENT, profile=PROFILE) == "unknown"
    assert outcome("nvidia.row-remap", gpus(FIRST), driver(), nvml(card(SECOND)), profile=PROFILE) == "unknown"


def test_a_card_says_what_its_memory_is_sound_of() -> None:
    quiet = nvml(card(FIRST, remap_failed=False, remap_pending=False, remapped_uncorrected=0, remapped_corrected=1))
    assert judge("nvidia.row-remap", gpus(FIRST), driver(), quiet, profile=PROFILE)[0].says == (
        "no bad row and 1 row replaced in time")
    worn = nvml(card(FIRST, remap_failed=False, remapped_uncorrected=2, ecc_uncorrected=1))
    assert judge("nvidia.row-remap", gpus(FIRST), driver(), worn, profile=PROFILE)[0].says == (
        "2 bad rows of its memory replaced and 1 uncorrectable memory error in its life, limit 0")


@pytest.mark.parametrize(("replays", "wanted"), [(0, "pass"), (1, "marginal"), (None, "skip")])
def test_replay(replays: Any, wanted: str) -> None:
    facts = (gpus(FIRST), driver(), nvml(card(FIRST, pcie_replays=replays)), LINKS)
    (finding,) = judge("nvidia.replay", *facts, profile=PROFILE)
    assert finding.outcome.value == wanted
    assert finding.cause in (None, f"link:{ROOT_PORT}")
    assert outcome("nvidia.replay", gpus(FIRST), driver(), SILENT, LINKS, profile=PROFILE) == "unknown"
    unread = nvml(card(FIRST, unread={"pcie_replays": "Unknown Error"}))
    assert outcome("nvidia.replay", gpus(FIRST), driver(), unread, LINKS, profile=PROFILE) == "unknown"


@pytest.mark.parametrize("check", ["nvidia.runtime-count", "nvidia.vbios-uniform", "nvidia.uuid", "nvidia.row-remap"])
def test_without_the_driver_nothing_is_known(check: str) -> None:
    assert outcome(check, BOTH, UNLOADED, SILENT, profile=PROFILE) == "unknown"
    assert outcome(check, BOTH, UNLOADED, SILENT, profile=box(part=NVIDIA_PART, goal="vm")) == "skip"
    assert outcome(check, gpus(gpu()), UNLOADED, SILENT) == "skip"


def test_a_card_of_the_guest_is_not_missed() -> None:
    handed = gpus(msgspec.structs.replace(FIRST, driver="vfio-pci", bdf=Bdf("0000:99:00.0")))
    found = judge("nvidia.runtime-count", handed, driver(), HEALTHY, profile=box(part=NVIDIA_PART, goal="vm"))
    assert outcomes(found) == ["pass"]
