"""To which machine, card and link an event belongs, and how sure that is: what a review found wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.triage.account import triage
from boxcheck.triage.hosts import MOST_HOSTS, Feed, Hosts
from boxcheck.triage.input import gather
from boxcheck.usage import UsageError
from tests.triage.texts import BUSES, aer, fatal, fell, rules, told

CORPUS = Path(__file__).parents[1] / "corpus"
TLP, RX = (6, "BadTLP"), (0, "RxErr")
LIST = """\
GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-aaaaaaaa-1111-2222-3333-444444444444)
GPU 1: NVIDIA GeForce RTX 4090 (UUID: GPU-bbbbbbbb-1111-2222-3333-444444444444)
"""


def syslog(host: str, message: str, second: int = 0) -> str:
    return f"Nov 20 12:00:{second:02} {host} kernel: {message}\n"


XID = "NVRM: Xid (PCI:0000:{}:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
PORT = "pcieport 0000:40:01.1: PCIe Bus Error: severity=Correctable, type=Data Link Layer, (Receiver ID)"
STATUS = "pcieport 0000:40:01.1:   device [1022:1483] error status/mask=00000040/00002000"


def test_hosts_of_one_log_are_machines_of_their_own(tmp_path: Path) -> None:
    both = syslog("rig1", XID.format("41")) + syslog("rig2", XID.format("42"))
    found = told(tmp_path, both)
    assert rules(found) == ["gpu-lost", "gpu-lost"]
    assert [machine.host for machine in found.machines] == ["rig1", "rig2"]
    assert rules(told(tmp_path, both.replace("rig2", "rig1"))) == ["lost-together"]


def test_one_host_s_link_does_not_explain_another_s_gpu(tmp_path: Path) -> None:
    text = (syslog("rig2", PORT) + syslog("rig2", STATUS) + syslog("rig1", XID.format("41"), 5))
    assert set(rules(told(tmp_path, text))) == {"gpu-lost", "damaged-link"}
    assert rules(told(tmp_path, text.replace("rig2", "rig1"))) == ["link-took-the-gpu"]


def test_more_hosts_than_are_told_apart_are_said(tmp_path: Path) -> None:
    place = tmp_path / "messages"
    for number, wanted in ((MOST_HOSTS, False), (MOST_HOSTS + 1, True)):
        place.write_text("".join(syslog(f"rig{at}", XID.format("41"), at % 60) for at in range(number)))
        found = triage([str(place)])
        assert any(f"more than {MOST_HOSTS} hosts" in said for said in found.sources[0].complaints) is wanted
        assert len(found.faults) == len(found.machines) == number


def test_hosts_take_turns(tmp_path: Path) -> None:
    """Each line is its host's, at its own number, wherever the blocks of the file end."""
    turns = [(7 * at) % 40 for at in range(4000)]
    text = "".join(syslog(f"rig{turn}", XID.format("41"), at % 60) for at, turn in enumerate(turns))
    for blocks in ([text.encode()], [line.encode() for line in text.splitlines(keepends=True)]):
        got: list[list[bytes]] = []

        def make(got: list[list[bytes]] = got) -> Feed:
            got.append([])
            return got[-1].append

        hosts = Hosts(make)
        for block in blocks:
            hosts.feed(block)
        assert len(got) == 40
        for name, parts in zip(hosts, got, strict=True):
            lines = b"".join(parts).decode().split("\n")
            assert {line.split()[3] for line in lines if line} == {name}
            assert [at for at, line in enumerate(lines) if line] == [at for at, turn in enumerate(turns) if f"rig{turn}" == name]


def test_lines_of_each_host_keep_their_numbers(tmp_path: Path) -> None:
    text = syslog("rig1", "usb 1-1: new device") * 3 + syslog("rig2", XID.format("42"))
    assert [sighting.event.line for sighting in told(tmp_path, text).events] == [4]


def test_two_boards_are_two_machines(tmp_path: Path) -> None:
    def board(name: str) -> str:
        return (f"[    0.000000] Linux version 6.8.0 (x) #1\n[    0.000001] DMI: ASRock Rack {name}/{name}, BIOS P3.50 "
                "01/01/2024\n")

    port = aer(500.0, "0000:40:01.1", *TLP)
    assert len(told(tmp_path, board("ROMED8-2T") + port, board("GENOAD8X") + port.replace("500", "600")).problems) == 2
    assert len(told(tmp_path, board("ROMED8-2T") + port, board("ROMED8-2T") + port.replace("500", "600")).problems) == 1


def test_a_gpu_that_nvidia_smi_does_not_list(tmp_path: Path) -> None:
    found = told(tmp_path, BUSES, LIST.splitlines(keepends=True)[0])
    missing = [sighting for sighting in found.events if sighting.kind == "gpu-missing"]
    assert [sighting.event.severity for sighting in missing] == ["fail"]
    assert not [one for one in told(tmp_path, BUSES, LIST).events if one.kind == "gpu-missing"]


