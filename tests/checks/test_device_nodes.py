from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from boxcheck.decode.udev_rules import parse_udev_rules
from boxcheck.host import Stat, Who
from boxcheck.model import Bdf, Unread
from boxcheck.probes.container import Container
from boxcheck.probes.device_nodes import DeviceNodes, Group, Node, User
from boxcheck.probes.nvidia import Nvidia
from tests.checks.cards import gpus, nvidia
from tests.checks.judging import GONE, judge, outcome, outcomes
from tests.checks.test_amdgpu import FIRST, PROFILE, SECOND, amdgpu
from tests.checks.test_kernel import NVIDIA_PART, box
from tests.checks.test_nvidia import UNLOADED, driver

METAL = Container(None, None)
DOCKER = Container("docker", None)
REFUSED = Unread("permission denied", "permission")
ABSENT = Unread("no such file", "absent")
GROUPS = {0: Group("root", 0, ()), 992: Group("render", 992, ("anna",)), 44: Group("video", 44, ())}
USERS = {0: User("root", 0, 0), 1000: User("anna", 1000, 1000), 1001: User("bert", 1001, 1001)}
RULES = parse_udev_rules('SUBSYSTEM=="kfd", GROUP="render", MODE="0660"\n'
                         'SUBSYSTEM=="drm", KERNEL=="renderD*", GROUP="render", MODE="0660"\n', "/usr/lib/50.rules")
BOTH = gpus(FIRST, SECOND)


def device(path: str, opened: Any = True, mode: int = 0o660, gid: int = 992, bdf: Bdf | None = None) -> Node:
    if opened is ABSENT or opened is GONE:
        return Node(path, opened, opened, bdf)
    return Node(path, Stat("char", mode, 0, gid), opened, bdf)


def person(name: str = "anna", *groups: int) -> Who:
    uid = {"anna": 1000, "bert": 1001}[name]
    return Who(name, uid, uid, (uid, *groups), False)


def sudo(uid: int | None) -> Who:
    return Who("root", 0, 0, (0,), True, uid)


def nodes(kfd: Any = True, render: Mapping[Bdf, Any] | None = None, who: Any = None, **changes: Any) -> DeviceNodes:
    made = DeviceNodes(
        kfd=kfd if isinstance(kfd, Node) else device("/dev/kfd", kfd),
        render=render if render is not None else {
            one.bdf: device(f"/dev/dri/renderD{128 + one.index}", bdf=one.bdf) for one in (FIRST, SECOND)},
        nvidia=(), nvidia_modprobe=False, who=who or person("anna", 992), groups=GROUPS, users=USERS, rules=RULES,
        acl_users=Unread("not asked", "unsupported"))
    return msgspec.structs.replace(made, **changes)


def judge_amd(check: str, facts: DeviceNodes, container: Container = METAL, profile: Any = PROFILE) -> list[Any]:
    return judge(check, facts, BOTH, amdgpu(), container, profile=profile)


@pytest.mark.parametrize(("facts", "wanted", "cause"), [
    (nodes(), "pass", None), (nodes(ABSENT), "fail", "kfd:"), (nodes(GONE), "unknown", None),
    (nodes(REFUSED, who=person("bert")), "fail", "node-group:render"),
    (nodes(REFUSED, who=person("anna")), "fail", "node-group:render"),  # in /etc/group, not in this login
    (nodes(Unread("cannot allocate memory")), "fail", "node:/dev/kfd"),
    (nodes(Unread("not in the capture", "not-captured")), "pass", None),  # see below
    (nodes(device("/dev/kfd", REFUSED, 0o600, 0), who=person("bert")), "fail", "node:/dev/kfd")])
def test_kfd(facts: DeviceNodes, wanted: str, cause: str | None) -> None:
    if facts.kfd.opened is not True and facts.kfd.opened.kind == "not-captured":
        wanted = "unknown"
    (finding,) = judge_amd("node.kfd", facts)
    assert (finding.outcome.value, finding.cause) == (wanted, cause)


def test_the_remedy_is_a_group_and_never_0666() -> None:
    (stranger,) = judge_amd("node.kfd", nodes(REFUSED, who=person("bert")))
    assert stranger.help == ("sudo usermod -aG render bert, then log out and in again (or: newgrp render)",)
    (waiting,) = judge_amd("node.kfd", nodes(REFUSED, who=person("anna")))
    assert waiting.help == ("log out and in again, or run: newgrp render",)
    (private,) = judge_amd("node.kfd", nodes(device("/dev/kfd", REFUSED, 0o600, 0), who=person("bert")))
    assert "70-boxcheck-gpu.rules" in private.help[0]
    assert 'SUBSYSTEM=="kfd", KERNEL=="kfd", GROUP="render", MODE="0660"' in private.help[0]
    for finding in (stranger, waiting, private):
        assert "0666" not in " ".join(finding.help)


