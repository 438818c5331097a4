"""The live ports and the experiments together, on files in the place of a kernel: what is written is real, nothing trains."""

from __future__ import annotations

from pathlib import Path

from boxcheck.host.config_space import LivePorts
from boxcheck.riser.links.aspm import without_aspm
from boxcheck.riser.links.hold import holding
from boxcheck.riser.links.lanes import keep_awake
from boxcheck.riser.links.pending import restore_pending
from boxcheck.riser.links.retrain import retrain_once
from boxcheck.riser.links.speed_control import set_by_register
from tests.riser.held_link import BOOT, journals, linked


def machine_of_files(root: Path) -> dict[Path, bytes]:
    """The bytes and attributes of a simulated link as files below /sys."""
    machine, _, _ = linked(substates=True, aspm_switches=False)
    for bdf, data in machine.space.items():
        folder = root / "sys/bus/pci/devices" / bdf
        folder.mkdir(parents=True)
        (folder / "config").write_bytes(bytes(data))
    for path, text in machine.attributes.items():
        file = root / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return {path: path.read_bytes() for path in sorted((root / "sys").rglob("*")) if path.is_file()}


def test_files_are_as_they_were_after_experiments_and_after_a_program_that_ended_without_a_word(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    before = machine_of_files(tmp_path)
    ports = LivePorts(str(tmp_path))
    _, _, pair = linked(substates=True)
    config = tmp_path / "sys/bus/pci/devices/0000:40:01.1/config"
    with holding(ports, pair, str(state), boot=BOOT) as held:
        keep_awake(held)
        assert retrain_once(held).training.state == "full"
        with without_aspm(held) as off:
            assert off.state == "off"
            set_by_register(held, pair, 1)
            changed = {path: path.read_bytes() for path in before}
            (journal,) = state.glob("*.link.json")
            kept = journal.read_bytes()
    assert config.read_bytes()[0x58 + 0x30] == 4
    assert {path: path.read_bytes() for path in before} == before
    assert journals(state) == []

    for path, data in changed.items():
        path.write_bytes(data)
    journal.write_bytes(kept)
    assert config.read_bytes()[0x58 + 0x30] == 1
    (recovered,) = restore_pending(LivePorts(str(tmp_path)), str(state), boot=BOOT)
    assert recovered.closed
    assert {path: path.read_bytes() for path in before} == before
    assert journals(state) == []
