"""AER messages of every kernel, as the ports and the firmware tell them."""

from __future__ import annotations

import pytest

from boxcheck.decode.klog import Event, parse_log
from boxcheck.decode.klog.aer_bits import CORRECTABLE, LONG_NAMES, MEANING, UNCORRECTABLE
from tests.decode.klog_lines import GPU, PORT, Want, aer, events, seen
from tests.decode.test_klog_events import SINCE_73


@pytest.mark.parametrize(("word", "kind", "names"), [
    ("Corrected", "aer-correctable", CORRECTABLE), ("Correctable", "aer-correctable", CORRECTABLE),
    ("Uncorrected (Non-Fatal)", "aer-nonfatal", UNCORRECTABLE), ("Uncorrectable (Fatal)", "aer-fatal", UNCORRECTABLE),
])
def test_every_aer_bit_has_its_name_and_meaning(word: str, kind: str, names: dict[int, str]) -> None:
    for bit, name in names.items():
        (event,) = events(*aer(word, 1 << bit))
        assert (event.kind, event.bdf, event.labels) == (kind, PORT, (name,))
        assert event.cause == MEANING[name][0]
        assert MEANING[name][1] in event.says


def test_masked_bits_are_not_reported() -> None:
    (event,) = events(*aer("Corrected", 0x2041, 0x2000))
    assert event.labels == ("RxErr", "BadTLP")
    assert (event.agent, event.layer, event.severity) == ("receiver", "data link", "warn")


def test_severity_follows_the_bit() -> None:
    by_label = {name: events(*aer("Corrected", 1 << bit))[0].severity for bit, name in CORRECTABLE.items()}
    assert by_label == {
        "RxErr": "warn", "BadTLP": "warn", "BadDLLP": "warn", "Rollover": "fail", "Timeout": "warn",
        "NonFatalErr": "info", "CorrIntErr": "warn", "HeaderOF": "info",
    }


def test_the_long_names_of_old_kernels() -> None:
    """Where the status line is missing, the bit lines tell; both vocabularies."""
    for long_name, short in LONG_NAMES.items():
        if short in CORRECTABLE.values():
            (event,) = events(
                f"pcieport {PORT}: PCIe Bus Error: severity=Corrected, type=Data Link Layer, id=4009(Receiver ID)",
                f"pcieport {PORT}:    [ 6] {long_name.title()}",
            )
            assert (event.labels, event.agent) == ((short,), "receiver")


def test_a_packed_id_is_the_sender() -> None:
    (event,) = events(
        f"pcieport {PORT}: AER: Corrected error received: id=4100",
        f"nvidia {GPU}: PCIe Bus Error: severity=Corrected, type=Physical Layer, id=4100(Receiver ID)",
        f"nvidia {GPU}:   device [10de:2684] error status/mask=00000001/0000a000",
    )
    assert (event.bdf, event.reporter, event.requester, event.labels) == (GPU, PORT, GPU, ("RxErr",))


def test_records_of_two_devices_interleave() -> None:
    other = "0000:c0:03.1"
    one, two = aer("Correctable", 0x40), aer("Correctable", 0x1000, device=other, port=other, agent="Transmitter")
    mixed = [line for pair in zip(one, two, strict=True) for line in pair]
    assert seen(*mixed) == [
        ("aer-correctable", PORT, ("BadTLP",), 1, "warn", "signal"),
        ("aer-correctable", other, ("Timeout",), 1, "warn", "power"),
    ]


def test_a_record_cut_at_the_top_is_told_by_its_bits() -> None:
    for name, kind in (("BadTLP", "aer-correctable"), ("Timeout", "aer-correctable"), ("CmpltTO", "aer-nonfatal")):
        status = {"BadTLP": 0x40, "Timeout": 0x1000, "CmpltTO": 0x4000}[name]
        (event,) = events(f"pcieport {PORT}:   device [1022:1483] error status/mask={status:08x}/00002000",
                          f"pcieport {PORT}:    [12] {name}               (First)")
        assert (event.kind, event.bdf, event.labels) == (kind, PORT, (name,))


GHES = (
    "{7}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 2",
    "{7}[Hardware Error]: It has been corrected by h/w and requires no further action",
    "{7}[Hardware Error]: event severity: corrected",
    "{7}[Hardware Error]:  Error 0, type: corrected",
)


