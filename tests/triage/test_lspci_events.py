"""What lspci is judged to say: each event with a text on which it fires and one, a notch away, on which it does not."""

from __future__ import annotations

import pytest

from boxcheck.decode.klog.events import Event
from boxcheck.triage.evidence import Evidence, Section
from boxcheck.triage.tools import lspci

from .lspci_text import (
    UP_1478,
    acs,
    aer,
    amd,
    bridge,
    dpc,
    flattened,
    lane_errors,
    nvidia,
    nvme,
    rdna_card,
    slot_lines,
)

PORT = "0000:40:01.1"
CARD = "0000:41:00.0"


def read(*parts: str) -> Evidence:
    lines = tuple("\n".join(parts).splitlines())
    return lspci.read(Section(variant="lspci", lines=lines, first_line=11))


def events(*parts: str, kind: str | None = None) -> list[Event]:
    return [event for event in read(*parts).events if kind is None or event.kind == kind]


def one(*parts: str, kind: str) -> Event:
    (event,) = events(*parts, kind=kind)
    return event


def box(card: str = "", *, extra: tuple[list[str], ...] = (), slot: str = "", **port: object) -> tuple[str, str]:
    """A root port and an RTX 4090 below it."""
    return (bridge("40:01.1", 0x41, slot=slot or slot_lines(3), extra=extra, **port),  # type: ignore[arg-type]
            card or nvidia("41:00.0", speed=16))


def grave(evidence: Evidence) -> list[Event]:
    return [event for event in evidence.events if event.severity in ("fail", "warn")]


def test_a_sound_pair_says_nothing() -> None:
    assert read(*box()).events == ()


# Width


def test_fewer_lanes_than_both_ends_can_do() -> None:
    event = one(*box(nvidia("41:00.0", speed=16, width=8), width=8), kind="link-width")
    assert (event.severity, event.cause, event.bdf, event.limited_at) == ("fail", "signal", CARD, PORT)
    assert (event.labels, event.width, event.capable_width) == (("x8 of x16",), 8, 16)
    assert "RTX 4090" in event.says


def test_a_slot_of_eight_lanes_is_no_fault() -> None:
    assert events(*box(nvidia("41:00.0", speed=16, width=8), width=8, lanes=8)) == []


def test_a_card_of_eight_lanes_is_no_fault() -> None:
    assert events(*box(nvidia("41:00.0", speed=16, width=8, lanes=8), width=8), kind="link-width") == []


def test_a_drive_with_fewer_lanes_is_a_warning() -> None:
    text = (bridge("00:03.1", 1, lanes=4, width=2), nvme("01:00.0", width=2))
    assert one(*text, kind="link-width").severity == "warn"
    assert events(bridge("00:03.1", 1, lanes=4, width=4), nvme("01:00.0")) == []


def test_ends_that_disagree_are_not_judged() -> None:
    event = one(*box(nvidia("41:00.0", speed=16, width=8), width=16), kind="link-ends-disagree")
    assert event.severity == "info"
    assert events(*box(nvidia("41:00.0", speed=16, width=8), width=16), kind="link-width") == []


@pytest.mark.parametrize("width", [4, 8])
def test_a_card_without_its_port_cannot_tell_a_narrow_slot_from_a_fault(width: int) -> None:
    event = one(nvidia("41:00.0", speed=16, width=width), kind="link-width")
    assert (event.severity, event.cause, event.capable_width) == ("warn", None, 16)
    assert "not in this text" in event.says
    assert events(nvidia("41:00.0", speed=16, width=16), kind="link-width") == []


def test_a_gpu_in_a_laptop_may_have_half_of_its_lanes() -> None:
    card = nvidia("01:00.0", speed=16, width=8)
    for name in ("GA106M [GeForce RTX 3060 Mobile / Max-Q]", "AD107M [GeForce RTX 4060 Max-Q / Mobile]"):
        event = one(card.replace("AD102 [GeForce RTX 4090] [10de:2684]", f"{name} [10de:2520]"), kind="link-width")
        assert (event.severity, "laptops" in event.says) == ("info", True)


