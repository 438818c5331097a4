"""What the bench does where it cannot run, and what it leaves behind: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.kernel import cache, fetch
from tests.kernel.cache import Unavailable, check_space, place_for_a_guest, seconds
from tests.kernel.fetch import Bench, newest_kernels, sources
from tests.kernel.topology import ONE_GPU
from tests.kernel.vm import CHECKOUT, Guest, GuestError

ROWS = """http://one/debian/ bookworm main $(SIGNED_BY) Debian
http://one/debian/ bookworm-updates main $(SIGNED_BY) Debian
https://other/deb nodistro main /key.gpg Other""".replace(" ", "|")


def test_backports_are_derived_from_the_configured_archive() -> None:
    lines, backports = sources(ROWS, "bookworm")
    assert lines == ["deb http://one/debian/ bookworm main", "deb http://one/debian/ bookworm-updates main",
                     "deb http://one/debian/ bookworm-backports main"]
    assert backports == "bookworm-backports"


def test_configured_backports_are_not_added_again_and_keys_stay() -> None:
    lines, _ = sources("http://one/debian/|trixie|main|/key.gpg|Debian\nhttp://one/debian/|trixie-backports|main|/key.gpg|Debian",
                       "trixie")
    assert lines == ["deb [signed-by=/key.gpg] http://one/debian/ trixie main",
                     "deb [signed-by=/key.gpg] http://one/debian/ trixie-backports main"]


def test_the_newest_of_the_oldest_and_of_the_newest_series() -> None:
    names = ["linux-image-6.1.0-9-amd64", "linux-image-6.1.0-56-amd64", "linux-image-6.12.9+deb12-amd64", "linux-image-6.9.7+deb12-amd64",
             "linux-image-6.12.117+deb12-amd64", "linux-image-6.12.90+deb12.1-amd64", "linux-image-6.12.118+deb12-rt-amd64",
             "linux-image-6.12-amd64", "linux-image-6.12.117+deb12-cloud-amd64"]
    assert newest_kernels(names) == [
        ("linux-image-6.1.0-56-amd64", "6.1.0-56-amd64", "6.1"),
        ("linux-image-6.12.117+deb12-amd64", "6.12.117+deb12-amd64", "6.12")]
    assert newest_kernels(names[:2]) == [("linux-image-6.1.0-56-amd64", "6.1.0-56-amd64", "6.1")]
    assert newest_kernels([]) == []


def test_a_kernel_in_one_package_and_one_in_several() -> None:
    assert fetch.parts_of("""linux-image-7.3.4+deb13-amd64
 |Depends: dracut
  Depends: <linux-initramfs-tool>
    dracut
  Depends: linux-base-7.3.4+deb13-amd64
  Depends: linux-binary-7.3.4+deb13-amd64
  Depends: linux-modules-7.3.4+deb13-amd64
  PreDepends: linux-base
""", "7.3.4+deb13-amd64") == [f"linux-{part}-7.3.4+deb13-amd64" for part in ("base", "binary", "modules")]
    assert fetch.parts_of("""linux-image-6.1.0-56-amd64
  Depends: kmod
  Depends: linux-base
""", "6.1.0-56-amd64") == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}', '{"format": 2, "qemu": 3, "qemu_version": "", "kernels": []}'])
def test_a_cache_that_is_not_whole_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BOXCHECK_BENCH_CACHE", str(tmp_path))
    assert fetch.known() is None
    (tmp_path / "bench.json").write_text(text)
    assert fetch.known() is None


