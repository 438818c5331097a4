"""Keys that sign acceptances: OpenSSH key files of Ed25519, read with the care that ssh takes.

Formats: PROTOCOL.key of OpenSSH (`openssh-key-v1`), and the line of a `.pub` file. By hand: `ssh-keygen -lf KEY`.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from collections.abc import Callable

import msgspec

from boxcheck.certify.keygen import KeygenError, find_keygen, keygen_sign
from boxcheck.certify.sshsig import (
    ED25519,
    PublicKey,
    SignatureError,
    Wire,
    armored,
    has_library,
    parse_armor,
    public_key,
    signed_bytes,
    string,
)
from boxcheck.store.texts import plain_line

KEY_LIMIT_BYTES = 64 << 10
BEGIN, END = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"
MAGIC = b"openssh-key-v1\0"
NO_AGENT = ("ssh-add -l lists its keys; ssh -A takes the station's agent along, and "
            "sudo --preserve-env=SSH_AUTH_SOCK lets it through")
INSTALL = "pip install 'boxcheck[sign]', or install ssh-keygen (OpenSSH)"


class KeyTrouble(Exception):
    """A key that cannot be used; `help` says what to do."""

    def __init__(self, says: str, help: str = "") -> None:
        super().__init__(says)
        self.help = help


class KeyFile(msgspec.Struct, frozen=True, kw_only=True):
    """A private key, as its file shows it without being opened."""

    path: str
    public: PublicKey
    encrypted: bool
    private: bytes
    """Of an encrypted key, nothing that could be used."""


def config_folder() -> str:
    """Where keys and the list of allowed signers lie by default."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.config"), "boxcheck")


def keys_folder() -> str:
    return os.path.join(config_folder(), "keys")


def read_public(text: str) -> PublicKey:
    """The key of a `.pub` file. SignatureError where it is none."""
    words = text.strip().split(None, 2)
    if len(words) < 2 or "\n" in text.strip():
        raise SignatureError("it is no public key")
    try:
        found = public_key(base64.b64decode(words[1], validate=True), plain_line(words[2]) if words[2:] else "")
    except (binascii.Error, ValueError):
        raise SignatureError("its base64 is damaged") from None
    if base64.b64encode(found.blob).decode() != words[1]:  # Python passes over what is too much; ssh-keygen does not
        raise SignatureError("its base64 is not as a writer makes it")
    if found.kind != words[0]:
        raise SignatureError("it calls itself another kind than it is")
    return found


