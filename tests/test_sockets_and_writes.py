"""Nothing leaves the box, and nothing is written but where docs/explanation/security.md says: seen by strace, so that
libraries in C and the programs that boxcheck starts are seen too."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

CHANGING = (
    "creat", "mkdir", "mkdirat", "mknod", "mknodat", "rename", "renameat", "renameat2", "link", "linkat", "symlink",
    "symlinkat", "unlink", "unlinkat", "rmdir", "truncate", "chmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchownat",
    "utime", "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr", "removexattr", "lremovexattr", "mount", "umount2",
)
OPENING = ("open", "openat", "openat2")
FOR_WRITING = re.compile(r"\bO_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND)\b")
CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)", re.DOTALL)
PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^<>"]*)>, )?"((?:[^"\\]|\\.)*)"')
LOCAL = ("AF_UNIX", "AF_NETLINK", "AF_LOCAL")
"""To other programs of this box, and to its kernel."""
SERVICES = ("/run/", "/var/run/", "/var/lib/sss/")
"""Where daemons of the system listen: names of users (nscd, sssd), time and journal (D-Bus)."""
DEVICES = re.compile(r"/dev/(?:null|zero|tty|kfd|nvidia.*|dri/.*|ipmi.*)|/proc/(?:self|\d+)/(?:task/\d+/)?oom_score_adj")
BYTE_CODE = re.compile(r".*/__pycache__(?:/[^/]*\.pyc[.\d]*)?")
"""Python's own, beside each module."""

BOUNDS = Path(__file__).parents[1] / "docs/reference/bounds.md"
STEPS = {"cpu": ("doctor", "matmul", "everything", "copy", "doctor"), "opencl": ("doctor", "copy", "doctor")}
"""What a burn does: all of it on the processor; PoCL, which compiles for minutes under a trace, a part."""


class Seen(msgspec.Struct):
    """What processes did, of one trace."""

    families: set[str] = msgspec.field(default_factory=set)
    connected: set[str] = msgspec.field(default_factory=set)
    """Paths of Unix sockets."""
    written: set[str] = msgspec.field(default_factory=set)
    programs: set[str] = msgspec.field(default_factory=set)


def calls(trace: str) -> Iterator[tuple[str, str, str, str]]:
    """Process, name, arguments and result; what strace has in two lines, since another process came between, as one."""
    halves: dict[str, str] = {}
    for line in trace.splitlines():
        pid, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            halves[pid] = text.removesuffix("<unfinished ...>").rstrip()
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>", text)
        if resumed:
            text = halves.pop(pid, "") + text[resumed.end():]
        found = CALL.match(text)
        if found:
            yield pid, found[1], found[2], found[3]


def seen(trace: str, folder: Path) -> Seen:
    every = Seen()
    asking: set[str] = set()
    for pid, name, arguments, result in calls(trace):
        if pid in asking:
            continue
        if name == "socket":
            every.families.add(arguments.partition(",")[0])
        elif name in ("connect", "bind", "sendto", "sendmsg"):
            every.families.update(re.findall(r"sa_family=(\w+)", arguments))
            if name == "connect" and (to := re.search(r'sun_path="([^"]*)"', arguments)):
                every.connected.add(to[1])
        elif result.startswith("-"):
            continue
        elif name == "execve":
            program = re.findall(PATH, arguments)[0][1]
            every.programs.add(program)
            if os.path.basename(program) == "chronyc":  # asks chronyd over the loopback: the page says so
                asking.add(pid)
        elif name in CHANGING or (name in OPENING and FOR_WRITING.search(arguments)):
            every.written |= {os.path.normpath(os.path.join(base or folder, path)) for base, path in PATH.findall(arguments)}
    return every


def traced(folder: Path, *command: str, give: str = "") -> tuple[subprocess.CompletedProcess[str], Seen]:
    """A program with all that it starts, to the end of the last."""
    wanted = ",".join(f"?{name}" for name in ("socket", "connect", "bind", "sendto", "sendmsg", "execve", *OPENING, *CHANGING))
    place = folder / "trace"  # a ? lets a strace that does not know the call go on
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SUDO_", "XDG_", "BOXCHECK_CACHE", "POCL_"))}
    for one in ("home", "state", "tmp"):
        (folder / one).mkdir(exist_ok=True)
    done = subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-qq", "-yy", "-s", "4096", "-e", f"trace={wanted}", "-o", str(place), "--", *command],
        cwd=folder, input=give, capture_output=True, text=True, timeout=900, check=False, env={
            **environment, "HOME": str(folder / "home"), "XDG_STATE_HOME": str(folder / "state"),
            "TMPDIR": str(folder / "tmp"), "OPENBLAS_NUM_THREADS": "1", "BOXCHECK_CPU_DEVICES": "1",
            "POCL_DEVICES": "pthread", "BOXCHECK_LOCK": f"boxcheck-traced-{os.getpid()}"})
    return done, seen(place.read_text(errors="replace"), folder)


