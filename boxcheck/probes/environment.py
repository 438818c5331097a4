"""Variables that change which GPUs a runtime sees and how it copies.

Reads   this process's environment (an allow-list of names), /etc/environment                    (any user)
By hand env | grep -E 'HSA|HIP|ROCR|CUDA|NCCL'; cat /etc/environment

Under sudo this is root's environment: sudo clears the login's own. /etc/environment holds for every login.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from boxcheck.decode.text import clean_text
from boxcheck.host import ENVIRONMENT, Host
from boxcheck.model import Unread
from boxcheck.registry import probe

SYSTEM_FILE = "/etc/environment"


class Environment(msgspec.Struct, frozen=True):
    variables: Mapping[str, str] | Unread
    """Of this process, cleaned; only names on the allow-list."""
    system: Mapping[str, str] | Unread
    """Of /etc/environment, the same names; empty when there is no such file."""
    under_sudo: bool
    """The environment is root's, not that of the login that called sudo."""


def parse_environment(text: str, names: frozenset[str]) -> dict[str, str]:
    """`NAME=value` lines as pam_env reads them: optional `export`, optional quotes, `#` starts a comment."""
    found = {}
    for line in text.splitlines()[:1000]:
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and name.strip() in names:
            value = value.strip()
            if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            found[name.strip()] = clean_text(value, 120)
    return found


@probe("environment", Environment)
def environment(host: Host) -> Environment:
    variables, text, who = host.environment(), host.text(SYSTEM_FILE), host.who()
    names = frozenset(ENVIRONMENT)
    missing: Mapping[str, str] | Unread = text if isinstance(text, Unread) and text.kind != "absent" else {}
    system = missing if isinstance(text, Unread) else parse_environment(text, names)
    return Environment(
        variables if isinstance(variables, Unread) else {
            name: clean_text(value, 120) for name, value in variables.items() if name in names},
        system, not isinstance(who, Unread) and who.root and who.invoked_by is not None,
    )