def read_key_file(path: str) -> KeyFile | PublicKey:
    """A private key, or the public one where the file holds that. KeyTrouble where it is none, or where others than
    its owner may read it."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as stream:
            about = os.fstat(stream.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_size > KEY_LIMIT_BYTES:
                raise KeyTrouble(f"{plain_line(path)} is no key file")
            data = stream.read(KEY_LIMIT_BYTES)
    except (OSError, ValueError) as error:
        why = os.strerror(getattr(error, "errno", 0) or 0).lower() if isinstance(error, OSError) else "is no path"
        raise KeyTrouble(f"{plain_line(path)}: {why}", "boxcheck keys lists keys") from None
    text = data.decode("latin-1")
    try:
        if not text.lstrip().startswith("-----BEGIN"):
            return read_public(data.decode("utf-8", "replace"))
        _refuse_loose(path, about)
        return _parse_private(path, text)
    except SignatureError as error:
        raise KeyTrouble(f"{plain_line(path)} is no key that is understood: {error}",
                         "boxcheck keys new makes one; ssh-keygen -p -f FILE rewrites an old one") from None


def _refuse_loose(path: str, about: os.stat_result) -> None:
    if about.st_mode & 0o077:
        raise KeyTrouble(f"{plain_line(path)} may be read by others (mode {about.st_mode & 0o777:04o}): it is not used",
                         f"chmod 600 {plain_line(path)}; whoever had it may have copied it")
    if about.st_uid not in (0, os.geteuid()):
        raise KeyTrouble(f"{plain_line(path)} belongs to another user: it is not used", "name a key of your own")


def _parse_private(path: str, text: str) -> KeyFile:
    lines = text.strip().splitlines()
    if lines[0].strip() != BEGIN or lines[-1].strip() != END:
        raise SignatureError("it is no OpenSSH private key")
    try:
        data = base64.b64decode("".join(line.strip() for line in lines[1:-1]), validate=True)
    except (binascii.Error, ValueError):
        raise SignatureError("its base64 is damaged") from None
    wire = Wire(data)
    if wire.take(len(MAGIC)) != MAGIC:
        raise SignatureError("it is no openssh-key-v1")
    cipher, _, _ = wire.text(), wire.text(), wire.string()
    if wire.uint32() != 1:
        raise SignatureError("it holds several keys")
    public, private = public_key(wire.string()), wire.string()
    wire.end()
    return KeyFile(path=path, public=public, encrypted=cipher != "none", private=b"" if cipher != "none" else private)


def _seed(key: KeyFile) -> bytes:
    """The 32 secret bytes of an Ed25519 key that is not encrypted."""
    wire = Wire(key.private)
    if wire.uint32() != wire.uint32() or wire.text() != ED25519 or wire.string() != key.public.blob[-32:]:
        raise SignatureError("it is damaged")
    secret = wire.string()
    if len(secret) != 64:
        raise SignatureError("it is damaged")
    return secret[:32]


def sign_with_file(path: str, message: bytes, namespace: str) -> str:
    """The armored signature over `message` by a key file. KeyTrouble where there will be none."""
    key = read_key_file(path)
    if isinstance(key, PublicKey):
        raise KeyTrouble(f"{plain_line(path)} is a public key, which signs nothing",
                         "name the private one, or --agent with this one to choose a key of the ssh-agent")
    refuse_kind(key.public)
    if not key.encrypted and has_library():
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        try:
            secret = Ed25519PrivateKey.from_private_bytes(_seed(key))
        except SignatureError as error:
            raise KeyTrouble(f"{plain_line(path)}: {error}") from None
        return armored(key.public, _raw(secret.sign(signed_bytes(message, namespace))), namespace)
    if find_keygen() is None:
        says = "is encrypted, and ssh-keygen, which asks for its passphrase, is not installed" if key.encrypted else (
            "cannot be used: neither cryptography nor ssh-keygen is installed")
        raise KeyTrouble(f"{plain_line(path)} {says}", INSTALL)
    try:
        return keygen_sign(path, message, namespace)
    except (KeygenError, SignatureError) as error:
        raise KeyTrouble(f"{plain_line(path)}: {error}", "was the passphrase right? ssh-keygen -yf KEY asks for it too"
                         ) from None


def sign_with_agent(asked: str | None, message: bytes, namespace: str) -> str:
    """The same by a key of the ssh-agent; `asked`: a public key's file or its fingerprint, where it has several."""
    from boxcheck.certify.agent import AgentError, agent_keys, agent_sign

    try:
        key = _of_agent(asked, agent_keys())
        made = agent_sign(key, signed_bytes(message, namespace))
    except AgentError as error:
        raise KeyTrouble(str(error), NO_AGENT) from None
    return armored(key, made, namespace)


def _of_agent(asked: str | None, held: tuple[PublicKey, ...]) -> PublicKey:
    usable = [one for one in held if one.kind == ED25519]
    if asked is None:
        if len(usable) == 1:
            return usable[0]
        if not usable:
            raise KeyTrouble("the ssh-agent holds no Ed25519 key", "ssh-add KEY at the station, then ssh -A to here")
        raise KeyTrouble(f"the ssh-agent holds {len(usable)} Ed25519 keys: say which with --key",
                         "--key takes one of " + ", ".join(one.fingerprint for one in usable[:8]))
    wanted = asked if asked.startswith("SHA256:") else public_of(asked).fingerprint
    for one in held:
        if one.fingerprint == wanted:
            refuse_kind(one)
            return one
    raise KeyTrouble(f"the ssh-agent does not hold {plain_line(wanted)}", "ssh-add -l lists its keys")


def public_of(path: str) -> PublicKey:
    found = read_key_file(path)
    return found if isinstance(found, PublicKey) else found.public


def refuse_kind(key: PublicKey) -> None:
    """KeyTrouble for what is no plain Ed25519 key."""
    if key.kind != ED25519:
        raise KeyTrouble(
            f"this is a key of kind {plain_line(key.kind)}; boxcheck signs with {ED25519}",
            "boxcheck keys new makes one; what ssh-keygen -Y sign makes of others is verified where ssh-keygen is")


def _raw(signature: bytes) -> bytes:
    return string(ED25519) + string(signature)


def check_armor(armor: str, message: bytes, namespace: str, holds: Callable[[bytes, bytes], bool | None]) -> PublicKey:
    """The key of a signature that was just made. KeyTrouble where it does not hold: an agent may answer anything."""
    try:
        made = parse_armor(armor.encode())
    except SignatureError as error:
        raise KeyTrouble(f"the signature that was made is none: {error}") from None
    if made.namespace != namespace or holds(armor.encode(), message) is False:
        raise KeyTrouble("the signature that was made does not hold: nothing was written")
    return made.key


def is_fingerprint(text: str) -> bool:
    """`SHA256:` and 32 bytes in base64."""
    return re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", text) is not None
