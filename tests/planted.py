"""A machine full of secrets: what is planted where, and in which forms it could be found again."""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Iterator

from tests.boxes import Tree
from tests.boxes import smbios_build as smbios

SECRETS = {
    # SMBIOS, text in a binary table, and in sysfs
    "system serial": "SYS7741X0093",
    "board serial": "M80-GC02900431",
    "chassis serial": "CHS-88112-Q4",
    "asset tag": "ACME-0042-INV",
    "system uuid": "4c4c4544-0051-3610-8052-b4c04f384d32",
    "dimm serial": "3A9F01C7",
    "cpu serial": "CPUSN-5519023",
    "oem string": "Order 2291-AX for row 7",
    # Cards and disks
    "device serial": "a4-bf-01-ff-ff-77-3c-19",
    "vpd serial": "VPDSN6620134Z",
    "nvme serial": "S6Z1NX0T512345A",
    "nvme eui": "eui.0025385a21b0c9f3",
    "gpu uuid": "GPU-8f2e71c3-44b0-9a1d-0c55-7be0d1a2f394",
    "gpu serial": "1324021055667",
    "amd id": "9d3b2c41f07ea658",
    "usb serial": "0401C7F19A33B2",
    # The network
    "mac": "a8:a1:59:4e:7d:c2",
    "wifi mac": "7c:50:79:e3:0b:16",
    "ipv4": "192.168.77.41",
    "public ipv4": "203.0.113.99",
    "ipv6": "fe80::aaa1:59ff:fe4e:7dc2",
    "host": "quokka17",
    "domain": "labor.quokkaworks.example",
    # People
    "user": "zbigniewk",
    "full name": "Zbigniew Kowalczykowski",
    "other user": "xochitlm",
    "mail": "zk@quokkaworks.example",
    # Disks by name, the command line, ids of the installation
    "root uuid": "d1e9a3f4-6b27-4c18-9d05-2f8e7c6b5a41",
    "part uuid": "7f3c91ab-02",
    "luks uuid": "0f9b2d77-1c5e-4e0a-8b3f-91d24c6a7e58",
    "fat uuid": "A41F-09CE",
    "label": "zbigs-backup-9",
    "password": "hunter2-Xy77",
    "machine id": "6fd1e0c29b7a4385a1f04e62d8c7b913",
    "boot id": "b7e5d0c4-33a2-4f6e-8a17-5c9d1e2f3a60",
    "disk id": "nvme-Samsung_SSD_990_PRO_S6Z1NX0T512345A",
    # What only its place, its label or its shape gives away
    "machine id of the command line": "aa4b1c0de7f24d9b8c31f06a5e9d7b20",
    "user in a url": "svc7deploy",
    "password in a url": "pw7-Quolla",
    "host in a url": "kickstart7.quollco.example",
    "host of metadata": "mdserver.quollco.example",
    "root over nfs": "zbigroot/boxes",
    "name of a luks volume": "zbigcrypt",
    "volume group": "vg_zbigstuff-root",
    "nfs server": "quollnas01",
    "nfs server in a log": "quolllog02",
    "nfs export": "vol/zbigdata",
    "exported path in a log": "export/zbighome",
    "smb server": "filesrv9.quollco.example",
    "smb share": "zbigshare",
    "smb domain": "QUOLLCORP",
    "mount point": "kowalnas-7",
    "label of a stick": "ZBIGSTICK",
    "label in a log": "ZbigsSecretDisk",
    "label of btrfs": "zbigpool",
    "name in a comment": "Oswaldina Quennell",
    "surname": "Kowalczykowski",
    "disk serial without a mark": "S5GXNX0R773456",
    "gpu serial by a short label": "1324623041799",
    "chassis serial of the log of the bmc": "CHSERQ998877",
    "mac with dots": "6c4b.90d2.ee1f",
    "mac without marks": "6c4b90d2ee2f",
    "iscsi": "com.quollco:storage.lun1",
    "tailscale": "zbigbox.tail1f2e3.ts.net",
    "ssid": "HomeOfZbig",
    "owner of a phone": "Oswaldinas-",
    "wireguard key": "qUo7mFk2WzP0sJx9YbT4cVn6RgHe3LdAi8OyNw5Zt1E=",
}
"""Everything that is planted. Each stands in several places, some in several forms."""

S = SECRETS
DSN = bytes.fromhex(S["device serial"].replace("-", ""))[::-1]
"""As it lies in configuration space, least significant byte first."""