@pytest.mark.parametrize(("name", "mark", "label"), [
    ("AD102 [GeForce RTX 4090]", " (downgraded)", "x8 of x16"), ("AD102 [GeForce RTX 4090]", "", "x8 of x16"),
    ("GP104 [GeForce GTX 1080]", " (downgraded)", "x8"), ("GP104 [GeForce GTX 1080]", "", None),
])
def test_a_name_and_a_width_that_grep_left(name: str, mark: str, label: str | None) -> None:
    """`lspci -vv | grep -E 'VGA|LnkSta:'`: what follows is of devices whose names are gone."""
    text = (f"41:00.0 VGA compatible controller: NVIDIA Corporation {name} (rev a1)\n"
            f"\t\tLnkSta:\tSpeed 16GT/s, Width x8{mark}\n")
    assert [(found.severity, found.labels) for found in events(text, kind="link-width")] == (
        [("warn", (label,))] if label else [])
    whole = text.replace("Width x8" + mark, "Width x16") + "\t\tLnkSta:\tSpeed 8GT/s, Width x2 (downgraded)\n"
    assert events(whole, kind="link-width") == []


def test_a_card_whose_registers_are_hidden_is_judged_by_the_database() -> None:
    card = "41:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD102 [10de:2684] (rev a1)\n\tCapabilities: <access denied>"
    assert one(*box(card, width=8), kind="link-width").severity == "fail"
    assert events(*box(card, width=8, lanes=8), kind="link-width") == []
    assert events(*box(card.replace("2684", "ffff"), width=8), kind="link-width") == []


def test_a_port_alone_cannot_tell_what_is_below() -> None:
    event = one(bridge("40:01.1", 0x41, slot=slot_lines(3), width=4), kind="link-width")
    assert (event.severity, event.bdf, event.labels) == ("info", PORT, ("x4 of x16",))
    assert events(bridge("40:01.1", 0x41, slot=slot_lines(3), width=16)) == []


def test_a_card_that_reports_no_lanes() -> None:
    assert one(nvidia("41:00.0", width=0), kind="link-width").severity == "warn"


def test_a_virtual_function_has_no_link_and_is_no_gpu() -> None:
    text = nvidia("41:00.4", width=0).replace("(32-bit, non-prefetchable) [size", "(32-bit, non-prefetchable) [virtual] [size")
    text = text.replace("(64-bit, prefetchable) [size", "(64-bit, prefetchable) [virtual] [size")
    assert events(text) == []


# Speed


def test_an_idle_gpu_is_told_and_not_blamed() -> None:
    event = one(*box(nvidia("41:00.0", speed=2.5), speed=2.5), kind="link-speed")
    assert (event.severity, event.cause, event.capable_speed_gts) == ("info", None, 16)
    assert "nvidia-smi -q -d PCIE" in event.help[0]
    assert grave(read(*box(nvidia("41:00.0", speed=2.5), speed=2.5))) == []


@pytest.mark.parametrize("end", ["port", "card"])
def test_a_port_that_aims_lower_is_a_setting(end: str) -> None:
    aims = {end: {"target": 8}}
    event = one(*box(nvidia("41:00.0", speed=8, **aims.get("card", {})), speed=8, **aims.get("port", {})),
                kind="link-speed")
    assert (event.severity, event.cause) == ("warn", "config")
    assert "capped" in event.says


def test_a_target_that_is_both_ends_best_is_no_cap() -> None:
    assert events(*box(nvidia("41:00.0", speed=8, best=8), speed=8, target=8)) == []


def test_a_drive_that_trained_slowly_is_a_warning() -> None:
    assert one(bridge("00:03.1", 1, lanes=4, width=4, speed=8), nvme("01:00.0", speed=8), kind="link-speed").severity == "warn"
    assert events(bridge("00:03.1", 1, lanes=4, width=4, speed=8, best=8), nvme("01:00.0", speed=8), kind="link-speed") == []


