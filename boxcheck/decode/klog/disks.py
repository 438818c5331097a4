"""Drives of SATA and SAS that failed requests; file systems and software RAID that found their disks damaged.

    I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2
    ata1.00: exception Emask 0x10 SAct 0x80 SErr 0x4050000 action 0xe frozen
    EXT4-fs error (device nvme0n1p2): ext4_lookup:1785: inode #131: comm ls: deleted inode referenced: 27
    EXT4-fs (md0): Remounting filesystem read-only
    XFS (md0): Metadata corruption detected at xfs_inode_buf_verify+0x15e/0x180 [xfs], xfs_inode block 0x80
    BTRFS critical (device nvme0n1p2): corrupt leaf: root=2 block=30408704 slot=0
    BTRFS warning (device nvme0n1p2): csum failed root 5 ino 257 off 4096 csum 0x1a expected csum 0x2b mirror 1
    md/raid0:md0: Disk failure on nvme1n1p1 detected, failing array.
    md/raid1:md0: Disk failure on nvme2n1, disabling device.

Sources: fs/ext4/super.c (__ext4_error, ext4_handle_error), fs/xfs/xfs_error.c, fs/xfs/xfs_fsops.c,
fs/btrfs/{messages,tree-checker,bio,volumes}.c, fs/jbd2/{journal,commit}.c, drivers/ata/libata-eh.c, block/blk-mq.c,
OpenZFS module/os/linux/zfs/zfs_debug.c (cmn_err), drivers/md/{raid0,md-linear,raid1,raid10,raid5}.c.
"""

from __future__ import annotations

from .family import Rule
from .words import Rx

_KEEP = ("copy what is on it while it can be read, then check the file system unmounted (fsck, xfs_repair)",
         "look for errors of the drive below it just before, and read its health (sudo nvme smart-log)")
_MEMBER = ("read /proc/mdstat and the health of the drive that is named (sudo nvme smart-log)",)
_DRIVE = ("read the drive's health (sudo smartctl -a), check its cable, slot and power",)
_BTRFS = r"BTRFS:? (?:critical|error|warning) \(device (?P<label>[\w.!-]{1,40})(?: state \w{1,8})?\)"

DISKS = (
    Rule("medium error, dev sd", "disk-io-error", "fail", "memory", "the drive could not read what it stores", _DRIVE,
         Rx(r"critical (?P<label2>medium) error, dev (?P<label>sd[a-z]{1,3})\b")),
    Rule("I/O error, dev sd", "disk-io-error", "warn", None, "a request to the drive failed", _DRIVE,
         Rx(r"I/O error, dev (?P<label>sd[a-z]{1,3})\b")),
    Rule(": exception Emask 0x", "disk-io-error", "warn", None, "a SATA drive or its link failed a request", _DRIVE,
         Rx(r"\b(?P<label>ata\d{1,3})(?:\.\d{2})?: exception Emask 0x")),
    Rule("bdev /dev/", "disk-io-error", "warn", None, "Btrfs counted failed or damaged requests to the drive", _DRIVE,
         Rx(r"BTRFS error \(device [^)]{1,60}\): bdev /dev/(?P<label>nvme\d{1,4}|sd[a-z]{1,3}|[\w.-]{1,40})"
            r".{0,60} errs: wr \d"), variant="btrfs"),
    Rule("csum failed r", "filesystem-error", "fail", "memory", "data on {label} are not what was written", _KEEP,
         Rx(_BTRFS + r": csum failed r")),
    Rule(" IO failure", "filesystem-error", "fail", "memory", "Btrfs could not read or write {label}", _KEEP,
         Rx(_BTRFS + r" in \w{1,60}:\d{1,6}: errno=-5 IO failure"), variant="io"),
    Rule("Aborting journal on device", "filesystem-error", "fail", "memory",
         "the kernel stopped writing to {label} after an error", _KEEP,
         Rx(r"Aborting journal on device (?P<label>[\w.!-]{1,40}?)(?:-\d{1,4})?\.$"), variant="journal"),
    Rule("while flushing file data on", "filesystem-error", "fail", "memory",
         "what programs wrote to {label} did not reach it", _KEEP,
         Rx(r"JBD2: Detected IO errors [-\d ]{0,6}while flushing file data on (?P<label>[\w.!-]{1,40}?)(?:-\d{1,4})?$"),
         variant="flush"),
    Rule("XFS (", "filesystem-error", "fail", "memory", "XFS could not read or write {label}", _KEEP,
         Rx(r"XFS \((?P<label>[\w.!-]{1,40})\): (?:[Mm]etadata I/O [Ee]rror|[Ll]og I/O [Ee]rror"
            r"|Corruption of on-disk metadata \(|Block device removal \()"), variant="io"),
    Rule("uncorrectable I/O failure", "filesystem-error", "fail", "memory",
         "ZFS stopped pool {label}, which it can neither read nor write", _KEEP,
         Rx(r"Pool '(?P<label>[\w.: -]{1,60})' has encountered an uncorrectable I/O failure")),
    Rule("EXT4-fs error (device ", "filesystem-error", "fail", "memory", "the file system on {label} is damaged", _KEEP,
         Rx(r"EXT4-fs error \(device (?P<label>[\w.!-]{1,40})\)")),
    Rule("Remounting filesystem read-only", "filesystem-error", "fail", "memory",
         "the kernel stopped writing to {label} after an error", _KEEP,
         Rx(r"\((?P<label>[\w.!-]{1,40})\): Remounting filesystem read-only"), variant="read-only"),
    Rule("Metadata corruption detected at", "filesystem-error", "fail", "memory",
         "the file system on {label} is damaged", _KEEP,
         Rx(r"XFS \((?P<label>[\w.!-]{1,40})\): Metadata corruption detected at")),
    Rule("Corruption of in-memory data", "filesystem-error", "fail", "memory",
         "XFS shut {label} down: its data in memory are damaged", _KEEP,
         Rx(r"XFS \((?P<label>[\w.!-]{1,40})\): Corruption of in-memory data"), variant="in memory"),
    Rule("corrupt ", "filesystem-error", "fail", "memory", "the file system on {label} is damaged", _KEEP,
         Rx(r"BTRFS (?:critical|error) \(device (?P<label>[\w.!-]{1,40})(?: state \w{1,8})?\): (?:.{1,60} )?corrupt "
            r"(?:leaf|node)")),
    Rule("forced readonly", "filesystem-error", "fail", "memory",
         "the kernel stopped writing to {label} after an error", _KEEP,
         Rx(r"BTRFS info \(device (?P<label>[\w.!-]{1,40})(?: state \w{1,8})?\): forced readonly"),
         variant="read-only"),
    Rule("Disk failure on", "raid-failure", "fail", "memory", "an array without redundancy lost a drive ({label})",
         _MEMBER, Rx(r"md/(?:raid0|linear):md[\w.-]{1,20}: Disk failure on (?P<label>[\w.!-]{1,40})")),
    Rule("Disk failure on", "raid-failure", "warn", "memory", "a drive failed out of its array ({label})", _MEMBER,
         Rx(r"md/raid\w{0,4}:md[\w.-]{1,20}: Disk failure on (?P<label>[\w.!-]{1,40})"), variant="redundant"),
)
