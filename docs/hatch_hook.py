"""What building boxcheck adds to its files: the commit, the schemas, the manual page, completions.

hatchling calls it (pyproject.toml, [tool.hatch.build.hooks.custom]). An editable installation needs none of it: it is
the checkout. What is added is made in a folder that is removed afterwards; the checkout stays as it is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SCHEMAS = "boxcheck/data/schemas"
COMMIT = "boxcheck/data/COMMIT"


class Additions(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        self._made = TemporaryDirectory(prefix="boxcheck-build-")
        root, made = Path(self.root), Path(self._made.name)
        added = build_data["force_include"]
        commit = _commit(root)
        if commit is not None and not (root / COMMIT).exists():  # from an sdist it is there already
            added[_written(made / "COMMIT", f"{commit}\n")] = COMMIT
        if self.target_name != "wheel":
            return
        for path in sorted((root / "docs" / "reference").glob("*.schema.json")):
            added[str(path)] = f"{SCHEMAS}/{path.name}"
        sys.path[:0] = [str(root), str(root / "docs")]
        try:
            import man

            shared = {man.MAN: man.page(self.metadata.version, _date())}
            shared.update((man.SHELLS[shell], text) for shell, text in man.completions().items())
        finally:
            del sys.path[:2]
        for place, text in shared.items():
            build_data["shared_data"][_written(made / place, text)] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self._made.cleanup()


def _written(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def _commit(root: Path) -> str | None:
    """The whole hash, with `-dirty` where a tracked file differs from it; None outside of git."""
    if not (root / ".git").exists():
        return None
    try:
        # Without locks the index is left as it is: root's, made by sudo, would be in a user's checkout.
        commit, changed = (subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *words],
            capture_output=True, text=True, timeout=60.0, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changed else commit


def _date() -> str:
    """For the foot of the manual page: of SOURCE_DATE_EPOCH (reproducible-builds.org), which hatchling keeps to as
    well; none where it is not set, so that the same source gives the same bytes."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return time.strftime("%Y-%m-%d", time.gmtime(int(epoch))) if epoch.isdecimal() else ""
