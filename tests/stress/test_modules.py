"""Which files declare stress modules, and what it takes to have one of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import boxcheck.stress
from boxcheck.registry import STRESS_CHECKS, STRESS_MODULES, STRESSES, discover_stress, stress_named

FOLDER = Path(boxcheck.stress.__file__).parent


def test_every_file_that_declares_a_module_or_a_check_is_imported_by_discovery() -> None:
    declaring = {path.stem for path in FOLDER.glob("*.py") if "\n@stress(" in path.read_text()}
    assert declaring == set(STRESS_MODULES)
    checking = {path.stem for path in FOLDER.glob("*.py") if "\n@check(" in path.read_text()}
    assert all(name.endswith(STRESS_CHECKS) for name in checking)


def test_each_module_is_had_by_its_name() -> None:
    discover_stress()
    assert all(stress_named(name) is module for name, module in STRESSES.items())
    with pytest.raises(KeyError):
        stress_named("no-such-module")


@pytest.mark.parametrize("name", ["matmul", "power-pulse", "cpu", "dram"])
def test_a_worker_has_its_module_without_the_checks_of_others(name: str) -> None:
    code = "import sys; from boxcheck.registry import stress_named; print(stress_named(sys.argv[1]).name, *(" \
        "name for name in sys.modules if name == 'numpy' or name.startswith('boxcheck.stress.') and '_checks' in name))"
    done = subprocess.run(
        [sys.executable, "-c", code, name], capture_output=True, text=True, timeout=60, check=True)
    loaded = done.stdout.split()
    assert loaded[0] == name
    assert "numpy" not in loaded
    assert len(loaded) == 1 or name == "dram"  # whose file is called otherwise, so that all are looked through