# RDNA


def test_the_link_on_an_rdna_card_is_not_its_slot() -> None:
    text = rdna_card(0x41, "40:01.1", slot={"width": 8})
    event = one(text, kind="link-width")
    assert (event.bdf, event.limited_at, event.severity) == ("0000:43:00.0", PORT, "fail")
    assert "RX 7900 XTX" in event.says
    assert events(rdna_card(0x41, "40:01.1")) == []


def test_an_rdna_card_at_rest_is_told_and_not_blamed() -> None:
    event = one(rdna_card(0x41, "40:01.1", slot={"speed": 2.5}), kind="link-speed")
    assert (event.severity, event.bdf, event.limited_at) == ("info", "0000:43:00.0", PORT)


def test_an_rdna_card_without_its_switch_says_nothing_of_its_slot() -> None:
    evidence = read(amd("43:00.0", speed=16, width=8))
    assert [event.kind for event in evidence.events] == []
    assert any("1002:1478" in note for note in evidence.notes)


def test_a_switch_with_several_gpus_is_named_by_its_uplink() -> None:
    text = (
        bridge("00:01.1", 1, subordinate=4, width=8), bridge("01:00.0", 2, name=UP_1478.replace("1478", "c010"),
                                                           kind="Upstream Port", subordinate=4, width=8),
        bridge("02:00.0", 3, kind="Downstream Port (Slot+)"), bridge("02:01.0", 4, kind="Downstream Port (Slot+)"),
        nvidia("03:00.0", speed=16), nvidia("04:00.0", speed=16))
    event = one(*text, kind="link-width")
    assert (event.bdf, event.limited_at, event.severity) == ("0000:01:00.0", "0000:00:01.1", "fail")
    assert "2 GPUs" in event.says


# A port that feels a card


DEAD = {"speed": 2.5, "width": 0, "dll": "-", "reports_dll": "+"}


def test_a_slot_that_feels_a_card_without_a_link() -> None:
    event = one(bridge("40:01.1", 0x41, slot=slot_lines(3), **DEAD), kind="link-down")  # type: ignore[arg-type]
    assert (event.severity, event.bdf, event.labels) == ("warn", PORT, ("slot 3",))


@pytest.mark.parametrize("slot", [slot_lines(3, present="-"), slot_lines(3, power="+"), ""])
def test_an_empty_or_unpowered_slot_is_silent(slot: str) -> None:
    assert events(bridge("40:01.1", 0x41, slot=slot, **DEAD), kind="link-down") == []  # type: ignore[arg-type]


def test_a_slot_without_hot_plug_may_only_seem_full() -> None:
    text = bridge("40:01.1", 0x41, slot=slot_lines(3, hot="-"), **DEAD)  # type: ignore[arg-type]
    assert one(text, kind="link-down").severity == "info"


def test_containment_holds_a_link_down() -> None:
    event = one(*box(extra=(dpc("+", 2),)), kind="dpc")
    assert (event.severity, event.labels) == ("fail", ("reason 2",))
    assert "fatal error message" in event.says
    assert events(*box(extra=(dpc("-", 2),)), kind="dpc") == []


# Error bits


@pytest.mark.parametrize(("bits", "severity", "cause", "agent"), [
    ("BadTLP", "warn", "signal", "receiver"),
    ("RxErr BadDLLP", "warn", "signal", "receiver"),
    ("Timeout", "warn", "config", "transmitter"),
    ("BadTLP Timeout", "warn", "signal", "receiver"),
    ("Rollover", "fail", "signal", "transmitter"),
])
def test_error_bits_of_a_card(bits: str, severity: str, cause: str, agent: str) -> None:
    event = one(*box(nvidia("41:00.0", speed=16, extra=(aer(ce=bits),))), kind="aer-correctable")
    assert (event.severity, event.cause, event.agent, event.bdf) == (severity, cause, agent, CARD)
    assert set(event.labels) == set(bits.split())
    assert event.count == 1


