"""`boxcheck report sign` and `boxcheck report verify`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import msgspec

from boxcheck.certify.acceptance import Acceptance
from boxcheck.certify.allowed import AllowedError, default_list, parse_time
from boxcheck.certify.keys import KeyTrouble
from boxcheck.certify.sign import Signing, SignTrouble
from boxcheck.certify.sign import sign as sign_folder
from boxcheck.certify.verify import Asking, NothingToVerify
from boxcheck.certify.verify import verify as verify_path
from boxcheck.report import style_for
from boxcheck.report.output import write_output
from boxcheck.store.texts import plain_value
from boxcheck.usage import UsageError


class Options(msgspec.Struct, frozen=True, kw_only=True):
    json: str | None = None
    ascii: bool = False
    color: str = "auto"
    quiet: bool = False
    verbose: int = 0


def verify(
    path: str, *, allowed: str | None, signer: str | None, at: str | None, strict: bool, options: Options,
) -> int:
    """0 verified, 1 refused, 3 not all could be told."""
    from boxcheck.report.verification import verification_object, verification_text

    asking = Asking(
        allowed=allowed or default_list(), allowed_named=allowed is not None, signer=signer or "",
        at=None if at is None else _moment(at), strict=strict)
    try:
        found = verify_path(path, asking)
    except NothingToVerify as error:
        raise UsageError(str(error), error.help) from None
    except AllowedError as error:
        raise UsageError(str(error), "name a list of allowed signers; boxcheck keys allow makes its lines") from None
    _tell(verification_text(found, style_for(options, _stream(options))), verification_object(found), options)
    return found.exit_code


def _moment(text: str) -> float:
    """A day or a time, of UTC unless it says another."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        pass
    try:
        return parse_time(text)
    except ValueError:
        raise UsageError(f"--at: {text!r} is no time", "write it as 2026-11-28 or 2026-11-28T16:00Z") from None


def sign(folder: str, asked: Signing, options: Options) -> int:
    """0 signed. UsageError where nothing was."""
    from boxcheck.report.verification import signed_text

    if asked.key is None and not asked.agent:
        raise UsageError("say which key signs", "--key FILE at the station, or --agent for the ssh-agent; "
                         "boxcheck keys lists keys")
    try:
        done = sign_folder(folder, asked, _render_again)
    except (SignTrouble, KeyTrouble) as error:
        raise UsageError(str(error), error.help) from None
    _tell(signed_text(done, style_for(options, _stream(options))), plain_value(msgspec.to_builtins(done)), options)
    return 0


def _render_again(folder: str, told: Acceptance) -> dict[str, bytes]:
    from boxcheck.commands.report import render_folder

    return render_folder(folder, told)


def _stream(options: Options) -> object:
    return sys.stderr if options.json == "-" else sys.stdout


def _tell(text: str, told: object, options: Options) -> None:
    if options.json != "-":
        sys.stdout.write(text)
    if options.json:
        write_output(options.json, msgspec.json.format(msgspec.json.encode(told), indent=1).decode())
