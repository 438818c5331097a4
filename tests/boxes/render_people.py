"""People, limits, packages, device nodes and their rules; and what an ordinary user may not read."""

from __future__ import annotations

from tests.boxes.machine import Machine
from tests.boxes.tree import Tree

CONFIGURATION = ("/etc/modprobe.d", "/usr/lib/modprobe.d", "/etc/udev/rules.d", "/run/udev", "/etc/modules-load.d")
"""Directories that every distribution has, empty or not."""


def render(machine: Machine, out: Tree) -> None:
    _people(machine, out)
    _packages(machine, out)
    _nodes(machine, out)


def _people(machine: Machine, out: Tree) -> None:
    user = machine.user
    out.put(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
        f"{user}:x:1000:1000:{user}:/home/{user}:/bin/bash",
    )
    rows = [f"{name}:x:{gid}:{user if name in machine.user_groups else ''}" for name, gid in machine.groups.items()]
    out.put("/etc/group", "\n".join([*rows, f"{user}:x:1000:"]))
    rows = [f"{'Limit':<26s}{'Soft Limit':<21s}{'Hard Limit':<21s}{'Units':<10s}"]
    installed = machine.mem_total_kib * 1024
    limits = {
        "Max locked memory": (str(installed // 8), str(installed // 8)),
        "Max open files": ("1048576", "1048576"),
        "Max processes": ("512000", "512000"),
        "Max stack size": ("8388608", "unlimited"),
    }
    limits["Max locked memory"] = ("unlimited", "unlimited")
    limits.update(machine.limits)
    units = {
        "Max locked memory": "bytes",
        "Max open files": "files",
        "Max processes": "processes",
        "Max stack size": "bytes",
    }
    rows += [f"{name:<26s}{soft:<21s}{hard:<21s}{units.get(name, ''):<10s}" for name, (soft, hard) in limits.items()]
    out.put("/proc/self/limits", "\n".join(rows))
    out.put("/proc/self/status", f"Name:\tboxcheck\nUid:\t{0 if machine.as_root else 1000}\t0\t0\t0")


def _packages(machine: Machine, out: Tree) -> None:
    packages = {
        "linux-firmware": "20240318.git3b128b60-0ubuntu2.12",
        f"linux-image-{machine.kernel.release}": "6.0",
        "systemd": "255.4-1ubuntu8.8",
        **machine.packages,
    }
    if machine.os_release[0] != "ubuntu":
        out.put("/var/lib/rpm/rpmdb.sqlite", b"SQLite format 3\x00")
        out.run(
            ["rpm", "-q", "linux-firmware"], f"linux-firmware-{machine.packages.get('linux-firmware', '')}.noarch\n"
        )
        out.run(["rpm", "-q", "amd-gpu-firmware"], "package amd-gpu-firmware is not installed\n", exit_status=1)
        return
    stanzas = []
    for name, version in sorted(packages.items()):
        want = "hold" if name in machine.held else "install"
        stanzas.append(
            f"Package: {name}\nStatus: {want} ok installed\nPriority: optional\nSection: kernel\n"
            f"Maintainer: Ubuntu Developers\nArchitecture: amd64\nVersion: {version}\nDescription: {name}\n"
        )
    out.put("/var/lib/dpkg/status", "\n".join(stanzas))


def _nodes(machine: Machine, out: Tree) -> None:
    from tests.boxes.render_gpu import gpu_nodes

    for node in (*machine.nodes, *gpu_nodes(machine)):
        out.stat(node.path, node.mode, 0, machine.groups.get(node.group, 0), node.kind, machine.may_open(node))
    out.stat("/dev/mem", 0o640, 0, machine.groups.get("kmem", 15), "char", None)
    out.stat("/dev/shm", 0o1777, 0, 0, "dir", None)
    if machine.bmc_driver:
        out.stat("/dev/ipmi0", 0o600, 0, 0, "char", "ok" if machine.as_root else "EACCES")
    for folder in CONFIGURATION:
        out.directory(folder)
    for path, rules in (*machine.udev_rules.items(), *machine.modprobe.items()):
        out.put(path, rules.rstrip("\n"))
    out.put(
        "/usr/lib/udev/rules.d/50-udev-default.rules",
        (
            'SUBSYSTEM=="graphics", GROUP="video"\nSUBSYSTEM=="drm", KERNEL!="renderD*", GROUP="video"\n'
            'SUBSYSTEM=="drm", KERNEL=="renderD*", GROUP="render", MODE="0660"\n'
            'SUBSYSTEM=="kfd", GROUP="render", MODE="0660"'
        ),
    )


PRIVATE = (
    "/sys/firmware/dmi/tables/DMI",
    "/sys/firmware/dmi/tables/smbios_entry_point",
    "/sys/devices/virtual/dmi/id/product_serial",
    "/sys/devices/virtual/dmi/id/board_serial",
    "/sys/devices/virtual/dmi/id/product_uuid",
    "/var/log/dmesg",
    "/var/log/dmesg.0",
)


def hide_from_user(machine: Machine, out: Tree) -> None:
    """Takes away what only root may read, and says so in the capture."""
    for path in PRIVATE:
        if path in out.nodes:
            out.remove(path)
            out.denied(path, f"{path}: permission denied")
    for path in [one for one in out.nodes if one.startswith("/sys/fs/pstore/")]:
        out.remove(path)
    out.directories.discard("/sys/fs/pstore")
    out.denied("/sys/fs/pstore", "/sys/fs/pstore: permission denied")  # mode 0750 (fs/pstore/inode.c)
    for path in [one for one in out.nodes if one.startswith("/sys/firmware/acpi/tables/")]:
        out.remove(path)
        out.stat(path, 0o400, 0, 0, "file", None)
        out.denied(path, f"{path}: permission denied")
