"""What secrets look like: their places, the labels before them, their shapes, and what only looks like one."""

from __future__ import annotations

import re

WHOLE = re.compile(
    r"/(?:proc|sys)/.*/(?:[a-z]*serial(?:_number|_no)?|(?:board|chassis|product)_(?:serial|asset_tag|uuid)|uuid|"
    r"unique_id|hive_id|wwid|nguid|eui|hostid|hostnqn|subsysnqn|fru_id|boot_id|permaddr|phys_port_id|phys_switch_id|"
    r"node_guid|sys_image_guid|port_guid|iSerial|uniq|hostname|domainname|session_id)"
    r"|/etc/(?:machine-id|hostid|hostname|mailname|nvme/host(?:id|nqn))|/var/lib/dbus/machine-id"
)
"""Files whose whole content is a secret."""

LABELLED = re.compile(
    r"(?i)(?P<label>\b(?:serial[ _-]?(?:number|num|no\.?)|(?:service|asset)[ _-]?tag)\b[\"']?"
    r"(?:\s+is\b|\s*[:=#])[\s\"']*)"
    r"(?P<secret>[^\s\"',;)\]]{4,})"
)
"""`SerialNumber: 0123ABCD` of a USB device, `GPU serial number is 13246230417`, `Serial Number : 1324...`."""

_ID = r"(?=(?:[A-Za-z-]{0,38}\d){3})[A-Za-z0-9-]{6,40}(?![A-Za-z0-9-])"
SERIAL = re.compile(rf"(?i)(?P<label>(?:\bserial|\bS/N)\b(?:[ \t]*[:=#][ \t]*|[ \t]{{1,8}}))(?P<secret>{_ID})")
"""`serial S5GXNX0R123456`: what follows has three digits at least, as no word has."""

_BUILDER = r"Linux version \S{1,128} \("
HOST_IN_TEXT = (
    re.compile(_BUILDER + r"[\w.+-]{1,64}@([\w.+-]{1,253})\)"),
    re.compile(r"(?:Hostname set to|Set hostname to) <([^>]{1,253})>"),
    re.compile(r"(?m)^\w{3} [ \d]\d \d\d:\d\d:\d\d ([\w.-]{1,253}) kernel:"),
    re.compile(r"(?m)^\d{4}-\d\d-\d\dT[\d:.,]+(?:Z|[+-]\d\d:?\d\d) ([\w.-]{1,253}) kernel:"),
    re.compile(r"\bip=(?:[^:\s]{0,64}:){4}([^:\s]{1,253})"),
    re.compile(r"\b(?:systemd\.)?hostname=([^\s\"]{1,253})"),
    re.compile(r"(?i)\b(?:nfs4?|lockd|rpc|smb|cifs|ceph): server ([\w.-]{1,253})"),
    re.compile(r"(?<!\\)\\\\([\w.-]{1,253})\\"),
    re.compile(r"(?<![\w.-])([\w-]{1,63}(?:\.[\w-]{1,63}){1,3}\.(?:ts\.net|home\.arpa))\b"),
)
MOUNT_HOSTS = (
    re.compile(r"(?m)(?:^|[\s=])([A-Za-z][\w.-]{0,252}):/"),
    re.compile(r"(?m)(?:^|\s)//([\w.-]{1,253})/"),
)
"""In tables of mounts: `server:/export` of NFS, `//server/share` of SMB."""
MOUNTS = re.compile(r"/etc/(?:fstab|exports|auto\.\w+)|/proc/(?:self/|\d+/)?(?:mountinfo|mounts)")
SHARES = re.compile(
    r"(?m)(?P<label>(?:^|\s)(?://[\w.-]{1,253}|[\w.-]{1,253}:)/)(?P<secret>[^\s]{2,})")
MOUNT_OPTIONS = re.compile(r"(?P<label>[,\s](?:user|username|dom|domain|workgroup)=)(?P<secret>[^\s,]{2,})")
USER_IN_TEXT = (
    re.compile(r"/(?:home|media|run/media|Users)/([^/\s:\"'<>,;|\\\0]{1,64})"),
    re.compile(r"\b(?:acct|USER|LOGNAME|SUDO_USER)=\"?([\w.-]{1,64})"),
    re.compile(_BUILDER + r"([\w.+-]{1,64})@"),
)

PLACE_IN_TEXT = (
    re.compile(r"/(?:mnt|srv|export)/([^/\s:\"'<>,;|\\\0]{2,64})"),
    re.compile(r"/media/[^/\s:\"'<>,;|\\\0]{1,64}/([^/\s:\"'<>,;|\\\0]{2,64})"),
)
"""Directories that people name after themselves, their disks and their servers."""

SYSTEM_USERS = frozenset((
    "root", "nobody", "daemon", "bin", "sys", "adm", "user", "users", "unknown", "lost+found", "linuxbrew", "ubuntu",
    "debian", "shared", "public",
))
"""Names that tell nothing about anybody."""

