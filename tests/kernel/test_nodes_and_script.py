"""An unprivileged user, the nodes that it may open, the rules of a real udev, and the capture script under busybox."""

from __future__ import annotations

import time

import pytest

from boxcheck.checks.node_access import RULES
from boxcheck.decode.udev_rules import UdevRule, parse_udev_rules
from tests.kernel.bench import Machine
from tests.kernel.cache import seconds
from tests.kernel.test_wopr import judged_on_host, told
from tests.kernel.vm import CHECKOUT

TOPOLOGY = "noaer"
"""The one that test_nobody_counts.py leaves running."""
RENDER, TESTERS = 108, 1000
DEFAULT_RULES = "lib/udev/rules.d/50-udev-default.rules"
TRIES = 4
"""udev on a busy machine went by the rules of before the reload, once in some hundred."""
GROUPS = {"render": 108, "video": 44, "kvm": 106, "root": 0}


@pytest.fixture(scope="module", autouse=True)
def script(machine: Machine) -> None:
    """The capture script runs on the guest's second processor from the first test on: each program that it starts is
    emulated, which takes a minute. What the tests before its own change is nothing of what it is judged by."""
    guest = machine.guest
    path = CHECKOUT / "boxcheck/data/boxcheck-capture.sh"
    guest.sh("mkdir -p /tmp/applets && /bench/busybox --install -s /tmp/applets 2>/dev/null; ls /tmp/applets | grep -q cat")
    guest.sh(f"(PATH=/tmp/applets /bench/busybox sh {path} /out/script.tar.gz; echo $? >/out/script.exit) "
             "</dev/null >/out/script.log 2>&1 &")


def test_without_root_registers_are_unknown_and_widths_are_not(machine: Machine) -> None:
    """An ordinary user reads 64 bytes of a configuration space."""
    card = machine.bdf("g0")
    found = machine.doctor("pcie", "aer", user=[TESTERS])
    assert found.one("pcie.link-width", card).outcome == "pass"
    for check in ("pcie.equalisation", "pcie.payload"):
        said = found.one(check, card)
        assert said.outcome == "unknown"
        assert said.raw["needs_root"] is True, said
    assert found.one("aer.correctable", card).outcome == "unknown"
    assert not [item for item in found.of("aer.live") if item.outcome == "pass"]
    assert [item.outcome for item in found.of("pcie.link-down")] == ["unknown"]


def test_a_node_opens_for_its_group_only(machine: Machine) -> None:
    """The kernel decides: boxcheck opens the node as the user who asks. The node is /dev/null's, with the name and the
    permissions of /dev/kfd."""
    machine.guest.sh("mknod -m 660 /dev/kfd c 1 3; chgrp 108 /dev/kfd; [ -c /dev/kfd ]")
    said = machine.doctor("node.kfd", "--goal", "rocm", user=[TESTERS]).one("node.kfd")
    assert said.outcome == "fail"
    assert "render" in said.says
    assert said.cause == "node-group:render"
    said = machine.doctor("node.kfd", "--goal", "rocm", user=[TESTERS, RENDER]).one("node.kfd")
    assert said.outcome == "pass"
    # A member since the login: the session's groups are older than the file.
    machine.guest.sh("sed -i 's/^render:.*/render:x:108:tester/' /etc/group")
    old = machine.doctor("node.kfd", "--goal", "rocm", user=[TESTERS])
    assert old.one("node.kfd").outcome == "fail"
    assert any("older than your membership" in str(problem["title"]) for problem in old.problems), old.problems


def predicted(rules: tuple[UdevRule, ...]) -> tuple[str | None, int | None]:
    """Group and mode of a render node by the rules as boxcheck reads them: the last word counts."""
    group, mode = None, None
    for rule in rules:
        if rule.names("drm", "renderD128"):
            group, mode = rule.group or group, rule.mode if rule.mode is not None else mode
    return group, mode


@pytest.mark.parametrize(("line", "action"), [
    ("", "add"),
    ('SUBSYSTEM=="drm", KERNEL=="renderD*", GROUP="video", MODE="0666"', "add"),
    ('KERNEL=="card*|renderD*", GROUP="kvm", MODE="0600"', "add"),
    ('SUBSYSTEM=="drm", KERNEL!="renderD*", GROUP="kvm", MODE="0606"', "add"),
    ('SUBSYSTEM=="kfd", KERNEL=="kfd", GROUP="kvm", MODE="0606"', "add"),
    # What boxcheck's help has people write, with the plain trigger that it names.
    ("\n".join(RULES), "change"),
])
def test_rules_mean_to_udev_what_boxcheck_reads(machine: Machine, line: str, action: str) -> None:
    """The distribution's own rules act on `add` alone: `udevadm trigger` as it is sends `change`, and gives a node that
    somebody opened to all back to nobody."""
    guest = machine.guest
    root = guest.bench.unpacked
    env = {"LD_LIBRARY_PATH": f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"}
    default = (root / DEFAULT_RULES).read_text()
    guest.load("vgem")
    guest.sh(f"mkdir -p /etc/udev/rules.d; cp {root}/{DEFAULT_RULES} /etc/udev/rules.d/; ln -sf {root}/bin/udevadm /tmp/udevadm; "
             "ln -sf udevadm /tmp/systemd-udevd")
    guest.run("/bench/busybox", "sh", "-c", "cat >/etc/udev/rules.d/70-gpu.rules", stdin=f"{line}\n").ok()
    if guest.run("/bench/busybox", "sh", "-c", "[ -S /run/udev/control ]").exit:
        guest.run("/tmp/systemd-udevd", "--daemon", env=env).ok()
    rules = parse_udev_rules(default, "50-udev-default.rules") + parse_udev_rules(line, "70-gpu.rules")
    group, wanted = predicted(rules)
    became: list[tuple[int, int]] = []
    for _ in range(TRIES):
        guest.sh("chmod 600 /dev/dri/renderD128; chown 0:0 /dev/dri/renderD128")
        guest.run("/tmp/udevadm", "control", "--reload", env=env).ok()
        guest.run("/tmp/udevadm", "trigger", f"--action={action}", "--subsystem-match=drm", "--settle", env=env).ok()
        mode, gid = guest.sh("stat -c '%a %g' /dev/dri/renderD128").split()
        became.append((int(mode, 8), int(gid)))
        if became[-1] == (wanted, GROUPS[group or "root"]):
            break
    assert became[-1] == (wanted, GROUPS[group or "root"]), became


def test_a_capture_by_the_script_under_busybox(machine: Machine) -> None:
    """The shell script, with busybox's programs and nothing else. What it cannot take is unknown on the host, never better
    than what boxcheck said on the machine."""
    guest = machine.guest
    ended, log = guest.folder / "out/script.exit", guest.folder / "out/script.log"
    end = time.monotonic() + seconds(90)
    while not (ended.exists() and ended.read_text().strip()):
        assert time.monotonic() < end, log.read_text()[-1000:]
        time.sleep(0.2)
    assert ended.read_text() == "0\n", log.read_text()[-1000:]
    there = told(machine.doctor("pcie", "aer", "inventory", "iommu", "acs"))
    here = told(judged_on_host(guest.folder / "out/script.tar.gz", "pcie", "aer", "inventory", "iommu", "acs"))
    assert there.keys() == here.keys()
    # Only boxcheck itself knows what its experiments did.
    assert {key[0]: here[key] for key in there if there[key] != here[key]} == {
        "pcie.left-changed": "skip the capture does not tell of experiments"}
