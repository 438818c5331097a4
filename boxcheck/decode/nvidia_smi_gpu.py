"""What one output of nvidia-smi says of one GPU, whichever form it was printed in.

`nvidia-smi -q`, its XML, the table, `-L` and `--query-gpu` name the same facts in five ways. All are brought to the
rows of the long text (`pci/gpu link info/link width/max` -> `16x`), and `gpu_of` reads those. None: the text does not
say, or the GPU has no such thing. What NVML could not read is in `unreadable`, apart from both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from boxcheck.decode.klog.words import normal_bdf
from boxcheck.decode.nvidia_smi import gpu_values
from boxcheck.decode.pci_link import LEGAL_WIDTHS
from boxcheck.decode.text import clean_text, meaningful
from boxcheck.model import Bdf

NO_VALUE = ("N/A", "[N/A]", "Not Supported", "[Not Supported]", "Requested functionality has been deprecated",
            "[Requested functionality has been deprecated]", "[Deprecated]", "None", "")
LOST = ("gpu is lost", "gpu requires reset", "unknown error", "insufficient permissions", "err!",
        "not found", "timeout")
"""Values in place of a reading, lower case and without brackets, by which a GPU or its driver refuses."""

_NUMBER = re.compile(r"-?\d{1,15}(?!\d)(?:\.\d{1,6})?")
_HEX = re.compile(r"(?:0x)?([0-9A-Fa-f]{8})")
_STATE = re.compile(r"P(\d{1,2})")
BUSY_PERCENT = 50
"""At this much utilisation a GPU counts as at work. Chosen: idle desktops show up to 30."""


class SmiGpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU. Memory in MiB, as nvidia-smi prints it."""

    offset: int
    """Line within the text where it begins, from 0."""
    index: int | None = None
    bdf: Bdf | None = None
    name: str | None = None
    brand: str | None = None
    architecture: str | None = None
    serial: str | None = None
    uuid: str | None = None
    vbios: str | None = None
    vendor: int | None = None
    device: int | None = None
    subsystem_vendor: int | None = None
    subsystem_device: int | None = None
    generation: int | None = None
    """PCIe generation of the link as it is now."""
    generation_max: int | None = None
    """What GPU and slot can do together; where host and device are told apart, the lesser of the two."""
    generation_device: int | None = None
    generation_host: int | None = None
    width: int | None = None
    width_max: int | None = None
    """The card's own, whatever the slot has: laptops with 8 lanes show 16x here."""
    replays: int | None = None
    rollovers: int | None = None
    performance_state: int | None = None
    """0 is the fastest; 8 and above are idle."""
    utilization_percent: float | None = None
    memory_mib: float | None = None
    memory_used_mib: float | None = None
    bar1_mib: float | None = None
    temperature_celsius: float | None = None
    shutdown_celsius: float | None = None
    slowdown_celsius: float | None = None
    margin_celsius: float | None = None
    """T.Limit: degrees left to the limit, from Ada and Hopper on."""
    slowdown_margin_celsius: float | None = None
    shutdown_margin_celsius: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    power_default_watts: float | None = None
    power_max_watts: float | None = None
    event_reasons: int | None = None
    """Bits of nvmlClocksEventReasons."""
    ecc: bool | None = None
    ecc_uncorrected_volatile: int | None = None
    ecc_uncorrected: int | None = None
    """Over the life of the card."""
    sram_threshold_exceeded: bool | None = None
    retired_double: int | None = None
    retired_pending: bool | None = None
    remapped_corrected: int | None = None
    remapped_uncorrected: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    unrepairable: bool | None = None
    recovery_action: str | None = None
    reset_required: bool | None = None
    persistence: bool | None = None
    mig: bool | None = None
    virtual: bool | None = None
    """A part of a card that a hypervisor hands out (vGPU): its memory is not the card's."""
    unreadable: tuple[tuple[str, str], ...] = ()
    """(row, what stands in place of its value): `ERR!`, `Unknown Error`, `GPU is lost` ..."""

    @property
    def at_work(self) -> bool | None:
        """Whether it was under load when it was read. None when the text does not tell."""
        if self.utilization_percent is not None:
            return self.utilization_percent >= BUSY_PERCENT
        if self.event_reasons is not None and self.event_reasons & 1:
            return False
        if self.performance_state is not None and self.performance_state >= 5:
            return False
        return None

    @property
    def lost(self) -> str | None:
        """The words by which it is off the bus or waits for a reset, None when it answers."""
        for _, text in self.unreadable:
            if text.lower() in ("gpu is lost", "gpu requires reset"):
                return text
        return None


def number(text: str | None) -> float | None:
    """The number at the beginning of `16x`, `24564 MiB`, `35.5 W`, None for anything else."""
    found = _NUMBER.match(text.strip()) if text else None
    return float(found[0]) if found is not None else None


def amount(text: str | None) -> float | None:
    """A number of something that is never negative."""
    value = number(text)
    return value if value is not None and value >= 0 else None


def count(text: str | None) -> int | None:
    """A whole number that is not negative."""
    value = number(text)
    return int(value) if value is not None and value >= 0 and value == int(value) else None


def refusal(text: str) -> str | None:
    """What a value says in place of a reading, without brackets; None for a reading and for `N/A`."""
    plain = text.strip().strip("[]")
    return plain if plain.lower().startswith(LOST) else None


def lanes(text: str | None) -> int | None:
    """`16x` -> 16; None for a number that no link has, as where there is none (`0x`)."""
    value = count(text)
    return value if value in LEGAL_WIDTHS else None


def generation(text: str | None) -> int | None:
    """A PCIe generation, 1 to 7; None for anything else."""
    value = count(text)
    return value if value is not None and 1 <= value <= 7 else None