def test_the_direction_of_damaged_packets() -> None:
    at_card = one(*box(nvidia("41:00.0", speed=16, extra=(aer(ce="BadTLP"),))), kind="aer-correctable")
    at_port = one(*box(extra=(aer(ce="BadTLP", root=True),)), kind="aer-correctable")
    assert "host to card" in at_card.says
    assert "card to host" in at_port.says
    assert at_port.bdf == PORT


def test_masked_bits_may_stem_from_training() -> None:
    event = one(*box(nvidia("41:00.0", speed=16, extra=(aer(ce="BadTLP", ce_mask="BadTLP"),))), kind="aer-correctable")
    assert event.severity == "info"
    partly = one(*box(nvidia("41:00.0", speed=16, extra=(aer(ce="BadTLP RxErr", ce_mask="BadTLP"),))),
                 kind="aer-correctable")
    assert partly.severity == "warn"
    rollover = one(*box(nvidia("41:00.0", speed=16, extra=(aer(ce="Rollover", ce_mask="Rollover"),))),
                   kind="aer-correctable")
    assert rollover.severity == "fail"


def test_advisory_errors_never_count_against_a_link() -> None:
    event = one(*box(nvidia("41:00.0", speed=16, extra=(aer(ce="AdvNonFatalErr"),))), kind="aer-correctable")
    assert (event.severity, event.cause, event.labels) == ("info", "benign", ("NonFatalErr",))
    evidence = read(*box(nvidia("41:00.0", speed=16, extra=(aer(ce="AdvNonFatalErr"),)),
                         extra=(aer(ce="AdvNonFatalErr", root=True),)))
    (folded,) = evidence.events
    assert (folded.count, folded.bdf) == (2, None)


@pytest.mark.parametrize(("bits", "mask", "advisory", "kind", "severity"), [
    ("SDES", "", "", "aer-fatal", "fail"),
    ("MalfTLP", "", "", "aer-fatal", "fail"),
    ("CmpltTO", "", "", "aer-nonfatal", "fail"),
    ("CmpltTO", "CmpltTO", "", "aer-nonfatal", "warn"),
    ("CmpltTO", "", "AdvNonFatalErr", "aer-nonfatal", "warn"),
    ("SDES", "", "AdvNonFatalErr", "aer-fatal", "fail"),
    ("UnsupReq", "", "", "aer-nonfatal", "info"),
    ("UnsupReq CmpltTO", "", "", "aer-nonfatal", "fail"),
])
def test_uncorrectable_errors(bits: str, mask: str, advisory: str, kind: str, severity: str) -> None:
    card = nvidia("41:00.0", speed=16, extra=(aer(ue=bits, ue_mask=mask, ce=advisory),))
    assert one(*box(card), kind=kind).severity == severity


def test_an_uncorrectable_error_away_from_gpus_is_a_warning() -> None:
    text = bridge("00:03.1", 1, lanes=4, width=4, extra=(aer(ue="CmpltTO", root=True),))
    assert one(text, nvme("01:00.0"), kind="aer-nonfatal").severity == "warn"


def test_the_sender_that_a_root_port_keeps() -> None:
    event = one(*box(extra=(aer(root=True, source="4100"),)), kind="aer-correctable")
    assert (event.severity, event.bdf, event.reporter) == ("info", CARD, PORT)
    assert events(*box(extra=(aer(root=True, source="0000"),))) == []
    assert one(*box(extra=(aer(root=True, fatal_source="4100"),)), kind="aer-nonfatal").severity == "warn"


def test_one_lane_of_sixteen() -> None:
    event = one(*box(extra=(lane_errors("3"),)), kind="lane-errors")
    assert event.labels == ("lane 3",)
    assert one(*box(extra=(lane_errors("0 1 2 3"),)), kind="lane-errors").severity == "info"
    assert events(*box(extra=(lane_errors("0 1 2 3 4"),)), kind="lane-errors") == []


