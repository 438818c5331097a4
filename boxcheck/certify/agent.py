"""An ssh-agent: lists its keys and has it sign. The key stays where the agent is, which with `ssh -A` is the station.

Protocol: draft-ietf-sshm-ssh-agent ("Message formats"), over the socket that SSH_AUTH_SOCK names. By hand:
`ssh-add -l`.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from boxcheck.certify.sshsig import PublicKey, SignatureError, Wire, public_key, string
from boxcheck.store.texts import plain_line

FAILURE, REQUEST_IDENTITIES, IDENTITIES_ANSWER, SIGN_REQUEST, SIGN_RESPONSE = 5, 11, 12, 13, 14
LIST_SECONDS = 10.0
SIGN_SECONDS = 120.0
"""Somebody may have to agree at the station (`ssh-add -c`)."""
REPLY_LIMIT_BYTES = 256 << 10
"""As OpenSSH limits a message (authfd.c, MAX_AGENT_REPLY_LEN)."""
KEYS_LIMIT = 2048

Place = Literal["elsewhere", "here", "unknown"]


class AgentError(Exception):
    """No agent, or one that does not answer, refuses or answers nonsense."""


def agent_keys() -> tuple[PublicKey, ...]:
    """The keys of the agent, in its order. AgentError where there is none."""
    with _connected(LIST_SECONDS) as ask:
        reply = ask.ask(bytes([REQUEST_IDENTITIES]))
    if reply[:1] != bytes([IDENTITIES_ANSWER]):
        raise AgentError("the ssh-agent does not list its keys")
    wire, found = Wire(reply[1:]), []
    try:
        for _ in range(min(wire.uint32(), KEYS_LIMIT)):
            blob, comment = wire.string(), wire.string()
            found.append(public_key(blob, plain_line(comment.decode("utf-8", "replace"))))
    except SignatureError as error:
        raise AgentError(f"the ssh-agent's list of keys is damaged: {error}") from None
    return tuple(found)


def agent_sign(key: PublicKey, data: bytes) -> bytes:
    """The signature over `data`, algorithm and bytes. AgentError where the agent makes none."""
    with _connected(SIGN_SECONDS) as ask:
        reply = ask.ask(bytes([SIGN_REQUEST]) + string(key.blob) + string(data) + struct.pack(">I", 0))
    if reply[:1] == bytes([FAILURE]):
        raise AgentError(f"the ssh-agent does not sign with {key.fingerprint}: refused there, or locked")
    if reply[:1] != bytes([SIGN_RESPONSE]):
        raise AgentError("the ssh-agent's answer is no signature")
    wire = Wire(reply[1:])
    try:
        made = wire.string()
        wire.end()
    except SignatureError as error:
        raise AgentError(f"the ssh-agent's signature is damaged: {error}") from None
    return made


def agent_place() -> Place:
    """Whether the agent answers from another machine, through sshd, or is a program of this one.

    The kernel names the process that made the socket (unix(7), SO_PEERCRED): sshd where it is forwarded. Unknown where
    that process is gone, as with an ssh-agent that went into the background, or in another container. What a forwarded
    agent is at its other end nobody here can tell.
    """
    with _connected(LIST_SECONDS) as ask:
        return ask.place()


class _Asking:
    def __init__(self, stream: socket.socket, seconds: float) -> None:
        self._stream, self._until = stream, time.monotonic() + seconds

    def ask(self, message: bytes) -> bytes:
        self._wait()
        self._stream.sendall(string(message))
        size = struct.unpack(">I", self._read(4))[0]
        if not 0 < size <= REPLY_LIMIT_BYTES:
            raise AgentError("the ssh-agent's answer has an impossible length")
        return self._read(size)

    def place(self) -> Place:
        process, _, _ = struct.unpack("3i", self._stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        try:
            with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as stream:
                return "elsewhere" if stream.read().startswith(("sshd", "dropbear")) else "here"
        except OSError:
            return "unknown"

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            self._wait()
            chunk = self._stream.recv(size - len(found))
            if not chunk:
                raise AgentError("the ssh-agent closed the connection")
            found += chunk
        return found

    def _wait(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._stream.settimeout(left)


@contextmanager
def _connected(seconds: float) -> Iterator[_Asking]:
    path = os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise AgentError("there is no ssh-agent: SSH_AUTH_SOCK is not set")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as stream:
            stream.settimeout(seconds)
            stream.connect(path)
            yield _Asking(stream, seconds)
    except TimeoutError:
        raise AgentError(f"the ssh-agent did not answer within {seconds:g} s") from None
    except (OSError, ValueError) as error:
        why = os.strerror(getattr(error, "errno", 0) or 0).lower() if getattr(error, "errno", 0) else str(error)
        raise AgentError(f"the ssh-agent at {plain_line(path)} cannot be reached: {plain_line(why)}") from None
