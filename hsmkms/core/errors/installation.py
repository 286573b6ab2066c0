"""What stops a command: the installation, or what a client was given to work with."""

from __future__ import annotations

from hsmkms.core.errors.tree import ClientFault, OperatorFault


class ConfigurationInvalid(OperatorFault):
    """The configuration cannot be used; the message names the key and the cure."""


class TokenUnusable(OperatorFault):
    """The module, the token, an object in it, or what the token does, is not what the deployment needs."""


class PinRefused(OperatorFault):
    """The token refused the PIN; it was tried once and is not tried again."""

    text = (
        "The token refused the PIN; it was tried once. Correct what hsm.pin_file, hsm.pin_credential or hsm.pin_fd "
        "names before you start again."
    )


class LoginUnanswered(OperatorFault):
    """The PIN was sent, and the token did not say whether it takes it: it may have counted a refusal."""

    text = "The PIN was sent to the token, which did not say whether it takes it."


class StoreUnusable(OperatorFault):
    """The database is of another version, of another deployment, or cannot be opened."""


class BackupUnusable(OperatorFault):
    """A backup cannot be made, is damaged, or is to be restored where there is something already."""


class ArchiveUnusable(OperatorFault):
    """An archive of the audit trail cannot be written or read, or is of another deployment."""


class NotTransferable(OperatorFault):
    """Material is under a sealing key that never lets it go, not even to its successor."""

    text = (
        "The sealing key was not made for transfers, and lets no material go: what it sealed can only be imported "
        "again. 'hsmkms sealing status' shows which versions are like that."
    )


class EventUnreadable(OperatorFault):
    """A row of the audit trail, or of its seals, is none that this program wrote."""

    def __init__(self, sequence: int, what: str = "Event") -> None:
        """Take the sequence of the event, or of the event that the seal is over."""
        self.sequence = sequence
        super().__init__(
            f"{what} {sequence} of the audit trail cannot be read: it was changed, or the database is damaged. "
            "'hsmkms audit verify' says what holds."
        )


# --- the command that is a client -----------------------------------------------------------------------


class InputUnusable(ClientFault):
    """What the command was given cannot be used; nothing was imported."""

    text = "What was given cannot be used."


class ServiceRefused(ClientFault):
    """The service answered that it will not."""

    text = "The service refused the request."


class ServiceUnreachable(ClientFault):
    """No answer came, or none of the API."""

    text = "There was no answer from the service."
