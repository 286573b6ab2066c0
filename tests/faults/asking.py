"""What is asked of a service while its token goes wrong, and how to see that nothing is lost or half done."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.e2e import database_file
from tests.faults.table import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.running import RunningService
    from tests.e2e.tencent_client import TencentClient

PLAINTEXT: Final = b"what is encrypted while the token goes wrong"
ANSWERS: Final = {
    "UnsupportedOperation.ServiceTemporaryUnavailable": Answer.LATER,
    "InvalidParameter.DecryptMaterialError": Answer.CALLER,
    "InvalidParameterValue.InvalidCiphertext": Answer.CALLER,
}


def answer_to(send: Callable[[], object]) -> Answer:
    """Return what a caller is told; fail at an answer that is in no cell of the table."""
    try:
        send()
    except TencentCloudSDKException as error:
        answer = ANSWERS.get(str(error.get_code()))
        if answer is None:
            message = f"an answer of no cell of the table: {error}"
            raise AssertionError(message) from error
        return answer
    return Answer.DONE


@dataclass(frozen=True)
class Seen:
    """What must be the same after a request that was refused."""

    shown: object
    attempts: int = 0
    """Counted on the import tokens of the key."""

    def with_attempts(self, more: int) -> Seen:
        """Return what must be seen after so many failed attempts."""
        return replace(self, attempts=self.attempts + more)


@dataclass(frozen=True)
class Asked:
    """One request, which can be sent again."""

    send: Callable[[], object]
    look: Callable[[], Seen]
    require_done: Callable[[], None] = lambda: None
    """Fail if, after a request that was done, it was half done."""
    costs_an_attempt: bool = False
    """If the caller is at fault."""


class Scene:
    """A service, and a key that holds material."""

    def __init__(self, service: RunningService) -> None:
        """Import a key."""
        self.service = service
        self.client: TencentClient = service.client()
        self.held = self.client.external_key()
        self.material = secrets.token_bytes(32)
        self.client.bring(self.held, self.material)
        self.ciphertext = self.client.encrypt(self.held, PLAINTEXT)
        self._asks = {
            "import": self._import,
            "encrypt": self._encrypt,
            "decrypt": self._decrypt,
            "random": lambda: Asked(lambda: self.client.random(32), self._shown),
            "data key": lambda: Asked(lambda: self.client.data_key(self.held), self._shown),
            "create": self._create,
            "parameters": self._parameters,
        }

    def ask(self, name: str) -> Asked:
        """Prepare a request."""
        return self._asks[name]()

    def _shown(self) -> Seen:
        return Seen(self.client.shown(self.held))

    def _import(self) -> Asked:
        key_id = self.client.external_key()
        parameters = self.client.parameters(key_id)
        encrypted = self.client.wrapped(parameters, self.material)
        instance = self.service.instance

        def look() -> Seen:
            return Seen((self.client.shown(key_id), instance.holds_material(key_id)), self.service.attempts(key_id))

        def require_done() -> None:
            assert self.client.state(key_id) == "Enabled"
            assert instance.holds_material(key_id)

        return Asked(
            lambda: self.client.import_(key_id, parameters, encrypted), look, require_done, costs_an_attempt=True
        )

    def _encrypt(self) -> Asked:
        made: list[bytes] = []

        def require_done() -> None:
            assert self.client.decrypt(made[-1]) == PLAINTEXT

        return Asked(lambda: made.append(self.client.encrypt(self.held, PLAINTEXT)), self._shown, require_done)

    def _decrypt(self) -> Asked:
        made: list[bytes] = []

        def require_done() -> None:
            assert made[-1] == PLAINTEXT

        return Asked(lambda: made.append(self.client.decrypt(self.ciphertext)), self._shown, require_done)

    def _create(self) -> Asked:
        made: list[str] = []

        def require_done() -> None:
            assert self.client.state(made[-1]) == "Enabled"
            assert self.client.encrypt(made[-1], PLAINTEXT)

        return Asked(lambda: made.append(self.client.generated_key()), self._shown, require_done)

    def _parameters(self) -> Asked:
        """Ask for parameters of the algorithm whose tickets share no pair."""
        key_id = self.client.external_key()

        def look() -> Seen:
            counting = "SELECT count(*) FROM tickets WHERE key_id = ?"
            return Seen((self.client.shown(key_id), database_file.run(self.service.instance, counting, key_id)))

        return Asked(lambda: self.client.parameters(key_id, "RSAES_PKCS1_V1_5"), look)