PLAIN_HOSTS = frozenset((
    "localhost", "localhost.localdomain", "localdomain", "local", "lan", "home", "internal", "ubuntu", "debian",
    "fedora", "arch", "archlinux", "linux", "nixos", "raspberrypi", "none", "(none)", "unset", "broadcasthost",
    "ip6-localhost", "ip6-loopback", "ip6-allnodes", "ip6-allrouters", "ip6-mcastprefix", "ip6-localnet",
    "tinybox", "live", "rescue", "sysresccd", "grml", "kali",
))
"""Host names that tell nothing."""

GENERAL = re.compile(
    r"(?=.*\d)(?=.*[A-Za-z0-9]{4}).{6,}|(?=.*[1-9a-eA-E])(?:[0-9A-Fa-f]{2}[:-]){5,}[0-9A-Fa-f]{2}", re.S)
"""What is specific enough to be looked for everywhere: six characters with a digit among them, or a MAC address."""

PACKAGES = re.compile(
    r"/var/lib/dpkg/status|/var/lib/pacman/.*|/(?:usr/)?lib/(?:udev|modprobe\.d)/.*|/boot/.*|/proc/config\.gz")
"""Files that come with a distribution: known secrets are looked for in them, labels and shapes are not."""

KEEP_UUID = frozenset((
    "8be4df61-93ca-11d2-aa0d-00e098032b8c",  # EFI global variables (UEFI specification 2.10, section 3.3)
    "d719b2cb-3d3a-4596-a3bc-dad00e67656f",  # EFI image security database
    "605dab50-e046-4300-abb6-3dd810dd8b23",  # shim
    "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
))
UUID = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9A-Za-z])")
MAC = re.compile(
    r"(?<![0-9A-Fa-f:.-])(?:[0-9A-Fa-f]{2}:){5,19}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:])"
    r"|(?<![0-9A-Fa-f:.-])(?:[0-9A-Fa-f]{2}-){5,19}[0-9A-Fa-f]{2}(?![0-9A-Fa-f-])")
MAC_NAME = re.compile(r"\b(?P<label>(?:en|wl|ww|eth|sl|ib)x)(?P<secret>[0-9a-f]{12})\b")
WWN = re.compile(r"(?i)(?P<label>\b(?:naa\.|eui\.|wwn-0x|t10\.|uuid\.|nvme\.))(?P<secret>[0-9a-z_.-]{8,})")
NQN = re.compile(r"(?P<label>\bnqn\.\d{4}-\d\d\.[\w.-]{1,128}:)(?P<secret>\S+)")
BY = re.compile(
    r"(?P<label>/(?:by-(?:uuid|partuuid|id|label|partlabel|dname)|mapper)/)(?P<secret>[^/\s\"',:;]{3,})")
ROOT = re.compile(r"(?P<label>\b(?:PART)?(?:UUID|LABEL)=)(?P<secret>[^\s\"',;]{3,})")
PASSWORD = re.compile(
    r"(?i)(?P<label>(?<![\w.-])[\w.-]{0,64}(?:passw(?:or)?d|passphrase|secret|token|credential|api[_-]?key|[._-]key|\bkey)=)"
    r"(?P<secret>[^\s\"']+)")
UEVENT = re.compile(
    r"(?m)^(?P<label>\w{0,64}(?:SERIAL|UUID|UNIQ|WWN|WWID|MAC|GUID)\w{0,64}=)(?P<secret>.+)$")
KFD = re.compile(r"(?m)^(?P<label>(?:unique_id|hive_id) +)(?P<secret>\d{2,20})$")
MACHINE_ID = re.compile(
    r"(?i)(?P<label>\bmachine[ _-]id[ =:]{1,3})(?P<secret>[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")
URL_USER = re.compile(r"(?P<label>\b[a-z][a-z0-9+.-]{1,15}://)(?P<secret>[^\s/@\"']{1,128})(?=@)")
URL = re.compile(
    r"(?P<label>\b(?:https?|s?ftp|tftp|nfs|smb|cifs|ssh|git|iscsi|ldaps?)://(?:[^\s/@\"']{1,128}@)?)"
    r"(?P<secret>[\w.-]{1,253}[^\s\"'<>,;)]{0,253})")
PUBLIC = re.compile(
    r"(?i)(?:[\w-]{1,63}\.){0,4}(?:kernel\.org|github\.com|gitlab\.com|nvidia\.com|amd\.com|intel\.com|"
    r"freedesktop\.org|ubuntu\.com|launchpad\.net|debian\.org|redhat\.com|fedoraproject\.org|archlinux\.org|opensuse\.org|systemd\.io|"
    r"gnu\.org|tinygrad\.org|tinycorp\.com|googlesource\.com|localhost)(?![\w.-])|127\.|0\.0\.0\.0")
