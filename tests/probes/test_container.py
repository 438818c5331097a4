from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.probes.container import Container, hypervisor_flag, name_of_hypervisor
from tests.probes.reading import HOSTILE, fact, kind_of, never_raises, tree

BARE = "processor\t: 0\nflags\t\t: fpu vme sse2\nbugs\t\t: none\n"
GUEST = "processor\t: 0\nflags\t\t: fpu vme hypervisor sse2\n"


@pytest.mark.parametrize(("files", "container"), [
    ({"/.dockerenv": ""}, "docker"), ({"/run/.containerenv": ""}, "podman"), ({"/run/systemd/container": "lxc"}, "lxc"),
    ({}, None)])
def test_container(files: dict[str, str], container: str | None, tmp_path: Path) -> None:
    assert fact(Container, tree(files), tmp_path).container == container


def test_container_by_its_variable(tmp_path: Path) -> None:
    made = tree()
    made.environment["container"] = "oci"
    assert fact(Container, made, tmp_path).container == "oci"


def test_nobody_knows_in_another_tools_capture(tmp_path: Path) -> None:
    assert kind_of(fact(Container, tree(whole=False), tmp_path).container) == "not-captured"


@pytest.mark.parametrize(("cpuinfo", "vendor", "hypervisor"), [
    (BARE, "ASRockRack", None), (BARE, "Amazon EC2", None), (GUEST, "QEMU", "QEMU"), (GUEST, "Some Cloud", "unknown"),
    ("processor\t: 0\nBogoMIPS\t: 50\n", "QEMU", "QEMU"), ("processor\t: 0\n", "Ampere", None)])
def test_hypervisor(cpuinfo: str, vendor: str, hypervisor: str | None, tmp_path: Path) -> None:
    made = tree({"/proc/cpuinfo": cpuinfo, "/sys/class/dmi/id/sys_vendor": vendor})
    assert fact(Container, made, tmp_path).hypervisor == hypervisor


def test_hypervisor_is_unread_without_flags_and_names(tmp_path: Path) -> None:
    no_flags = tree({"/proc/cpuinfo": "processor\t: 0\n"})
    assert kind_of(fact(Container, no_flags, tmp_path).hypervisor) == "unsupported"
    assert kind_of(fact(Container, tree(whole=False), tmp_path).hypervisor) == "not-captured"


def test_parsers() -> None:
    assert hypervisor_flag("flags: none") is None
    assert name_of_hypervisor(None, "Standard PC (Q35 + ICH9, 2009)") is None
    assert name_of_hypervisor("innotek GmbH", "VirtualBox") == "VirtualBox"
    never_raises(hypervisor_flag, *HOSTILE)