def test_a_table_of_one_gpu_may_be_of_one_that_was_chosen(tmp_path: Path) -> None:
    """`nvidia-smi` with one GPU left and `nvidia-smi -i 0` print the same; of two, or of GPU 0 in the list, none was
    chosen."""
    table = (CORPUS / "nvidia-smi" / "table-sound.txt").read_text()
    second = table.index("|   1  NVIDIA")
    single = table[:second] + table[table.index("+---", second) :].split("\n", 1)[1]
    cards = "".join(f"{bus}:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)\n"
                    for bus in ("01", "25", "41"))
    whole, = told(tmp_path, table, cards).faults
    assert (whole.severity, "-i 0" in whole.title) == ("fail", False)
    problem, = told(tmp_path, single, cards).faults
    assert (problem.severity, "-i 0" in problem.title) == ("warn", True)
    assert any("nvidia-smi -L" in step for step in problem.help)
    row = "index, name, pci.bus_id\n0, NVIDIA GeForce RTX 4090, 00000000:01:00.0\n"
    found = told(tmp_path, row, cards)
    assert found.faults == ()
    assert any("nvidia-smi -L lists all" in note for note in found.notes)


FULL = """\
00:00.0 Host bridge: Advanced Micro Devices, Inc. [AMD] Starship/Matisse Root Complex
40:01.1 PCI bridge: Advanced Micro Devices, Inc. [AMD] Starship/Matisse GPP Bridge
40:03.1 PCI bridge: Advanced Micro Devices, Inc. [AMD] Starship/Matisse GPP Bridge
41:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)
42:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)
"""


def test_a_gpu_that_a_later_lspci_does_not_list(tmp_path: Path) -> None:
    without = "".join(line for line in FULL.splitlines(keepends=True) if not line.startswith("42:"))
    for texts in ((FULL, without), (FULL + "\nAfter a night of training:\n$ lspci\n" + without,)):
        assert [one.bdf for one in told(tmp_path, *texts).events if one.kind == "gpu-lost"] == ["0000:42:00.0"]
    one_card = "".join(line for line in FULL.splitlines(keepends=True) if line.startswith("41:"))
    assert not told(tmp_path, FULL, one_card).events
    assert not told(tmp_path, FULL, FULL).events


def test_an_error_on_the_card_itself_is_not_the_slot_s(tmp_path: Path) -> None:
    red = """\
[    0.900001] pci 0000:00:01.1: [1022:1483] type 01 class 0x060400
[    0.900002] pci 0000:01:00.0: [1002:1478] type 01 class 0x060400
[    0.900003] pci 0000:02:00.0: [1002:1479] type 01 class 0x060400
[    0.900004] pci 0000:03:00.0: [1002:744c] type 00 class 0x030000
[    0.900005] pci 0000:02:00.0: PCI bridge to [bus 03]
[    0.900006] pci 0000:01:00.0: PCI bridge to [bus 02-03]
[    0.900007] pci 0000:00:01.1: PCI bridge to [bus 01-03]
"""
    inside = told(tmp_path, red + aer(500.0, "0000:02:00.0", *TLP)).problems[0]
    assert inside.key == "link:0000:02:00.0"
    assert "on the card" in inside.title
    assert "nothing to reseat" in inside.help[0]
    slot = told(tmp_path, red + aer(500.0, "0000:01:00.0", *TLP)).problems[0]
    assert slot.key == "link:0000:00:01.1"


def test_an_error_of_long_ago_does_not_explain_today_s_loss(tmp_path: Path) -> None:
    assert rules(told(tmp_path, BUSES + aer(100.0, "0000:40:01.1", *TLP) + fell(3000.0, "41"))) == ["link-took-the-gpu"]
    assert "gpu-lost" in rules(told(tmp_path, BUSES + aer(100.0, "0000:40:01.1", *TLP) + fell(300_000.0, "41")))


@pytest.mark.parametrize(("at", "count", "sure"), [(5.0, 1, "possible"), (5.0, 9, "likely"), (500.0, 1, "likely")])
def test_receiver_errors_while_links_train_are_no_proof(at: float, count: int, sure: str, tmp_path: Path) -> None:
    text = "".join(aer(at + number, "0000:40:01.1", *RX, layer="Physical Layer") for number in range(count))
    assert told(tmp_path, BUSES + text).problems[0].sure == sure
    assert told(tmp_path, BUSES + aer(at, "0000:40:01.1", *TLP)).problems[0].sure == "certain"


def test_links_that_drop_with_their_gpus_are_the_same_power(tmp_path: Path) -> None:
    text = (fatal(500.0, "0000:40:01.1", 5, "SDES") + fatal(500.01, "0000:40:03.1", 5, "SDES")
            + fell(500.2, "41") + fell(500.3, "42"))
    assert rules(told(tmp_path, text)) == ["lost-together"]
    assert rules(told(tmp_path, BUSES + text)) == ["lost-together"]


