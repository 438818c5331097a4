"""Who may open a device node: by an open that was tried, or for the user behind sudo by mode and groups."""

from __future__ import annotations

from typing import Literal

import msgspec

from boxcheck.model import Unread
from boxcheck.probes.container import Container
from boxcheck.probes.device_nodes import DeviceNodes, Node, User

RULE_FILE = "/etc/udev/rules.d/70-boxcheck-gpu.rules"
RULES = ('SUBSYSTEM=="kfd", KERNEL=="kfd", GROUP="render", MODE="0660"',
         'SUBSYSTEM=="drm", KERNEL=="renderD*", GROUP="render", MODE="0660"')
RULE_HELP = (
    f"printf '%s\\n' '{RULES[0]}' '{RULES[1]}' | sudo tee {RULE_FILE}",
    "sudo groupadd -f -r render; sudo udevadm control --reload-rules && sudo udevadm trigger",
)

State = Literal["open", "missing", "denied", "broken", "unread", "as-root"]


class Access(msgspec.Struct, frozen=True):
    state: State
    """`as-root`: root opened it, and nobody else is known to ask for."""
    says: str
    group: str | None = None
    """Group of the node, where joining it would help."""
    relogin: bool = False
    """The user is in that group, this login is older."""
    unread: Unread | None = None


def joins(group: str, name: str) -> tuple[str, ...]:
    return (f"sudo usermod -aG {group} {name}, then log out and in again (or: newgrp {group})",)


def _by_mode(node: Node, nodes: DeviceNodes, user: User) -> Access:
    """Whether a user may open a node, by owner, group and mode, and by ACL, which systemd sets for who sits at the
    screen. Where the ACL was not read, a refusal is not certain."""
    mode, gid = node.mode, node.gid
    if mode is None or gid is None or isinstance(nodes.groups, Unread):
        why = nodes.groups if isinstance(nodes.groups, Unread) else Unread(
            f"{node.path}: its mode is not known", "not-captured")
        return Access("unread", why.why, unread=why)
    name = nodes.group_name(gid) or str(gid)
    shown = f"{mode & 0o777:04o} root:{name}" if isinstance(node.stat, Unread) or not node.stat.uid else \
        f"{mode & 0o777:04o} {node.stat.uid}:{name}"
    member = gid == user.gid or (gid in nodes.groups and user.name in nodes.groups[gid].members)
    owner = not isinstance(node.stat, Unread) and node.stat.uid == user.uid
    if mode & 0o006 == 0o006 or (member and mode & 0o060 == 0o060) or (owner and mode & 0o600 == 0o600):
        return Access("open", f"{user.name} may open it by its mode ({shown})")
    if isinstance(nodes.acl_users, Unread):
        says = f"root opened it; by mode ({shown}) {user.name} may not, unless by an ACL: run this once without sudo"
        return Access("unread", says, unread=nodes.acl_users)
    if user.uid in nodes.acl_users.get(node.path, frozenset()):
        return Access("open", f"{user.name} may open it by an ACL")
    if mode & 0o060 == 0o060 and name != "root":
        return Access("denied", f"{user.name} is not in group {name} ({shown})", group=name)
    return Access("denied", f"nobody but root may open it ({shown})")


def access(node: Node, nodes: DeviceNodes) -> Access:
    """What is known of opening this node as the person who asks."""
    present = node.present
    if isinstance(present, Unread):
        return Access("unread", present.why, unread=present)
    if not present:
        return Access("missing", f"{node.path} does not exist")
    who = nodes.who
    if node.opened is True:
        if isinstance(who, Unread) or not who.root:
            return Access("open", "opened for reading and writing")
        if who.invoked_by is None or who.invoked_by == 0:
            return Access("as-root", "root opened it; other users were not looked at")
        if isinstance(nodes.users, Unread) or who.invoked_by not in nodes.users:
            return Access("as-root", f"root opened it; /etc/passwd does not name user {who.invoked_by}")
        return _by_mode(node, nodes, nodes.users[who.invoked_by])
    if node.opened.kind == "not-captured":
        return Access("unread", node.opened.why, unread=node.opened)
    if node.opened.kind != "permission":
        return Access("broken", node.opened.why)
    return _denied(node, nodes)


def _denied(node: Node, nodes: DeviceNodes) -> Access:
    """Why a login that tried was refused."""
    gid, mode = node.gid, node.mode
    name = nodes.group_name(gid)
    if gid is None or name is None or mode is None or mode & 0o060 != 0o060 or name == "root":
        shown = "" if mode is None else f" (mode {mode & 0o777:04o}, group {name or gid})"
        return Access("denied", f"permission denied{shown}")
    if isinstance(nodes.who, Unread) or isinstance(nodes.groups, Unread):
        return Access("denied", f"permission denied; its group is {name}", group=name)
    if gid in nodes.who.groups:
        return Access("denied", f"permission denied, though this login is in group {name}: a policy refuses")
    if nodes.who.name in nodes.groups[gid].members:
        return Access("denied", f"{nodes.who.name} is in group {name}, but this login began before", name, relogin=True)
    return Access("denied", f"{nodes.who.name} is not in group {name}", name)


def person(nodes: DeviceNodes) -> str:
    """Name of the user who asks, for commands; `$USER` where it is not known or would be root."""
    who = nodes.who
    if isinstance(who, Unread):
        return "$USER"
    if not who.root:
        return who.name
    user = None if isinstance(nodes.users, Unread) or who.invoked_by is None else nodes.users.get(who.invoked_by)
    return user.name if user is not None and user.uid else "$USER"


def remedy(found: Access, nodes: DeviceNodes) -> tuple[str, ...]:
    """Steps for a node that was refused: the group, else the rule that sets one. Never 0666."""
    if found.relogin and found.group:
        return (f"log out and in again, or run: newgrp {found.group}",)
    if found.group:
        return joins(found.group, person(nodes))
    return (*RULE_HELP, *joins("render", person(nodes)))


def in_container(container: Container) -> tuple[str, ...]:
    """The step for a container to which no device was handed."""
    if not isinstance(container.container, str):
        return ()
    return ("start the container with --device=/dev/kfd --device=/dev/dri --group-add render (NVIDIA: --gpus all)",)
