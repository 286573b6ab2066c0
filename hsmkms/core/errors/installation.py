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
        "The token refused the PIN; it was tried once. Correct the file named by hsm.pin_file before you start again."
    )


class StoreUnusable(OperatorFault):
    """The database is of another version, of another deployment, or cannot be opened."""


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
