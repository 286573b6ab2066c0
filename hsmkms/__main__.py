"""`python -m hsmkms`: the same as the command `hsmkms`."""

from hsmkms.cli.main import app

app()