def word(text: str | None) -> str | None:
    """A name, cleaned; None for placeholders."""
    if text is None or text.strip() in NO_VALUE or refusal(text) is not None:
        return None
    return meaningful(clean_text(text.strip(), 96))


def flag(text: str | None) -> bool | None:
    """`Yes`, `Enabled`, `Active`, `On` and their opposites; None for anything else."""
    plain = (text or "").strip().lower()
    return True if plain in ("yes", "enabled", "active", "on") else False if plain in (
        "no", "disabled", "not active", "off") else None


def pci_ids(text: str | None) -> tuple[int | None, int | None]:
    """(vendor, device) of `0x268410DE`: the device in the upper half."""
    found = _HEX.fullmatch((text or "").strip())
    if found is None:
        return None, None
    packed = int(found[1], 16)
    return packed & 0xFFFF, packed >> 16


def _first(rows: Mapping[str, str], *paths: str) -> str | None:
    for path in paths:
        text = rows.get(path)
        if text is not None and text.strip() not in NO_VALUE and refusal(text) is None:
            return text
    return None


_GENERATION = "pci/gpu link info/pcie generation/"
_WIDTH = "pci/gpu link info/link width/"


def gpu_of(rows: Mapping[str, str], offset: int, bus: str | None = None, index: int | None = None) -> SmiGpu:
    """The facts of one GPU from the rows of the long text."""
    values = gpu_values(rows)
    device, host = generation(rows.get(_GENERATION + "device max")), generation(rows.get(_GENERATION + "host max"))
    told = generation(rows.get(_GENERATION + "max"))
    most = min((value for value in (told, device, host) if value is not None), default=None)
    vendor, chip = pci_ids(rows.get("pci/device id"))
    subsystem_vendor, subsystem = pci_ids(rows.get("pci/sub system id"))
    state = _STATE.match(rows.get("performance state", "").strip())
    power = ("gpu power readings/", "power readings/")

    def watts(*names: str) -> float | None:
        return amount(_first(rows, *(f"{section}{name}" for section in power for name in names)))

    def celsius(*names: str) -> float | None:
        return number(_first(rows, *(f"temperature/{name}" for name in names)))

    return SmiGpu(
        offset=offset, index=index if index is not None else count(rows.get("minor number")) if bus is None else None,
        bdf=normal_bdf((rows.get("pci/bus id") or "").strip()) or normal_bdf(bus),
        name=word(rows.get("product name")), brand=word(rows.get("product brand")),
        architecture=word(rows.get("product architecture")), serial=word(rows.get("serial number")),
        uuid=word(rows.get("gpu uuid")), vbios=word(rows.get("vbios version")), vendor=vendor, device=chip,
        subsystem_vendor=subsystem_vendor, subsystem_device=subsystem,
        generation=generation(rows.get(_GENERATION + "device current") or rows.get(_GENERATION + "current")),
        generation_max=most, generation_device=device or told, generation_host=host,
        width=lanes(rows.get(_WIDTH + "current")), width_max=lanes(rows.get(_WIDTH + "max")),
        replays=count(rows.get("pci/replays since reset")), rollovers=count(rows.get("pci/replay number rollovers")),
        performance_state=int(state[1]) if state is not None else None,
        utilization_percent=amount(rows.get("utilization/gpu")),
        memory_mib=amount(_first(rows, "fb memory usage/total", "memory usage/total")),
        memory_used_mib=amount(_first(rows, "fb memory usage/used", "memory usage/used")),
        bar1_mib=amount(rows.get("bar1 memory usage/total")),
        temperature_celsius=celsius("gpu current temp", "gpu"),
        shutdown_celsius=celsius("gpu shutdown temp"), slowdown_celsius=celsius("gpu slowdown temp"),
        margin_celsius=celsius("gpu t.limit temp"), slowdown_margin_celsius=celsius("gpu slowdown t.limit temp"),
        shutdown_margin_celsius=celsius("gpu shutdown t.limit temp"),
        power_watts=watts("power draw", "instantaneous power draw", "average power draw"),
        power_limit_watts=watts("current power limit", "power limit", "enforced power limit"),
        power_default_watts=watts("default power limit"), power_max_watts=watts("max power limit"),
        event_reasons=values.get("event_reasons"), ecc=_bool(values.get("ecc")),
        ecc_uncorrected_volatile=values.get("ecc_uncorrected_volatile"), ecc_uncorrected=values.get("ecc_uncorrected"),
        sram_threshold_exceeded=flag(rows.get("ecc errors/aggregate/sram threshold exceeded")),
        retired_double=count(rows.get("retired pages/double bit ecc")),
        retired_pending=_bool(values.get("retired_pending", flag(rows.get("retired pages/pending")))),
        remapped_corrected=values.get("remapped_corrected"), remapped_uncorrected=values.get("remapped_uncorrected"),
        remap_pending=_bool(values.get("remap_pending")), remap_failed=_bool(values.get("remap_failed")),
        unrepairable=flag(rows.get("ecc errors/unrepairable memory")),
        recovery_action=word(rows.get("gpu recovery action")),
        reset_required=flag(rows.get("gpu reset status/reset required")),
        persistence=flag(rows.get("persistence mode")), mig=flag(rows.get("mig mode/current")),
        virtual="VGPU" in rows["gpu virtualization mode/virtualization mode"].upper()
        if "gpu virtualization mode/virtualization mode" in rows else None,
        unreadable=tuple((name, said) for name, text in rows.items() if (said := refusal(text)) is not None)[:64],
    )


def _bool(value: int | bool | None) -> bool | None:
    return None if value is None else bool(value)