"""Servers that everybody asks, and this machine."""
NFSROOT = re.compile(r"(?P<label>\b(?:nfsroot|nfs\.root|netroot)=(?:[^\s:/]{1,253}:)?/)(?P<secret>[^\s,]{2,})")
EXPORT = re.compile(r"(?P<label>(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}:/)(?P<secret>[^\s,]{2,})")
UNC = re.compile(r"(?P<label>(?<!\\)\\\\[\w.-]{1,253}\\)(?P<secret>[^\s\\\"']{2,})")
LUKS_NAME = re.compile(r"(?P<label>\brd\.luks\.name=[0-9A-Fa-f-]{36}=)(?P<secret>[^\s\"',;]{2,64})")
FS_LABEL = re.compile(
    r"(?i)(?P<label>\b(?:device label (?=\S{1,64} devid)|(?:filesystem|volume) label[ :=]{1,3})\"?)"
    r"(?P<secret>[^\s\",;]{2,64})")
SSID = re.compile(
    r"(?P<label>(?<!PCI )\bE?SSID[\"']?(?:[ \t]*[:=][ \t]*|[ \t]{1,4})[\"']?)"
    r"(?P<secret>(?!(?:0x)?[0-9A-Fa-f]{4,8}\b)[^\s\"':,]{2,32})")
IQN = re.compile(r"(?P<label>\b(?:iqn\.\d{4}-\d\d|eui)\.)(?P<secret>[A-Za-z0-9][\w.:-]{3,223})")
OWNER = re.compile(
    r"(?P<label>)(?P<secret>\b[A-Za-z]\w{1,30}(?:['\u2019]s|s)[ -])"
    r"(?=(?:iPhone|iPad|MacBook|iMac|AirPods|Watch|Pixel|Galaxy|Phone)\b)")
"""`Janes-iPhone-14`, as phones call themselves."""
MAC_WORD = re.compile(r"(?i)(?P<label>\bmac(?:[ _-]?addr(?:ess)?)?[ :=]{1,3})(?P<secret>[0-9a-f]{12})\b")
MAC_DOTTED = re.compile(
    r"(?<![\w.])(?=[\d.]{0,13}[A-Fa-f])(?P<secret>[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})(?![\w.])")
KEY = re.compile(
    r"(?<![A-Za-z0-9+/=])(?=[^=]{0,42}[a-z])(?=[^=]{0,42}[A-Z])(?=[^=]{0,42}\d)(?P<label>)(?P<secret>[A-Za-z0-9+/]{43}=)"
    r"(?![A-Za-z0-9+/=])")
"""32 bytes in base 64: a key of WireGuard."""
EMAIL = re.compile(r"(?P<label>)(?P<secret>[\w.+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
LABELS = (LABELLED, SERIAL, MACHINE_ID, BY, ROOT, LUKS_NAME, PASSWORD, WWN, NQN, IQN, MAC_NAME, MAC_WORD, URL_USER,
          NFSROOT, EXPORT, UNC, FS_LABEL, SSID, OWNER, KEY, EMAIL)
NAMING = (LUKS_NAME, FS_LABEL, SSID)
"""Labels of names that people gave: looked for everywhere where they are no word of the machine."""
IPV4 = re.compile(r"(?<![\w.-])(?:(?:0|[1-9]\d{0,2})\.){3}(?:0|[1-9]\d{0,2})(?![\w-]|\.\w)")
IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:]|\.\d)")
VERSION_BEFORE = re.compile(
    r"(?i)\b(?:v|ver|version|rev|revision|firmware|fw|bios|driver|release|build|module|microcode|nvm|ucode|api|smu|psp|"
    r"rom|ifwi|pldm|bmc|agesa|uefi|package|pkg|gcc|binutils|kernel|linux|ce|me|phy|boot|loader)[\s:=(\"'v,]*$")
COMMENT = re.compile(r"(?m)^[ \t]{0,16}#.*$")
SETTINGS = re.compile(r"/etc/(?!passwd|group|shadow|hosts$|os-release).*")
"""Files in which a `#` begins a comment, written by people and packages."""
REFERENCE = re.compile(r"(?m)^(?P<label>Reference ID\s*:\s*)(?P<secret>.+)$")
PRIVATE_NET = re.compile(
    r"(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01])|169\.254|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\.")

VERSIONS = re.compile(
    r".*/(?:[a-z_]*version[a-z_]*|firmware_rev|[a-z]*bios[a-z_]*|srcversion)"
    r"|/proc/(?:modules|iomem|ioports|interrupts|cpuinfo)|/(?:usr/)?lib/.*|/boot/.*")
"""Files of versions and of tables: no addresses of networks in them."""

TELLING = re.compile(
    r"[.:@=]|\d|serial|uuid|host|label|ssid|/(?:home|media|mnt|srv|export|users)/|phone|ipad|macbook|imac|airpods|galaxy",
    re.I)
"""What a text must hold for a shape or a label to be in it: most attributes of sysfs do not."""