def test_a_clean_register_that_nobody_counts_is_said() -> None:
    quiet = read(*box(nvidia("41:00.0", speed=16, corr="-", extra=(aer(),)), extra=(aer(root=True, reports="-"),)))
    assert quiet.events == ()
    assert any("DevCtl CorrErr-" in note for note in quiet.notes)
    assert any("CERptEn-" in note for note in quiet.notes)
    loud = read(*box(nvidia("41:00.0", speed=16, extra=(aer(),)), extra=(aer(root=True),)))
    assert not any("nobody counts" in note for note in loud.notes)


# Memory windows


def test_a_small_window() -> None:
    event = one(*box(nvidia("41:00.0", speed=16, vram="[size=256M]", current="256MB")), kind="bar-small")
    assert (event.severity, event.cause, event.bar, event.size_bytes) == ("warn", "config", 1, 256 << 20)
    assert "32 GiB" in event.says


def test_a_window_that_the_vbios_keeps_small() -> None:
    card = nvidia("41:00.0", speed=16, vram="[size=256M]", current="256MB", rebar="64MB 128MB 256MB")
    assert one(*box(card), kind="bar-small").severity == "info"


def test_a_window_as_large_as_the_memory() -> None:
    assert events(*box(nvidia("41:00.0", speed=16, vram="[size=32G]")), kind="bar-small") == []


def test_a_card_that_the_database_lacks_is_judged_by_what_it_offers() -> None:
    unknown = "NVIDIA Corporation GA106 [GeForce RTX 3060] [10de:2504]"
    small = nvidia("41:00.0", name=unknown, speed=16, vram="[size=256M]", current="256MB", rebar="256MB 512MB 1GB 16GB")
    assert one(*box(small), kind="bar-small").severity == "warn"
    full = nvidia("41:00.0", name=unknown, speed=16, vram="[size=256M]", current="256MB", rebar="64MB 128MB 256MB")
    assert events(*box(full), kind="bar-small") == []
    # A window can be offered larger than the memory: 8 GiB of 8 GiB is whole.
    whole = nvidia("41:00.0", name=unknown, speed=16, vram="[size=8G]", current="8GB", rebar="256MB 8GB 16GB")
    assert events(*box(whole), kind="bar-small") == []


@pytest.mark.parametrize("place", ["<ignored>", "<unassigned>"])
def test_a_window_without_an_address(place: str) -> None:
    event = one(*box(nvidia("41:00.0", speed=16, place=place)), kind="bar-assign-fail")
    assert (event.severity, event.cause, event.labels) == ("fail", "config", ("BAR 1",))


def test_a_doorbell_window_that_was_ignored() -> None:
    card = amd("43:00.0").replace("Memory at 28800000000 (64-bit, prefetchable) [size=256M]",
                                  "Memory at <ignored> (64-bit, prefetchable)")
    assert one(card, kind="bar-assign-fail").labels == ("BAR 2",)


def test_an_io_window_without_an_address_is_harmless() -> None:
    event = one(*box(nvidia("41:00.0", speed=16, io="<unassigned>")), kind="bar-assign-fail")
    assert (event.severity, event.cause) == ("benign", "benign")


def test_windows_of_other_devices_are_not_judged() -> None:
    assert events(nvme("04:00.0").replace("at f2410000", "at <ignored>"), kind="bar-assign-fail") == []


# Drivers


@pytest.mark.parametrize(("driver", "kind", "severity"), [
    (None, "driver-missing", "warn"), ("nouveau", "driver-other", "warn"), ("vfio-pci", "driver-other", "info"),
    ("nvidia", None, None),
])
def test_the_driver_of_a_gpu(driver: str | None, kind: str | None, severity: str | None) -> None:
    found = events(*box(nvidia("41:00.0", speed=16, driver=driver)))
    assert [(event.kind, event.severity) for event in found] == ([(kind, severity)] if kind else [])


def test_a_list_without_drivers_says_nothing_of_them() -> None:
    assert events("41:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)") == []


