"""`nvidia-smi nvlink -s` and `-e`: links under each GPU's line, and the errors that they counted.

A link without a bridge is `<inactive>` on every card that could take one, so all of them inactive means something on
modules only (SXM), whose links run to a switch or to each other.
"""

from __future__ import annotations

import re

from boxcheck.decode.klog.events import Event
from boxcheck.decode.nvidia_smi_forms import listed_gpu
from boxcheck.decode.text import clean_text
from boxcheck.triage.evidence import Section, at_line
from boxcheck.triage.tools.steps import NVLINK_ERRORS

_LINK = re.compile(r"Link (\d{1,3}): (?:([\d.]{1,9}) GB/s|(<inactive>|inactive))$")
_ERRORS = re.compile(r"Link (\d{1,3}): (Replay|Recovery|CRC)(?: Errors?)?: (\d{1,15})$")
_MIG = re.compile(r"MIG \S{1,40} +Device +\d{1,3}: \(UUID: MIG-")
_NONE_ACTIVE = "all links are inactive"
_ASIDE = ("Device does not have or support Nvlink", "Nvlink queries are not supported",
          "NVML: Unable to retrieve NVLink", "NVLink is not supported")
_RESEAT = "reseat the bridge, or have the module looked at"
_AGAIN = ("read the counts twice with a load between (nvidia-smi nvlink -e): only if they grow, go on", _RESEAT)
_HELP = (NVLINK_ERRORS, "where a switch is: systemctl status nvidia-fabricmanager", _RESEAT)


def belongs(text: str) -> bool:
    """Whether the line is of `-L`, of `nvlink -s` or of `nvlink -e`."""
    return any(shape.match(text) for shape in (_LINK, _ERRORS, _MIG)) or text.startswith(_ASIDE)


def events(section: Section) -> list[Event]:
    """One for each GPU whose links are down while others are up, and for modules whose links are all down; one for
    each GPU whose links counted errors."""
    found: list[Event] = []
    # Links before the first GPU's line are of one that was cut off.
    name, index, line, text = "", -1, at_line(section, 0), clean_text(section.lines[0].strip())
    down: list[str] = []
    bad: dict[str, int] = {}
    up = 0

    def close() -> None:
        number = (f"GPU {index}",) if index >= 0 else ()
        if bad:
            found.append(Event(
                kind="nvlink-errors", severity="warn", labels=(*number, *bad), count=sum(bad.values()), cause="signal",
                says="errors on its NVLinks, after which data was sent again or the link trained anew", help=_AGAIN,
                line=line, text=text))
        module = "SXM" in name or "HBM3" in name
        if not down or not (up or module):
            return
        all_ = not up
        found.append(Event(
            kind="nvlink-down", severity="fail" if all_ else "warn",
            labels=(*number, *sorted(set(down))[:18]),
            cause="signal", says="none of its NVLinks is up" if all_ else
            f"{len(down)} of {len(down) + up} NVLinks are down", help=_HELP, line=line, text=text))

    for offset, raw in enumerate(section.lines):
        listed = listed_gpu(raw)
        if listed is not None:
            close()
            if len(found) >= 256:
                return found
            index, name, _ = listed
            line, text, down, up = at_line(section, offset), clean_text(raw.strip()), [], 0
            bad.clear()
        elif (counted := _ERRORS.match(raw.strip()[:80])) is not None:
            if int(counted[3]) and len(bad) < 64:
                name_of = f"link {int(counted[1])}"
                bad[name_of] = bad.get(name_of, 0) + int(counted[3])
        elif _NONE_ACTIVE in raw:
            down.append("all")
        elif (link := _LINK.match(raw.strip()[:80])) is not None:
            if link[3] is not None:
                down.append(f"link {link[1]}")
            else:
                up += 1
    close()
    return found
