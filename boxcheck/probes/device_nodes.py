"""The device nodes that GPU programs open, who may open them, and the udev rules that say so.

Reads   stat of /dev/kfd, /dev/dri/renderD*, /dev/nvidia*, and an open for reading and writing of each; /etc/group,
        /etc/passwd; rules in /etc/udev/rules.d, /run/udev/rules.d and, by name, /usr/lib/udev/rules.d      (any user)
        under sudo also `getfacl -n -p`, since systemd gives nodes to the person at the screen by ACL
Absent  /dev/kfd without amdgpu; /dev/nvidia* until something asked for them after boot (nvidia-modprobe makes them)
By hand ls -l /dev/kfd /dev/dri /dev/nvidia*; id; getfacl /dev/dri/renderD128

The group is taken from the node, never from a list: it is `render` on most distributions and `video` on some. An open
that succeeds as root says nothing of any other user, so there modes and groups are kept as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.decode.udev_rules import UdevRule, parse_udev_rules
from boxcheck.host import Host, Stat, Who
from boxcheck.model import Bdf, Unread
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.nvidia import Nvidia
from boxcheck.registry import probe

KFD = "/dev/kfd"
NVIDIA_CONTROL = "/dev/nvidiactl"
NVIDIA_UVM = "/dev/nvidia-uvm"
NVIDIA_MODPROBE = "/usr/bin/nvidia-modprobe"
RULE_DIRECTORIES = ("/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")
_SYSTEM_RULES = ("udev-default", "kfd", "amdgpu", "rocm", "nvidia", "drm", "render", "gpu")
"""Parts of names; the other files of a distribution (some 80) are about keyboards, disks and scanners."""


class Node(msgspec.Struct, frozen=True):
    path: str
    stat: Stat | Unread
    opened: Literal[True] | Unread
    bdf: Bdf | None = None
    """The GPU behind it, None for a node of all GPUs."""

    @property
    def present(self) -> bool | Unread:
        if not isinstance(self.stat, Unread):
            return True
        return False if self.stat.kind == "absent" else self.stat

    @property
    def mode(self) -> int | None:
        return None if isinstance(self.stat, Unread) else self.stat.mode

    @property
    def gid(self) -> int | None:
        return None if isinstance(self.stat, Unread) else self.stat.gid


class Group(msgspec.Struct, frozen=True):
    name: str
    gid: int
    members: tuple[str, ...]


class User(msgspec.Struct, frozen=True):
    name: str
    uid: int
    gid: int


class DeviceNodes(msgspec.Struct, frozen=True):
    kfd: Node
    render: Mapping[Bdf, Node | Unread]
    """By AMD GPU. Unread of kind absent: amdgpu made none for it."""
    nvidia: tuple[Node, ...]
    """nvidiactl, nvidia-uvm, then one for each GPU that the driver has."""
    nvidia_modprobe: bool | Unread
    """Whether the program that makes missing nodes is installed."""
    who: Who | Unread
    groups: Mapping[int, Group] | Unread
    users: Mapping[int, User] | Unread
    rules: tuple[UdevRule, ...] | Unread
    acl_users: Mapping[str, frozenset[int]] | Unread
    """Path -> users that an ACL lets read and write. Asked only under sudo, where an open proves nothing."""
    rules_unread: Unread | None = None
    """Why some of the rules are not among `rules`; None where all were read."""

    def group_name(self, gid: int | None) -> str | None:
        if gid is None or isinstance(self.groups, Unread):
            return None
        group = self.groups.get(gid)
        return None if group is None else group.name


def parse_group(text: str) -> dict[int, Group]:
    """/etc/group, by number."""
    found: dict[int, Group] = {}
    for line in text.splitlines()[:10000]:
        parts = line.split(":")
        if len(parts) >= 4 and parts[2].isascii() and parts[2].isdigit() and len(parts[2]) < 11:
            members = tuple(name for name in parts[3].split(",") if name)
            found.setdefault(int(parts[2]), Group(clean_text(parts[0], 40), int(parts[2]), members))
    return found


def parse_passwd(text: str) -> dict[int, User]:
    """/etc/passwd, by number."""
    found: dict[int, User] = {}
    for line in text.splitlines()[:10000]:
        parts = line.split(":")
        if len(parts) >= 4 and all(part.isascii() and part.isdigit() and len(part) < 11 for part in parts[2:4]):
            found.setdefault(int(parts[2]), User(clean_text(parts[0], 40), int(parts[2]), int(parts[3])))
    return found


def _node(host: Host, path: str, bdf: Bdf | None = None) -> Node:
    stat = host.stat(path)
    return Node(path, stat, stat if isinstance(stat, Unread) else host.opens(path), bdf)


def _render(host: Host, amdgpu: Amdgpu) -> dict[Bdf, Node | Unread]:
    found: dict[Bdf, Node | Unread] = {}
    for bdf, card in amdgpu.cards.items():
        if isinstance(card.drm_nodes, Unread):
            found[bdf] = card.drm_nodes
            continue
        name = next((name for name in card.drm_nodes if name.startswith("renderD")), None)
        found[bdf] = Unread(f"amdgpu made no render node for {bdf}", "absent") if name is None else _node(
            host, f"/dev/dri/{name}", bdf)
    return found


def _nvidia(host: Host, nvidia: Nvidia) -> tuple[Node, ...]:
    if nvidia.loaded is False:
        return ()
    own = () if isinstance(nvidia.gpus, Unread) else tuple(
        _node(host, f"/dev/nvidia{gpu.minor}", gpu.bdf) for gpu in nvidia.gpus if gpu.minor is not None)
    return (_node(host, NVIDIA_CONTROL), _node(host, NVIDIA_UVM), *own)


def parse_getfacl(text: str) -> dict[str, frozenset[int]]:
    """Output of `getfacl -n -p`: by path, the numbers of users with an entry of their own that reads and writes. What
    the mask leaves of an entry stands behind it, `user:1000:rw-  #effective:r--` (getfacl(1))."""
    found: dict[str, frozenset[int]] = {}
    path = ""
    for line in text.splitlines()[:10000]:
        if line.startswith("# file: "):
            path = line.removeprefix("# file: ").strip()
            found[path] = frozenset()
        entry, _, left = line.partition("#effective:")
        parts = entry.split("#", 1)[0].strip().split(":")
        named = len(parts) == 3 and parts[0] == "user" and parts[1].isascii() and parts[1].isdigit()
        if path and named and (left.strip() or parts[2]).startswith("rw"):
            found[path] |= {int(parts[1][:10])}
    return found


def _acls(host: Host, who: Who | Unread, nodes: list[Node]) -> Mapping[str, frozenset[int]] | Unread:
    if isinstance(who, Unread) or not who.root or not who.invoked_by:
        return Unread("ACLs were not asked for: this is no sudo", "unsupported")
    paths = [node.path for node in nodes if node.mode is not None and node.mode & 0o006 != 0o006]
    if not paths:
        return {}
    output = host.run(["getfacl", "-n", "-p", *paths])
    if isinstance(output, Unread):
        return output
    return parse_getfacl(output.stdout) if output.exit == 0 else Unread(
        f"getfacl ended with {output.exit}", "error")


def _rules(host: Host) -> tuple[tuple[UdevRule, ...] | Unread, Unread | None]:
    """The rules, and why some were not read."""
    found: list[UdevRule] = []
    seen: set[str] = set()
    unread: Unread | None = None
    listed = 0
    for directory in RULE_DIRECTORIES:
        names = host.entries(directory)
        if isinstance(names, Unread):
            unread = names if unread is None and names.kind != "absent" else unread
            continue
        listed += 1
        for name in names[:1000]:
            if not name.endswith(".rules") or name in seen:
                continue
            if directory.startswith(("/usr", "/lib")) and not any(part in name for part in _SYSTEM_RULES):
                continue
            seen.add(name)
            text = host.text(f"{directory}/{name}")
            if isinstance(text, Unread):
                unread = text if unread is None else unread
            else:
                found += parse_udev_rules(text, f"{directory}/{name}")
    if not listed:
        why = Unread("no directory of udev rules is here", "absent") if unread is None else unread
        return why, why
    return tuple(found), unread


@probe("device_nodes", DeviceNodes, reads=[Amdgpu, Nvidia])
def device_nodes(host: Host, amdgpu: Amdgpu, nvidia: Nvidia) -> DeviceNodes:
    group, passwd = host.text("/etc/group"), host.text("/etc/passwd")
    kfd, render, own, who = _node(host, KFD), _render(host, amdgpu), _nvidia(host, nvidia), host.who()
    rules, rules_unread = _rules(host)
    every = [kfd, *(node for node in render.values() if isinstance(node, Node)), *own]
    return DeviceNodes(
        kfd=kfd, render=render, nvidia=own, nvidia_modprobe=host.exists(NVIDIA_MODPROBE), who=who,
        acl_users=_acls(host, who, every),
        groups=group if isinstance(group, Unread) else parse_group(group),
        users=passwd if isinstance(passwd, Unread) else parse_passwd(passwd), rules=rules,
        rules_unread=rules_unread,
    )