@pytest.fixture(scope="module", autouse=True)
def _strace(tmp_path_factory: pytest.TempPathFactory) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    place = tmp_path_factory.mktemp("strace") / "trace"
    tried = subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-o", str(place), "-e", "trace=openat", "true"], capture_output=True, text=True, check=False)
    if tried.returncode or not place.read_text():
        pytest.skip(f"strace cannot look at processes here: {tried.stderr.strip()}")


def boxcheck(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "boxcheck", *words)


def strange(found: Seen, folder: Path, *outputs: str) -> list[str]:
    """What was written elsewhere than in the state directory, the caches, the temporary directory and the files asked for."""
    told = re.compile("|".join(
        [*(rf"{re.escape(str(folder / one))}/.*" for one in ("state", "tmp", "home/.cache")), re.escape(str(folder / "home/.cache")),
         *(rf"{re.escape(str(folder / one))}(?:\.\d+\.part)?" for one in outputs)]))
    return sorted(
        path for path in found.written
        if not told.fullmatch(path) and not DEVICES.fullmatch(path) and not BYTE_CODE.fullmatch(path))


def holds(found: Seen, folder: Path, *outputs: str) -> None:
    assert found.families <= set(LOCAL), found.families
    assert [path for path in found.connected if not path.startswith(SERVICES)] == []
    assert strange(found, folder, *outputs) == []
    told = {words.split()[0] for words in re.findall(r"`([^`]+)`", BOUNDS.read_text().partition("## Bounds")[0])}
    assert {os.path.basename(path) for path in found.programs} - {os.path.basename(sys.executable), "python3"} <= told


def test_the_trace_sees_sockets_and_writes(tmp_path: Path) -> None:
    program = (
        "import os, socket, subprocess; socket.socket(socket.AF_INET6).close(); open('here', 'w').close(); os.mkdir('there');"
        "os.rename('here', 'there/x'); open('there/x').close(); subprocess.run(['touch', 'child'])")
    done, found = traced(tmp_path, sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr
    assert "AF_INET6" in found.families
    assert strange(found, tmp_path, "child") == [str(tmp_path / name) for name in ("here", "there", "there/x")]
    with pytest.raises(AssertionError, match="AF_INET6"):
        holds(found, tmp_path)


def test_doctor(tmp_path: Path) -> None:
    done, found = traced(tmp_path, *boxcheck("doctor", "--json", "box.json", "--junit", "box.xml", "--openmetrics", "box.prom"))
    assert done.returncode in (0, 1, 3, 5), done.stderr
    assert json.loads((tmp_path / "box.json").read_text())["verdict"]
    assert any(path.startswith(str(tmp_path / "state/boxcheck/runs/")) for path in found.written), "no record was kept"
    holds(found, tmp_path, "box.json", "box.xml", "box.prom")
    assert {path for path in found.written if path.startswith(str(tmp_path / "tmp"))} == set()


def test_doctor_that_keeps_nothing_writes_nothing(tmp_path: Path) -> None:
    done, found = traced(tmp_path, *boxcheck("doctor", "--no-record", "--no-wake"))
    assert done.returncode in (0, 1, 3, 5), done.stderr
    assert sorted(path for path in found.written if not DEVICES.fullmatch(path) and not BYTE_CODE.fullmatch(path)) == []
    holds(found, tmp_path)


def test_triage(tmp_path: Path) -> None:
    log = Path(__file__).parent / "corpus/klog/aer-fatal-inaccessible.log"
    done, found = traced(tmp_path, *boxcheck("triage", "-", "--json", "told.json"), give=log.read_text())
    assert done.returncode == 1, done.stderr
    assert json.loads((tmp_path / "told.json").read_text())
    holds(found, tmp_path, "told.json")
    assert found.programs == {sys.executable}


@pytest.mark.parametrize("backend", ["cpu", "opencl"])
def test_a_burn_and_its_report(tmp_path: Path, backend: str) -> None:
    steps = (
        f'[[step]]\nmodule = "{module}"\nminutes = 0.02\n' + ("" if module == "doctor" else 'options = { size = "test" }\n')
        for module in STEPS[backend])
    (tmp_path / "plan.toml").write_text("\n".join(['name = "short"', *steps]))
    done, found = traced(tmp_path, *boxcheck(
        "burn", "--backend", backend, "--profile", "generic", "--plan", "plan.toml", "--json", "burn.json", "--jsonl", "burn.jsonl"))
    if backend == "opencl" and done.returncode == 3 and not (tmp_path / "burn.json").exists():
        pytest.skip(f"no OpenCL device is here: {done.stderr.strip()[:200]}")
    assert done.returncode in (0, 1, 3), done.stderr
    assert json.loads((tmp_path / "burn.json").read_text())["verdict"]
    holds(found, tmp_path, "burn.json", "burn.jsonl")
    assert list((tmp_path / "tmp").iterdir()) == []

    (run,) = (tmp_path / "state/boxcheck/runs").glob("*-burn.sqlite")
    done, found = traced(tmp_path, *boxcheck("report", str(run), "--html", "run.html", "--csv", "run.csv"))
    assert done.returncode in (0, 1, 3), done.stderr
    assert (tmp_path / "run.html").exists()
    holds(found, tmp_path, "run.html", "run.csv")