def test_a_container_without_the_device() -> None:
    (finding,) = judge_amd("node.kfd", nodes(ABSENT), DOCKER)
    assert "--device=/dev/kfd" in finding.help[0]


ACL = {"/dev/kfd": frozenset({1001})}


@pytest.mark.parametrize(("who", "acl", "wanted"), [
    (sudo(1000), {}, "pass"),  # in the group
    (sudo(1001), {}, "fail"), (sudo(1001), ACL, "pass"), (sudo(1001), Unread("getfacl is not installed"), "unknown"),
    (sudo(None), Unread("no sudo"), "pass"), (sudo(4242), {}, "pass")])
def test_an_open_as_root_proves_nothing_about_the_user(who: Who, acl: Any, wanted: str) -> None:
    (finding,) = judge_amd("node.kfd", nodes(who=who, acl_users=acl))
    assert finding.outcome.value == wanted
    if who.invoked_by in (None, 4242):
        assert "without sudo" in finding.notes[0]


def test_nobody_asks_for_rocm() -> None:
    assert outcome("node.kfd", nodes(), BOTH, amdgpu(), METAL) == "skip"
    assert outcome("node.kfd", nodes(ABSENT), gpus(), amdgpu(), METAL, profile=PROFILE) == "unknown"
    assert outcome("node.kfd", nodes(), gpus(unreadable=GONE), amdgpu(), METAL, profile=PROFILE) == "unknown"


@pytest.mark.parametrize(("second", "wanted"), [
    (device("/dev/dri/renderD129"), ["pass", "pass"]), (device("/dev/dri/renderD129", REFUSED), ["pass", "fail"]),
    (device("/dev/dri/renderD129", ABSENT), ["pass", "fail"]), (ABSENT, ["pass", "fail"]), (GONE, ["pass", "unknown"])])
def test_render(second: Any, wanted: list[str]) -> None:
    facts = nodes(render={FIRST.bdf: device("/dev/dri/renderD128"), SECOND.bdf: second})
    assert outcomes(judge_amd("node.render", facts)) == wanted


@pytest.mark.parametrize(("who", "opened", "wanted"), [
    (person("anna", 992), True, "pass"), (person("bert"), REFUSED, "fail"), (person("anna"), REFUSED, "fail"),
    (person("bert"), True, "pass"),  # an ACL or mode 0666 lets it
    (sudo(None), True, "pass"), (sudo(1001), True, "unknown")])
def test_group_session(who: Who, opened: Any, wanted: str) -> None:
    (finding,) = judge_amd("node.group-session", nodes(opened, who=who))
    assert finding.outcome.value == wanted
    assert finding.cause in (None, "node-group:render")


def test_no_node_no_group() -> None:
    facts = nodes(ABSENT, render={FIRST.bdf: ABSENT, SECOND.bdf: ABSENT})
    assert judge_amd("node.group-session", facts)[0].outcome.value == "unknown"


@pytest.mark.parametrize(("rules", "gid", "wanted"), [
    (RULES, 992, ["pass", "pass"]), ((), 992, ["pass", "pass"]), ((), 0, ["marginal", "marginal"]),
    (RULES[:1], 0, ["pass", "marginal"]), (GONE, 992, ["unknown"])])
def test_udev_rules(rules: Any, gid: int, wanted: list[str]) -> None:
    facts = nodes(device("/dev/kfd", gid=gid), {FIRST.bdf: device("/dev/dri/renderD128", gid=gid)}, rules=rules)
    assert outcomes(judge_amd("node.udev-rules", facts)) == wanted
    assert outcomes(judge_amd("node.udev-rules", facts, DOCKER)) == ["skip"]


def test_rules_that_were_not_read_are_not_missing() -> None:
    facts = nodes(
        device("/dev/kfd", gid=0), {FIRST.bdf: device("/dev/dri/renderD128", gid=0)}, rules=RULES[:1],
        rules_unread=REFUSED)
    assert outcomes(judge_amd("node.udev-rules", facts)) == ["pass", "unknown"]