def test_firmware_first_records() -> None:
    assert seen(*GHES, "{7}[Hardware Error]:   section_type: PCIe error",
                "{7}[Hardware Error]:   device_id: 0000:41:00.0",
                "{7}[Hardware Error]:   aer_cor_status: 0x00000041, aer_cor_mask: 0x00000001") == [
        ("ghes-pcie", GPU, ("BadTLP",), 1, "warn", "signal")]
    assert seen(*GHES, "{7}[Hardware Error]:   section_type: memory error",
                "{7}[Hardware Error]:   error_type: 2, single-bit ECC",
                "{7}[Hardware Error]:   DIMM location: BANK 0 DIMM 1") == [
        ("ghes-memory", None, ("BANK 0 DIMM 1",), 1, "warn", "memory")]
    assert seen(*GHES, "{7}[Hardware Error]:   section_type: ARM processor error") == [
        ("ghes-other", None, ("ARM processor error",), 1, "warn", None)]


def test_a_graver_repetition_raises_the_event() -> None:
    section = ("{7}[Hardware Error]:   section_type: PCIe error", "{7}[Hardware Error]:   device_id: 0000:41:00.0",
               "{7}[Hardware Error]:   aer_uncor_status: 0x00000020, aer_uncor_mask: 0x00000000")
    fatal = tuple(line.replace("corrected", "fatal") for line in GHES if "Error" in line)
    assert seen(*GHES, *section, *fatal, *section) == [("ghes-pcie", GPU, ("SDES",), 2, "fail", "signal")]
    (event,) = events(f"pcieport {PORT}: pciehp: Slot(12): Button press: will power off in 5 sec",
                      f"pcieport {PORT}: pciehp: Slot(12): Link Down", *["usb 1-1: an ordinary line"] * 300,
                      f"pcieport {PORT}: pciehp: Slot(12): Link Down")
    assert (event.severity, event.cause, event.count) == ("warn", "signal", 2)


def test_two_errors_of_one_record_and_two_records() -> None:
    section = ("{7}[Hardware Error]:   section_type: PCIe error", "{7}[Hardware Error]:   device_id: 0000:41:00.0",
               "{7}[Hardware Error]:   aer_uncor_status: 0x00000020, aer_uncor_mask: 0x00000000")
    second = tuple(line.replace("41:00.0", "42:00.0") for line in section)
    fatal = "{7}[Hardware Error]:  Error 1, type: fatal"
    assert seen(*GHES, *section, fatal, *second, *GHES, *section) == [
        ("ghes-pcie", GPU, ("SDES",), 2, "warn", "signal"),
        ("ghes-pcie", "0000:42:00.0", ("SDES",), 1, "fail", "signal"),
    ]


def test_the_device_lines_of_a_firmware_first_error_alone() -> None:
    assert seen("nvidia 0000:41:00.0: AER: aer_status: 0x00000040, aer_mask: 0x00002000",
                "nvidia 0000:41:00.0:    [ 6] BadTLP",
                "nvidia 0000:41:00.0: AER: aer_layer=Data Link Layer, aer_agent=Receiver ID") == [
        ("ghes-pcie", GPU, ("BadTLP",), 1, "warn", "signal")]


def burst(count: int, apart: float, before: str = "", status: str = "00000040") -> Event:
    """The event of so many errors of one device, `apart` seconds from each other."""
    lines = [before] if before else []
    for number in range(count):
        lines += [f"[{100 + number * apart + at / 1e6:13.6f}] {line.format(status=status)}" for at, line in enumerate(SINCE_73)]
    found = [event for event in parse_log("\n".join(lines)).events if event.kind == "aer-correctable"]
    assert [event.count for event in found] == [count]
    return found[0]


@pytest.mark.parametrize(("count", "apart", "limited"), [
    (9, 0.01, False), (10, 0.01, True), (10, 0.6, False), (10, 0.5, True), (200, 0.01, False), (40, 1.0, False)])
def test_as_many_errors_as_the_kernel_logs_may_have_been_more(count: int, apart: float, limited: bool) -> None:
    """Ten of a device within five seconds. Far more than that are of a kernel whose limit was lifted."""
    found = burst(count, apart)
    assert (found.limited, found.at_least) == (limited, limited)


