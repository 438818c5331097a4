from __future__ import annotations

from pathlib import Path

from boxcheck.probes.device_nodes import DeviceNodes, Node, parse_getfacl, parse_group, parse_passwd
from tests.boxes.tree import Login, Tree
from tests.probes.reading import HOSTILE, fact, kind_of, live, never_raises, tree

GPU = "/sys/bus/pci/devices/0000:03:00.0"
BDF = "0000:03:00.0"
GROUP = "root:x:0:\nvideo:x:44:anna\nrender:x:992:anna,bert\nanna:x:1000:\n"
PASSWD = "root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000::/home/anna:/bin/bash\n"


def machine(root: bool = False) -> Tree:
    made = tree({
        f"{GPU}/vendor": "0x1002", f"{GPU}/device": "0x744c", f"{GPU}/class": "0x030000", f"{GPU}/resource": "",
        f"{GPU}/drm/card0/dev": "226:0", f"{GPU}/drm/renderD128/dev": "226:128", "/etc/group": GROUP,
        "/etc/passwd": PASSWD, "/etc/udev/rules.d/70-gpu.rules": 'SUBSYSTEM=="kfd", GROUP="render", MODE="0660"\n',
        "/usr/lib/udev/rules.d/60-keyboard.rules": 'SUBSYSTEM=="kfd", MODE="0666"\n',
        "/usr/lib/udev/rules.d/50-udev-default.rules": 'SUBSYSTEM=="drm", KERNEL=="renderD*", GROUP="render"\n',
    }, root=root)
    made.stat("/dev/kfd", 0o660, 0, 992, "char", "ok")
    made.stat("/dev/dri/renderD128", 0o660, 0, 992, "char", "EACCES")
    return made


def test_reads_nodes_with_their_group_and_an_open(tmp_path: Path) -> None:
    nodes = fact(DeviceNodes, machine(), tmp_path)
    assert nodes.kfd.present is True
    assert (nodes.kfd.mode, nodes.group_name(nodes.kfd.gid), nodes.kfd.opened) == (0o660, "render", True)
    render = nodes.render[BDF]  # type: ignore[index]
    assert isinstance(render, Node)
    assert (render.path, kind_of(render.opened)) == ("/dev/dri/renderD128", "permission")
    assert isinstance(nodes.rules, tuple)
    assert [rule.place for rule in nodes.rules] == [
        "/etc/udev/rules.d/70-gpu.rules", "/usr/lib/udev/rules.d/50-udev-default.rules"]
    assert nodes.nvidia == ()
    assert kind_of(nodes.acl_users) == "unsupported"


def test_what_is_missing_and_what_nobody_looked_for(tmp_path: Path) -> None:
    made = machine()
    made.remove("/dev/kfd")
    assert fact(DeviceNodes, made, tmp_path).kfd.present is False
    blind = fact(DeviceNodes, tree({}, whole=False), tmp_path)
    assert kind_of(blind.kfd.present) == kind_of(blind.rules) == kind_of(blind.groups) == "not-captured"


def test_a_directory_of_rules_that_nobody_could_list_is_told(tmp_path: Path) -> None:
    made = machine()
    assert fact(DeviceNodes, made, tmp_path).rules_unread is None
    made.denied("/usr/lib/udev/rules.d", "permission denied")
    found = fact(DeviceNodes, made, tmp_path)
    assert isinstance(found.rules, tuple)
    assert kind_of(found.rules_unread) == "permission"


def test_the_nodes_of_the_nvidia_driver(tmp_path: Path) -> None:
    made = tree({"/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.07  x",
                 "/proc/driver/nvidia/gpus/0000:41:00.0/information": "Device Minor: \t 2"})
    made.stat("/dev/nvidiactl", 0o666)
    made.stat("/dev/nvidia2", 0o666, opens="EBUSY")
    nodes = fact(DeviceNodes, made, tmp_path)
    assert [(node.path, node.present, node.bdf) for node in nodes.nvidia] == [
        ("/dev/nvidiactl", True, None), ("/dev/nvidia-uvm", False, None), ("/dev/nvidia2", True, "0000:41:00.0")]
    assert kind_of(nodes.nvidia[2].opened) == "error"


def test_under_sudo_acls_are_asked_for(tmp_path: Path) -> None:
    made = machine(root=True)
    made.login = Login("root", 0, 0, (0,), 1000)
    made.run(["getfacl", "-n", "-p", "/dev/kfd", "/dev/dri/renderD128"],
             "# file: /dev/kfd\n# owner: 0\nuser::rw-\ngroup::rw-\n\n# file: /dev/dri/renderD128\nuser:1000:rw-\nuser:7:r--\n")
    nodes = fact(DeviceNodes, made, tmp_path)
    assert nodes.acl_users == {"/dev/kfd": frozenset(), "/dev/dri/renderD128": frozenset({1000})}


def test_parsers() -> None:
    assert parse_group(GROUP)[992].members == ("anna", "bert")
    assert parse_passwd(PASSWD)[1000].name == "anna"
    masked = "# file: /dev/kfd\nuser:1000:rw-\t\t\t#effective:---\nuser:1001:rw-\t#effective:rw-\nuser:1002:rw-\nmask::---\n"
    assert parse_getfacl(masked) == {"/dev/kfd": frozenset({1001, 1002})}, "the mask takes it away from the first"
    for parse in (parse_group, parse_passwd, parse_getfacl):
        never_raises(parse, *HOSTILE)


def test_reads_this_machine() -> None:
    live(DeviceNodes)
