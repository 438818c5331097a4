"""A unit of systemd that goes on with a run after the machine was restarted.

It does nothing unless a run was cut off by the boot before and nobody has looked at it since, and `boxcheck burn
--resume auto` goes on with none that went down three times in one phase. SIGINT ends the command as Ctrl-C does: it
asks the engine to come to an end and waits for it (systemd.kill(5), KillMode=mixed: the others are killed after it).
"""

from __future__ import annotations

import os
import pwd
import sys

NAME = "boxcheck-resume.service"
STOP_SECONDS = 180

_TEXT = """\
# /etc/systemd/system/{name}
#   boxcheck burn --systemd-unit | sudo tee /etc/systemd/system/{name}
#   sudo systemctl daemon-reload; sudo systemctl enable {name}
[Unit]
Description=Go on with a burn-in that a restart cut off
After=multi-user.target nvidia-persistenced.service
ConditionPathExistsGlob={locks}

[Service]
Type=exec
{user}ExecStart={command} -P -m boxcheck burn --resume auto
KillMode=mixed
KillSignal=SIGINT
TimeoutStopSec={stop}
Restart=no

[Install]
WantedBy=multi-user.target
"""


def unit_text(folder: str) -> str:
    """The unit for this user and this installation. `folder`: where runs lie. It is named in the unit, since a service
    of root would look in root's home."""
    lines = []
    if os.getuid() != 0:
        lines.append(f"User={_literal(pwd.getpwuid(os.getuid()).pw_name)}")
    lines.append(f"Environment={_quoted(f'XDG_STATE_HOME={os.path.dirname(os.path.dirname(folder))}')}")
    return _TEXT.format(
        name=NAME, locks=f"{_literal(folder)}/*.sqlite.lock", command=_quoted(sys.executable), stop=STOP_SECONDS,
        user="".join(f"{line}\n" for line in lines))


def _literal(text: str) -> str:
    """Percent signs are specifiers in a unit (systemd.unit(5))."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """One word, whatever is in it (systemd.syntax(7))."""
    plain = _literal(text)
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if escaped != plain or " " in plain else plain
