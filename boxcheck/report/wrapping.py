"""Text in lines no wider than a terminal, in which a shell command is never broken: it can be copied as it stands.

A command that does not fit beside the words before it starts the next line, whole; one that is wider than the terminal
stands alone on its line, wider than the rest.

Which words are a command is told by the word it starts with, and where it ends by what no shell reads: a comma, two
blanks, a bracket, a word of prose. Taking too much for a command costs a ragged line, too little costs a broken one.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

PROGRAMS = frozenset(re.findall(r"\S+", """
    amdgpu-install apt apt-get apt-mark blockdev boxcheck cat cp cpupower dd dkms dmesg dmidecode dnf dpkg dpkg-query
    dracut du echo ethtool free fuser grep groupadd grub2-mkconfig ipmitool journalctl ldconfig ls lsblk lscpu lsmod
    lspci lsusb mdadm mkdir modinfo modprobe mokutil mount newgrp numactl nvidia-modprobe nvidia-smi nvme pacman
    pcilmr pip
    printf python3 reboot rm rmmod rocm-smi rocminfo sed setpci sh smartctl sysctl systemctl tar tee timedatectl touch
    tuned-adm udevadm ulimit umount uname unset update-alternatives update-grub update-initramfs usermod
"""))
"""First words of the commands that boxcheck prints, by themselves or after `sudo`."""

PROSE = frozenset(re.findall(r"\S+", """
    a afterwards again an and as before by does first for from gives holds if in is it its itself lets lists makes may
    must names not of on once or prints reads says shows so tells than that the them then these this to twice until when
    where which while with without writes
"""))
"""Words that end a command where they stand by themselves: no command that boxcheck prints has one outside quotes."""

_HELD = "\x1f"  # in place of a blank within a command; no text that was cleaned holds it, and textwrap breaks at none
_START = re.compile(r"(?:^|(?<=[\s(`]))(?:sudo )?(?P<folder>[\w./~+-]{0,200}/)?(?P<name>[a-z][a-z0-9-]*)(?![a-z0-9-])")
_OWN = ("boxcheck", "python", "python3")
"""How this program is called, which may be by its path."""
_LOOP = re.compile(r"for [a-z]+ in [^;]*; do .*?; done")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_WORD = re.compile(r"[^ ]*")


def wrapped(text: str, columns: int, first: str = "", rest: str | None = None) -> list[str]:
    """Lines of at most `columns`, 40 at least; `first` and `rest` are the indents. A longer command is one line."""
    after = first if rest is None else rest
    width = max(columns, 40)
    lines = textwrap.wrap(
        hold_commands(text, width - max(len(first), len(after))), width=width, initial_indent=first,
        subsequent_indent=after, break_long_words=False, break_on_hyphens=False,
    ) or [first.rstrip()]
    return [line.replace(_HELD, " ") for line in lines]


def hold_commands(text: str, room: int) -> str:
    """`text` with the blanks of its commands made unbreakable. One longer than `room` loses its backticks and the mark
    after it, which would be copied with it."""
    if text.startswith("log line "):  # what the kernel wrote is no command, whatever its words are
        return text
    parts: list[str] = []
    position = 0
    for start, end in commands(text):
        command = text[start:end]
        before, position = text[position:start], end
        if len(command) > room:
            if before.endswith("`") and text[end:end + 1] == "`":
                before, position = before[:-1], end + 1
            position += text[position:position + 1] in (",", ";", ".")
        parts += [before, command.replace(" ", _HELD)]
    return "".join([*parts, text[position:]])


def commands(text: str) -> Iterator[tuple[int, int]]:
    """Where the commands of more than one word lie in `text`, as start and end."""
    position = 0
    while match := _START.search(text, position):
        loop = _LOOP.match(text, match.start())
        name = match["name"]
        if loop is None and not (name in _OWN if match["folder"] else name in PROGRAMS):
            position = match.end()
            continue
        end = loop.end() if loop else _end(text, match.start(), match.end())
        if " " in text[match.start():end]:
            yield match.start(), end
        position = max(end, match.end())


def _end(text: str, start: int, position: int) -> int:
    """Where the command that starts at `start` and is read up to `position` ends."""
    ticked = text[start - 1:start] == "`"
    end = position
    while position < len(text):
        quoted = _QUOTED.match(text, position)
        if quoted or text.startswith("$(", position):
            position = end = quoted.end() if quoted else _closed(text, position)
            continue
        character = text[position]
        if character == "`" or (character == ")" and not ticked):
            break
        if character == " " and not ticked:
            following = _WORD.match(text, position + 1)
            word = following.group() if following else ""
            if not word or word.startswith("(") or text[end - 1] in ",:":
                break
            if word in PROSE and not text.endswith("echo", start, end):
                break
            if text[end - 1] == ";" and word.rstrip(";") not in PROGRAMS and word != "sudo":
                break
        position += 1
        if character != " ":
            end = position
    while end > start and text[end - 1] in ",;:." and not text[start:end].endswith(" ."):
        end -= 1
    return end


def _closed(text: str, position: int) -> int:
    """Behind the bracket that closes the one of `$(`, or the end."""
    depth = 0
    for here in range(position, len(text)):
        depth += (text[here] == "(") - (text[here] == ")")
        if text[here] == ")" and depth == 0:
            return here + 1
    return len(text)
