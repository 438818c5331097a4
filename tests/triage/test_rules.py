"""Every rule across events: a text on which it concludes, and one by a notch on which it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.triage.account import Triage
from boxcheck.triage.rules import MODULES, RULES, discover
from tests.triage.texts import BUSES, aer, fatal, fell, rules, told

TLP, DLLP, TIMEOUT = (6, "BadTLP"), (7, "BadDLLP"), (12, "Timeout")


STRIX = """\
[    0.000000] Linux version 6.14.0-27-generic (buildd@lcy02) #27-Ubuntu SMP PREEMPT_DYNAMIC
[    0.900001] pci 0000:c6:00.0: [1002:1586] type 00 class 0x038000 PCIe Legacy Endpoint
"""


def lines(*messages: str, at: float = 100.0, apart: float = 0.01) -> str:
    return "".join(f"[{at + number * apart:12.6f}] {message}\n" for number, message in enumerate(messages))


def corpus(name: str) -> str:
    return (Path(__file__).parents[1] / "corpus" / name).read_text()


# rule -> (concludes, by a notch does not)
CASES: dict[str, tuple[str, str]] = {
    "lost-together": (
        BUSES + fell(500.0, "41") + fell(500.9, "42"),
        BUSES + fell(500.0, "41") + fell(501.2, "42"),
    ),
    "link-took-the-gpu": (
        BUSES + aer(499.0, "0000:40:01.1", *TLP) + fell(500.0, "41"),
        BUSES + aer(499.0, "0000:40:03.1", *TLP) + fell(500.0, "41"),
    ),
    "gpu-lost": (
        BUSES + fell(500.0, "41"),
        BUSES + lines("NVRM: Xid (PCI:0000:41:00): 31, pid=812, name=python3, Ch 00000008, intr 00000000. MMU Fault"),
    ),
    "link-dropped": (
        BUSES + fatal(500.0, "0000:40:01.1", 5, "SDES"),
        BUSES + fatal(500.0, "0000:40:01.1", 18, "MalfTLP"),
    ),
    "damaged-link": (
        BUSES + aer(500.0, "0000:40:01.1", *TLP),
        BUSES + aer(500.0, "0000:40:01.1", *TIMEOUT, side="Transmitter"),
    ),
    "timeout-alone": (
        BUSES + aer(500.0, "0000:40:01.1", *TIMEOUT, side="Transmitter"),
        BUSES + aer(500.0, "0000:40:01.1", *TIMEOUT, side="Transmitter") + aer(501.0, "0000:40:01.1", *DLLP),
    ),
    "advisory-only": (
        BUSES + aer(500.0, "0000:40:01.1", 13, "NonFatalErr", layer="Transaction Layer").replace("/00002000", "/00000000"),
        BUSES + aer(500.0, "0000:40:01.1", 0, "RxErr", layer="Physical Layer"),
    ),
    "no-address-space": (
        BUSES + lines("pci 0000:41:00.0: BAR 1 [mem size 0x800000000 64bit pref]: can't assign; no space"),
        BUSES + lines("pci 0000:41:00.0: BAR 5 [io  size 0x0080]: can't assign; no space"),
    ),
    "nomodeset": (
        STRIX + lines("Kernel command line: BOOT_IMAGE=/vmlinuz ro quiet nomodeset", at=0.01),
        STRIX + lines("Kernel command line: BOOT_IMAGE=/vmlinuz ro quiet nomodeset amdgpu.modeset=1", at=0.01),
    ),
    "iommu-refuses-peers": (
        BUSES + lines("nvidia 0000:41:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0003 address=0x80000040 "
                      "flags=0x0020]"),
        BUSES + lines("nvme 0000:04:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0003 address=0x80000040 "
                      "flags=0x0020]"),
    ),
    "atomics-unsupported": (
        lines("kfd kfd: amdgpu: skipped device 1002:67df, PCI rejects atomics 730<0"),
        lines("kfd kfd: amdgpu: added device 1002:744c"),
    ),
    "driver-mismatch": (
        lines("NVRM: API mismatch: the client has the version 570.148.08, but",
              "NVRM: this kernel module has the version 570.133.20.  Please"),
        lines("NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build"),
    ),
    "firmware-missing": (
        lines("amdgpu 0000:03:00.0: Direct firmware load for amdgpu/gc_11_5_1_pfp.bin failed with error -2",
              "amdgpu 0000:03:00.0: amdgpu: Fatal error during GPU init"),
        lines("amdgpu 0000:03:00.0: Direct firmware load for amdgpu/gc_11_5_1_pfp.bin failed with error -2"),
    ),
    "gpu-hung": (
        lines("amdgpu 0000:03:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=11, emitted seq=13",
              "amdgpu 0000:03:00.0: amdgpu: GPU reset begin!"),
        lines("amdgpu 0000:03:00.0: amdgpu: SMU is initialized successfully!"),
    ),
    "gsp-timeout": (
        BUSES + lines("NVRM: Xid (PCI:0000:41:00): 119, pid=812, name=python3, Timeout after 6s of waiting for RPC "
                      "response from GPU0 GSP!"),
        BUSES + lines("NVRM: Xid (PCI:0000:41:00): 109, pid=812, name=python3, Ch 00000008, errorString CTX SWITCH "
                      "TIMEOUT"),
    ),
    "program-faults": (
        BUSES + lines("NVRM: Xid (PCI:0000:41:00): 31, pid=812, name=python3, Ch 00000008, intr 00000000. MMU Fault"),
        BUSES + lines("NVRM: Xid (PCI:0000:41:00): 48, pid=812, name=python3, DBE (double bit error)"),
    ),
    "drive-link": (
        BUSES + lines("pci 0000:04:00.0: [144d:a80a] type 00 class 0x010802 PCIe Endpoint",
                      "nvme nvme0: pci function 0000:04:00.0", at=1.0)
        + aer(400.0, "0000:04:00.0", *TLP).replace("pcieport", "nvme")
        + lines("nvme nvme0: I/O 448 QID 3 timeout, aborting", at=401.0),
        BUSES + lines("nvme nvme0: pci function 0000:04:00.0", at=1.0)
        + lines("nvme nvme0: I/O 448 QID 3 timeout, aborting", at=401.0),
    ),
    "memory-module": (
        lines("EDAC MC0: 1 CE memory read error on CPU_SrcID#0_MC#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x1)"),
        lines("EDAC MC0: Giving out device to module amd64_edac controller F19h"),
    ),
    "aftermath": (
        BUSES + fell(500.0, "41") + lines("INFO: task python3:812 blocked for more than 122 seconds.", at=640.0),
        BUSES + fell(500.0, "41") + lines("INFO: task python3:812 blocked for more than 122 seconds.", at=1500.0),
    ),
    "too-hot": (
        lines("mce: CPU3: Package temperature above threshold, cpu clock throttled (total events = 1)"),
        lines("mce: CPU3: Package temperature/speed normal"),
    ),
    "wrong-results": (corpus("gpu-burn/one-faulty.txt"), corpus("gpu-burn/sound.txt")),
    "slow-card": (corpus("gpu-burn/slow.txt"), corpus("gpu-burn/slow-notch.txt")),
    "card-memory": (
        BUSES + lines("NVRM: Xid (PCI:0000:41:00): 48, pid=812, name=python3, DBE (double bit error)"),
        BUSES + lines("NVRM: Xid (PCI:0000:41:00): 43, pid=812, name=python3, Ch 00000010"),
    ),
    "device-lost": (
        lines("vfio-pci 0000:03:00.0: Unable to change power state from D3cold to D0, device inaccessible"),
        lines("vfio-pci 0000:03:00.0: not ready 1023ms after resume; waiting"),
    ),
    "refused-requests": (
        BUSES + fatal(500.0, "0000:40:01.1", 18, "MalfTLP"),
        BUSES + fatal(500.0, "0000:40:01.1", 5, "SDES"),
    ),
    "iommu-refuses": (
        lines("nvme 0000:04:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0003 address=0x80000040 flags=0x0020]"),
        lines("nvidia 0000:04:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0003 address=0x80000040 flags=0x0020]"),
    ),
    "gpu-did-not-start": (
        BUSES + lines("NVRM: GPU 0000:41:00.0: RmInitAdapter failed! (0x22:0x56:894)"),
        BUSES + aer(99.0, "0000:40:01.1", *TLP)
        + lines("NVRM: GPU 0000:41:00.0: RmInitAdapter failed! (0x22:0x56:894)"),
    ),
    "drive-does-not-answer": (
        BUSES + lines("nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff"),
        BUSES + lines("nvme nvme0: 8/0/0 default/read/poll queues"),
    ),
    "wrong-copies": (corpus("rocm-bandwidth/validation-one-gpu.txt"), corpus("rocm-bandwidth/validation-passed.txt")),
    "power-cut": (
        BUSES + corpus("klog/gpu-power-cable-missing.log"),
        BUSES + lines("NVRM: GPU 0000:41:00.0: RmInitAdapter failed! (0x22:0x56:894)"),
    ),
    "alone": (
        BUSES + lines("watchdog: BUG: soft lockup - CPU#12 stuck for 22s! [kworker/12:1:345]"),
        BUSES + fell(500.0, "41"),
    ),
}
ELSEWHERE = {"capped-link", "narrow-link", "peers-behind-redirect"}
"""Rules about what only a tool's output shows: tests/triage/test_mixed.py, test_narrow.py."""


