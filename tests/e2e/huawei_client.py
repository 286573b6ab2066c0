"""The official Huawei SDK, unmodified, pointed at a service of ours."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any, Final

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcore.http.http_handler import HttpHandler
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkkms.v2 import KmsClient, model

from tests.e2e.cloud_client import LEAST_PENDING_DAYS, CloudClient, DataKey, Failure, ImportParameters, P

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ANSWER_SECONDS: Final = 30


class HuaweiClient(CloudClient):
    """Calls by the names of the SDK's methods, and the ceremony."""

    def __init__(
        self, endpoint: str, keys: dict[str, str], algorithm: str, *, region: str | None = None, **config: Any
    ) -> None:
        """Point an unmodified client at `endpoint`, in the project of the credential's account.

        With a region it is told no project: it asks the service for the project's id.
        """
        super().__init__(endpoint, keys, algorithm)
        self.answer: Any = None
        """The HTTP answer to the latest request."""
        url = f"http://{endpoint}"
        self.credentials = BasicCredentials(keys["secret_id"], keys["secret_key"])
        builder = (
            KmsClient.new_builder()
            .with_http_config(HttpConfig(timeout=ANSWER_SECONDS, **config))
            .with_http_handler(HttpHandler().add_response_handler(self._answered))
            .with_credentials(self.credentials)
        )
        if region is None:
            self.credentials.with_project_id(keys["account"])
            builder.with_endpoint(url)
        else:
            self.credentials.with_iam_endpoint(url)
            builder.with_region(Region(region, url))
        self.sdk = builder.build()

    def _answered(self, response: Any, **_: Any) -> None:
        assert response.headers["X-Request-Id"], "every answer has one"
        self.answer = response

    def close(self) -> None:
        """Close its connections."""
        self.sdk.close()

    def call(self, method: str, **fields: Any) -> Any:
        """Call a method of the SDK with the given fields, None left out, and return the SDK's response."""
        request = self._request(method)
        body = request.openapi_types.get("body")
        return getattr(self.sdk, method)(request(body=getattr(model, body)(**fields)) if body else request(**fields))

    def call_json(self, method: str, members: object) -> Any:
        """Call a method of the SDK with members that its models do not have; a str is sent as it is."""
        return getattr(self.sdk, method)(self._request(method)(body=members))

    @staticmethod
    def _request(method: str) -> Any:
        return getattr(model, f"{method.title().replace('_', '')}Request")

    def failure(self, method: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Failure:
        """Return what a call of this client was told, which must be refused."""
        with pytest.raises(ServiceResponseException) as caught:
            method(*args, **kwargs)
        error = caught.value
        request_id = self.answer.headers["X-Request-Id"]
        assert error.request_id == request_id
        assert self.answer.json().get("request_id", request_id) == request_id
        return Failure(error.error_code, error.error_msg, error.status_code)

    def external_key(self) -> str:
        """Create an EXTERNAL key and return its id."""
        return self.created(origin="external")

    def generated_key(self) -> str:
        """Create a key whose material the token generates, and return its id."""
        return self.created(origin="kms")

    def created(self, **fields: Any) -> str:
        """Create a key, under an alias of its own if none is given, and return its id."""
        answer = self.call("create_key", **{"key_alias": f"h-{secrets.token_hex(8)}", **fields})
        return str(answer.key_info.key_id)

    def parameters(self, key_id: str, algorithm: str | None = None) -> ImportParameters:
        """Get import parameters."""
        wanted = algorithm or self.algorithm
        answer = self.call("create_parameters_for_import", key_id=key_id, wrapping_algorithm=wanted)
        assert answer.key_id == key_id
        return ImportParameters(answer.import_token, answer.public_key, answer.expiration_time)

    def import_(self, key_id: str, parameters: ImportParameters, encrypted: str, valid_to: Any = None) -> Any:
        """Import."""
        return self.call(
            "import_key_material",
            key_id=key_id,
            import_token=parameters.import_token,
            encrypted_key_material=encrypted,
            expiration_time=valid_to,
        )

    def delete_material(self, key_id: str) -> Any:
        """Delete what was imported."""
        return self.call("delete_imported_key_material", key_id=key_id)

    def enable(self, key_id: str) -> Any:
        """Switch a key on."""
        return self.call("enable_key", key_id=key_id)

    def disable(self, key_id: str) -> Any:
        """Switch a key off."""
        return self.call("disable_key", key_id=key_id)

    def schedule_deletion(self, key_id: str, days: int = LEAST_PENDING_DAYS) -> Any:
        """Let a key be deleted after some days."""
        return self.call("delete_key", key_id=key_id, pending_days=str(days))

    def cancel_deletion(self, key_id: str) -> Any:
        """Keep a key that was to be deleted."""
        return self.call("cancel_key_deletion", key_id=key_id)

    def is_rotated(self, key_id: str) -> bool:
        """Tell whether a key gets new material from time to time."""
        return bool(self.call("show_key_rotation_status", key_id=key_id).key_rotation_enabled)

    def encrypt(self, key_id: str, plaintext: bytes, context: Mapping[str, str] | None = None) -> bytes:
        """Encrypt; the SDK's models do not have a context of pairs."""
        members = {"key_id": key_id, "plain_text": plaintext.decode()}
        answer = self._with_context("encrypt_data", members, context)
        assert answer.key_id == key_id
        return base64.b64decode(answer.cipher_text, validate=True)

    def decrypt(self, ciphertext: bytes, context: Mapping[str, str] | None = None) -> bytes:
        """Decrypt."""
        members = {"cipher_text": base64.b64encode(ciphertext).decode()}
        answer = self._with_context("decrypt_data", members, context)
        return base64.b64decode(answer.plain_text_base64, validate=True)

    def _with_context(self, method: str, members: dict[str, Any], context: Mapping[str, str] | None) -> Any:
        if context is None:
            return self.call(method, **members)
        return self.call_json(method, {**members, "encryption_context": dict(context)})

    def re_encrypt(self, ciphertext: bytes, key_id: str) -> bytes:
        """Decrypt, and encrypt with a key."""
        sent = base64.b64encode(ciphertext).decode()
        answer = self.call("re_encrypt", cipher_text=sent, destination_key_id=key_id)
        assert answer.key_id == key_id
        return base64.b64decode(answer.cipher_text, validate=True)

    def data_key(self, key_id: str) -> DataKey:
        """Make a data key of 256 bits."""
        made = self.call("create_datakey", key_id=key_id)
        assert made.key_id == key_id
        return DataKey(bytes.fromhex(made.plain_text), bytes.fromhex(made.cipher_text))

    def random(self, size: int) -> bytes:
        """Return so many random bytes."""
        return bytes.fromhex(self.call("create_random", random_data_length=str(8 * size)).random_data)

    def describe(self, key_id: str) -> Any:
        """Return the SDK's model of all that is known of a key."""
        return self.call("list_key_detail", key_id=key_id).key_info

    def state(self, key_id: str) -> str:
        """Return the key's state, as the cloud writes it."""
        return str(self.describe(key_id).key_state)

    def shown(self, key_id: str | None) -> object:
        """Return how many keys there are, and all that is known of one, in a form to compare."""
        count = self.call("show_user_instances").instance_num
        return count if key_id is None else (count, self.describe(key_id).to_dict())
