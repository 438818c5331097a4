"""Trees that other tools captured are read without a crash, and what they lack is unread, never absent.

They lie beside the project, see README.md there; where they do not, these tests say so and skip.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from boxcheck.engine.inspect import Facts, choose_checks, inspect_facts, read_facts
from boxcheck.host.capture import CaptureHost
from boxcheck.model import Outcome, Unread
from boxcheck.profile import load_profile
from tests.host.hostile import interrogate
from tests.host.ttar import to_tar

FIXTURES = Path(__file__).resolve().parents[2].parent / "shared" / "fixtures"
TARS = [
    path for folder in ("hwloc", "ghw", "kfd-k8s-device-plugin") for path in sorted((FIXTURES / folder).glob("*.tar*"))
]

pytestmark = pytest.mark.skipif(
    not FIXTURES.is_dir(), reason=f"no third-party captures beside the project ({FIXTURES.name})"
)


def read(host: CaptureHost) -> Facts:
    interrogate(host)
    facts = read_facts(host)
    assert not facts.crashes, facts.crashes[0].traceback
    verdict = inspect_facts(facts, load_profile("wopr-7x4090"), choose_checks([]))
    assert not verdict.crashed
    assert verdict.outcome is not Outcome.PASS, "half a machine was certified"
    return facts


@pytest.mark.parametrize("path", TARS, ids=[path.name for path in TARS])
def test_a_tree_that_somebody_else_captured(path: Path) -> None:
    host = CaptureHost(str(path))
    assert not host.ours
    assert not host.complaints
    read(host)
    for missing in ("/sys/class/none", "/proc/none", "/sys/bus/pci/devices/0000:00:00.0/none", "/dev/kfd"):
        answer = host.read(missing)
        assert isinstance(answer, Unread)
        assert answer.kind == "not-captured", missing
        assert isinstance(host.exists(missing), Unread)


def test_unpacked_and_packed_are_the_same_machine(tmp_path: Path) -> None:
    import tarfile

    from tests.host.asked import answers

    path = FIXTURES / "hwloc" / "32intel64-2p8co2t+8ve.tar.bz2"
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    assert answers(CaptureHost(str(tmp_path))) == answers(CaptureHost(str(path)))
    inner = next(tmp_path.iterdir())
    assert answers(CaptureHost(str(inner))) == answers(CaptureHost(str(path)))


def test_a_topology_alone_is_a_machine_with_nothing_else(tmp_path: Path) -> None:
    host = CaptureHost(str(FIXTURES / "kfd-k8s-device-plugin" / "topology-parsing.tar.gz"))
    assert host.entries("/sys/class/kfd/kfd/topology/nodes") == ("0", "1", "2")
    assert isinstance(host.text("/sys/class/kfd/kfd/topology/nodes/1/properties"), str)
    assert isinstance(host.entries("/sys/bus/pci/devices"), Unread)


def test_the_tree_of_procfs(tmp_path: Path) -> None:
    source = FIXTURES / "procfs" / "fixtures.ttar"
    (tmp_path / "procfs.tar").write_bytes(to_tar(source.read_text(encoding="utf-8")))
    host = CaptureHost(str(tmp_path / "procfs.tar"))
    read(host)
    names = host.entries("/sys/bus/pci/devices")
    assert isinstance(names, tuple)
    assert "0000:00:02.1" in names
    assert host.text("/proc/26231/cmdline") == "vim�test.go�+10"