def test_a_text_cut_before_the_driver_says_nothing_of_it() -> None:
    text = "\n".join(box(nvidia("41:00.0", speed=16, driver=None)))
    assert events(text.split("\tKernel modules")[0]) == []


# Lost


@pytest.mark.parametrize("card", [
    "41:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev ff)",
    "41:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD102 [GeForce RTX 4090] [10de:2684] (rev ff) (prog-if ff)\n"
    "\t!!! Unknown header type 7f\n\tKernel driver in use: nvidia\n\tKernel modules: nvidia",
])
def test_a_gpu_that_fell_off_the_bus(card: str) -> None:
    found = events(*box(card))
    assert [(event.kind, event.severity, event.bdf) for event in found] == [("gpu-lost", "fail", CARD)]
    assert "RTX 4090" in found[0].says
    audio = "41:00.1 Audio device: NVIDIA Corporation AD102 High Definition Audio Controller (rev ff)"
    assert [event.kind for event in events(*box(card), audio)] == ["gpu-lost"]


def test_a_lost_card_keeps_the_revision_that_names_it() -> None:
    lost = "43:00.0 VGA compatible controller: Advanced Micro Devices, Inc. [AMD/ATI] Navi 31 [Radeon RX 7900 XT/7900 XTX] (rev ff)"
    evidence = read(rdna_card(0x41, "40:01.1"), lost)
    (event,) = [event for event in evidence.events if event.kind == "gpu-lost"]
    assert "RX 7900 XTX" in event.says
    assert next(device for device in evidence.devices if device.bdf == "0000:43:00.0").more["part"] == "rx7900xtx"
    assert read(lost).devices[0].more.get("part") is None


def test_another_device_that_does_not_answer() -> None:
    text = "04:00.0 Non-Volatile memory controller: Samsung Electronics Co Ltd Device a80a (rev ff)"
    assert one(text, kind="device-lost").severity == "warn"
    assert events(text.replace("(rev ff)", "(rev fe)")) == []


def test_a_gpu_whose_bytes_read_as_ones() -> None:
    rows = "\n".join(f"{row:02x}: " + " ".join(["ff"] * 16) for row in range(0, 64, 16))
    assert one(f"41:00.0 VGA compatible controller: NVIDIA Corporation Device 2684\n{rows}", kind="gpu-lost").bdf == CARD


# Atomics, ACS


def test_atomics_that_do_not_reach_memory() -> None:
    text = rdna_card(0x41, "40:01.1", card={"request": "ReqEn-"}).replace("Routing- 32bit+ 64bit+", "Routing- 32bit- 64bit-")
    event = one(text, kind="atomics-unsupported")
    assert (event.severity, event.cause, event.bdf) == ("warn", "config", "0000:43:00.0")
    assert "root port 40:01.1" in event.says
    assert events(rdna_card(0x41, "40:01.1", card={"request": "ReqEn-"})) == []
    # The driver found them working: it knows better.
    assert events(text.replace("AtomicOpsCtl: ReqEn-\n", "AtomicOpsCtl: ReqEn+\n"), kind="atomics-unsupported") == []


def test_an_nvidia_card_needs_no_atomics() -> None:
    assert events(*box(atomics="Routing- 32bit- 64bit- 128bitCAS-")) == []


def two_gpus(ports: list[str]) -> tuple[str, ...]:
    return tuple(text for step, bits in enumerate(ports) for text in (
        bridge(f"40:0{step + 1}.1", 0x41 + step, extra=(acs(bits),)), nvidia(f"{0x41 + step:02x}:00.0", speed=16)))


def test_acs_redirects_between_gpus() -> None:
    event = one(*two_gpus(["SrcValid ReqRedir CmpltRedir", "SrcValid ReqRedir"]), kind="acs-redirect")
    assert (event.severity, event.count, event.bdf) == ("info", 2, None)
    assert events(*two_gpus(["SrcValid", "SrcValid UpstreamFwd"]), kind="acs-redirect") == []
    assert events(*box(extra=(acs("ReqRedir"),)), kind="acs-redirect") == []


