"""`dcgmi diag`, as the table and as JSON: tests, what came out for which GPU, and what was warned of.

Up to DCGM 3 a test's row names the GPUs (`Pass - GPUs: 0, 1`, `Fail - All`); from 4 on each GPU has a row of its own
(`GPU0: Pass`). A long message is cut into pieces of 45 characters, one a row, wherever the cut falls. A result that
is `Warn` for the test is shown as `Fail` for its GPUs.

Sources: NVIDIA/DCGM, dcgmi/Diag.cpp of v2.1.4, v3.3.9 and v4.6.0; nvvs/include/NvvsJsonStrings.h.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from boxcheck.decode.text import clean_text

Status = Literal["pass", "fail", "warn", "skip", "not run"]

MOST_TESTS = 400
MOST_REMARKS = 2000
MOST_TEXT = 1000
MESSAGE_PIECE = 45
"""Characters of a message that stand in one row; a shorter piece ended with a blank, unless it is the last."""
_WIDEST = 4000

_SECTION = re.compile(r"[|+]?-{2,}\s{1,4}([A-Z][a-z]{2,20})\s{0,4}-{2,}")
_OUTCOME = re.compile(r"(pass|fail|warn|skip|not run)(?:ed|ped)?\b(?:\s{0,4}-\s{0,4}(?:(all)|([GC]PU)s?:?\s?"
                      r"(\d{1,3}(?:, ?\d{1,3}){0,255})))?[\s:,.]{0,8}(.{0,200})", re.IGNORECASE)
_ENTITY = re.compile(r"([A-Z][A-Za-z_]{1,15})\s?(\d{1,4}):\s{0,4}(Pass|Fail|Warn|Skip|Not Run)?$")
_REMARK = re.compile(r"(Warning|Info|Error)(?:: ([A-Z][A-Za-z_]{1,15})(\d{1,4}))?$")
_OF_GPU = re.compile(r"\bGPU:? ?(\d{1,3})\b")
_HEAD = re.compile(r"\|? ?Diagnostic\s{1,40}\|\s{1,4}Result\b")
_RULE = re.compile(r"[-+=|\s]+$")
_WORDS: Mapping[str, Status] = {
    "pass": "pass", "fail": "fail", "warn": "warn", "skip": "skip", "not run": "not run", "": "not run"}
GPU = "GPU"


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a test."""

    text: str
    offset: int
    gpu: int | None = None
    warns: bool = True
    """An error or warning; False for information."""
    code: int | None = None
    """DCGM_FR_*, in JSON only."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came out."""

    status: Status
    gpus: tuple[int, ...] = ()
    """Empty for all of the run, or where the text does not say."""
    offset: int = 0


class Test(msgspec.Struct, kw_only=True):
    name: str
    category: str = ""
    offset: int = 0
    results: list[Result] = []
    remarks: list[Remark] = []
    summary: Status | None = None
    """What came out for the test as a whole, where that is told beside its GPUs."""

    @property
    def statuses(self) -> frozenset[Status]:
        """All that came out. A `Fail` of a GPU whose test is told to `Warn` is that warning."""
        found = {result.status for result in self.results}
        if self.summary is not None:
            if self.summary == "warn":
                found -= {"fail"}
            found.add(self.summary)
        return frozenset(found)

    def gpus_of(self, status: Status) -> tuple[int, ...]:
        """Numbers of the GPUs with this outcome; empty for all, and where nobody says."""
        shown: Status = "fail" if status == "warn" and self.summary == "warn" else status
        return tuple(dict.fromkeys(
            gpu for result in self.results if result.status in (status, shown) for gpu in result.gpus))


class Diag(msgspec.Struct, kw_only=True):
    """One run."""

    offset: int = 0
    version: str | None = None
    driver: str | None = None
    device_ids: tuple[str, ...] = ()
    serials: dict[int, str] = {}
    tests: list[Test] = []
    error: str | None = None
    """Why it did not run, in JSON."""
    whole: bool = True
    """Its end is in the text."""


# The table

def joined(lines: Sequence[str]) -> list[tuple[int, str]]:
    """Rows as they were printed, with the offset of each: a mailer breaks them."""
    rows: list[tuple[int, str]] = []
    for offset, line in enumerate(lines):
        text = line[:_WIDEST].strip()
        if rows and text and _is_rest(rows[-1][1], text):
            at, before = rows[-1]
            between = " " if before.startswith("|") and not text.startswith("-") else ""
            rows[-1] = (at, f"{before}{between}{text}")
        elif text:
            rows.append((offset, text))
    return rows


def _is_rest(before: str, text: str) -> bool:
    if before.startswith("|") and not before.endswith(("|", "+")):
        return text == "|" or not text.startswith(("|", "+"))
    return before.startswith("+-") and not before.endswith(("+", "|")) and text.startswith("-")


def cells(row: str) -> tuple[str, str] | None:
    """Name and value of a row, blanks stripped; None for a rule."""
    if not row.startswith("|") or _RULE.match(row):
        return None
    parts = row.strip("|").split("|")
    return " ".join(parts[0].split()), " ".join("|".join(parts[1:]).split())


