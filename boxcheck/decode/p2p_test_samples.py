"""The output of simpleP2P and bandwidthTest (NVIDIA/cuda-samples; simpleP2P.cu, bandwidthTest.cu).

simpleP2P copies between the first two GPUs that have peer access, lets a kernel on each read the other's memory, and
compares every element: the one sample that looks at data. It prints at most 12 wrong elements. Its GB/s are GiB/s, and
the `> ` that some of its lines begin with may have been taken for a quote mark.
bandwidthTest compares nothing; its `Result = PASS` says that it ran.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from boxcheck.decode.matrix import number
from boxcheck.decode.text import clean_text

PEER = re.compile(
    r"(?:> ?)?Peer access from (.{1,80}?) \(GPU([0-9]{1,3})\) -> (.{1,80}?) \(GPU([0-9]{1,3})\) ?: (Yes|No)")
WRONG = re.compile(r"Verification error @ element ([0-9]{1,12}): val = (\S{1,40}), ref = (\S{1,40})")
_RATE = re.compile(
    r"(?:cuda|hip)MemcpyPeer / (?:cuda|hip)Memcpy between GPU([0-9]{1,3}) and GPU([0-9]{1,3}): (\S{1,16}?)GB/s")
_VERDICT = re.compile(r"Test (passed|failed)|Result = (PASS|FAIL)")
WAIVED = re.compile(r"Two or more GPUs with .{0,80}are required|.{0,100}waiving test", re.IGNORECASE)
_DEVICE = re.compile(r"Device ([0-9]{1,3}): (.{1,80})")
DIRECTION = re.compile(r"(Host to Device|Device to Host|Device to Device) Bandwidth, ([0-9]{1,3}) Device\(s\)")
MEMORY = re.compile(r"(PINNED|PAGEABLE) Memory Transfers|(?:Write-Combined|Write-combined) Memory Writes are Enabled")
SHMOO = re.compile(r"bandwidthTest-(H2D|D2H|D2D)(?:-(Pinned|Paged))?, Bandwidth = (\S{1,16}) (GB|MB)/s, .{0,120}")
_FAILED_CALL = re.compile(r"CUDA error at .{1,160}|.{0,100}code=[0-9]{1,4}\(cudaError\w{1,60}\).{0,80}")
SHORT = {"Host to Device": "H2D", "Device to Host": "D2H", "Device to Device": "D2D"}
MAX_PEERS = 65_536


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What one run said. Lines are offsets."""

    names: dict[int, str]
    access: tuple[tuple[int, int, bool], ...]
    access_line: int
    pair: tuple[int, int] | None
    pair_gibs: float | None
    """GiB/s, which simpleP2P calls GB/s."""
    wrong: int
    """Wrong elements printed; the test stops after 12."""
    wrong_line: int
    wrong_text: str
    nan: bool
    """A wrong element was no number."""
    passed: bool | None
    verdict_line: int
    waived_line: int | None
    copies: dict[str, float]
    """Highest GB/s by direction (`H2D`, `D2H`, `D2D`), of pinned memory unless only pageable was measured."""
    copies_line: int
    pageable: bool
    """Only pageable memory was measured: its copies are slow by nature."""
    error: str | None
    error_line: int


def parse(lines: Sequence[str]) -> Sample:
    """Facts of a text. Never raises."""
    names: dict[int, str] = {}
    access: dict[tuple[int, int], bool] = {}
    pair, pair_gibs, wrong, wrong_line, wrong_text, nan = None, None, 0, 0, "", False
    passed, verdict_line, waived_line, error, error_line = None, 0, None, None, 0
    copies: dict[str, float] = {}
    access_line, copies_line, direction = 0, 0, None
    memories: set[str] = set()
    for here, raw in enumerate(lines):
        line = raw.strip()[:512]
        if line.startswith(("Peer access from", "> Peer access from")) and " : " not in line:
            line = f"{line} {lines[here + 1].strip()[:200]}" if here + 1 < len(lines) else line  # a mailer wrapped it
        if found := PEER.match(line):
            access_line = access_line or here
            if len(access) < MAX_PEERS:
                names[int(found[2])], names[int(found[4])] = clean_text(found[1]), clean_text(found[3])
                access[int(found[2]), int(found[4])] = found[5] == "Yes"
        elif found := _RATE.match(line):
            pair, pair_gibs = (int(found[1]), int(found[2])), number(found[3])
        elif found := WRONG.match(line):
            if not wrong:
                wrong_line, wrong_text = here, clean_text(line)
            wrong, nan = wrong + 1, nan or "nan" in found[2].lower()
        elif WAIVED.match(line):
            waived_line = here if waived_line is None else waived_line
        elif found := _VERDICT.match(line):
            if passed is False:  # of several runs in one paste the one that failed is told
                continue
            passed, verdict_line = (found[1] or found[2]).lower() in ("passed", "pass"), here
        elif found := DIRECTION.match(line):
            direction, copies_line = SHORT[found[1]], copies_line or here
        elif MEMORY.match(line):
            memories.add("pageable" if line.startswith("PAGEABLE") else "pinned")
        elif (found := SHMOO.match(line)) and (value := number(found[3])) is not None:
            copies_line = copies_line or here
            if found[2] is not None:
                memories.add("pageable" if found[2] == "Paged" else "pinned")
            copies[found[1]] = max(copies.get(found[1], 0.0), value / (1000 if found[4] == "MB" else 1))
        elif direction is not None and len(words := line.split()) == 2 and words[0].isdigit():
            if (value := number(words[1])) is not None:
                copies[direction] = max(copies.get(direction, 0.0), value)
        elif "Transfer Size" in line and "MB/s" in line and direction is not None:
            direction = None  # an old version that counts in MB/s: not taken for GB/s
        elif found := _DEVICE.match(line):
            names.setdefault(int(found[1]), clean_text(found[2].strip()))
        elif error is None and _FAILED_CALL.match(line):
            error, error_line = clean_text(line), here
    return Sample(
        names=names, access=tuple((row, column, can) for (row, column), can in access.items()), access_line=access_line,
        pair=pair, pair_gibs=pair_gibs, wrong=wrong, wrong_line=wrong_line, wrong_text=wrong_text, nan=nan,
        passed=passed, verdict_line=verdict_line, waived_line=waived_line, copies=copies, copies_line=copies_line,
        pageable=memories == {"pageable"}, error=error, error_line=error_line)