def test_every_rule_has_its_texts() -> None:
    discover()
    assert set(CASES) | ELSEWHERE == set(RULES)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_concludes_and_by_a_notch_does_not(rule: str, tmp_path: Path) -> None:
    fires, notch = CASES[rule]
    assert rule in rules(told(tmp_path, fires))
    assert rule not in rules(told(tmp_path, notch))


@pytest.mark.parametrize("rule", [*CASES, *sorted(ELSEWHERE)])
def test_a_rule_has_a_page(rule: str) -> None:
    discover()
    text = RULES[rule].text
    assert 20 < len(RULES[rule].title) < 140
    for part in ("Why:", "Not:", "Source:"):
        assert part in text, f"{rule} has no {part}"


def test_rules_run_in_the_order_of_the_modules() -> None:
    discover()
    seen = list(dict.fromkeys(rule.conclude.__module__.rsplit(".", 1)[1] for rule in RULES.values()))
    assert seen == [module for module in MODULES if module in seen]
    assert seen[-1] == "alone"


def only_problem(found: Triage) -> str:
    assert len(found.problems) == 1, [problem.title for problem in found.problems]
    return found.problems[0].title


def test_the_link_and_not_the_gpu(tmp_path: Path) -> None:
    found = told(tmp_path, BUSES + aer(499.0, "0000:40:01.1", *TLP) + fell(500.0, "41"))
    assert only_problem(found) == "the link of RTX 4090 41:00.0 failed, and the GPU with it"
    problem = found.problems[0]
    assert problem.cause == "signal"
    assert problem.sure == "likely"
    assert problem.where == "root port 40:01.1 > RTX 4090 41:00.0"
    assert len(problem.events) == 3
    assert any("GPU itself" in text for text in problem.not_)