def config_with_serial(serial: bytes) -> bytes:
    """4096 bytes with one extended capability: Device Serial Number."""
    data = bytearray(4096)
    data[0:4] = struct.pack("<HH", 0x10DE, 0x2684)
    data[0x100:0x104] = struct.pack("<I", 0x0003 | 1 << 16)
    data[0x104:0x10C] = serial
    return bytes(data)


def vpd(serial: str) -> bytes:
    fields = (
        b"PN" + bytes([5]) + b"P1234" + b"SN" + bytes([len(serial)]) + serial.encode() + b"V0\x0c" + DSN[::-1] + b"abcd"
    )
    return b"\x82\x04\0Card" + b"\x90" + struct.pack("<H", len(fields)) + fields + b"\x78" + bytes(20)


def plant(tree: Tree) -> None:
    """Puts every secret where a machine has it."""
    gpu = next(path for path in tree if path.endswith("/config") and "/0000:41:00.0/" in path).removesuffix("/config")
    mac, bare = S["mac"], S["mac"].replace(":", "")
    table, entry = smbios.table(
        [
            smbios.bios(),
            smbios.system("ASRockRack", "ROMED8-2T", serial=S["system serial"], uuid=S["system uuid"]),
            smbios.baseboard(serial=S["board serial"], asset=S["asset tag"]),
            smbios.chassis(serial=S["chassis serial"]),
            smbios.processor(serial=S["cpu serial"]),
            smbios.memory_array(devices=1),
            smbios.memory_device(serial=S["dimm serial"]),
            smbios.oem_strings(S["oem string"], f"host {S['host']}"),
            smbios.slot("PCIE1", address="0000:41:00.0"),
        ]
    )
    tree["/sys/firmware/dmi/tables/DMI"], tree["/sys/firmware/dmi/tables/smbios_entry_point"] = table, entry
    dmi = tree.resolve("/sys/class/dmi/id")
    tree.put(f"{dmi}/product_serial", S["system serial"])
    tree.put(f"{dmi}/product_uuid", S["system uuid"])
    tree.put(f"{dmi}/board_serial", S["board serial"])
    tree.put(f"{dmi}/chassis_asset_tag", S["asset tag"])

    tree["/sys/devices/pci0000:00/0000:00:1d.0/config"] = config_with_serial(DSN)
    tree["/sys/devices/pci0000:00/0000:00:1d.0/vpd"] = vpd(S["vpd serial"])
    tree["/sys/firmware/acpi/tables/MSDM"] = b"MSDM" + bytes(50) + b"XXXXX-" + S["system serial"].encode()
    tree["/sys/firmware/efi/efivars/Boot0001-8be4df61-93ca-11d2-aa0d-00e098032b8c"] = (
        bytes(20) + uuid.UUID(S["luks uuid"]).bytes_le + uuid.UUID(S["root uuid"]).bytes + bytes.fromhex(bare) + DSN
    )
    tree.put(f"{gpu}/unique_id", S["amd id"])
    tree.put(
        "/sys/devices/virtual/kfd/kfd/topology/nodes/1/properties",
        f"cpu_cores_count 0\nunique_id {int(S['amd id'], 16)}\ndrm_render_minor 128",
    )
    nvme = tree.resolve("/sys/class/nvme/nvme0")
    tree.put(f"{nvme}/serial", S["nvme serial"] + "     ")
    tree.put(f"{nvme}/nvme0n1/wwid", S["nvme eui"])
    tree.put(
        "/proc/driver/nvidia/gpus/0000:41:00.0/information",
        f"Model: \t\t NVIDIA GeForce RTX 4090\nGPU UUID: \t {S['gpu uuid']}\nVideo BIOS: \t 95.02.3c.40.b1\nDevice Minor: \t 2",
    )
    net = next(path for path in tree if re.search(r"/net/[^/]+/address$", path))
    tree.put(net, mac)
    tree.put(f"/sys/devices/virtual/net/enx{bare}/address", mac)
    tree.link(f"/sys/class/net/enx{bare}", f"/sys/devices/virtual/net/enx{bare}")
    tree.put(
        "/sys/devices/pci0000:00/0000:00:1d.0/usb1/uevent",
        f"DRIVER=usb\nHID_UNIQ={S['usb serial']}\nID_SERIAL_SHORT={S['nvme serial']}",
    )

    tree.put("/etc/machine-id", S["machine id"])
    tree.put("/proc/sys/kernel/random/boot_id", S["boot id"])
    for place in ("/etc/hostname", "/proc/sys/kernel/hostname"):
        tree.put(place, S["host"])
    tree.put(
        "/etc/hosts",
        f"127.0.0.1 localhost\n{S['ipv4']} {S['host']}.{S['domain']} {S['host']}\n{S['ipv6']} printer-{S['host']}",
    )
    tree.append("/etc/passwd", f"{S['user']}:x:1001:1001:{S['full name']},room 9:/home/{S['user']}:/bin/zsh\n")
    tree.append("/etc/group", f"docker:x:998:{S['user']},{S['other user']}\n{S['user']}:x:1001:\n")
    tree.link(f"/dev/disk/by-uuid/{S['root uuid']}", "/dev/nvme0n1p2")
    tree.link(f"/dev/disk/by-uuid/{S['fat uuid']}", "/dev/nvme0n1p1")
    tree.link(f"/dev/disk/by-id/{S['disk id']}", "/dev/nvme0n1")
    tree.link(f"/dev/disk/by-label/{S['label']}", f"/dev/mapper/luks-{S['luks uuid']}")
    tree.append(
        "/proc/self/mountinfo",
        f"99 27 254:0 / /media/{S['user']}/{S['label']} rw - ext4 /dev/disk/by-uuid/{S['fat uuid']} rw\n",
    )
    line = tree.text("/proc/cmdline").strip()
    tree.put(
        "/proc/cmdline",
        (
            f"{line} root=UUID={S['root uuid']} resume=PARTUUID={S['part uuid']} rd.luks.uuid=luks-{S['luks uuid']} "
            f"ip={S['ipv4']}::192.168.77.1:255.255.255.0:{S['host']}:eno1:off BOOTIF=01-{mac.replace(':', '-')} ro.password={S['password']}"
        ),
    )
    tree.append(
        "/var/log/dmesg",
        "".join(
            f"[    9.{number:06d}] {text}\n"
            for number, text in enumerate(
                (
                    f"Command line: root=UUID={S['root uuid']} resume=PARTUUID={S['part uuid']} password={S['password']}",
                    f"systemd[1]: Hostname set to <{S['host']}>.",
                    f"systemd[1]: Initializing machine ID {S['machine id']} from VM UUID.",
                    f"igb 0000:05:00.0: eth0: (PCIe:5.0Gb/s:Width x4) {mac.upper()}",
                    f"wlan0: authenticate with {S['wifi mac']}",
                    f"usb 1-4: SerialNumber: {S['usb serial']}",
                    f"NVRM: GPU 0000:41:00.0: GPU serial number is {S['gpu serial']}.",
                    f"EXT4-fs (nvme0n1p2): mounted filesystem {S['root uuid']} ro",
                    f"IPv6: ADDRCONF: {S['ipv6']}/64 on eno1",
                    f"NFS: server {S['ipv4']} not responding; from {S['public ipv4']}:2049",
                    f"sshd: opened for {S['user']} by {S['mail']}",
                    f'audit: type=1100 acct="{S["other user"]}" exe="/home/{S["user"]}/bin/train" hostname={S["host"]}.{S["domain"]}',
                    f"BIOS: {S['system serial']} {S['system uuid'].replace('-', '').upper()} asset tag: {S['asset tag']}",
                    f"mlx5: node guid 0x{DSN[::-1].hex()}",
                    "amdgpu: firmware version 6.14.0.1, ring 0000:41:00.0, 12:34:56",
                )
            )
        ),
    )
    line = tree.text("/proc/cmdline").strip()
    tree.put(
        "/proc/cmdline",
        f"{line} systemd.machine_id={S['machine id of the command line']} nfsroot=198.51.100.9:/{S['root over nfs']} "
        f"inst.ks=https://{S['user in a url']}:{S['password in a url']}@{S['host in a url']}/x "
        f"ds=nocloud;s=http://{S['host of metadata']}/x/ rd.luks.name={S['luks uuid']}={S['name of a luks volume']} "
        f"rd.lvm.lv=/dev/mapper/{S['volume group']}",
    )
    tree.append(
        "/proc/self/mountinfo",
        f"90 27 0:44 / /mnt/{S['mount point']} rw - nfs4 {S['nfs server']}.{S['domain']}:/{S['nfs export']} rw,addr={S['ipv4']}\n"
        f"91 27 0:45 / /media/{S['user']}/{S['label of a stick']} rw - vfat /dev/sdc1 rw\n",
    )
    tree.put(
        "/etc/fstab",
        f"# written by {S['name in a comment']}\nUUID={S['root uuid']} /raid ext4 defaults 0 2\n"
        f"//{S['smb server']}/{S['smb share']} /mnt/{S['mount point']} cifs username={S['user']},domain={S['smb domain']} 0 0\n"
        f"LABEL={S['label in a log']} /x ext4 defaults 0 0\n",
    )
    tree.put("/etc/modprobe.d/zbig.conf", f"# by {S['name in a comment']} for {S['host']}\noptions bonding max_bonds=0\n")
    tree.append(
        "/var/log/dmesg",
        "".join(
            f"[   10.{number:06d}] {text}\n"
            for number, text in enumerate(
                (
                    f"NFS: server {S['nfs server']} not responding, still trying",
                    f"nfs: server {S['nfs server in a log']} OK",
                    f"nfs: mount 198.51.100.9:/{S['exported path in a log']}",
                    f"CIFS: VFS: \\\\{S['smb server']}\\{S['smb share']} Send error in SessSetup = -13",
                    f"EXT4-fs (dm-0): mounted filesystem label {S['label in a log']}",
                    f"BTRFS: device label {S['label of btrfs']} devid 1 transid 7 /dev/sdb",
                    f"scsi 0:0:0:0: Direct-Access Samsung serial {S['disk serial without a mark']}",
                    f"GPU serial: {S['gpu serial by a short label']}",
                    f"bond0: link {S['mac with dots']} up",
                    f"igb: mac {S['mac without marks']}",
                    f"iscsi: target iqn.2001-04.{S['iscsi']}",
                    f"tailscale: peer {S['tailscale']}",
                    f"wlan0: SSID {S['ssid']}",
                    f"usb 1-1: Product: {S['owner of a phone']}iPhone-14",
                    f"wg0: public key {S['wireguard key']}",
                    f"systemd[1]: user {S['surname'].lower()} logged in",
                )
            )
        ),
    )
    tree.run(
        ["ipmitool", "sel", "list", "again"],
        f"   2 | 08/30/2026 | 09:01:12 | OEM record | Chassis serial {S['chassis serial of the log of the bmc']} | Asserted\n",
    )
    tree.append("/var/log/dmesg.0", f"Nov 21 02:16:33 {S['host']} kernel: usb 1-4: SerialNumber: {S['usb serial']}\n")

    tree.login.name, tree.login.uid = S["user"], 1001
    tree.environment["LD_LIBRARY_PATH"] = f"/home/{S['user']}/lib:/mnt/{S['label']}"
    tree.run(
        ["nvidia-smi", "-q"],
        f"GPU UUID : {S['gpu uuid']}\nSerial Number : {S['gpu serial']}\nProcesses /home/{S['user']}/train",
    )
    tree.run(
        ["nvidia-smi", "--query-gpu=uuid,serial,name", "--format=csv"], f"{S['gpu uuid']}, {S['gpu serial']}, RTX 4090"
    )
    tree.run(["chronyc", "-n", "tracking", "again"], f"Reference ID    : CB007163 ({S['public ipv4']})\nStratum : 3")
    tree.run(
        ["lspci", "-vv"],
        f'\tCapabilities: [100 v1] Device Serial Number {S["device serial"]}\n\t"{S["user"]}" \\ \t{S["vpd serial"]}',
    )
    tree.run(["nvme", "list", "-o", "json"], f'{{"SerialNumber": "{S["nvme serial"]}", "UUID": "{S["luks uuid"]}"}}')
    tree.answer(
        "nvml",
        "cards",
        [{"uuid": S["gpu uuid"], "serial": int(S["gpu serial"]), "hostname": S["host"], "name": "RTX 4090"}],
    )
    tree.denied(f"/home/{S['user']}/.config", "permission denied")
    tree.stat(f"/dev/disk/by-id/{S['disk id']}-part1", 0o660, kind="block")
    tree.again("/sys/devices/pci0000:00/0000:00:1d.0/config", config_with_serial(DSN))
    tree.again(f"{gpu}/unique_id", S["amd id"] + "\n")


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it could still stand in the bytes, in lower case where it is text."""
    yield secret.lower().encode()
    plain = re.sub(r"[-:]|^gpu-|^eui\.", "", secret.lower())
    if len(plain) in (12, 16, 32) and not plain.strip("0123456789abcdef"):
        yield plain.encode()
        raw = bytes.fromhex(plain)
        yield from (raw, raw[::-1])
        if len(raw) == 16:
            yield from (uuid.UUID(bytes=raw).bytes_le, raw[::-1])
        if len(raw) == 8:
            yield str(int(plain, 16)).encode()


def found_in(data: bytes) -> list[str]:
    lowered = data.lower()
    return [name for name, secret in SECRETS.items() if any(form in data or form in lowered for form in forms(secret))]
