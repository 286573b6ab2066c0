"""The root of the tree, its groups by whose fault it is, and how to walk it."""

from __future__ import annotations

from typing import ClassVar


class HsmkmsError(Exception):
    """The root: nothing else leaves a room of this project."""

    text: ClassVar[str] = "The request failed."

    def __init__(self, message: str | None = None) -> None:
        """Take the sentence to show; without one the class's own."""
        self.message = message or self.text
        super().__init__(self.message)


class CallerFault(HsmkmsError):
    """The caller can mend it."""


class ServiceFault(HsmkmsError):
    """The caller did nothing wrong."""


class OperatorFault(HsmkmsError):
    """The installation must be mended before the command can run; the message is one sentence with the cure."""

    text = "The installation cannot be used as it is; 'hsmkms doctor' shows why."


class ClientFault(HsmkmsError):
    """A command on the customer's machine cannot do its work."""


def leaves(root: type[HsmkmsError]) -> frozenset[type[HsmkmsError]]:
    """Return every class below `root` that something may raise: those without subclasses."""
    below = root.__subclasses__()
    if not below:
        return frozenset((root,))
    return frozenset().union(*(leaves(each) for each in below))
