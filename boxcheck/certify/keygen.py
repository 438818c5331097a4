"""OpenSSH's own `ssh-keygen`, for what is not read or made here: keys of other kinds, encrypted keys, and everything
where `cryptography` is not installed. Manual: ssh-keygen(1), `-Y`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from boxcheck.certify.sshsig import SignatureError
from boxcheck.host.programs import SEARCH_PATH
from boxcheck.store.texts import plain_line

CHECK_SECONDS = 20.0
PROMPT_SECONDS = 300.0
"""Somebody looks for a passphrase, or touches a token."""

WRONG, UNABLE = "Could not verify signature", "unsupported key type"
"""What it says where a signature does not hold, and beside that where it cannot say so of a key of that kind."""


class KeygenError(Exception):
    """ssh-keygen is not there, does not end, or refuses; `says` what it says."""


def find_keygen() -> str | None:
    return shutil.which("ssh-keygen", path=SEARCH_PATH)


def ssh_keygen(words: Sequence[str], *, message: bytes | None = None, prompts: bool = False) -> tuple[int, str]:
    """Exit status and what it printed. KeygenError where it is not there or does not end in time. `prompts`: it may ask
    at the terminal."""
    program = find_keygen()
    if program is None:
        raise KeygenError("ssh-keygen is not installed")
    kept = ("HOME", "TERM", "DISPLAY", "WAYLAND_DISPLAY", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "SSH_AUTH_SOCK")
    environment = {"PATH": SEARCH_PATH, "LC_ALL": "C", **{
        name: os.environ[name] for name in kept if name in os.environ}}
    try:
        done = subprocess.run(
            [program, *words], input=message, stdin=subprocess.DEVNULL if message is None and not prompts else None,
            stdout=subprocess.PIPE, stderr=None if prompts else subprocess.STDOUT, env=environment,
            timeout=PROMPT_SECONDS if prompts else CHECK_SECONDS, start_new_session=not prompts)
    except subprocess.TimeoutExpired as error:
        raise KeygenError(f"ssh-keygen did not end within {error.timeout:g} s") from None
    except (OSError, ValueError) as error:
        raise KeygenError(f"ssh-keygen cannot be started: {error}") from None
    return done.returncode, done.stdout.decode("utf-8", "replace")


def keygen_holds(armor: bytes, message: bytes, namespace: str) -> bool:
    """Whether a signature of any kind is one over `message`; whose it is is not asked. KeygenError where ssh-keygen
    cannot say."""
    with _private() as folder:
        path = os.path.join(folder, "signature")
        with open(path, "wb") as stream:
            stream.write(armor)
        status, said = ssh_keygen(("-Y", "check-novalidate", "-n", namespace, "-s", path), message=message)
    if status == 0 and said.startswith("Good "):
        return True
    if status != 0 and WRONG in said and UNABLE not in said:
        return False
    raise KeygenError(f"ssh-keygen does not check it: {last_line(said)}")


def keygen_sign(key: str, message: bytes, namespace: str) -> str:
    """The armored signature of a key file, which may be encrypted: ssh-keygen asks for its passphrase. KeygenError
    where it makes none."""
    with _private() as folder:
        path = os.path.join(folder, "manifest.json")
        with open(path, "wb") as stream:
            stream.write(message)
        status, said = ssh_keygen(("-q", "-Y", "sign", "-f", os.path.abspath(key), "-n", namespace, path), prompts=True)
        if status != 0:
            raise KeygenError(f"ssh-keygen signed nothing{': ' + last_line(said) if said.strip() else ''}")
        try:
            with open(f"{path}.sig", "rb") as stream:
                return stream.read().decode("ascii")
        except (OSError, UnicodeError):
            raise SignatureError("ssh-keygen left no signature") from None


def last_line(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return plain_line(lines[-1])[:160] if lines else "it says nothing"


@contextmanager
def _private() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="boxcheck-") as folder:
        yield folder
