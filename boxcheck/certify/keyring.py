"""Makes keys that sign acceptances, and lists them. By hand: `ssh-keygen -t ed25519`, `ssh-keygen -lf KEY`."""

from __future__ import annotations

import os

import msgspec

from boxcheck.certify.keygen import KeygenError, find_keygen, last_line, ssh_keygen
from boxcheck.certify.keys import INSTALL, KeyFile, KeyTrouble, public_of, read_key_file
from boxcheck.certify.sshsig import ED25519, PublicKey, has_library, string
from boxcheck.store.texts import plain_line


def new_key(path: str, comment: str, *, passphrase: bool) -> PublicKey:
    """Makes a key and its `.pub`. KeyTrouble where it is there, or cannot be made. `passphrase`: ssh-keygen asks for
    one at the terminal."""
    for one in (path, f"{path}.pub"):
        if os.path.lexists(one):
            raise KeyTrouble(f"{plain_line(one)} is there already: no key is written over", "name another file")
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o700, exist_ok=True)
        if find_keygen() is not None:
            words = ["-q", "-t", "ed25519", "-f", os.path.abspath(path), "-C", comment]
            status, said = ssh_keygen(words if passphrase else [*words, "-N", ""], prompts=passphrase)
            if status:
                raise KeyTrouble(f"ssh-keygen made no key: {last_line(said)}")
        elif passphrase:
            raise KeyTrouble(
                "ssh-keygen, which asks for a passphrase, is not installed", "--no-passphrase, or install it")
        elif has_library():
            _make(path, comment)
        else:
            raise KeyTrouble("neither cryptography nor ssh-keygen is installed", INSTALL)
    except KeygenError as error:
        raise KeyTrouble(str(error)) from None
    except OSError as error:
        where = plain_line(str(error.filename or path))
        raise KeyTrouble(f"{where}: {os.strerror(error.errno or 0).lower()}") from None
    return public_of(f"{path}.pub")


def _make(path: str, comment: str) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    line = f"{PublicKey(ED25519, string(ED25519) + string(raw)).line} {comment}\n"
    for place, data, mode in ((path, private, 0o600), (f"{path}.pub", line.encode(), 0o644)):
        with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as stream:
            stream.write(data)


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the list."""

    where: str
    """A path, or `ssh-agent`."""
    fingerprint: str
    kind: str
    comment: str
    signs: bool
    """Whether `report sign` can use it."""
    encrypted: bool | None
    """None: an agent does not tell."""
    trouble: str = ""
    line: str = ""
    """Type and key, for a list of allowed signers."""


def list_keys(folder: str) -> tuple[Listed, ...]:
    """The keys of a folder. What is there and cannot be used is listed with its trouble. KeyTrouble where the folder is
    there and cannot be listed."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KeyTrouble(f"{plain_line(folder)}: {os.strerror(error.errno or 0).lower()}") from None
    return tuple(_listed(os.path.join(folder, name)) for name in names if not name.endswith(".pub"))


def _listed(path: str) -> Listed:
    try:
        found = read_key_file(path)
    except KeyTrouble as error:
        return Listed(where=path, fingerprint="", kind="", comment="", signs=False, encrypted=None, trouble=str(error))
    if isinstance(found, PublicKey):
        return listed(found, path, signs=False)
    return listed(_with_comment(found), path, encrypted=found.encrypted)


def _with_comment(found: KeyFile) -> PublicKey:
    """The comment stands in the `.pub` beside it."""
    try:
        beside = read_key_file(f"{found.path}.pub")
    except KeyTrouble:
        return found.public
    return beside if isinstance(beside, PublicKey) and beside.blob == found.public.blob else found.public


def listed(key: PublicKey, where: str, *, signs: bool = True, encrypted: bool | None = None) -> Listed:
    return Listed(
        where=where, fingerprint=key.fingerprint, kind=key.kind, comment=key.comment,
        signs=signs and key.kind == ED25519, encrypted=encrypted, line=key.line)
