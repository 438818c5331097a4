"""Whether the person who asks can open the device nodes of the GPUs, and what to do when not."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from boxcheck.checks.driver import on_own_driver, unbound_cause
from boxcheck.checks.node_access import (
    RULE_FILE,
    RULE_HELP,
    Access,
    access,
    in_container,
    joins,
    person,
    remedy,
)
from boxcheck.checks.nvidia_driver import applies
from boxcheck.checks.places import wanted_gpus
from boxcheck.checks.steps import AMDGPU_LOG
from boxcheck.checks.wording import listed, not_read
from boxcheck.model import BOX, Finding, Outcome, Subject, Unread
from boxcheck.probes.amdgpu import Amdgpu
from boxcheck.probes.container import Container
from boxcheck.probes.device_nodes import KFD, NVIDIA_UVM, RULE_DIRECTORIES, DeviceNodes, Node
from boxcheck.probes.gpus import Gpu, Gpus
from boxcheck.probes.nvidia import PROC, Nvidia
from boxcheck.profile import Profile
from boxcheck.registry import check, failed, marginal, passed, skipped, unknown

KINDS = {"file": "plain file", "dir": "directory", "block": "block device", "fifo": "pipe"}
READS = [DeviceNodes, Gpus, Amdgpu, Container]
NVIDIA_CAUSE = "nvidia-nodes:"


def _asked(gpus: Gpus, want: Profile) -> tuple[tuple[Gpu, ...], Finding | None]:
    """The AMD GPUs that programs of this box open, or the finding that says why there are none."""
    if on_own_driver(want) or ("1002" not in want.gpus.vendors and want.goal != "rocm"):
        return (), skipped(BOX, "nothing here computes with ROCm")
    if gpus.unreadable is not None:
        return (), not_read(BOX, gpus.unreadable)
    cards = tuple(gpu for gpu in wanted_gpus(gpus, want) if gpu.vendor == "1002")
    if cards:
        return cards, None
    if "1002" in want.gpus.vendors:
        return (), unknown(BOX, "none of the profile's GPUs answers, so no node can be judged")
    return (), skipped(BOX, "no AMD GPU is here")


def _subject(path: str) -> Subject:
    return Subject("node", name=path)


def _judge(
    subject: Subject, node: Node, nodes: DeviceNodes, container: Container, missing_cause: str,
    missing_help: tuple[str, ...],
) -> Finding:
    """What an attempt to open a node came to."""
    found = access(node, nodes)
    evidence = (node.path,)
    if not isinstance(node.stat, Unread) and node.stat.kind not in ("char", "link"):
        return failed(
            subject, f"{node.path} is no character device but a {KINDS.get(node.stat.kind, node.stat.kind)}",
            evidence=evidence, cause=f"node:{node.path}", title=f"{node.path} is no device node",
            help=(f"sudo rm -r {node.path}; something wrote there before the driver made its node", *missing_help))
    named = "" if subject.name == node.path else f"{node.path}: "
    match found.state:
        case "open":
            return passed(subject, f"{named}{found.says}", evidence=evidence)
        case "as-root":
            return passed(subject, f"{named}{found.says}", evidence=evidence,
                          notes=("run this once without sudo to see whether you may open it",))
        case "unread":
            return unknown(subject, f"not read: {found.says}", evidence=evidence,
                           needs_root=found.unread is not None and found.unread.kind == "permission")
        case "missing":
            return failed(
                subject, f"{node.path} does not exist", evidence=evidence, cause=missing_cause,
                title=f"{node.path} does not exist", help=(*in_container(container), *missing_help))
        case "broken":
            return failed(
                subject, f"{found.says.removeprefix(f'{subject.name}: ')}: no matter of permission",
                evidence=evidence, cause=f"node:{node.path}",
                title=f"{node.path} exists and cannot be opened",
                help=("sudo dmesg | tail -30  says why the driver refuses",
                      "a GPU hung: power the machine off and on"))
    cause = f"node-group:{found.group}" if found.group else f"node:{node.path}"
    return failed(
        subject, f"{named}{found.says}", evidence=(*evidence, "/etc/group"), cause=cause,
        title=_denied_title(found), help=remedy(found, nodes), not_=("a driver fault: the node is there",))


def _denied_title(found: Access) -> str:
    if found.relogin:
        return f"this login is older than your membership of group {found.group}"
    return f"you may not open the GPUs: not in group {found.group}" if found.group else "you may not open the GPUs"


@check("node.kfd", reads=READS)
def kfd(nodes: DeviceNodes, gpus: Gpus, amdgpu: Amdgpu, container: Container, want: Profile) -> Iterator[Finding]:
    """/dev/kfd is missing or cannot be opened, so ROCm cannot be used.

    Why it matters: it is the one node that every ROCm program opens. The error is told as "no GPU detected".
    What to do: permission denied: join the group of the node and log in again. Missing: load amdgpu; in a container
    hand it in with --device=/dev/kfd. Any other error (ENOMEM, EINVAL) comes from the driver: read the log.
    Not a fault: of the GPU, when it is a matter of permission.
    By hand: ls -l /dev/kfd; id; head -c0 /dev/kfd
    """
    _, instead = _asked(gpus, want)
    if instead is not None:
        yield instead
        return
    cause = "driver:amdgpu" if amdgpu.loaded is False else "kfd:"
    yield _judge(_subject(KFD), nodes.kfd, nodes, container, cause, (
        "sudo modprobe amdgpu", AMDGPU_LOG,))


@check("node.render", reads=READS)
def render(nodes: DeviceNodes, gpus: Gpus, amdgpu: Amdgpu, container: Container, want: Profile) -> Iterator[Finding]:
    """The render node of an AMD GPU is missing or cannot be opened.

    Why it matters: ROCm opens /dev/kfd and the render node of each GPU that it uses; one that cannot be opened is left
    out in silence.
    What to do: as for node.kfd; the help has the commands.
    Not a fault: of the GPU, when it is a matter of permission.
    By hand: ls -l /dev/dri /dev/dri/by-path; id
    """
    cards, instead = _asked(gpus, want)
    if instead is not None:
        yield instead
    for gpu in cards:
        node = nodes.render.get(gpu.bdf, Unread(f"amdgpu says nothing of {gpu.bdf}", "absent"))
        if isinstance(node, Node):
            yield _judge(gpu.subject, node, nodes, container, unbound_cause(gpu, gpus, amdgpu.loaded), (
                "sudo dmesg | grep amdgpu  says whether the driver started on it",))
        elif node.kind == "absent":
            yield failed(
                gpu.subject, "has no render node", cause=unbound_cause(gpu, gpus, amdgpu.loaded),
                evidence=(f"/sys/bus/pci/devices/{gpu.bdf}/drm",), title=f"{gpu.subject.name} has no render node",
                help=(AMDGPU_LOG,))
        else:
            yield not_read(gpu.subject, node)


@check("node.nvidia", reads=[DeviceNodes, Gpus, Nvidia, Container])
def nvidia(nodes: DeviceNodes, gpus: Gpus, nvidia: Nvidia, container: Container, want: Profile) -> Iterator[Finding]:
    """A device node of the NVIDIA driver is missing or cannot be opened.

    Why it matters: CUDA opens /dev/nvidiactl, /dev/nvidia-uvm and /dev/nvidiaN; one missing is "no CUDA-capable
    device".
    What to do: sudo nvidia-modprobe -u -c=0 makes them; nvidia-persistenced makes them at every boot.
    Not a fault: right after boot on a box without a screen, when nvidia-modprobe is installed: the first program makes
    them.
    By hand: ls -l /dev/nvidia*
    """
    if (instead := applies(gpus, want)) is not None:
        yield instead
        return
    if nvidia.loaded is False:
        needed = "10de" in want.gpus.vendors and not on_own_driver(want)
        yield (unknown(BOX, "the nvidia module is not loaded, so it makes no nodes") if needed
               else skipped(BOX, "the nvidia module is not loaded, and nothing asks for it"))
        return
    on_demand = nodes.nvidia_modprobe is True
    steps = ("sudo nvidia-modprobe -u -c=0", "sudo systemctl enable --now nvidia-persistenced, for every boot")
    for node in nodes.nvidia:
        gpu = next((one for one in gpus.gpus if one.bdf == node.bdf), None)
        subject = gpu.subject if gpu is not None else _subject(node.path)
        finding = _judge(subject, node, nodes, container, NVIDIA_CAUSE, (
            *(("sudo modprobe nvidia_uvm",) if node.path == NVIDIA_UVM else ()), *steps))
        if finding.outcome is Outcome.FAIL and (finding.cause or "").startswith("node"):
            finding = msgspec.structs.replace(finding, cause=NVIDIA_CAUSE, help=(
                "look for NVreg_DeviceFile{Mode,GID} in /etc/modprobe.d; the driver's own default is mode 0666",
                "sudo nvidia-modprobe -u -c=0 makes the nodes with the mode that the driver has"))
        if finding.outcome is Outcome.FAIL and node.present is False and on_demand:
            yield marginal(
                subject, f"{node.path} does not exist yet; nvidia-modprobe makes it for the first program",
                evidence=finding.evidence, cause=finding.cause, title=finding.title, help=finding.help)
        else:
            yield finding
    if isinstance(nvidia.gpus, Unread):
        yield not_read(BOX, nvidia.gpus)
        return
    judged = {node.bdf for node in nodes.nvidia}
    for gpu in gpus.of_vendor("10de"):
        if (gpu.driver == "nvidia" or isinstance(gpu.driver, Unread)) and gpu.bdf not in judged:
            yield unknown(gpu.subject, "not read: NVIDIA's driver does not say which /dev/nvidiaN is its node",
                          evidence=(f"{PROC}/gpus/{gpu.bdf}/information",))


@check("node.group-session", reads=READS)
def group_session(
    nodes: DeviceNodes, gpus: Gpus, amdgpu: Amdgpu, container: Container, want: Profile
) -> Iterator[Finding]:
    """The user is not in the group that owns the GPU nodes, or joined it after this login began.

    Why it matters: membership counts from the next login. Until then everything looks right in /etc/group, and fails.
    What to do: `sudo usermod -aG render $USER` (the group that owns the node), log out and in again.
    Not a fault: where the nodes can be opened without the group.
    By hand: ls -l /dev/kfd; id -nG; getent group render
    """
    cards, instead = _asked(gpus, want)
    if instead is not None:
        yield instead
        return
    mine = [nodes.kfd, *(node for gpu in cards if isinstance(node := nodes.render.get(gpu.bdf), Node))]
    states = [(node, access(node, nodes)) for node in mine if node.present is True]
    denied = {found.group: found for _, found in states if found.state == "denied" and found.group}
    for group, found in denied.items():
        assert group is not None
        yield failed(
            Subject("group", name=group), found.says, evidence=("/etc/group",), cause=f"node-group:{group}",
            title=_denied_title(found), help=remedy(found, nodes))
    if denied:
        return
    if not states:
        yield unknown(BOX, "not read: no node of a GPU is here, so no group can be told")
    elif (unread := next((found.unread for _, found in states if found.unread is not None), None)) is not None:
        yield not_read(BOX, unread)
    elif all(found.state in ("open", "as-root") for _, found in states):
        groups = dict.fromkeys(name for node, _ in states if (name := nodes.group_name(node.gid)) is not None)
        root = any(found.state == "as-root" for _, found in states)
        yield passed(
            BOX, f"the nodes belong to group {listed(groups)}, and " +
            ("root opened them" if root else "can be opened"), evidence=("/etc/group",),
            notes=joins(next(iter(groups), "render"), person(nodes)) if root else ())
    else:
        yield passed(BOX, "no node is refused for want of a group", evidence=("/etc/group",))


@check("node.udev-rules", reads=READS)
def udev_rules(
    nodes: DeviceNodes, gpus: Gpus, amdgpu: Amdgpu, container: Container, want: Profile
) -> Iterator[Finding]:
    """No udev rule gives the GPU nodes to a group.

    Why it matters: without a rule the nodes belong to root alone, and chmod lasts until the next boot.
    What to do: write the rule file in the help. Group access, not 0666.
    Not a fault: in a container, where the host's rules count.
    By hand: grep -rnE 'kfd|renderD' /etc/udev/rules.d /usr/lib/udev/rules.d
    """
    _, instead = _asked(gpus, want)
    if instead is not None:
        yield instead
        return
    if isinstance(container.container, str):
        yield skipped(BOX, "in a container the host's rules count")
        return
    if isinstance(nodes.rules, Unread):
        yield not_read(BOX, nodes.rules, evidence=RULE_DIRECTORIES)
        return
    for name, subsystem, kernel in ((KFD, "kfd", "kfd"), ("/dev/dri/renderD*", "drm", "renderD128")):
        rules = [rule for rule in nodes.rules if rule.names(subsystem, kernel)]
        sample = nodes.kfd if subsystem == "kfd" else next(
            (node for node in nodes.render.values() if isinstance(node, Node)), None)
        own = None if sample is None or sample.gid is None else nodes.group_name(sample.gid)
        giving = [rule for rule in rules if rule.group not in (None, "root")]
        opening = [rule for rule in rules if (rule.mode or 0) & 0o006 == 0o006]
        if giving:
            yield passed(_subject(name), f"{giving[-1].place} gives it to {giving[-1].group}",
                         evidence=(giving[-1].place,))
        elif own not in (None, "root"):
            yield passed(_subject(name), f"no rule was found, and the node belongs to group {own}",
                         evidence=RULE_DIRECTORIES)
        elif opening:
            yield passed(_subject(name), f"{opening[-1].place} opens it to every user", evidence=(opening[-1].place,))
        elif nodes.rules_unread is not None:
            yield not_read(_subject(name), nodes.rules_unread, evidence=RULE_DIRECTORIES)
        else:
            yield marginal(
                _subject(name), "no udev rule gives it to a group", evidence=RULE_DIRECTORIES, cause="node-rules:",
                title="no udev rule gives the GPU nodes to a group", help=(*RULE_HELP, *joins("render", person(nodes))))


@check("node.world-writable", reads=READS)
def world_writable(
    nodes: DeviceNodes, gpus: Gpus, amdgpu: Amdgpu, container: Container, want: Profile
) -> Iterator[Finding]:
    """A GPU node can be opened by every user and service of the machine.

    Why it matters: mode 0666 from a guide gives each program of each user the GPU's memory and its queues.
    What to do: set MODE="0660" with a group in the rule that is named, and put users into the group.
    Not a fault: where the distribution itself chose 0666 (Fedora and Arch do for render nodes), or with NVIDIA's nodes.
    By hand: ls -l /dev/kfd /dev/dri
    """
    cards, instead = _asked(gpus, want)
    if instead is not None:
        yield instead
        return
    mine = [("kfd", nodes.kfd)] + [
        ("drm", node) for gpu in cards if isinstance(node := nodes.render.get(gpu.bdf), Node)]
    present = [(subsystem, node) for subsystem, node in mine if node.present is True]
    if not present:
        yield unknown(BOX, "not read: no node of a GPU is here")
    clean = True
    by_choice: list[str] = []
    for subsystem, node in present:
        if node.mode is None:
            clean = False
            yield unknown(_subject(node.path), "not read: its mode is not known")
        elif node.mode & 0o002:
            rule = _rule_of(nodes, subsystem, node.path.rsplit("/", 1)[1])
            if rule is not None and not rule.startswith("/etc/"):
                by_choice.append(f"{node.path} is open to every user by {rule}")
                continue
            clean = False
            where = f", set in {rule}" if rule else ""
            yield marginal(
                _subject(node.path), f"mode is {node.mode & 0o777:04o}{where}, 0660 with a group will do",
                evidence=(node.path, *((rule,) if rule else ())), cause="node-open:",
                title="every user may open the GPUs",
                help=(f"sudo sed -i 's/MODE=\"0666\"/MODE=\"0660\"/' {rule or RULE_FILE}; "
                      "sudo udevadm control --reload-rules && sudo udevadm trigger",
                      *joins(nodes.group_name(node.gid) or "render", person(nodes))))
    if present and clean:
        yield passed(BOX, f"{len(present)} nodes, none was opened to every user", notes=tuple(by_choice[:4]))


def _rule_of(nodes: DeviceNodes, subsystem: str, kernel: str) -> str | None:
    """The file whose rule made a node writable by all; the last one counts."""
    if isinstance(nodes.rules, Unread):
        return None
    found = [rule for rule in nodes.rules if rule.names(subsystem, kernel) and rule.mode is not None and rule.mode & 2]
    return found[-1].place if found else None