def test_a_stopped_channel_after_a_fault_is_its_wake(tmp_path: Path) -> None:
    halted = "[  500.000000] NVRM: Xid (PCI:0000:41:00): 62, pid=812, name=python3, 2027(22f0) 00000000 00000000\n"
    stopped = "[  501.000000] NVRM: Xid (PCI:0000:41:00): 45, pid=812, name=python3, Ch 00000010\n"
    assert rules(told(tmp_path, BUSES + halted + stopped)) == ["alone"]
    assert rules(told(tmp_path, BUSES + stopped)) == ["program-faults"]
    assert set(rules(told(tmp_path, BUSES + halted + stopped.replace("501", "900")))) == {"alone", "program-faults"}


def test_a_driver_of_one_vendor_does_not_speak_of_the_other_s_card(tmp_path: Path) -> None:
    text = ("[    3.000000] NVRM: GPU 0000:41:00.0: RmInitAdapter failed! (0x22:0x56:894)\n"
            "[    5.000000] [drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring gfx timeout, signaled seq=1, emitted seq=3\n")
    hung = next(sighting for sighting in told(tmp_path, text).events if sighting.kind == "amdgpu-ring-timeout")
    assert hung.bdf is None


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark(order: str, tmp_path: Path) -> None:
    place = tmp_path / "log"
    place.write_bytes((BUSES + fell(500.0, "41")).encode(order))
    assert "xid" in [sighting.kind for sighting in triage([str(place)]).events]


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/urandom", "/dev/kmsg"])
def test_what_never_ends_is_refused(place: str) -> None:
    if not Path(place).exists():
        pytest.skip(f"{place} is not here")
    with pytest.raises(UsageError):
        gather([place])


def test_a_narrow_link_of_a_gpu_in_the_boot_log(tmp_path: Path) -> None:
    line = ("[    1.500000] pci 0000:41:00.0: 7.876 Gb/s available PCIe bandwidth, limited by 8.0 GT/s PCIe x{} link at "
            "0000:40:01.1 (capable of 252.048 Gb/s with 16.0 GT/s PCIe x16 link)\n")
    for lanes, severity in ((1, "warn"), (8, "warn"), (16, "info")):
        assert [one.event.severity for one in told(tmp_path, BUSES + line.format(lanes)).events] == [severity]
    # Of a card in no database, such as a laptop's, half of the lanes are usual; of a network card everything is.
    for ids, kind, severity in (("10de:2520", "0x030000", "info"), ("15b3:101b", "0x020700", "info")):
        text = BUSES.replace("10de:2684] type 00 class 0x030000", f"{ids}] type 00 class {kind}", 1) + line.format(8)
        assert [one.event.severity for one in told(tmp_path, text).events] == [severity]
    # Nothing says what it is: sixteen lanes are a card's.
    alone = told(tmp_path, line.format(8))
    assert rules(alone) == ["narrow-link"]
    for other in (line.format(8).replace("pci 0000:41", "mlx5_core 0000:41"), line.format(4).replace("x16", "x8")):
        assert rules(told(tmp_path, other)) == []


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    found = told(tmp_path, BUSES + aer(499.0, "0000:40:01.1", *TLP) + fell(500.0, "41"), only=("aer*",))
    assert found.other_faults == 2
    late = told(tmp_path, BUSES + fell(500.0, "41"), since=9000.0)
    assert any("ends before" in note for note in late.notes)


SILENT = "no damaged packet of its link is in the kernel log"


@pytest.mark.parametrize("text", [
    "Unable to determine the device handle for GPU0000:41:00.0: Unknown Error\n", fell(500.0, "41"),
    "41:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD102 [GeForce RTX 4090] [10de:2684] (rev ff)\n",
    "[  300.000000] usb 1-1: new high-speed USB device\n" * 9 + fell(500.0, "41"),
])
def test_what_was_not_read_is_no_evidence_against_the_riser(text: str, tmp_path: Path) -> None:
    """No log, or none that reaches back before the loss: the link may have failed first."""
    problem, = told(tmp_path, text).problems
    assert any("the riser is as open as power" in because for because in problem.because)
    assert not any(SILENT in because for because in problem.because)


def test_a_log_that_would_hold_the_damage_clears_the_riser(tmp_path: Path) -> None:
    hours = "".join(f"[{at:12.6f}] usb 1-1: reset high-speed USB device number 2\n" for at in range(0, 6000, 600))
    for text in (BUSES + fell(500.0, "41"), hours.replace("[    0.0", "[    1.0") + fell(6000.0, "41")):
        problem, = told(tmp_path, text).problems
        assert any(SILENT in because for because in problem.because)
    left_out = told(tmp_path, BUSES + aer(10.0, "0000:40:01.1", *TLP) + fell(9000.0, "41"), only=("xid", "gpu-lost"))
    assert not any(SILENT in because for problem in left_out.problems for because in problem.because)
    kept = ("[    0.500000] acpi PNP0A08:00: _OSC: platform does not support [AER]\n")
    problem, = told(tmp_path, BUSES + kept + fell(500.0, "41")).faults
    assert any("does not clear the riser" in because for because in problem.because)