def section_of(row: str) -> str | None:
    """`Hardware` for the row that begins this category."""
    found = _SECTION.match(row)
    return found[1] if found is not None else None


def is_head(row: str) -> bool:
    """Whether it is the row above all results."""
    return _HEAD.match(row) is not None


_PLUGINS = frozenset((
    "software", "context_create", "memory", "diagnostic", "pcie", "targeted_stress", "targeted_power", "memtest",
    "memory_bandwidth", "sm_stress", "pulse_test", "eud", "cpu_eud", "nvbandwidth", "nccl_tests"))
"""Tests as DCGM 4 names them."""


def is_result(row: str) -> bool:
    """Whether a row alone is unmistakable: `| PCIe | Skip - All |`, `| targeted_power | Fail |`."""
    pair = cells(row)
    if pair is None or not pair[0] or not row.endswith("|"):
        return False
    found = _OUTCOME.match(pair[1])
    return found is not None and (bool(found[2] or found[3]) or (pair[0] in _PLUGINS and not found[5]))


def parse(lines: Sequence[str]) -> list[Diag]:
    """The runs in a table."""
    table = _Table()
    for offset, row in joined(lines):
        table.row(offset, row)
    return table.finish()


class _Table:
    def __init__(self) -> None:
        self._runs: list[Diag] = []
        self._run: Diag | None = None
        self._category = ""
        self._test: Test | None = None
        self._remark: tuple[str, int | None, int] | None = None
        """Kind, GPU and offset of the message that is being put together."""
        self._pieces: list[str] = []

    def row(self, offset: int, row: str) -> None:
        if is_head(row):
            self._begin(offset)
            return
        category = section_of(row)
        if category is not None:
            self._end_remark()
            self._category, self._test = category, None
            return
        pair = cells(row)
        if pair is None:
            if row.startswith("+-") and self._run is not None and self._run.tests:
                self._end_remark()
                self._run.whole = True
            return
        self._pair(offset, *pair)

    def _begin(self, offset: int) -> None:
        self._end_remark()
        self._category, self._test = "", None
        self._run = Diag(offset=offset, whole=False)
        self._runs.append(self._run)

    def _pair(self, offset: int, name: str, value: str) -> None:
        if self._run is None:
            self._begin(offset)
        run = self._run
        assert run is not None
        entity = _ENTITY.match(value) if not name else None
        outcome = _OUTCOME.match(value)
        remark = _REMARK.match(name)
        if entity is not None and self._test is not None:
            self._end_remark()
            status = _WORDS[(entity[3] or "").lower()]
            self._test.results.append(Result(
                status=status, gpus=(int(entity[2]),) if entity[1] == GPU else (), offset=offset))
        elif remark is not None:
            self._end_remark()
            self._remark = (remark[1], int(remark[3]) if remark[2] == GPU else None, offset)
            self._pieces = [value]
        elif not name and outcome is not None and (outcome[2] or outcome[3]) and self._test is not None:
            self._end_remark()
            self._test.results.append(_result(outcome, offset))
        elif not name:
            if self._remark is not None and len(self._pieces) < MOST_TEXT:
                self._pieces.append(value)
        elif self._category == "Metadata" or name.startswith(("DCGM Version", "Driver Version", "GPU Device IDs")):
            self._metadata(run, name, value)
        else:
            self._end_remark()
            self._test = Test(name=clean_text(name, 60), category=self._category, offset=offset, results=[
                _result(outcome, offset) if outcome is not None else Result(status="not run", offset=offset)])
            if outcome is not None and outcome[5]:
                self._note(Remark(text=clean_text(outcome[5], 200), offset=offset, gpu=_named(outcome)))
            if len(run.tests) < MOST_TESTS:
                run.tests.append(self._test)

    def _metadata(self, run: Diag, name: str, value: str) -> None:
        if name == "DCGM Version":
            run.version = clean_text(value, 40) or None
        elif name.startswith("Driver Version"):
            run.driver = clean_text(value, 40) or None
        elif name.startswith("GPU Device IDs"):
            run.device_ids = tuple(re.findall(r"\b[0-9a-fA-F]{4}\b", value))[:256]

    def _note(self, remark: Remark) -> None:
        if self._test is not None and len(self._test.remarks) < MOST_REMARKS:
            self._test.remarks.append(remark)

    def _end_remark(self) -> None:
        if self._remark is not None and self._test is None and self._run is not None:
            # A paste may begin below its test's row, or leave it out.
            self._test = Test(name="", category=self._category, offset=self._remark[2])
            self._run.tests.append(self._test)
        if self._remark is not None:
            kind, gpu, offset = self._remark
            text = clean_text(_put_together(self._pieces), MOST_TEXT)
            named = _OF_GPU.search(text)
            self._note(Remark(text=text, offset=offset, warns=kind != "Info",
                              gpu=gpu if gpu is not None or named is None else int(named[1])))
        self._remark, self._pieces = None, []

    def finish(self) -> list[Diag]:
        self._end_remark()
        for run in self._runs:
            for test in run.tests:
                _sum_up(test)
        return [run for run in self._runs if run.tests or run.version]