# All together


def test_flattened_text_is_judged_alike() -> None:
    text = "\n".join(box(nvidia("41:00.0", speed=16, width=8, vram="[size=256M]", extra=(aer(ce="BadTLP"),)), width=8))
    plain = [(event.kind, event.severity, event.bdf, event.labels) for event in events(text)]
    assert len(plain) == 3
    assert [(event.kind, event.severity, event.bdf, event.labels) for event in events(flattened(text))] == plain


def test_lines_are_those_of_the_file() -> None:
    first, second = box(nvidia("41:00.0", speed=16, width=8), width=8)
    evidence = read(first, second)
    (event,) = evidence.events
    assert event.line == 11 + len(first.splitlines()) + 1  # a blank line between them
    assert [device.line for device in evidence.devices] == [11, event.line]


def test_what_a_device_is_told_as() -> None:
    evidence = read(*box(nvidia("41:00.0", speed=2.5, extra=(aer(ce="BadTLP", ue="SDES UnsupReq"),)), speed=2.5))
    port, card = evidence.devices
    assert (port.secondary_bus, port.port_type, port.slot) == (0x41, "root-port", "3")
    assert (card.parent, card.driver, card.slot, card.numa_node, card.iommu_group) == (PORT, "nvidia", "3", 0, 41)
    assert card.link is not None
    assert (card.link.speed_gts, card.link.width, card.link.max_speed_gts, card.link.max_width, card.link.under_load) == (
        2.5, 16, 16, 16, None)
    assert card.aer == {"correctable": {"BadTLP": 1}, "nonfatal": {"UnsupReq": 1}, "fatal": {"SDES": 1}}
    assert [(bar.index, bar.size_bytes, bar.assigned) for bar in card.bars][1] == (1, 32 << 30, True)
    assert (card.more["part"], card.more["part_name"]) == ("rtx4090", "RTX 4090")
    assert evidence.readings["gpu_chains"] == {CARD: [PORT]}
    assert evidence.tool == "lspci -nn -vv"


def test_a_plain_list_says_what_it_cannot_tell() -> None:
    evidence = read("41:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)")
    assert evidence.events == ()
    assert any("lspci -vvv" in note for note in evidence.notes)
    assert evidence.devices[0].link is None
    assert evidence.devices[0].aer is None
    assert evidence.devices[0].more["part"] == "rtx4090"


def test_hidden_capabilities_ask_for_root() -> None:
    evidence = read("41:00.0 3D controller: NVIDIA Corporation Device 2330 (rev a1)\n\tCapabilities: <access denied>\n"
                    "\tKernel driver in use: nvidia")
    assert evidence.events == ()
    assert any("sudo lspci -vvv" in note and "not absent" in note for note in evidence.notes)


@pytest.mark.parametrize(("name", "rev", "part"), [
    ("NVIDIA Corporation AD102 [GeForce RTX 4090]", "a1", "rtx4090"),
    ("NVIDIA Corporation AD102GL [RTX 6000 Ada Generation]", "a1", "rtx-6000-ada"),
    ("NVIDIA Corporation Device 2330", "a1", "h100-sxm5"),
    ("NVIDIA Corporation GA102 [GeForce RTX 3090 Ti]", "a1", "rtx3090ti"),
    ("NVIDIA Corporation GA102 [GeForce RTX 3090]", "a1", "rtx3090"),
    ("Advanced Micro Devices, Inc. [AMD/ATI] Navi 31 [Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M]", "c8", "rx7900xtx"),
    ("Advanced Micro Devices, Inc. [AMD/ATI] Navi 31 [Radeon RX 7900 XT/7900 XTX]", "cc", "rx7900xt"),
    ("NVIDIA Corporation AD102 [GeForce RTX 4090 Laptop]", "a1", None),
    ("NVIDIA Corporation GA102 [GeForce RTX 3080 Lite Hash Rate]", "a1", None),
])
def test_a_card_is_known_by_its_name(name: str, rev: str, part: str | None) -> None:
    evidence = read(f"41:00.0 VGA compatible controller: {name} (rev {rev})")
    assert evidence.devices[0].more.get("part") == part