def test_an_error_of_the_link_after_the_loss_is_its_wake(tmp_path: Path) -> None:
    found = told(tmp_path, BUSES + fell(500.0, "41") + aer(503.0, "0000:40:01.1", *TLP))
    assert rules(found) == ["gpu-lost"]
    assert found.problems[0].sure == "possible"


def test_without_the_buses_a_guess_says_that_it_is_one(tmp_path: Path) -> None:
    near = told(tmp_path, aer(499.0, "0000:40:01.1", *TLP) + fell(500.0, "41"))
    assert rules(near) == ["link-took-the-gpu"]
    assert near.problems[0].sure == "possible"
    assert any("guess" in text for text in near.problems[0].because)
    far = told(tmp_path, aer(400.0, "0000:40:01.1", *TLP) + fell(500.0, "41"))
    assert set(rules(far)) == {"gpu-lost", "damaged-link"}


def test_two_ports_with_damage_are_no_guess(tmp_path: Path) -> None:
    found = told(tmp_path, aer(499.0, "0000:40:01.1", *TLP) + aer(499.2, "0000:40:03.1", *TLP) + fell(500.0, "41"))
    assert "link-took-the-gpu" not in rules(found)


def test_two_gpus_below_one_switch_may_be_its_link(tmp_path: Path) -> None:
    switch = """\
[    0.900001] pci 0000:40:01.1: [1022:1483] type 01 class 0x060400 PCIe Root Port
[    0.900002] pci 0000:41:00.0: [10b5:8747] type 01 class 0x060400 PCIe Switch Upstream Port
[    0.900003] pci 0000:42:08.0: [10b5:8747] type 01 class 0x060400 PCIe Switch Downstream Port
[    0.900004] pci 0000:42:10.0: [10b5:8747] type 01 class 0x060400 PCIe Switch Downstream Port
[    0.900005] pci 0000:43:00.0: [10de:2684] type 00 class 0x030000 PCIe Legacy Endpoint
[    0.900006] pci 0000:44:00.0: [10de:2684] type 00 class 0x030000 PCIe Legacy Endpoint
[    0.900007] pci 0000:42:08.0: PCI bridge to [bus 43]
[    0.900008] pci 0000:42:10.0: PCI bridge to [bus 44]
[    0.900009] pci 0000:41:00.0: PCI bridge to [bus 42-44]
[    0.900010] pci 0000:40:01.1: PCI bridge to [bus 41-44]
"""
    found = told(tmp_path, switch + fell(500.0, "43") + fell(500.2, "44"))
    assert rules(found) == ["lost-together"]
    assert found.problems[0].sure == "possible"
    assert any("41:00.0" in text for text in found.problems[0].because)


