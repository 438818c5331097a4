"""NVMe drives, RAID, the USB boot disk, mounts and network interfaces, as sysfs and procfs show them."""

from __future__ import annotations

from tests.boxes.hardware import Drive, Raid
from tests.boxes.machine import Machine
from tests.boxes.tree import Tree

SECTOR = 512


def render(machine: Machine, out: Tree) -> None:
    for number, drive in enumerate(machine.drives):
        if drive.function.known and not drive.function.lost:
            _nvme(machine, out, number, drive)
    _raid(machine, out)
    if machine.usb_disk:
        _usb(machine, out)
    _mounts(machine, out)
    _network(machine, out)


def device_number(name: str) -> str:
    """Major and minor number: 8 for SCSI disks, 9 for md, 259 for NVMe."""
    disk = name.rstrip("0123456789") if name.startswith("sd") else name
    if name.startswith("sd"):
        return f"8:{name[len(disk) :] or 0}"
    if name.startswith("md"):
        return f"9:{name[2:]}"
    controller, _, rest = name.removeprefix("nvme").partition("n")
    return f"259:{int(controller) * 8 + int(rest.partition('p')[2] or 0)}"


def _block(
    out: Tree, home: str, name: str, size_bytes: int, rotational: int = 0, read_only: bool = False
) -> None:
    out.put(f"{home}/dev", device_number(name))
    out.link(f"/sys/dev/block/{device_number(name)}", home)
    out.put(f"{home}/size", size_bytes // SECTOR)
    out.put(f"{home}/ro", int(read_only))
    out.put(f"{home}/removable", 0)
    out.put(f"{home}/queue/rotational", rotational)
    out.put(f"{home}/queue/logical_block_size", SECTOR)
    out.link(f"{home}/subsystem", "/sys/class/block")
    out.link(f"/sys/block/{name}", home)
    out.link(f"/sys/class/block/{name}", home)


def _partition(out: Tree, home: str, disk: str, name: str, number: int, size_bytes: int) -> None:
    here = f"{home}/{name}"
    out.put(f"{here}/dev", device_number(name))
    out.link(f"/sys/dev/block/{device_number(name)}", here)
    out.put(f"{here}/partition", number)
    out.put(f"{here}/size", size_bytes // SECTOR)
    out.link(f"/sys/class/block/{name}", here)


def _nvme(machine: Machine, out: Tree, number: int, drive: Drive) -> None:
    function, name = drive.function, f"nvme{number}"
    here = f"{function.path}/nvme/{name}"
    for key, value in (
        ("model", f"{drive.model:<40s}"),
        ("serial", f"{drive.serial:<20s}"),
        ("firmware_rev", f"{drive.firmware:<8s}"),
        ("state", drive.state),
        ("transport", "pcie"),
        ("address", function.bdf),
        ("cntlid", 1),
        ("numa_node", function.numa_node),
        ("queue_count", 65),
        ("sqsize", 1023),
    ):
        out.put(f"{here}/{key}", value)
    out.link(f"{here}/device", function.path)
    out.link(f"{here}/subsystem", "/sys/class/nvme")
    out.link(f"/sys/class/nvme/{name}", here)
    space = f"{here}/{name}n1"
    out.put(f"{space}/wwid", f"eui.00{number:02x}25384101{number:04x}")
    out.link(f"{space}/device", here)
    _block(out, space, f"{name}n1", drive.size_bytes, read_only=drive.read_only)
    for position, partition in enumerate(drive.partitions, 1):
        size = 1 << 30 if position < len(drive.partitions) else drive.size_bytes - (1 << 30)
        _partition(out, space, f"{name}n1", partition, position, size)
    sensor = f"{function.path}/hwmon/hwmon{number + 20}"
    milli = round(drive.celsius * 1000)
    for key, value in (
        ("name", "nvme"),
        ("temp1_label", "Composite"),
        ("temp1_input", milli),
        ("temp1_max", round(drive.warning_celsius * 1000)),
        ("temp1_crit", round(drive.critical_celsius * 1000)),
        ("temp1_alarm", int(bool(drive.critical_warning & 2))),
        ("temp1_min", -273150),
    ):
        out.put(f"{sensor}/{key}", value)
    out.link(f"{sensor}/device", here)
    out.link(f"/sys/class/hwmon/hwmon{number + 20}", sensor)
    out.stat(f"/dev/{name}", 0o600, 0, 0, "char", "ok" if machine.as_root else "EACCES")
    out.stat(f"/dev/{name}n1", 0o660, 0, machine.groups["disk"], "block", None)
    if machine.as_root and drive.state == "live":
        out.run(["nvme", "smart-log", f"/dev/{name}", "-o", "json"], smart_log(drive))
    elif machine.as_root:
        says = f"smart log: {'No such device or address' if drive.state == 'dead' else 'Resource busy'}\n"
        out.run(["nvme", "smart-log", f"/dev/{name}", "-o", "json"], "", says, exit_status=1)


def smart_log(drive: Drive) -> str:
    """What `nvme smart-log -o json` prints (nvme-cli 2.x); temperatures in kelvin."""
    rows = {
        "critical_warning": drive.critical_warning,
        "temperature": round(drive.celsius + 273),
        "avail_spare": drive.spare_percent,
        "spare_thresh": 10,
        "percent_used": drive.percentage_used,
        "endurance_grp_critical_warning_summary": 0,
        "data_units_read": 1_204_331,
        "data_units_written": 2_408_118,
        "host_read_commands": 18_443_120,
        "host_write_commands": 22_001_845,
        "controller_busy_time": 61,
        "power_cycles": 41,
        "power_on_hours": 1210,
        "unsafe_shutdowns": drive.unsafe_shutdowns,
        "media_errors": drive.media_errors,
        "num_err_log_entries": drive.media_errors,
        "warning_temp_time": 0,
        "critical_comp_time": 0,
        "temperature_sensor_1": round(drive.celsius + 273),
    }
    return "{\n" + ",\n".join(f'  "{name}":{value}' for name, value in rows.items()) + "\n}\n"


def _raid(machine: Machine, out: Tree) -> None:
    levels = " ".join(f"[{level}]" for level in ("raid0", "raid1", "raid6", "raid5", "raid4", "raid10", "linear"))
    rows = [f"Personalities : {levels} "]
    for array in machine.raid:
        rows += _array(out, array)
    rows.append("unused devices: <none>")
    if machine.raid or machine.os_release[0] == "ubuntu":
        out.put("/proc/mdstat", "\n".join(rows))


def _array(out: Tree, array: Raid) -> list[str]:
    home = f"/sys/devices/virtual/block/{array.name}"
    present = array.members
    missing = array.degraded
    if array.active:
        out.put(f"{home}/md/level", array.level)
        out.put(f"{home}/md/raid_disks", len(present) + missing)
        out.put(f"{home}/md/degraded", missing)
        out.put(f"{home}/md/array_state", "clean")
        for member in present:
            out.put(f"{home}/md/dev-{member}/state", "in_sync")
            out.link(f"{home}/slaves/{member}", out.resolve(f"/sys/block/{member}"))
        _block(out, home, array.name, array.size_bytes, read_only=array.read_only)
    members = " ".join(f"{member}[{position}]" for position, member in reversed(list(enumerate(present))))
    if not array.active:
        return [
            f"{array.name} : inactive "
            + " ".join(f"{member}[{position}](S)" for position, member in enumerate(present)),
            f"      {array.size_bytes // 1024} blocks super 1.2",
            "       ",
        ]
    redundancy = ""
    if array.level != "raid0":
        total = len(present) + missing
        redundancy = f" [{total}/{len(present)}] [{'U' * len(present)}{'_' * missing}]"
    chunks = " 512k chunks" if array.level == "raid0" else ""
    return [
        f"{array.name} : active {array.level} {members}",
        f"      {array.size_bytes // 1024} blocks super 1.2{chunks}{redundancy}",
        "      ",
    ]


def _usb(machine: Machine, out: Tree) -> None:
    disk = machine.usb_disk
    assert disk is not None
    bus = disk.port.split("-")[0] if disk.speed_mbps >= 5000 else str(int(disk.port.split("-")[0]) - 1)
    port = f"{bus}-{disk.port.split('-')[1]}"
    hub = f"{disk.controller.path}/usb{bus}"
    device = f"{hub}/{port}"
    out.put(f"{hub}/speed", 10000 if disk.speed_mbps >= 5000 else 480)
    out.put(f"{hub}/product", "xHCI Host Controller")
    out.link(f"/sys/bus/usb/devices/usb{bus}", hub)
    for key, value in (
        ("speed", disk.speed_mbps),
        ("product", disk.model),
        ("manufacturer", "Realtek"),
        ("idVendor", "0bda"),
        ("idProduct", "9210"),
        ("version", " 3.20" if disk.speed_mbps >= 5000 else " 2.10"),
        ("bMaxPower", "896mA"),
    ):
        out.put(f"{device}/{key}", value)
    out.link(f"/sys/bus/usb/devices/{port}", device)
    home = f"{device}/{port}:1.0/host8/target8:0:0/8:0:0:0/block/sda"
    out.put(f"{device}/{port}:1.0/host8/target8:0:0/8:0:0:0/model", f"{disk.model[:16]:<16s}")
    out.link(f"{home}/device", f"{device}/{port}:1.0/host8/target8:0:0/8:0:0:0")
    _block(out, home, "sda", disk.size_bytes)
    _partition(out, home, "sda", "sda1", 1, 1 << 30)
    _partition(out, home, "sda", "sda2", 2, disk.size_bytes - (1 << 30))
    out.stat("/dev/sda", 0o660, 0, machine.groups["disk"], "block", None)


def _mounts(machine: Machine, out: Tree) -> None:
    shm_kib = machine.shm_bytes // 1024
    rows = [
        ("0:22", "/sys", "sysfs", "sysfs", "rw,nosuid,nodev,noexec,relatime"),
        ("0:23", "/proc", "proc", "proc", "rw,nosuid,nodev,noexec,relatime"),
        ("0:5", "/dev", "devtmpfs", "udev", "rw,nosuid,relatime,inode64"),
        ("0:26", "/dev/shm", "tmpfs", "tmpfs", f"rw,nosuid,nodev,size={shm_kib}k,inode64"),
        (device_number(machine.root_device), "/", "ext4", f"/dev/{machine.root_device}", "rw,relatime"),
    ]
    space = 900 << 30
    out.answer("statvfs", "/", {"total_bytes": space, "free_bytes": int(space * machine.free_fraction)})
    for array in machine.raid:
        if array.active:
            rows.append(
                (device_number(array.name), array.mount, "ext4", f"/dev/{array.name}", array.options)
            )
            out.answer(
                "statvfs",
                array.mount,
                {"total_bytes": array.size_bytes, "free_bytes": int(array.size_bytes * machine.free_fraction)},
            )
            out.stat(array.mount, 0o755, 1000, 1000, "dir", None)
    out.put(
        "/proc/self/mounts",
        "\n".join(f"{source} {path} {kind} {options} 0 0" for _, path, kind, source, options in rows),
    )
    out.link("/proc/mounts", "self/mounts")
    out.put(
        "/proc/self/mountinfo",
        "\n".join(
            f"{20 + number} {1 if path == '/' else 24} {device} / {path} rw,relatime shared:{number + 1} "
            f"- {kind} {source} {options}"
            for number, (device, path, kind, source, options) in enumerate(rows)
        ),
    )
    fstab = [f"/dev/{machine.root_device} / ext4 errors=remount-ro 0 1"]
    fstab += [f"/dev/{array.name} {array.mount} ext4 defaults,nofail 0 2" for array in machine.raid]
    out.put("/etc/fstab", "\n".join(fstab))


def _network(machine: Machine, out: Tree) -> None:
    home = "/sys/devices/virtual/net/lo"
    out.put(f"{home}/operstate", "unknown")
    out.put(f"{home}/address", "00:00:00:00:00:00")
    out.put(f"{home}/type", 772)
    out.link("/sys/class/net/lo", home)
    for number, port in enumerate(machine.ports, 2):
        if not port.function.known:
            continue
        home = f"{port.function.path}/net/{port.name}"
        out.put(f"{home}/address", port.mac)
        out.put(f"{home}/operstate", "up" if port.up else "down")
        out.put(f"{home}/carrier", int(port.up))
        out.put(f"{home}/speed", port.speed_mbps if port.up else -1)
        out.put(f"{home}/duplex", "full" if port.up else "unknown")
        out.put(f"{home}/mtu", 1500)
        out.put(f"{home}/type", 1)
        out.put(f"{home}/ifindex", number)
        out.link(f"{home}/device", port.function.path)
        out.link(f"{home}/subsystem", "/sys/class/net")
        out.link(f"/sys/class/net/{port.name}", home)