def _sum_up(test: Test) -> None:
    """From DCGM 4 on the test's own row stands before those of its GPUs."""
    if len(test.results) > 1 and not test.results[0].gpus:
        test.summary = test.results[0].status
        test.results = test.results[1:]


def _result(outcome: re.Match[str], offset: int) -> Result:
    numbers = tuple(int(number) for number in (outcome[4] or "").split(",") if number.strip())
    return Result(status=_WORDS[outcome[1].lower()], gpus=numbers if (outcome[3] or "").upper() == GPU else (),
                  offset=offset)


def _named(outcome: re.Match[str]) -> int | None:
    numbers = (outcome[4] or "").split(",")
    return int(numbers[0]) if len(numbers) == 1 and numbers[0].strip() else None


def _put_together(pieces: Sequence[str]) -> str:
    text = ""
    for at, piece in enumerate(pieces):
        last = at == len(pieces) - 1
        text += piece + (" " if len(piece) < MESSAGE_PIECE and not last else "")
    return text


# JSON

def _dicts(value: object, key: str) -> Iterator[Mapping[str, Any]]:
    found = value.get(key) if isinstance(value, dict) else None
    for item in found if isinstance(found, list) else ():
        if isinstance(item, dict):
            yield item


def _number(value: object) -> int | None:
    try:
        return int(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else None
    except ValueError:
        return None


def _text(value: object, most: int) -> str | None:
    return clean_text(value, most) or None if isinstance(value, str) else None


ROOTS = ("DCGM Diagnostic", "DCGM GPU Diagnostic")


def parse_json(value: object) -> Diag | None:
    """A run out of `dcgmi diag -j`, None for another document."""
    if not isinstance(value, dict):
        return None
    root = next((value[name] for name in ROOTS if isinstance(value.get(name), dict)), None)
    if root is None:
        return None
    told = [place for place in (value.get("metadata"), value, root) if isinstance(place, dict)]
    run = Diag(
        version=next((text for place in told if (text := _text(place.get("version"), 40))), None),
        driver=next((text for place in told if (text := _text(place.get("Driver Version Detected"), 40))), None),
        error=next((text for place in reversed(told) if (text := _text(place.get("runtime_error"), MOST_TEXT))), None))
    ids = value.get("GPU Device IDs")
    run.device_ids = tuple(text for one in ids if (text := _text(one, 8)))[:256] if isinstance(ids, list) else ()
    serials = value.get("GPU Device Serials")
    for name, serial in serials.items() if isinstance(serials, dict) else ():
        _add_serial(run, name, serial)
    for group in _dicts(value, "entity_groups"):
        if group.get("entity_group") == GPU:
            for entity in _dicts(group, "entities"):
                _add_serial(run, entity.get("entity_id"), entity.get("serial_num"))
                run.device_ids = (*run.device_ids, _text(entity.get("device_id"), 8) or "")[:256]
    for category in _dicts(root, "test_categories"):
        for one in _dicts(category, "tests"):
            if len(run.tests) < MOST_TESTS:
                run.tests.append(_test(one, _text(category.get("category"), 40) or ""))
    return run


def _add_serial(run: Diag, number: object, serial: object) -> None:
    at, text = _number(number), _text(serial, 40)
    if at is not None and text is not None and 0 <= at < 256:
        run.serials[at] = text


def _test(value: Mapping[str, Any], category: str) -> Test:
    test = Test(name=_text(value.get("name"), 60) or "", category=category)
    summary = value.get("test_summary")
    parts = [*_dicts(value, "results"), *([summary] if isinstance(summary, dict) else [])]
    for part in parts:
        status = _WORDS.get((_text(part.get("status"), 20) or "").lower(), "not run")
        group = part.get("entity_group", GPU)
        number = _number(part.get("entity_id", part.get("gpu_id", part.get("gpu_ids"))))
        gpu = number if group == GPU else None
        if part is summary:
            test.summary = status
        else:
            test.results.append(Result(status=status, gpus=() if gpu is None else (gpu,)))
        for warns, key in ((True, "warnings"), (False, "info")):
            said = part.get(key)
            for one in said if isinstance(said, list) else [said] if isinstance(said, str) else ():
                test.remarks += _said(one, gpu, warns, test)
    if not parts:
        test.results.append(Result(status="not run"))
    return test


def _said(one: object, gpu: int | None, warns: bool, test: Test) -> Iterator[Remark]:
    """Up to DCGM 3 the text of a warning has the key of the list."""
    text = _text(one, MOST_TEXT)
    code = None
    if isinstance(one, dict):
        text = _text(one.get("warning", one.get("warnings")), MOST_TEXT)
        code = _number(one.get("error_id"))
    if text is None or len(test.remarks) >= MOST_REMARKS or any(
            before.text == text and before.code == code for before in test.remarks):
        # The summary repeats what its GPUs have.
        return
    named = _OF_GPU.search(text)
    yield Remark(text=text, offset=0, warns=warns, code=code,
                 gpu=gpu if gpu is not None or named is None else int(named[1]))
