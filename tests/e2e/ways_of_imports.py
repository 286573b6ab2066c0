"""Requests of the import ceremony that are refused for what key, import token, ciphertext or surroundings are."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import signal
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.running import until, wrap
from tests.e2e.ways import Attempt, World, add, reaches

if TYPE_CHECKING:
    from collections.abc import Callable

INVALID: Final = "InvalidParameter"
UNDECRYPTABLE: Final = "InvalidParameter.DecryptMaterialError"
BAD_KEY_ID: Final = "InvalidParameterValue.InvalidKeyId"
NOT_FOUND: Final = "ResourceUnavailable.CmkNotFound"
STATE: Final = "ResourceUnavailable.CmkStateNotSupport"
OVER: Final = "ResourceUnavailable.TokenExpired"
NOT_EXTERNAL: Final = "UnsupportedOperation.NotExternalCmk"
UNAVAILABLE: Final = "UnsupportedOperation.ServiceTemporaryUnavailable"
MODULUS_BYTES: Final = 256

# --- InvalidParameter -----------------------------------------------------------------------------------

_BAD_BASE64: Final = {
    "another_alphabet": lambda text: "-_" + text[2:],
    "a_line_break": lambda text: text[:64] + "\n" + text[64:],
    "no_padding": lambda text: text.rstrip("="),
    "too_much_padding": lambda text: text + "=",
    "stray_bits": lambda text: text[:-3] + chr(ord(text[-3]) + 1) + "==",
    "a_byte_order_mark": lambda text: "\ufeff" + text,
}


def _with_encoding(spoil: Callable[[str], str]) -> Callable[[World], Attempt]:
    def prepare(world: World) -> Attempt:
        key_id, parameters, _encrypted = world.ready()
        # 256 bytes end in one character of two meaningful bits, and "==": 'A' can be followed by 'B'.
        text = base64.b64encode(secrets.token_bytes(MODULUS_BYTES - 1) + b"\0").decode()
        return Attempt(lambda: world.import_(key_id, parameters, spoil(text)), key_id, says="base64")

    return prepare


for _name, _spoil in _BAD_BASE64.items():
    add(INVALID, f"base64_with_{_name}", _with_encoding(_spoil))


def _of_size(size: int) -> Callable[[World], Attempt]:
    def prepare(world: World) -> Attempt:
        key_id, parameters, _encrypted = world.ready()
        encrypted = base64.b64encode(secrets.token_bytes(size)).decode()
        return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="256 bytes")

    return prepare


for _size in (0, 1, MODULUS_BYTES - 1, MODULUS_BYTES + 1, 512):
    add(INVALID, f"ciphertext_of_{_size}_bytes", _of_size(_size))

_BAD_EXPIRIES: Final[dict[str, object]] = {
    "long_past": 1,
    "just_past": lambda: int(time.time()) - 1,
    "now": lambda: int(time.time()),
    "above_the_maximum": 2147443201,
    "above_31_bits": 2**31,
    "above_63_bits": 2**64,
    "float": 2147443200.0,
    "true": True,
    "negative": -1,
    "negative_string": "-1",
    "spaces": " 2147443200",
    "words": "tomorrow",
    "fraction": "2147443200.0",
    "other_digits": "\u0661",
    "object": {"seconds": 1},
}


def _with_expiry(value: object) -> Callable[[World], Attempt]:
    def prepare(world: World) -> Attempt:
        key_id, parameters, encrypted = world.ready()
        valid_to = value() if callable(value) else value
        return Attempt(lambda: world.import_(key_id, parameters, encrypted, valid_to), key_id)

    return prepare


for _name, _value in _BAD_EXPIRIES.items():
    add(INVALID, f"valid_to_{_name}", _with_expiry(_value))


def _import_with(world: World, key_id: str, import_token: str, encrypted: str) -> Attempt:
    def send() -> Any:
        return world.sdk("ImportKeyMaterial", KeyId=key_id, ImportToken=import_token, EncryptedKeyMaterial=encrypted)

    return Attempt(send, key_id)


@reaches(INVALID)
def an_unknown_import_token(world: World) -> Attempt:
    key_id, _parameters, encrypted = world.ready()
    return _import_with(world, key_id, base64.b64encode(secrets.token_bytes(192)).decode(), encrypted)


@reaches(INVALID)
def an_import_token_that_is_none(world: World) -> Attempt:
    key_id, _parameters, encrypted = world.ready()
    return _import_with(world, key_id, "no token!", encrypted)


@reaches(INVALID)
def an_import_token_of_another_key(world: World) -> Attempt:
    key_id, _parameters, _encrypted = world.ready()
    _other, parameters, encrypted = world.ready()
    return _import_with(world, key_id, parameters.ImportToken, encrypted)


@reaches(INVALID)
def an_import_token_of_another_account(world: World) -> Attempt:
    key_id, _parameters, _encrypted = world.ready()
    _other, parameters, encrypted = world.ready(world.stranger)
    return _import_with(world, key_id, parameters.ImportToken, encrypted)


def _asks_for(algorithm: str, spec: str, says: str) -> Callable[[World], Attempt]:
    def prepare(world: World) -> Attempt:
        key_id = world.client.external_key()
        fields: dict[str, Any] = {"KeyId": key_id, "WrappingAlgorithm": algorithm, "WrappingKeySpec": spec}
        return Attempt(
            lambda: world.sdk("GetParametersForImport", **fields), key_id, says=says or world.client.algorithm
        )

    return prepare


add(INVALID, "algorithm_that_is_switched_off", _asks_for("RSAES_PKCS1_V1_5", "RSA_2048", ""))
add(INVALID, "algorithm_of_another_cloud", _asks_for("RSA_AES_KEY_WRAP_SHA_256", "RSA_2048", ""))
add(INVALID, "algorithm_in_lower_case", _asks_for("rsaes_oaep_sha_1", "RSA_2048", ""))
add(INVALID, "wrapping_key_spec", _asks_for("RSAES_OAEP_SHA_1", "RSA_4096", "RSA_2048"))

# --- the token's verdict --------------------------------------------------------------------------------


@reaches(UNDECRYPTABLE)
def random_bytes_as_ciphertext(world: World) -> Attempt:
    key_id, parameters, _encrypted = world.ready()
    encrypted = base64.b64encode(b"\1" + secrets.token_bytes(MODULUS_BYTES - 1)).decode()
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="import parameters")


@reaches(UNDECRYPTABLE)
def a_ciphertext_not_below_the_modulus(world: World) -> Attempt:
    key_id, parameters, _encrypted = world.ready()
    encrypted = base64.b64encode(b"\xff" * MODULUS_BYTES).decode()
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id)


@reaches(UNDECRYPTABLE)
def material_of_a_wrong_length(world: World) -> Attempt:
    key_id, parameters, _encrypted = world.ready()
    bits = 8 * world.service.instance.material_bytes
    encrypted = base64.b64encode(wrap(parameters.PublicKey, world.material()[:-1], world.client.algorithm)).decode()
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says=f"{bits} bits")


@reaches("InvalidParameterValue.MaterialNotMatch")
def other_material_than_the_first(world: World) -> Attempt:
    key_id = world.enabled_key()
    parameters = world.client.parameters(key_id)
    encrypted = world.client.wrapped(parameters, world.material())
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="differs")


@reaches("InvalidParameterValue.MaterialNotMatch")
def other_material_than_what_was_deleted(world: World) -> Attempt:
    key_id = world.enabled_key()
    world.client.call("DeleteImportedKeyMaterial", KeyId=key_id)
    parameters = world.client.parameters(key_id)
    encrypted = world.client.wrapped(parameters, world.material())
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id)


# --- which key ------------------------------------------------------------------------------------------


def _on_key(world: World, action: str, key_id: str) -> Attempt:
    """Return an attempt of an action on a key, whatever other fields it needs."""
    fields: dict[str, Any] = {"KeyId": key_id}
    if action == "GetParametersForImport":
        fields |= {"WrappingAlgorithm": world.client.algorithm, "WrappingKeySpec": "RSA_2048"}
    if action == "ImportKeyMaterial":
        _key_id, parameters, encrypted = world.ready()
        fields |= {"ImportToken": parameters.ImportToken, "EncryptedKeyMaterial": encrypted}
    return Attempt(lambda: world.sdk(action, **fields))


IMPORT_ACTIONS: Final = ("GetParametersForImport", "ImportKeyMaterial", "DeleteImportedKeyMaterial")
KEY_ACTIONS: Final = (*IMPORT_ACTIONS, "DescribeKey", "EnableKey", "DisableKey")


def _on(action: str, key_id_of: Callable[[World], str]) -> Callable[[World], Attempt]:
    return lambda world: _on_key(world, action, key_id_of(world))


def _strangers_key(world: World) -> str:
    return world.stranger.external_key()


for _action in KEY_ACTIONS:
    add(BAD_KEY_ID, f"{_action}_of_no_uuid", _on(_action, lambda _world: "alias/demo"))
    add(BAD_KEY_ID, f"{_action}_of_an_upper_case_uuid", _on(_action, lambda _world: str(uuid.uuid4()).upper()))
    add(NOT_FOUND, f"{_action}_of_an_unknown_key", _on(_action, lambda _world: str(uuid.uuid4())))
    add(NOT_FOUND, f"{_action}_of_another_accounts_key", _on(_action, _strangers_key))
for _action in IMPORT_ACTIONS:
    add(NOT_EXTERNAL, f"{_action}_of_a_generated_key", _on(_action, World.generated_key))

# --- which state ----------------------------------------------------------------------------------------


def _disabled(world: World, key_id: str) -> None:
    world.client.call("DisableKey", KeyId=key_id)


def _pending_delete(world: World, key_id: str) -> None:
    with world.database() as database:  # the actions that lead to this state are another issue's
        database.execute("UPDATE keys SET deletion_due = 2147443200000 WHERE key_id = ?", (key_id,))


def _archived(world: World, key_id: str) -> None:
    with world.database() as database:
        database.execute("UPDATE keys SET archived = 1 WHERE key_id = ?", (key_id,))


def _in_state(action: str, enter: Callable[[World, str], None], state: str) -> Callable[[World], Attempt]:
    def prepare(world: World) -> Attempt:
        key_id, material = world.client.external_key(), world.material()
        world.client.bring(key_id, material)
        parameters = world.client.parameters(key_id)
        encrypted = world.client.wrapped(parameters, material)
        enter(world, key_id)
        assert world.client.state(key_id) == state
        attempt = _on_key(world, action, key_id)
        if action == "ImportKeyMaterial":
            attempt = _import_with(world, key_id, parameters.ImportToken, encrypted)
        attempt.key_id, attempt.says = key_id, state
        return attempt

    return prepare


for _action in ("GetParametersForImport", "ImportKeyMaterial"):
    add(STATE, f"{_action}_in_disabled", _in_state(_action, _disabled, "Disabled"))
for _action in (*IMPORT_ACTIONS, "EnableKey", "DisableKey"):
    add(STATE, f"{_action}_in_pending_delete", _in_state(_action, _pending_delete, "PendingDelete"))
    add(STATE, f"{_action}_in_archived", _in_state(_action, _archived, "Archived"))


def _without_material(action: str) -> Callable[[World], Attempt]:
    def prepare(world: World) -> Attempt:
        key_id = world.client.external_key()
        attempt = _on_key(world, action, key_id)
        attempt.key_id, attempt.says = key_id, "PendingImport"
        return attempt

    return prepare


for _action in ("DeleteImportedKeyMaterial", "EnableKey", "DisableKey"):
    add(STATE, f"{_action}_in_pending_import", _without_material(_action))

# --- the end of an import token -------------------------------------------------------------------------


@reaches(OVER, impatient=True)
def its_deadline_passed(world: World) -> Attempt:
    key_id, parameters, encrypted = world.ready()
    # Refused for its size only while the import token is good, and not counted as an attempt.
    short = base64.b64encode(b"short").decode()
    until(lambda: world.import_(key_id, parameters, short).code == OVER, "deadline")
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="time")


@reaches(OVER)
def ten_attempts_failed(world: World) -> Attempt:
    key_id, parameters, encrypted = world.ready()
    spoilt = base64.b64encode(b"\1" + secrets.token_bytes(MODULUS_BYTES - 1)).decode()
    assert [world.import_(key_id, parameters, spoilt).code for _ in range(10)] == [UNDECRYPTABLE] * 10
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="attempts")


@reaches(OVER)
def a_fourth_superseded_it(world: World) -> Attempt:
    key_id, parameters, encrypted = world.ready()
    for _ in range(3):
        world.client.parameters(key_id)
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="newer")


@reaches(OVER)
def it_was_spent(world: World) -> Attempt:
    key_id, material = world.client.external_key(), world.material()
    parameters = world.client.bring(key_id, material)
    encrypted = world.client.wrapped(parameters, material)  # the same material, another ciphertext
    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="used")


# --- bad surroundings -----------------------------------------------------------------------------------


@reaches(UNAVAILABLE, impatient=True)
def every_host_hangs(world: World) -> Attempt:
    key_id, parameters, encrypted = world.ready()
    hosts = world.service.pids("host")
    for pid in hosts:
        os.kill(pid, signal.SIGSTOP)

    def undo() -> None:
        for pid in hosts:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        world.service.until_ready()

    return Attempt(lambda: world.import_(key_id, parameters, encrypted), key_id, says="again", undo=undo)


@reaches("InternalError")
def a_pair_that_the_token_will_not_open(world: World) -> Attempt:
    account = f"broken-{secrets.token_hex(4)}"
    client = world.service.client(world.service.instance.another_credential(account))
    broken = World(world.service, client, world.stranger)
    key_id, parameters, encrypted = broken.ready()
    find = "SELECT s.pair_id, s.record FROM pair_secrets s JOIN pairs p USING (pair_id) WHERE p.account = ?"
    change = "UPDATE pair_secrets SET record = ? WHERE pair_id = ?"
    with world.database() as database:
        ((pair_id, record),) = database.execute(find, (account,)).fetchall()
        middle = len(record) // 2
        spoilt = record[:middle] + bytes([record[middle] ^ 1]) + record[middle + 1 :]
        database.execute(change, (spoilt, pair_id))

    def undo() -> None:
        world.enabled_key()  # others are not touched
        assert client.state(key_id) == "PendingImport"
        with world.database() as database:
            database.execute(change, (record, pair_id))
        client.import_(key_id, parameters, encrypted)
        assert client.state(key_id) == "Enabled"
        client.call("DeleteImportedKeyMaterial", KeyId=key_id)

    return Attempt(lambda: broken.import_(key_id, parameters, encrypted), says="request id", undo=undo)