@pytest.mark.parametrize(("release", "limited"), [("6.15.11-amd64", False), ("6.16.0-1-amd64", True), ("7.2.12+deb13-amd64", True)])
def test_older_words_are_limited_by_the_kernels_release(release: str, limited: bool) -> None:
    """The limit came with Linux 6.16, its words with 7.3."""
    lines = [f"[    0.000000] Linux version {release} (debian-kernel@lists.debian.org)"]
    for number in range(10):
        lines += [f"[  100.{number:02}0000] pci 0000:c2:00.0: PCIe Bus Error: severity=Correctable, type=Data Link Layer, (Receiver ID)",
                  f"[  100.{number:02}0010] pci 0000:c2:00.0:   device [10de:2684] error status/mask=00000040/0000e000"]
    assert [event.limited for event in parse_log("\n".join(lines)).events] == [limited]


def test_who_saw_an_error_is_known_where_the_record_names_nobody() -> None:
    """7.3 tells it of each bit: the receiver damaged packets, the transmitter missing acknowledgements."""
    seen = {status: burst(1, 1.0, status=status).agent for status in ("00000040", "00000081", "00001000", "00000100", "00001040")}
    assert seen == {"00000040": "receiver", "00000081": "receiver", "00001000": "transmitter", "00000100": "transmitter",
                    "00001040": None}


def test_a_record_whose_status_line_is_lost_takes_its_bits_from_the_lines_below() -> None:
    lines = [SINCE_73[1], "pci 0000:c2:00.0:   [ 8] Rollover          | Transmitter | Data Link Layer  "]
    (found,) = parse_log("\n".join(lines)).events
    assert (found.labels, found.agent, found.layer) == (("Rollover",), "transmitter", "data link")


def test_a_message_of_a_non_fatal_error_after_an_advisory_one_is_grave() -> None:
    """What stands behind a corrected NonFatalErr is advisory, unless the port says that such a message came."""
    head = ["pci 0000:c2:00.0: PCIe Bus Error: severity=Correctable",
            "pci 0000:c2:00.0:   device [10de:2684] error status/mask=00002000/0000c000"]
    came = ["pcieport 0000:c0:01.0: AER: Uncorrectable (Non-Fatal) Error message received from 0000:c2:00.0"]
    record = ["pci 0000:c2:00.0: PCIe Bus Error: severity=Uncorrectable (Non-Fatal)",
              "pci 0000:c2:00.0:   device [10de:2684] error status/mask=00004000/00000000"]
    kinds = [[(event.kind, event.labels) for event in parse_log("\n".join([*head, *more, *record])).events] for more in ([], came)]
    assert kinds == [[("aer-correctable", ("NonFatalErr",)), ("aer-correctable", ("CmpltTO",))],
                     [("aer-correctable", ("NonFatalErr",)), ("aer-nonfatal", ("CmpltTO",))]]


def test_a_card_on_cxl_and_several_errors_in_one_message_since_7_3() -> None:
    (found,) = parse_log("\n".join((
        "pcieport 0000:c0:01.0: AER: Multiple Correctable Error messages received, first one from 0000:c2:00.0",
        "pci 0000:c2:00.0: CXL Bus Error: severity=Correctable",
        SINCE_73[2].format(status="00000080")))).events
    assert (found.labels, found.count, found.multiple, found.requester) == (("BadDLLP",), 1, True, "0000:c2:00.0")


def test_a_status_line_alone_is_an_error_of_the_register_that_its_mask_is_of() -> None:
    def told(*status_mask: str) -> list[Want]:
        return seen(*(f"nvidia {GPU}:   device [10de:2684] error status/mask={both}" for both in status_mask))

    assert told("00004000/00400000") == [("aer-nonfatal", GPU, ("CmpltTO",), 1, "fail", "driver")]
    assert told("00001000/0000a000") == [("aer-correctable", GPU, ("Timeout",), 1, "warn", "power")]
    assert told("00000040/0000a000", "00000040/0000a000", "00000001/0000a000") == [
        ("aer-correctable", GPU, ("BadTLP",), 2, "warn", "signal"),
        ("aer-correctable", GPU, ("RxErr",), 1, "warn", "signal")]
    assert told("00002000/00002000") == []


def test_a_message_without_a_record_names_its_sender_while_it_is_one() -> None:
    message = f"pcieport {PORT}: AER: Correctable error message received from "
    (event,) = events(message + GPU)
    assert (event.bdf, event.says) == (
        PORT, f"corrected PCIe error: the log has no details of it, only that {GPU} sent it")
    for other in (PORT, "0000:00:00.0"):
        (event,) = events(message + GPU, message + other)
        assert event.says == "corrected PCIe error: the log has no details of it"