def test_damage_names_its_direction(tmp_path: Path) -> None:
    up = told(tmp_path, BUSES + aer(500.0, "0000:40:01.1", *TLP))
    assert any("from the GPU to the processor" in text for text in up.problems[0].because)
    down = told(tmp_path, BUSES + aer(500.0, "0000:41:00.0", *TLP).replace("pcieport", "nvidia"))
    assert any("from the processor to the GPU" in text for text in down.problems[0].because)
    assert up.problems[0].key == down.problems[0].key == "link:0000:40:01.1"


def test_an_error_of_the_card_s_own_switch_is_the_slot_s_link(tmp_path: Path) -> None:
    red = """\
[    0.900001] pci 0000:00:01.1: [1022:1483] type 01 class 0x060400
[    0.900002] pci 0000:01:00.0: [1002:1478] type 01 class 0x060400
[    0.900003] pci 0000:02:00.0: [1002:1479] type 01 class 0x060400
[    0.900004] pci 0000:03:00.0: [1002:744c] type 00 class 0x030000
[    0.900005] pci 0000:02:00.0: PCI bridge to [bus 03]
[    0.900006] pci 0000:01:00.0: PCI bridge to [bus 02-03]
[    0.900007] pci 0000:00:01.1: PCI bridge to [bus 01-03]
"""
    found = told(tmp_path, red + aer(500.0, "0000:01:00.0", *TLP))
    assert found.problems[0].key == "link:0000:00:01.1"
    assert "03:00.0" in found.problems[0].where


def test_one_boot_does_not_explain_the_next(tmp_path: Path) -> None:
    first = BUSES + aer(499.0, "0000:40:01.1", *TLP)
    second = BUSES + fell(500.0, "41")
    assert set(rules(told(tmp_path, first + second))) == {"gpu-lost", "damaged-link"}


def test_no_time_at_all_still_has_an_order(tmp_path: Path) -> None:
    def bare(text: str) -> str:
        return "".join(line.split("] ", 1)[1] + "\n" for line in text.splitlines())

    found = told(tmp_path, bare(BUSES + aer(499.0, "0000:40:01.1", *TLP) + fell(500.0, "41")))
    assert rules(found) == ["link-took-the-gpu"]
    other = told(tmp_path, bare(BUSES + fell(500.0, "41") + aer(501.0, "0000:40:01.1", *TLP)))
    assert rules(other) == ["gpu-lost"]