def test_without_apt_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOXCHECK_BENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    done = subprocess.run([sys.executable, "-m", "tests.kernel", "fetch"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == "error: nothing was fetched before, and there is no apt-get to fetch with\n"


APT_GET = r"""#!/bin/sh
case " $* " in
    *" indextargets "*) echo 'http://one/debian/|bookworm|main||Debian' ;;
    *" FAILS "*) echo 'E: one line' >&2; echo "E: the reason" >&2; exit 100 ;;
esac
"""
APT_CACHE = """#!/bin/sh
case " $* " in *" pkgnames "*) echo linux-image-6.12.117+deb12-amd64 ;; esac
"""
OLD_QEMU = """#!/bin/sh
echo 'QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)'
"""


def programs(folder: Path, **texts: str) -> str:
    """A PATH of these programs, and of few others."""
    folder.mkdir()
    for name, text in texts.items():
        (folder / name.replace("_", "-", 1)).write_text(text)
        (folder / name.replace("_", "-", 1)).chmod(0o755)
    (folder / "sh").symlink_to("/bin/sh")
    return str(folder)


@pytest.mark.parametrize(("fails", "says"), [
    # No archive can be reached.
    ("update", "error: apt-get update: E: the reason"),
    # The archives hold no QEMU; the one that the machine has is too old, and is not taken.
    ("install", "error: apt-get install: E: the reason"),
])
def test_an_archive_that_gives_nothing_is_told_in_one_line(tmp_path: Path, fails: str, says: str) -> None:
    path = programs(tmp_path / "bin", apt_get=APT_GET.replace("FAILS", fails), apt_cache=APT_CACHE,
                    **{"qemu_system-x86_64": OLD_QEMU})
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernel", "fetch"], cwd=CHECKOUT, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path, "BOXCHECK_BENCH_CACHE": str(tmp_path / "cache")})
    assert (done.returncode, done.stderr) == (3, f"{says}\n")


def test_an_archive_that_hangs_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PROGRAM_SECONDS", 0.2)
    with pytest.raises(Unavailable, match=r"^sleep 60: no answer within 0.2 s$"):
        fetch.run(["sleep", "60"])


@pytest.mark.parametrize(("word", "outcome"), [("1", "skipped"), ("require", "error")])
def test_what_cannot_run_is_skipped_or_fails_as_asked(tmp_path: Path, word: str, outcome: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'tests'}", "tests/kernel/test_smoke.py"],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": str(tmp_path), "BOXCHECK_BENCH_CACHE": str(tmp_path), "BOXCHECK_BENCH": word})
    assert f"1 {outcome} in" in done.stdout, done.stdout
    assert "nothing was fetched before, and there is no apt-get to fetch with" in done.stdout
    assert "Traceback" not in done.stdout
    assert done.returncode == (1 if word == "require" else 0)


def test_little_memory_and_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOXCHECK_BENCH_CACHE", str(tmp_path))
    with monkeypatch.context() as little:
        little.setattr(cache, "HOST_MIB", 1 << 30)
        with pytest.raises(Unavailable, match=r"^\d+ MiB of memory are available, a guest needs \d+$"), place_for_a_guest():
            pass
    monkeypatch.setattr(cache, "NEEDED_FREE_MIB", 1 << 40)
    with pytest.raises(Unavailable, match=r"^\d+ MiB are free below .*, fetching needs \d+$"):
        check_space(tmp_path)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_boot_that_hangs_fails_in_its_time_and_is_gone(bench: Bench) -> None:
    guest = Guest(bench, bench.kernel(), ONE_GPU.arguments(), "init=/nothing")
    guest.boot_limit_seconds = 0.5
    with pytest.raises(GuestError, match=r"^no answer within \d+ s \(boot\)"), guest:
        pass
    assert guest.process.returncode is not None
    assert not guest.folder.exists()


def test_words_that_qemu_does_not_know_are_told_in_its_own(bench: Bench) -> None:
    guest = Guest(bench, bench.kernel(), ["-device", "no-such-card"])
    with pytest.raises(GuestError, match=r"no-such-card"), guest:
        pass
    assert not guest.folder.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_bench_that_is_stopped_takes_its_guest_with_it(bench: Bench, number: signal.Signals) -> None:
    """After Ctrl-C nothing is left; after a kill the folder is, until the next guest starts."""
    script = textwrap.dedent("""
        import signal, time
        # A job in the background of a script is born with Ctrl-C switched off.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from tests.kernel.fetch import known
        from tests.kernel.topology import ONE_GPU
        from tests.kernel.vm import Guest
        bench = known()
        with Guest(bench, bench.kernel(), ONE_GPU.arguments(), paused=True) as guest:
            print(guest.process.pid, guest.folder, flush=True)
            time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", script], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True) as process:
        assert process.stdout is not None
        pid, folder = process.stdout.readline().split()
        assert alive(int(pid))
        os.kill(process.pid, number)
        process.wait(seconds(30))
    end = time.monotonic() + seconds(10)
    while alive(int(pid)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(int(pid))
    if number is signal.SIGKILL:
        assert Path(folder).exists()
        with Guest(bench, bench.kernel(), ONE_GPU.arguments(), paused=True):
            pass
    assert not Path(folder).exists()
