"""The output of AMD's ROCm Validation Suite (ROCm/ROCmValidationSuite: gst, iet, pebb, pbqt, peqt, mem ...).

Each line is `[RESULT] [ seconds] [action] ...`; GPUs are named by KFD's gpu_id, in newer versions with their address:
`[GPU:: 2 - 42583 - 0000:05:00.0]`. Gflop/s beside their target were worded anew over the years: `gst 50599 Gflops
8900.1 Target stress : 9000.0 met :FALSE` (ROCm 3.5 to 5; still so in perf and edp), `[GPU:: 50599] GFLOPS 8900 Target
GFLOPS: 9000 met: FALSE` since. From 1.3 on a table of the actions ends the run. What `pass` and `met` mean is set by
the configuration file: its targets are written by hand, and those for Radeon cards are about half of what a sound card
does. Products are compared only with self_check or accuracy_check, which are off by default.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import msgspec

from boxcheck.decode.matrix import number
from boxcheck.decode.text import clean_text
from boxcheck.model import Bdf

RECORD = re.compile(
    r"\[(RESULT|ERROR|INFO|DEBUG|TRACE)\s{0,2}\] ?\[\s{0,8}[0-9]{1,10}\.[0-9]{1,9}\s{0,8}\]\s{0,4}(.*)", re.DOTALL)
ERROR = re.compile(r"RVS-ERROR \[.{1,40}\]|RVS-[A-Z]{2,8}: internal error")
_GPU = (r"(?:\[GPU:: *(?:([0-9]{1,3}) - *)?([0-9]{1,6})"
        r"(?: - ([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]))?\]|([0-9]{1,6}))")
_CPU = r"(?:\[CPU:: *([0-9]{1,3})\]|([0-9]{1,6}))"
_ACTION = re.compile(r"\[([^\]]{1,80})\]\s{0,4}(.*)", re.DOTALL)
_RATE = r"(?: *(\S{1,16}) GBps( \(\*\))?| *(\(not measured\)|\(pending\)))?"
_PAIR = re.compile(
    r"p2p-bandwidth *\[ *[0-9]{1,5}/[0-9]{1,5}\] *" + _GPU + " +" + _GPU + r" +bidirectional: (true|false)" + _RATE)
_PEER = re.compile(r"p2p +" + _GPU + " +" + _GPU + r" +(?:peers:)?(true|false)\b")
_HOST = re.compile(
    r"pcie-bandwidth *\[ *[0-9]{1,5}/[0-9]{1,5}\] *" + _CPU + " +" + _GPU
    + r" +h2d::? ?(true|false) +d2h::? ?(true|false)" + _RATE)
_MET = re.compile(r"\bmet ?: ?(TRUE|FALSE)\b|\b(?:met target stress) ?: ?[0-9.]{1,20} (PASS|FAIL)\b", re.IGNORECASE)
_TARGET = re.compile(r"Target(?: GFLOPS| stress)? ?: ?([0-9.]{1,20})", re.IGNORECASE)
_REACHED = re.compile(r"(?<!Target )\bGFLOPS ?:? ?([0-9.]{1,20})", re.IGNORECASE)
_WHOSE = re.compile(
    r"\[GPU:: *(?:[0-9]{1,3} - *)?([0-9]{1,6})\b|\bGPU Id ?: ?([0-9]{1,6})\b|^[a-z]{2,8} +([0-9]{1,6})\b")
"""`[GPU:: 50599]`, `GPU Id :50599`, and `gst 50599` of ROCm 3 to 5."""
_BARE_ACTION = re.compile(r"Action name ?: ?([^,]{1,80}),\s{0,4}(.*)", re.DOTALL)
_SMQT = re.compile(r"(smqt) +([0-9]{1,6}) (true|false)$")
SUMMARY = re.compile(r"\|?\s{0,80}ROCm Validation Suite \(RVS\) Summary\b")
_ROW = re.compile(r"\| (\S.{0,79}?)\s{0,40} \|\s{1,4}([A-Z]{2,8})\s{0,16}\|\s{1,4}(?:\[3[12]m)?(PASS|FAIL)\b")
_PASS = re.compile(r"(?:([a-z]{2,8}) +)?(?:\[GPU:: *)?([0-9]{1,6})\]?(?: .{0,160})? pass: (TRUE|FALSE)", re.IGNORECASE)
_PEQT = re.compile(r"(peqt) (true|false)", re.IGNORECASE)
_CHECK = re.compile(r"\[GPU:: *([0-9]{1,6})\] (self-check|accu-check) error (\S{1,24})")
_MEMORY = re.compile(r"mem Number of errors ?: ?([0-9]{1,12})")
MAX_RESULTS = 4096


class Gpu(msgspec.Struct, frozen=True):
    id: int
    bdf: Bdf | None
    line: int


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    source: int
    """gpu_id, or the node of a processor."""
    target: int
    both_ways: bool
    gigabytes_per_second: float | None
    """None where it was not measured, or is no number."""
    line: int
    to_host: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    action: str
    module: str
    gpu: int | None
    passed: bool
    line: int
    text: str
    reached: float | None = None
    """Gflop/s, and what was wanted."""
    target: float | None = None


class Rvs(msgspec.Struct, frozen=True, kw_only=True):
    gpus: tuple[Gpu, ...]
    pairs: tuple[Copy, ...]
    hosts: tuple[Copy, ...]
    peers: tuple[tuple[int, int, bool], ...]
    peers_line: int
    verdicts: tuple[Verdict, ...]
    checks: tuple[tuple[int, str, float, int], ...]
    """(gpu_id, self-check or accu-check, relative error, line): products that differ; inf where the error is no number
    or beyond any."""
    memory_errors: int
    memory_line: int
    errors: tuple[tuple[int, str], ...]
    checked: bool
    """A self-check or accuracy check is in the text at all."""


def _records(lines: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """(line, level, message), with what a mailer wrapped joined to it."""
    level, message, start = "", "", 0
    for here, raw in enumerate(lines):
        line = raw.strip()[:1024]
        if found := RECORD.match(line):
            if level:
                yield start, level, message
            level, message, start = found[1], found[2], here
        elif ERROR.match(line):
            if level:
                yield start, level, message
            level, message, start = "", "", here
            yield here, "ERROR", line
        elif line and level and len(message) < 1024:
            message = f"{message} {line}"
    if level:
        yield start, level, message


def _met(action: str, says: str, met: re.Match[str], line: int) -> Verdict:
    """What a line with `met: FALSE` says, in any of its wordings."""
    head = says[:400]
    whose, target, reached = _WHOSE.search(head), _TARGET.search(head), _REACHED.search(head)
    gpu = next((int(word) for word in whose.groups() if word), None) if whose is not None else None
    module = re.match(r"([a-z]{2,8}) ", head) or re.search(r"Module name ?: ?([a-z]{2,8})\b", head)
    return Verdict(
        action=action, module=module[1] if module is not None else "gst", gpu=gpu, line=line, text=clean_text(says),
        passed=(met[1] or met[2]).upper() in ("TRUE", "PASS"), target=number(target[1]) if target is not None else None,
        reached=number(reached[1]) if reached is not None else None)


def parse(lines: Sequence[str]) -> Rvs:
    """Facts of a text. Never raises."""
    gpus: dict[int, Gpu] = {}
    pairs: dict[tuple[int, int, bool], Copy] = {}
    hosts: dict[tuple[int, int, bool, bool], Copy] = {}
    peers: dict[tuple[int, int], bool] = {}
    verdicts: dict[tuple[str, str, int | None], Verdict] = {}
    checks: list[tuple[int, str, float, int]] = []
    errors: list[tuple[int, str]] = []
    memory_errors = memory_line = peers_line = 0

    def gpu(found: re.Match[str], first: int, line: int) -> int:
        identity = int(found[first + 1] or found[first + 3])
        bdf = Bdf(found[first + 2][-12:]) if found[first + 2] else None
        if len(gpus) < MAX_RESULTS and (identity not in gpus or (gpus[identity].bdf is None and bdf)):
            gpus[identity] = Gpu(identity, bdf, line)
        return identity

    def keep(verdict: Verdict) -> None:
        """An action runs as often as its configuration says: one that failed once has failed."""
        key = (verdict.action, verdict.module, verdict.gpu)
        if key not in verdicts or verdicts[key].passed:
            verdicts[key] = verdict

    for line, level, message in _records(lines):
        if level == "ERROR":
            if len(errors) < 64:
                errors.append((line, clean_text(message)))
            continue
        parts = _ACTION.match(message) or _BARE_ACTION.match(message)
        if parts is None or len(verdicts) + len(pairs) + len(hosts) >= MAX_RESULTS:
            continue
        action, says = clean_text(parts[1]), parts[2]
        if found := _PAIR.match(says):
            one, other = gpu(found, 1, line), gpu(found, 5, line)
            rate = number(found[10]) if found[10] else None
            key = (one, other, found[9] == "true")
            if rate is not None or key not in pairs:
                pairs[key] = Copy(source=one, target=other, both_ways=key[2], gigabytes_per_second=rate, line=line)
        elif found := _HOST.match(says):
            node, card = int(found[1] or found[2]), gpu(found, 3, line)
            there, back = found[7] == "true", found[8] == "true"
            rate = number(found[9]) if found[9] else None
            way = (node, card, there and back, back and not there)
            if rate is not None or way not in hosts:
                hosts[way] = Copy(source=node, target=card, both_ways=way[2], to_host=way[3], gigabytes_per_second=rate,
                                  line=line)
        elif (found := _PEER.match(says)) and len(peers) < MAX_RESULTS:
            one, other = gpu(found, 1, line), gpu(found, 5, line)
            if one != other:
                peers[one, other] = found[9] == "true"
                peers_line = peers_line or line
        elif (found := _CHECK.match(says)) and len(checks) < MAX_RESULTS:
            error = number(found[3])
            checks.append((int(found[1]), found[2], math.inf if error is None else error, line))
        elif found := _MEMORY.match(says):
            memory_errors += int(found[1])
            memory_line = memory_line or line
        elif met := _MET.search(says[:400]):
            keep(_met(action, says, met, line))
        elif found := _PASS.match(says):
            keep(Verdict(action=action, module=(found[1] or "rvs").lower(), gpu=int(found[2]), line=line,
                         passed=found[3].upper() == "TRUE", text=clean_text(says)))
        elif found := _SMQT.match(says):
            keep(Verdict(action=action, module="smqt", gpu=int(found[2]), passed=found[3] == "true", line=line,
                         text=clean_text(says)))
        elif found := _PEQT.match(says):
            keep(Verdict(action=action, module="peqt", gpu=None, line=line, passed=found[2].lower() == "true",
                         text=clean_text(says)))
    for line, raw in enumerate(lines):
        if (row := _ROW.match(raw.strip()[:200])) and len(verdicts) < MAX_RESULTS:
            told = any(name == clean_text(row[1]) and not verdict.passed for (name, *_), verdict in verdicts.items())
            if not told:
                keep(Verdict(action=clean_text(row[1]), module=row[2].lower(), gpu=None, passed=row[3] == "PASS",
                             line=line, text=clean_text(raw.strip()[:200])))
    return Rvs(gpus=tuple(gpus.values()), pairs=tuple(pairs.values()), hosts=tuple(hosts.values()),
               peers=tuple((one, other, can) for (one, other), can in peers.items()), peers_line=peers_line,
               verdicts=tuple(verdicts.values()), checks=tuple(checks), memory_errors=memory_errors,
               memory_line=memory_line, errors=tuple(errors), checked=bool(checks))
