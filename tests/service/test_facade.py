"""The one door of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from hsmkms.service import commands

if TYPE_CHECKING:
    from tests.service.house import House


async def test_every_command_has_its_use_case_and_no_use_case_is_left_over(house: House) -> None:
    assert set(house.service._handlers) == set(get_args(commands.Command))


async def test_neither_a_command_nor_an_outcome_prints_token_or_ciphertext(house: House) -> None:
    parameters = await house.parameters(await house.key())
    command = house.command(parameters)
    shown = repr(parameters) + repr(command)
    assert parameters.import_token.reveal().decode() not in shown
    assert repr(command.ciphertext) not in shown