@pytest.mark.parametrize(("sets", "wanted"), [
    ('MODE="0660"', "marginal"), ('GROUP="root", MODE="0660"', "marginal"), ('MODE="0666"', "pass"),
    ('GROUP="video"', "pass")])
def test_a_rule_that_gives_a_node_to_root_gives_it_to_nobody(sets: str, wanted: str) -> None:
    rules = parse_udev_rules(f'SUBSYSTEM=="kfd", {sets}\n', "/etc/udev/rules.d/70.rules")
    facts = nodes(device("/dev/kfd", gid=0), {FIRST.bdf: device("/dev/dri/renderD128")}, rules=rules)
    assert outcomes(judge_amd("node.udev-rules", facts)) == [wanted, "pass"]


OPEN = 'SUBSYSTEM=="kfd", GROUP="render", MODE="0666"\n'


@pytest.mark.parametrize(("mode", "place", "wanted"), [
    (0o660, "/etc/udev/rules.d/99.rules", "pass"), (0o666, "/etc/udev/rules.d/99.rules", "marginal"),
    (0o666, "/usr/lib/udev/rules.d/50-udev-default.rules", "pass"), (0o666, None, "marginal")])
def test_world_writable(mode: int, place: str | None, wanted: str) -> None:
    rules = parse_udev_rules(OPEN, place) if place else ()
    facts = nodes(device("/dev/kfd", mode=mode), {FIRST.bdf: device("/dev/dri/renderD128")}, rules=rules)
    assert outcomes(judge_amd("node.world-writable", facts)) == [wanted]


def test_a_mode_that_was_not_read() -> None:
    unknown = Node("/dev/kfd", Stat("char"), True)
    facts = nodes(unknown, {FIRST.bdf: device("/dev/dri/renderD128")})
    assert outcomes(judge_amd("node.world-writable", facts)) == ["unknown"]
    nothing = nodes(ABSENT, {FIRST.bdf: ABSENT})
    assert outcomes(judge_amd("node.world-writable", nothing)) == ["unknown"]


# NVIDIA

CARD = nvidia(0)
CUDA = box(part=NVIDIA_PART, goal="cuda-p2p")


def cuda(uvm: Any = True, control: Any = True, on_demand: bool = False) -> DeviceNodes:
    return nodes(nvidia=(
        device("/dev/nvidiactl", control, 0o666, 0), device("/dev/nvidia-uvm", uvm, 0o666, 0),
        device("/dev/nvidia0", True, 0o666, 0, CARD.bdf)), nvidia_modprobe=on_demand)


@pytest.mark.parametrize(("facts", "wanted"), [
    (cuda(), ["pass", "pass", "pass"]), (cuda(uvm=ABSENT), ["pass", "fail", "pass"]),
    (cuda(uvm=ABSENT, on_demand=True), ["pass", "marginal", "pass"]), (cuda(control=REFUSED), ["fail", "pass", "pass"]),
    (cuda(uvm=GONE), ["pass", "unknown", "pass"]), (cuda(uvm=Unread("busy")), ["pass", "fail", "pass"])])
def test_nvidia(facts: DeviceNodes, wanted: list[str]) -> None:
    found = judge("node.nvidia", facts, gpus(CARD), driver(), METAL, profile=CUDA)
    assert outcomes(found) == wanted
    assert {finding.cause for finding in found} <= {None, "nvidia-nodes:"}


@pytest.mark.parametrize(("nvidia_says", "profile", "wanted"), [
    (UNLOADED, CUDA, "unknown"), (UNLOADED, None, "skip"), (UNLOADED, box(part=NVIDIA_PART, goal="tinygrad"), "skip")])
def test_nvidia_without_its_driver(nvidia_says: Nvidia, profile: Any, wanted: str) -> None:
    assert outcome("node.nvidia", nodes(), gpus(CARD), nvidia_says, METAL, profile=profile) == wanted


def test_a_card_whose_node_is_not_known_is_not_passed_over() -> None:
    facts = nodes(nvidia=(device("/dev/nvidiactl", True, 0o666, 0), device("/dev/nvidia-uvm", True, 0o666, 0)))
    found = judge("node.nvidia", facts, gpus(CARD), driver(), METAL, profile=CUDA)
    assert outcomes(found) == ["pass", "pass", "unknown"]
    assert found[2].subject == CARD.subject
    handed = gpus(msgspec.structs.replace(CARD, driver="vfio-pci"))
    assert outcomes(judge("node.nvidia", facts, handed, driver(), METAL, profile=CUDA)) == ["pass", "pass"]
