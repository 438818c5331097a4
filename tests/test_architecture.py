"""The house stays as it was drawn: imports run one way, the judging side is pure, start-up is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "boxcheck"

ORDER = (
    ("model", "usage", "poisson", "binomial", "version"),
    ("decode",),
    ("host",),
    ("registry", "redact"),
    ("profile",),
    ("probes", "gpu", "kernels", "telemetry"),
    ("checks", "stress"),
    ("problems", "judge"),
    ("store",),
    ("engine",),
    ("account",),
    ("triage",),
    ("riser", "certify", "golden", "report", "compare"),
    ("tui",),
    ("commands",),
    ("cli", "__main__"),
)
"""Lower layers first; `profile` is `profile_read` too. A module may import from its own layer and from those before it."""

ALLOWED = {
    # The judge's verdict is part of the account; the profile's detection reads facts, so it stands above the probes.
    ("engine", "account"), ("engine", "report"),
}


def layer_of(part: str) -> int:
    for index, names in enumerate(ORDER):
        if part in names or any(part.startswith(f"{name}_") for name in names):
            return index
    raise AssertionError(f"boxcheck.{part} has no layer; add it to ORDER")


def top_level_imports(path: Path) -> set[str]:
    """First parts below `boxcheck.` that a module imports when it is imported; not those inside functions."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("boxcheck."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("boxcheck.")}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part in ("__init__", "_profiles", "data"):
        return
    here = layer_of(part)
    later = {
        other for other in top_level_imports(path)
        if layer_of(other) > here and (part, other) not in ALLOWED and not _detects(part, other)
    }
    assert not later, f"{path.name} imports from later layers: {sorted(later)}"


def _detects(part: str, other: str) -> bool:
    return part in ("profile_detect", "profile_draft") and other in ("probes", "engine")


@pytest.mark.parametrize("folder", ["decode", "checks"])
def test_decoders_and_checks_never_touch_the_machine(folder: str) -> None:
    banned = {"os", "subprocess", "socket", "pathlib", "shutil", "psutil", "pyudev"}
    for path in (PACKAGE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            for name in names:
                assert name.split(".")[0] not in banned, f"{path.name} imports {name}"
                assert not name.startswith("boxcheck.host"), f"{path.name} imports {name}"


def test_only_the_host_opens_the_machine() -> None:
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0]
        if part in ("probes", "checks", "decode"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id not in ("open", "exec", "eval"), f"{path} calls {node.func.id}()"


def test_nothing_is_run_through_a_shell() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                raise AssertionError(f"{path} passes shell=")


def test_the_version_is_printed_without_importing_anything_heavy() -> None:
    script = (
        "import sys; sys.argv = ['boxcheck', '--version']\n"
        "from boxcheck.__main__ import main\nmain()\n"
        "print(sorted(set(sys.modules) & {'typer', 'msgspec', 'textual', 'numpy', 'rich', 'pyudev', 'psutil'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
