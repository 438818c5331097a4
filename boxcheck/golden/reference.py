"""A reference measurement: what good boxes of one kind measured, in a file that others lay beside theirs.

JSON, canonical (keys sorted, no white space, one line feed at the end), so that a signature is over bytes that anybody
can make again. It holds no field for what names a box, its parts or its people; `sharing` makes it. One from elsewhere
is hostile: read with bounds, every number finite and in the range of its limit, every text one printable line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from boxcheck.certify.manifest import canonical
from boxcheck.golden.measure import limits_measured
from boxcheck.registry import LIMITS
from boxcheck.store.regular import open_regular
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError

SCHEMA = "boxcheck.reference/1"
LARGEST_BYTES = 1 << 20
HELP = "boxcheck profile draft --from-run RUN --share FILE writes one"
Short = Annotated[str, Meta(max_length=200)]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class CardKind(msgspec.Struct, frozen=True, kw_only=True):
    """GPUs of one kind in each box."""

    name: Short
    pci_id: Annotated[str, Meta(pattern=r"^([0-9a-f]{4}:[0-9a-f]{4})?$")] = ""
    revision: Annotated[int, Meta(ge=0, le=255)] | None = None
    memory_gib: Count
    count: Count
    vbios: Annotated[tuple[Short, ...], Meta(max_length=64)] = ()
    """Versions, which are of a model and not of a card."""


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """What the boxes are. None and empty: not read."""

    profile: Short | None
    """Name of a profile that comes with boxcheck; None for somebody's own."""
    profile_revision: Count
    profile_sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")]
    """Of the profile that the runs passed."""
    gpus: Annotated[tuple[CardKind, ...], Meta(max_length=64)]
    board: Short | None = None
    cpu: Short | None = None
    cpu_sockets: Count | None = None
    cpu_cores: Count | None = None
    memory_gib: Count | None = None


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """Under what it was measured."""

    boxcheck: Annotated[tuple[Short, ...], Meta(max_length=64)]
    drivers: Annotated[tuple[Short, ...], Meta(max_length=64)]
    kernels: Annotated[tuple[Short, ...], Meta(max_length=64)]
    """Releases of Linux, without what somebody added to them."""
    seconds: Annotated[Mapping[Short, float], Meta(max_length=64)]
    """Planned length by module; the longest."""
    hottest_celsius: Annotated[Mapping[Short, float], Meta(max_length=64)]
    """By sensor, of the hottest GPU of all runs."""
    most_watts: float | None
    held_unread: bool
    """Whether of some GPU nobody told whether its clock was held down."""
    self_signed: bool
    """Whether it is signed on a box that was measured."""


class Quantity(msgspec.Struct, frozen=True, kw_only=True):
    """One limit, and what was measured of it. Values in `unit`."""

    limit: Short
    unit: Short
    better: Literal["higher", "lower"]
    mean: float
    worst: float
    best: float
    spread_percent: float | None
    between_percent: float | None
    over_time_percent: float | None
    bound: float
    """The limit that `profile draft` makes of it."""
    margin_percent: float
    useful: bool
    """False: the bound is so far from the mean that no profile should have it."""
    rule: Annotated[str, Meta(max_length=400)]
    devices: Count
    boxes: Count
    runs: Count
    samples: Count
    by: Annotated[tuple[Short, ...], Meta(max_length=64)] = ()


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """The file."""

    schema: str = SCHEMA
    made: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    """Day, UTC."""
    boxes: Count
    runs: Count
    box: Box
    conditions: Conditions
    measured: Annotated[tuple[Quantity, ...], Meta(max_length=256)]
    not_measured: Annotated[tuple[Short, ...], Meta(max_length=256)]


def reference_bytes(reference: Reference) -> bytes:
    """The bytes of the file."""
    return canonical(msgspec.to_builtins(reference))


def parse_reference(data: bytes, place: str) -> Reference:
    """UsageError for what is none, or holds what cannot be."""
    shown = plain_line(place)
    try:
        raw: Any = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError(f"{shown} is no reference measurement: {plain_line(str(error))[:160]}", HELP) from None
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA:
        is_other = isinstance(schema, str) and schema.startswith("boxcheck.")
        says = f"it is {plain_line(str(schema))[:60]}, not {SCHEMA}" if is_other else f"it does not say {SCHEMA}"
        raise UsageError(f"{shown} is no reference measurement: {says}", HELP)
    try:
        found = msgspec.convert(raw, Reference)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UsageError(f"{shown} is not understood: {plain_line(str(error))[:200]}",
                         "ask for the file anew; a later boxcheck may have written it") from None
    wrong = _wrong(found, raw)
    if wrong:
        raise UsageError(f"{shown} holds what cannot be: {wrong}", "ask for the file anew")
    return found


