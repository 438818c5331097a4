"""docs/how-to/golden-box.md: what it shows is what its commands print, and its other commands run as they stand there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.certify.attempt import new_key
from tests.golden.story import BLOCK, COMMANDS, PAGE, blocks, home, run

TYPED = re.findall(r"^    (\S.*)$", PAGE.read_text(), re.MULTILINE)


def test_the_page_shows_what_the_commands_print(tmp_path: Path) -> None:
    made = blocks(tmp_path, home(tmp_path))
    shown = {found[2]: found[3] for found in BLOCK.finditer(PAGE.read_text())}
    assert {*shown} == {*COMMANDS}
    assert shown == made


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")
def test_the_commands_of_the_page_run_as_they_are_printed(tmp_path: Path) -> None:
    environment = home(tmp_path)
    new_key(tmp_path / ".config" / "boxcheck" / "keys" / "rates")

    def typed(begins: str, holding: str = "") -> str:
        (found,) = [one for one in TYPED if one.startswith(begins) and holding in one]
        return str(found).replace("RUN --from-run RUN", "2026-11-21 --from-run 2026-11-22").replace("RUN", "2026-11-21")

    done = run(typed("boxcheck profile draft", "--key"), tmp_path, environment)
    assert done.returncode == 0, done.stdout
    line = re.search(r"^you@example namespaces=.*$", done.stdout, re.MULTILINE)
    assert line is not None
    (tmp_path / "allowed_signers").write_text(f"{line[0]}\n")
    checked = run(typed("ssh-keygen -Y verify"), tmp_path, environment)
    assert checked.returncode == 0, checked.stdout
    assert 'Good "boxcheck-reference@v1" signature for you@example' in checked.stdout
    beside = run(f"{typed('boxcheck profile beside')} --allowed-signers allowed_signers", tmp_path, environment)
    assert beside.returncode == 0, beside.stdout
    assert "signed by you@example" in beside.stdout
    shared = run(typed("boxcheck profile draft --from-run RUN --from-run"), tmp_path, environment)
    assert shared.returncode == 0, shared.stdout
    assert len(TYPED) == 5
