"""File systems and software RAID that found their disks damaged.

    EXT4-fs error (device nvme0n1p2): ext4_lookup:1785: inode #131: comm ls: deleted inode referenced: 27
    EXT4-fs (md0): Remounting filesystem read-only
    XFS (md0): Metadata corruption detected at xfs_inode_buf_verify+0x15e/0x180 [xfs], xfs_inode block 0x80
    BTRFS critical (device nvme0n1p2): corrupt leaf: root=2 block=30408704 slot=0
    md/raid0:md0: Disk failure on nvme1n1p1 detected, failing array.
    md/raid1:md0: Disk failure on nvme2n1, disabling device.

Sources: fs/ext4/super.c (__ext4_error, ext4_handle_error), fs/xfs/xfs_error.c, fs/xfs/xfs_fsops.c,
fs/btrfs/{messages,tree-checker}.c, drivers/md/{raid0,md-linear,raid1,raid10,raid5}.c.
"""

from __future__ import annotations

from .family import Rule
from .words import Rx

_KEEP = ("copy what is on it while it can be read, then check the file system unmounted (fsck, xfs_repair)",
         "look for errors of the drive below it just before, and read its health (sudo nvme smart-log)")
_MEMBER = ("read /proc/mdstat and the health of the drive that is named (sudo nvme smart-log)",)

DISKS = (
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