def _wrong(found: Reference, raw: object) -> str:
    """What is impossible in it, in words; empty where nothing is."""
    text = _unprintable(raw)
    if text is not None:
        return f"a text with control characters, {plain_line(text)[:60]!r}"
    names = [one.limit for one in found.measured]
    if len(set(names)) < len(names):
        return "a limit is there twice"
    for one in found.measured:
        if (says := _wrong_quantity(one)):
            return f"{plain_line(one.limit)}: {says}"
    under = found.conditions
    numbers = {**under.seconds, **under.hottest_celsius, "most_watts": under.most_watts or 0.0}
    for name, value in numbers.items():
        if not math.isfinite(value) or not 0 <= value < 1e9:
            return f"{plain_line(name)} is {value}"
    return ""


def _wrong_quantity(one: Quantity) -> str:
    if one.limit not in limits_measured():
        return "no limit that a run measures is called so"
    spec = LIMITS[one.limit]
    if one.unit != spec.unit or (one.better == "higher") is not (spec.compare == "ge"):
        return f"its unit or direction are another than {spec.unit}"
    for name in ("mean", "worst", "best", "bound"):
        value = getattr(one, name)
        if not math.isfinite(value) or value <= 0 or value > 1e9:
            return f"{name} is {value:g}"
    for name in ("spread_percent", "between_percent", "over_time_percent", "margin_percent"):
        value = getattr(one, name)
        if value is not None and (not math.isfinite(value) or not 0 <= value < 1e6):
            return f"{name} is {value:g}"
    sign = 1 if one.better == "higher" else -1
    if not sign * one.worst <= sign * one.mean * (1 + 1e-9 * sign) or not sign * one.mean <= sign * one.best * (
            1 + 1e-9 * sign) or sign * one.bound > sign * one.worst:
        return "limit, worst, mean and best are not in that order"
    return "" if one.devices and one.boxes and one.runs else "it is of no device, box or run"


def _unprintable(value: object) -> str | None:
    """The first text that is no printable line, the names of fields too."""
    if isinstance(value, str):
        return None if value.isprintable() else value
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return next((found for one in inner if (found := _unprintable(one)) is not None), None)


def read_bytes(place: str) -> bytes:
    """A file from elsewhere, whole. UsageError where it is none, or larger than any reference."""
    shown = plain_line(place)
    try:
        with open_regular(place) as stream:
            data = stream.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror or "").lower() if isinstance(error, OSError) else "is no path"
        raise UsageError(f"{shown}: {why}", HELP) from None
    if len(data) > LARGEST_BYTES:
        raise UsageError(f"{shown} is larger than {LARGEST_BYTES >> 20} MiB, which no reference measurement is", HELP)
    return data


_KERNEL = re.compile(r"\d+(?:\.\d+){1,3}(?:-\d+)?")
_FLAVOURS = frozenset((
    "generic", "oem", "lowlatency", "hwe", "azure", "aws", "gcp", "nvidia", "realtime", "rt", "amd64", "x86", "64",
    "cloud", "arch1", "arch2", "zen", "zen1", "lts", "pve", "default", "server", "tegra",
    "liquorix", "xanmod1", "cachyos"))
_NUMBERED = re.compile(r"(?:fc|el|rc)\d+(?:_\d+)?")


def plain_release(release: str) -> str:
    """`6.8.0-45-generic` of `uname -r`, without what somebody built into the name: that may be theirs."""
    found = _KERNEL.match(release)
    if found is None:
        return ""
    words = re.split(r"[-._]", release[found.end():])
    known = [word for word in words if word in _FLAVOURS or _NUMBERED.fullmatch(word)]
    return "-".join((found[0], *known))


_DRIVER_WORDS = frozenset((
    "nvidia", "amd", "intel", "cuda", "rocm", "hip", "opencl", "driver", "amdgpu", "accelerated", "parallel",
    "processing", "graphics", "portable", "computing", "language", "pocl", "rusticl", "mesa", "numpy", "platform"))
_VERSION = re.compile(r"\d{1,6}(?:\.\d{1,8}){0,4}(?:-\d{1,6})?")


def plain_driver(text: str) -> str:
    """`CUDA 13.0, driver 580.65` of what a runtime says: makers, products and numbers of versions, each part up to the
    first word that is none. What comes behind may be somebody's."""
    parts = []
    for part in text.split(","):
        kept: list[str] = []
        for word in part.split():
            numbered = bool(kept) and _VERSION.fullmatch(kept[-1]) is not None
            if numbered or (word.lower().replace("(r)", "") not in _DRIVER_WORDS and not _VERSION.fullmatch(word)):
                break
            kept.append(word)
        if kept:
            parts.append(" ".join(kept))
    return ", ".join(parts)
