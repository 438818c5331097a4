"""Work beside a screen, in threads that nobody waits for when it is left: one may hang in a disk, or read a machine for
minutes. For the toolkit's own (`textual.work`) whoever leaves the application waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from textual.message import Message
from textual.message_pump import MessagePump


def in_thread(work: Callable[..., None], *given: object) -> None:
    threading.Thread(target=work, args=given, daemon=True).start()


def say(to: MessagePump, message: Message) -> None:
    """From a thread. What was left meanwhile takes nothing any more."""
    with suppress(RuntimeError):
        to.post_message(message)
