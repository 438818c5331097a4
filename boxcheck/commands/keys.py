"""`boxcheck keys`: makes keys that sign acceptances, lists them, and writes lines of a list of allowed signers."""

from __future__ import annotations

import os
import sys

import msgspec

from boxcheck.certify.agent import AgentError, agent_keys
from boxcheck.certify.allowed import Allowed, AllowedError, allowed_line, default_list, read_list
from boxcheck.certify.keyring import Listed, list_keys, listed, new_key
from boxcheck.certify.keys import KeyTrouble, is_fingerprint, keys_folder, public_of
from boxcheck.certify.sshsig import ED25519, NAMESPACE, PublicKey
from boxcheck.report.output import write_output
from boxcheck.store.texts import plain_line
from boxcheck.usage import UsageError


def list_all(json: str | None, folder: str | None) -> int:
    """Keys of the folder and of the ssh-agent, and whom the list of allowed signers names."""
    troubles: list[str] = []
    found = [*_of_folder(folder or keys_folder(), troubles), *_of_agent(troubles)]
    lines = _allowed(troubles)
    for trouble in troubles:
        print(f"not listed: {trouble}", file=sys.stderr)
    names = {one.key.line: one.principals for one in lines}
    if json:
        every = [*found, *(listed(one.key, default_list(), signs=False) for one in lines)]
        objects = [{**msgspec.to_builtins(one), "allowed_as": names.get(one.line, "")} for one in every]
        write_output(json, msgspec.json.format(msgspec.json.encode(objects), indent=1).decode())
        return 0
    for one in found:
        print(_line(one, names.get(one.line, "")))
    for line in lines:
        print(f"{line.key.fingerprint}  {line.key.kind.removeprefix('ssh-')}  may sign as {line.principals}  "
              f"{plain_line(default_list())}:{line.number}")
    if not found and not troubles:
        print(f"no key in {plain_line(folder or keys_folder())}, none in an ssh-agent", file=sys.stderr)
        print("boxcheck keys new makes one", file=sys.stderr)
    return 0


def _of_folder(folder: str, troubles: list[str]) -> tuple[Listed, ...]:
    try:
        return list_keys(folder)
    except KeyTrouble as error:
        troubles.append(str(error))
        return ()


def _of_agent(troubles: list[str]) -> list[Listed]:
    """Nothing where there is no agent; one that is there and does not answer is told."""
    if not os.environ.get("SSH_AUTH_SOCK"):
        return []
    try:
        return [listed(one, "ssh-agent") for one in agent_keys()]
    except AgentError as error:
        troubles.append(str(error))
        return []


def _allowed(troubles: list[str]) -> tuple[Allowed, ...]:
    """The lines of the default list; none where there is no such list."""
    if not os.path.lexists(default_list()):
        return ()
    try:
        return read_list(default_list()).lines
    except AllowedError as error:
        troubles.append(str(error))
        return ()


def _line(one: Listed, name: str) -> str:
    if one.trouble:
        return f"not used   {plain_line(one.trouble)}"
    words = [one.fingerprint, one.kind.removeprefix("ssh-")]
    if one.encrypted is not None:
        words.append("with passphrase" if one.encrypted else "no passphrase")
    if not one.signs:
        words.append(f"does not sign: boxcheck signs with {ED25519}" if one.kind != ED25519 else "public half alone")
    if name:
        words.append(f"allowed as {name}")
    return f"{'  '.join(words)}  {plain_line(one.comment)}  {plain_line(one.where)}".replace("    ", "  ")


def new(name: str | None, *, comment: str | None, no_passphrase: bool) -> int:
    """Makes a key: a file of its own name, or one in the folder of keys."""
    path = name if name and (os.sep in name) else os.path.join(keys_folder(), name or "acceptance")
    if path.endswith((".pub", os.sep)):
        raise UsageError(f"{plain_line(path)} is no name for a private key", "its public half is called so: NAME.pub")
    passphrase = not no_passphrase
    if passphrase and not sys.stdin.isatty():
        raise UsageError("nobody is there to type a passphrase", "--no-passphrase, or run it at a terminal")
    said = comment if comment is not None else f"boxcheck {os.uname().nodename}"
    if not said.isprintable():
        raise UsageError("the comment is not printable", "--comment 'station 3'")
    try:
        key = new_key(path, said, passphrase=passphrase)
    except KeyTrouble as error:
        raise UsageError(str(error), error.help) from None
    print(f"{plain_line(path)}  {key.fingerprint}")
    print("It belongs on the station, never on a box under test. Buyers need the line that this prints:",
          file=sys.stderr)
    print(f"boxcheck keys allow {plain_line(path)}.pub quality@maker.example", file=sys.stderr)
    return 0


def allow(key: str, principal: str, *, after: str | None, before: str | None, add: bool, file: str | None) -> int:
    """A line of a list of allowed signers; with `add` at its end."""
    try:
        line = allowed_line(
            _public(key), principal, namespace=NAMESPACE, after=after or "", before=before or "")
    except KeyTrouble as error:
        raise UsageError(str(error), error.help) from None
    except ValueError as error:
        raise UsageError(str(error), "boxcheck keys allow --help says how it is called") from None
    if not add:
        print(line)
        return 0
    place = file or default_list()
    _append(place, line)
    print(f"{principal} may sign: {plain_line(place)}")
    return 0


def _public(key: str) -> PublicKey:
    if not is_fingerprint(key):
        return public_of(key)
    try:
        held = agent_keys()
    except AgentError as error:
        raise KeyTrouble(str(error)) from None
    for one in held:
        if one.fingerprint == key:
            return one
    raise KeyTrouble(f"the ssh-agent does not hold {key}", "ssh-add -l lists its keys")


def _append(place: str, line: str) -> None:
    before = ""
    try:
        os.makedirs(os.path.dirname(os.path.abspath(place)), mode=0o700, exist_ok=True)
        if os.path.exists(place):
            with open(place, encoding="utf-8", errors="surrogateescape") as stream:
                before = stream.read()
        if line in before.split("\n"):
            return
        with open(place, "a", encoding="utf-8") as stream:
            stream.write(f"{'' if before.endswith(chr(10)) or not before else chr(10)}{line}\n")
    except OSError as error:
        where = plain_line(str(error.filename or place))
        raise UsageError(f"{where}: {os.strerror(error.errno or 0).lower()}", "--file names another list") from None
