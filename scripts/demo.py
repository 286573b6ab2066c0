"""Import a 256-bit key through a running service with the official Tencent SDK, and show each step.

The client is unmodified and knows nothing of us but an address and a credential. Afterwards the material's
attributes are read back from the token with `hsmkms key show`. Exit code 1 if anything is not as promised.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import kms_client, models

REGION: Final = "ap-guangzhou"  # part of the SDK's request; one deployment is one region, so any name will do
WRAPPING_ALGORITHM: Final = "RSAES_OAEP_SHA_1"  # SoftHSM 2.6 unwraps no OAEP with SHA-256
KEY_BYTES: Final = 32
FACT_WIDTH: Final = 90

PROMISED: Final = {"SENSITIVE": True, "EXTRACTABLE": False, "LOCAL": False}
"""What the token must say of imported material."""


class NotAsPromisedError(Exception):
    """The service answered, but not what it promises."""


def main() -> int:
    """Run the import and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="hsmkms.toml of the running service")
    parser.add_argument("--credential", type=Path, required=True, help="credential.json")
    parser.add_argument("--endpoint", required=True, help="host:port")
    arguments = parser.parse_args()
    try:
        key_id = import_key(arguments.credential, arguments.endpoint)
        show_evidence(arguments.config, key_id)
    except TencentCloudSDKException as refusal:
        print(f"error: the service refused: {refusal.get_code()}: {refusal.get_message()}", file=sys.stderr)
        return 1
    except (NotAsPromisedError, OSError) as trouble:
        print(f"error: {trouble}", file=sys.stderr)
        return 1
    show_how_to_go_on(arguments.credential, arguments.endpoint, key_id)
    return 0


def import_key(credential_file: Path, endpoint: str) -> str:
    """Create a key without material, bring material of our own, and return the key's id."""
    client = connect(credential_file, endpoint)

    creation = models.CreateKeyRequest()
    creation.Alias = f"demo-{secrets.token_hex(6)}"
    creation.Type = 2  # EXTERNAL: the customer brings the material
    creation.Description = "made by scripts/demo.py"
    key_id = str(client.CreateKey(creation).KeyId)
    expect("key state", state_of(client, key_id), "PendingImport")
    say("key created", f"{key_id} ({creation.Alias}): PendingImport")

    wish = models.GetParametersForImportRequest()
    wish.KeyId = key_id
    wish.WrappingAlgorithm = WRAPPING_ALGORITHM
    wish.WrappingKeySpec = "RSA_2048"
    parameters = client.GetParametersForImport(wish)
    public_key = serialization.load_der_public_key(base64.b64decode(parameters.PublicKey, validate=True))
    if not isinstance(public_key, rsa.RSAPublicKey):
        sentence = "GetParametersForImport answered something else than an RSA public key"
        raise NotAsPromisedError(sentence)
    say("parameters fetched", f"RSA-{public_key.key_size} public key, import token, {WRAPPING_ALGORITHM}")

    ciphertext = wrap(public_key, secrets.token_bytes(KEY_BYTES))
    say(
        "material wrapped",
        f"by this client: {KEY_BYTES} random bytes -> {len(ciphertext)} bytes of ciphertext",
    )

    importing = models.ImportKeyMaterialRequest()
    importing.KeyId = key_id
    importing.ImportToken = parameters.ImportToken
    importing.EncryptedKeyMaterial = base64.b64encode(ciphertext).decode("ascii")
    client.ImportKeyMaterial(importing)
    expect("key state", state_of(client, key_id), "Enabled")
    say("imported", "Enabled")
    return key_id


def connect(credential_file: Path, endpoint: str) -> Any:  # noqa: ANN401 - the SDK is untyped
    """Return the official client for `endpoint`, which is on this machine: no proxy may come between."""
    for scheme in ("http", "https", "all"):  # the SDK honours NO_PROXY by its own rules only
        os.environ.pop(f"{scheme}_proxy", None)
        os.environ.pop(f"{scheme}_proxy".upper(), None)
    ours = json.loads(credential_file.read_text(encoding="utf-8"))
    profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=endpoint))
    return kms_client.KmsClient(credential.Credential(ours["secret_id"], ours["secret_key"]), REGION, profile)


def wrap(public_key: rsa.RSAPublicKey, material: bytes) -> bytes:
    """Encrypt the material for the token, as `WRAPPING_ALGORITHM` says (RFC 8017 7.1)."""
    sha1 = hashes.SHA1()  # noqa: S303 - OAEP does not rest on SHA-1's collision resistance (NIST SP 800-131A r2)
    return public_key.encrypt(material, padding.OAEP(padding.MGF1(sha1), sha1, label=None))


def state_of(client: Any, key_id: str) -> str:  # noqa: ANN401 - the SDK is untyped
    """Ask the service for the key's state."""
    question = models.DescribeKeyRequest()
    question.KeyId = key_id
    return str(client.DescribeKey(question).KeyMetadata.KeyState)


def show_evidence(config: Path, key_id: str) -> None:
    """Print what the token itself says of the imported material.

    Raises:
        NotAsPromisedError: an attribute, the state or the length is another than it must be.
    """
    command = [sys.executable, "-I", "-m", "hsmkms", "key", "show", "--config", str(config), key_id, "--json"]
    shown = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own command
    if shown.returncode != 0:
        sentence = f"hsmkms key show failed: {shown.stderr.strip()}"
        raise NotAsPromisedError(sentence)
    evidence = json.loads(shown.stdout)
    attributes = evidence["attributes"]
    for name, value in PROMISED.items():
        expect(name, attributes.get(name), value)
    expect("state", evidence["state"], "Enabled")
    expect("length", evidence["length_bits"], KEY_BYTES * 8)
    facts = ", ".join(f"{name} {str(attributes[name]).lower()}" for name in PROMISED)
    say("read back from the token", facts)
    others = ", ".join(f"{name} {in_words(value)}" for name, value in attributes.items() if name not in PROMISED)
    say("", others)
    say(f"length {evidence['length_bits']} bits", f"proved: {evidence['length_proof']}")


def in_words(value: object) -> str:
    """Return an attribute's value as the command line shows it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def expect(what: str, found: object, promised: object) -> None:
    """Raise NotAsPromisedError unless `found` is what was promised."""
    if found != promised:
        sentence = f"{what} is {found}, but must be {promised}"
        raise NotAsPromisedError(sentence)


def say(step: str, fact: str) -> None:
    """Print one step, wrapped to the width of a terminal."""
    first, *others = textwrap.wrap(fact, FACT_WIDTH)
    print(f"   {step:<25} {first}")
    for other in others:
        print(f"   {'':<25} {other}")


def show_how_to_go_on(credential_file: Path, endpoint: str, key_id: str) -> None:
    """Print the endpoint, the credential and a command to try."""
    secret_id = json.loads(credential_file.read_text(encoding="utf-8"))["secret_id"]
    read_secret = f"""$(python3 -c 'import json; print(json.load(open("{credential_file}"))["secret_key"])')"""
    print()
    print(f"endpoint         http://{endpoint}")
    print(f"credential file  {credential_file}")
    print("to try           (pip install tccli)")
    print(
        f'HTTP_PROXY= http_proxy= TENCENTCLOUD_SECRET_ID={secret_id} TENCENTCLOUD_SECRET_KEY="{read_secret}" '
        f"tccli kms DescribeKey --region {REGION} --endpoint http://{endpoint} --KeyId {key_id}"
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