def test_a_hypervisors_ports_are_not_judged() -> None:
    for name in ("Red Hat, Inc. QEMU PCIe Root port [1b36:000c]", "Red Hat, Inc. QEMU PCIe Root port"):
        port = bridge("00:02.0", 1, name=name, width=1, speed=2.5)
        assert events(port, nvidia("01:00.0", speed=16, width=16)) == []


def test_what_pcilib_complained_of_is_passed_on() -> None:
    evidence = read("pcilib: sysfs_read_vpd: read failed: No such device", *box())
    assert any("sysfs_read_vpd" in note for note in evidence.notes)


def test_a_window_whose_register_is_empty() -> None:
    card = nvidia("41:00.0", speed=16).replace("18000000000 (64-bit, prefetchable) [size", "18000000000 (64-bit, prefetchable) [virtual] [size")
    event = one(*box(card), kind="bar-lost")
    assert (event.severity, event.bar) == ("warn", 1)
    assert events(*box(nvidia("41:00.0", speed=16)), kind="bar-lost") == []


def test_a_gpu_that_the_second_list_lacks() -> None:
    rest = "\n".join(f"00:0{k}.0 Host bridge: Intel Corporation Device 09a2" for k in range(4))
    card = "\n41:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)\n"
    event = one(rest + card, rest, kind="gpu-lost")
    assert (event.severity, event.labels) == ("warn", ("not listed",))
    assert events(rest + card, rest + card, kind="gpu-lost") == []
    # A second list of a few functions is none of the machine.
    assert events(rest + card, "00:01.0 Host bridge: Intel Corporation Device 09a2", kind="gpu-lost") == []


def test_a_slow_link_on_the_card_itself_is_not_told() -> None:
    assert events(rdna_card(0x41, "40:01.1", inner={"speed": 2.5})) == []
    assert one(rdna_card(0x41, "40:01.1", inner={"width": 8}), kind="link-width").severity == "warn"


@pytest.mark.parametrize(("words", "instead"), [
    ("AtomicOpsCap: Routing+", "AtomicOpsCap: Routing-"), ("AtomicOpsCtl: EgressBlck-", "AtomicOpsCtl: EgressBlck+")])
def test_a_switch_that_stops_atomics(words: str, instead: str) -> None:
    text = rdna_card(0x41, "40:01.1", card={"request": "ReqEn-"})
    assert words in text
    assert events(text, kind="atomics-unsupported") == []
    assert "port 42:00.0" in one(text.replace(words, instead), kind="atomics-unsupported").says


def test_who_counts_is_asked_at_the_slot_and_not_on_the_card() -> None:
    def silent(**links: dict[str, object]) -> bool:
        text = rdna_card(0x41, "40:01.1", **links)  # type: ignore[arg-type]
        text = text.replace("\tKernel driver in use: pcieport", "\n".join(aer()) + "\n\tKernel driver in use: pcieport")
        return any("nobody counts" in note for note in read(text).notes)

    assert silent(slot={"corr": "-"})
    assert not silent(inner={"corr": "-"})
    assert not silent()


@pytest.mark.parametrize("instead", [
    ("bytes, Disabled-", "bytes, Disabled+"), ("(Slot+)", "(Slot-)"), ("LLActRep+", "LLActRep-")])
def test_a_port_that_was_switched_off_or_cannot_tell_is_silent(instead: tuple[str, str]) -> None:
    text = bridge("40:01.1", 0x41, slot=slot_lines(3), **DEAD)  # type: ignore[arg-type]
    assert instead[0] in text
    assert one(text, kind="link-down")
    assert events(text.replace(*instead), kind="link-down") == []
