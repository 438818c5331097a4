"""What was asked of kernel modules, on the command line and in modprobe.d, and which parameters they really have.

Reads   /proc/cmdline, *.conf in /etc/modprobe.d, /run/modprobe.d, /usr/lib/modprobe.d, names in
        /sys/module/<module>/parameters                                                               (any user)
Since   any Linux with modules
Absent  /sys/module/<module> when it is not loaded and was not built in with parameters
By hand cat /proc/cmdline; grep -rE '^(options|blacklist|install)' /etc/modprobe.d; ls /sys/module/amdgpu/parameters

modprobe.d is also copied into the initramfs: a file that was edited since says what will be, not what is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from boxcheck.decode.cmdline import normal_name, parse_cmdline
from boxcheck.host import Host
from boxcheck.model import Unread
from boxcheck.probes.kernel import Kernel
from boxcheck.registry import probe

MODPROBE_DIRECTORIES = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
COMMAND_LINE = "/proc/cmdline"
FILE_LIMIT = 200


class Asked(msgspec.Struct, frozen=True):
    """A module parameter that somebody set."""

    module: str
    parameter: str
    value: str | None
    place: str
    """File that sets it; `/proc/cmdline` for the command line."""

    def __str__(self) -> str:
        text = f"{self.module}.{self.parameter}"
        return text if self.value is None else f"{text}={self.value}"


class ModuleSettings(msgspec.Struct, frozen=True):
    asked: tuple[Asked, ...]
    """Command line last, since it is handed to modprobe after the files and so wins."""
    blacklisted: Mapping[str, str]
    """Module -> file (or /proc/cmdline) that keeps it from being loaded by itself."""
    loaded: Mapping[str, bool | Unread]
    """For every module that something was asked of: whether it is in the kernel."""
    parameters: Mapping[str, tuple[str, ...] | Unread]
    """For the same modules: the parameters that it shows in sysfs."""
    modprobe_unread: Unread | None
    """Why some of modprobe.d was not read, so that `asked` and `blacklisted` may lack something. Kind absent only where
    the machine has no modprobe.d at all."""
    command_line_unread: Unread | None = None
    """Why the command line was not read; then all that it sets is missing."""

    def last(self, module: str, parameter: str) -> Asked | None:
        """The setting that wins; None when nobody set it."""
        found = [one for one in self.asked if (one.module, one.parameter) == (module, parameter)]
        return found[-1] if found else None


def parse_modprobe(text: str, place: str) -> tuple[list[Asked], list[str]]:
    """Options and blacklisted modules of one modprobe.d file (modprobe.d(5)); `install x /bin/false` counts as
    blacklisted, which it is in effect."""
    asked: list[Asked] = []
    blacklisted: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split()
        if len(words) < 2 or words[0].startswith("#"):
            continue
        module = normal_name(words[1])
        if words[0] == "blacklist" or (words[0] == "install" and words[2:3] in (["/bin/false"], ["/bin/true"])):
            blacklisted.append(module)
        elif words[0] == "options":
            asked += [
                Asked(module, parameter.name, parameter.value, place)
                for parameter in parse_cmdline(" ".join(words[2:])).parameters
            ]
    return asked, blacklisted


def _files(host: Host) -> Iterator[tuple[str, str] | Unread]:
    """(path, text) of every modprobe.d file that counts: a name in an earlier directory hides the later ones."""
    seen: set[str] = set()
    for directory in MODPROBE_DIRECTORIES:
        names = host.entries(directory)
        if isinstance(names, Unread):
            yield names
            continue
        for name in names[:FILE_LIMIT]:
            if name.endswith(".conf") and name not in seen:
                seen.add(name)
                text = host.text(f"{directory}/{name}")
                if not isinstance(text, Unread):
                    yield f"{directory}/{name}", text
                elif text.kind != "absent":  # a link that leads nowhere says nothing
                    yield text


@probe("module_settings", ModuleSettings, reads=[Kernel])
def module_settings(host: Host, kernel: Kernel) -> ModuleSettings:
    asked: list[Asked] = []
    blacklisted: dict[str, str] = {}
    unread: list[Unread] = []
    for found in _files(host):
        if isinstance(found, Unread):
            unread.append(found)
            continue
        options, blocked = parse_modprobe(found[1], found[0])
        asked += options
        blacklisted.update(dict.fromkeys(blocked, found[0]))
    command_line_unread = kernel.command_line if isinstance(kernel.command_line, Unread) else None
    if not isinstance(kernel.command_line, Unread):
        for parameter in kernel.command_line.parameters:
            if parameter.module is not None:
                asked.append(Asked(parameter.module, parameter.parameter, parameter.value, COMMAND_LINE))
        for name in ("modprobe.blacklist", "module_blacklist"):
            for word in kernel.command_line.words(name):
                blacklisted[normal_name(word)] = COMMAND_LINE
    none = len(unread) == len(MODPROBE_DIRECTORIES)
    modules = [name for name in dict.fromkeys(one.module for one in asked) if name and "/" not in name]
    return ModuleSettings(
        asked=tuple(asked), blacklisted=blacklisted,
        loaded={name: host.exists(f"/sys/module/{name}") for name in modules},
        parameters={name: host.entries(f"/sys/module/{name}/parameters") for name in modules},
        modprobe_unread=next((one for one in unread if one.kind != "absent"), unread[0] if none else None),
        command_line_unread=command_line_unread,
    )
