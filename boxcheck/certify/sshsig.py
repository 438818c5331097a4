"""Signatures in OpenSSH's format, as `ssh-keygen -Y sign` makes and `ssh-keygen -Y verify` reads them.

Format: PROTOCOL.sshsig of OpenSSH ("Armored format", "Blob format", "Signed Data"); keys and signatures of Ed25519:
RFC 8709; the encoding of `string` and `uint32`: RFC 4251, section 5.
Reading is stricter than ssh-keygen's: the armor must be byte for byte what a writer makes, so that no byte of the file
can be changed unseen, not even where it says nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from typing import Literal

import msgspec

NAMESPACE = "boxcheck-acceptance@v1"
"""Of manifests of acceptances. A signature counts in its namespace alone (PROTOCOL.sshsig), so that no other file that
somebody signed can be passed off as an acceptance."""

MAGIC = b"SSHSIG"
VERSION = 1
BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
COLUMNS = 70
"""As OpenSSH wraps (sshbuf_dtob64); PROTOCOL.sshsig asks for 76, and any width is read."""
ARMOR_LIMIT_BYTES = 64 << 10
ED25519 = "ssh-ed25519"
KINDS = (
    ED25519, "sk-ssh-ed25519@openssh.com", "ssh-rsa", "ssh-dss", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521", "sk-ecdsa-sha2-nistp256@openssh.com")
"""Of keys (RFC 4253, RFC 5656, RFC 8709, PROTOCOL.u2f); and certificates of them, `...-cert-v01@openssh.com`."""
HASHES: tuple[Literal["sha256", "sha512"], ...] = ("sha256", "sha512")
"""Those that PROTOCOL.sshsig allows."""


class SignatureError(Exception):
    """It is no signature, or one that is not understood."""


class PublicKey(msgspec.Struct, frozen=True):
    kind: str
    """`ssh-ed25519`, `sk-ssh-ed25519@openssh.com`, `ssh-rsa` ..."""
    blob: bytes
    """As SSH sends it."""
    comment: str = ""

    @property
    def fingerprint(self) -> str:
        """`SHA256:...`, as `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def line(self) -> str:
        """Type and key, as in an authorized_keys or allowed_signers file."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    key: PublicKey
    namespace: str
    hash: str
    kind: str
    """Of the signature: `ssh-ed25519`, `rsa-sha2-512` ..."""
    blob: bytes
    """All of it, algorithm and signature, as SSH sends it."""


class Wire:
    """Reads what RFC 4251 section 5 encodes. SignatureError where the bytes end before it does."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        if len(found) < size:
            raise SignatureError("it ends in the middle")
        self._at += size
        return found

    def uint32(self) -> int:
        found: int = struct.unpack(">I", self.take(4))[0]
        return found

    def string(self) -> bytes:
        return self.take(self.uint32())

    def text(self) -> str:
        """A name: printable ASCII."""
        data = self.string()
        if not data.isascii() or not data.decode("ascii").isprintable():
            raise SignatureError("a name in it is not printable")
        return data.decode("ascii")

    def end(self) -> None:
        if self._at != len(self._data):
            raise SignatureError("something follows its end")


def string(data: bytes | str) -> bytes:
    """RFC 4251 section 5."""
    raw = data.encode() if isinstance(data, str) else data
    return struct.pack(">I", len(raw)) + raw


def public_key(blob: bytes, comment: str = "") -> PublicKey:
    """A key from the bytes that SSH sends. SignatureError for what is none."""
    wire = Wire(blob)
    kind = wire.text()
    if kind == ED25519:
        if len(wire.string()) != 32:
            raise SignatureError("an Ed25519 key in it has not 32 bytes")
        wire.end()
    return PublicKey(kind, blob, comment)


def signed_bytes(message: bytes, namespace: str, hash: str = "sha512") -> bytes:
    """What the key signs ("Signed Data")."""
    return MAGIC + string(namespace) + string(b"") + string(hash) + string(hashlib.new(hash, message).digest())


def armored(key: PublicKey, signature: bytes, namespace: str) -> str:
    """The text of a signature file. `signature`: as an agent gives it, algorithm and bytes, over `signed_bytes`."""
    blob = MAGIC + struct.pack(">I", VERSION) + string(key.blob) + string(namespace) + string(b"") + string(
        "sha512") + string(signature)
    return _wrapped(base64.b64encode(blob).decode(), COLUMNS)


def _wrapped(text: str, columns: int) -> str:
    lines = [text[at : at + columns] for at in range(0, len(text), columns)]
    return "\n".join((BEGIN, *lines, END, ""))


def parse_armor(data: bytes) -> Signature:
    """A signature from its file. SignatureError says why it is none."""
    if len(data) > ARMOR_LIMIT_BYTES:
        raise SignatureError(f"it is larger than {ARMOR_LIMIT_BYTES >> 10} KiB")
    text = data.decode("latin-1")
    lines = text.split("\n")
    if not text.strip():
        raise SignatureError("it is empty")
    if lines[0] != BEGIN:
        raise SignatureError(f"it does not begin with {BEGIN}")
    if lines[-2:] != [END, ""] or len(lines) < 4:
        raise SignatureError(f"it does not end with {END} and one line feed: it is cut off, or something was added")
    try:
        blob = base64.b64decode("".join(lines[1:-2]), validate=True)
    except (binascii.Error, ValueError):
        raise SignatureError("its base64 is damaged") from None
    if _wrapped(base64.b64encode(blob).decode(), len(lines[1]) or 1) != text:
        raise SignatureError("its lines are not as a writer makes them")
    return _parse_blob(blob)


def _parse_blob(blob: bytes) -> Signature:
    wire = Wire(blob)
    if wire.take(len(MAGIC)) != MAGIC:
        raise SignatureError("it is no SSHSIG")
    if (version := wire.uint32()) != VERSION:
        raise SignatureError(f"it has version {version}; {VERSION} is understood")
    key = public_key(wire.string())
    if key.kind not in KINDS and "-cert-v" not in key.kind:
        raise SignatureError(f"its key is of a kind that is not known: {key.kind[:60]}")
    namespace, reserved, hash = wire.text(), wire.string(), wire.text()
    signature = wire.string()
    wire.end()
    if not namespace:
        raise SignatureError("it has no namespace")
    if reserved:
        raise SignatureError("it has something in a field that is reserved, which readers take in two ways")
    if hash not in HASHES:
        raise SignatureError(f"it hashes by {hash}, which PROTOCOL.sshsig does not allow")
    inner = Wire(signature)
    kind = inner.text()
    if key.kind == ED25519:
        if kind != ED25519 or len(inner.string()) != 64:
            raise SignatureError("key and signature in it are of two kinds")
        inner.end()
    return Signature(key=key, namespace=namespace, hash=hash, kind=kind, blob=signature)


def has_library() -> bool:
    """Whether `cryptography` is there (`pip install 'boxcheck[sign]'`)."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except Exception:  # noqa: BLE001  a library that is there and does not load is none
        return False
    return True


def holds(signature: Signature, message: bytes) -> bool:
    """Whether a signature is one of Ed25519 over `message`; never for a key of another kind. Needs `cryptography`."""
    if signature.key.kind != ED25519 or signature.kind != ED25519:
        return False
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw_key, raw = signature.key.blob[-32:], signature.blob[-64:]
    try:
        Ed25519PublicKey.from_public_bytes(raw_key).verify(
            raw, signed_bytes(message, signature.namespace, signature.hash))
    except (InvalidSignature, ValueError):
        return False
    return True
