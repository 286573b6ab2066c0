"""TLS in the service itself, and the official SDK through it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import secrets
import ssl
import urllib.request
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.e2e.running import Instance, RunningService, free_port, until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private_key = tmp_path / "server.pem", tmp_path / "server.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private_key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    private_key.chmod(0o600)
    return certificate, private_key


def test_tls_with_the_sdk(instance: Instance, certificate: tuple[Path, Path]) -> None:
    public, private = certificate
    port = free_port()
    changed = instance.variant(
        "tls",
        {
            f"port = {instance.port}": f'port = {port}\nhost = "0.0.0.0"\ntls_cert = "{public}"\ntls_key = "{private}"',
            'host = "127.0.0.1"\n': "",
        },
    )
    changed.port = port
    service = RunningService(changed)
    context = ssl.create_default_context(cafile=str(public))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))

    def is_ready() -> bool:
        assert service.process.poll() is None, service.log.read_text()
        try:
            with opener.open(f"https://127.0.0.1:{port}/readyz", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    service.start(ready=False)
    try:
        until(is_ready, "ready", 60)
        client = service.client(protocol="https", certification=str(public))
        key_id = client.external_key()
        client.bring(key_id, secrets.token_bytes(32))
        assert client.state(key_id) == "Enabled"
        with pytest.raises(TencentCloudSDKException, match="CERTIFICATE_VERIFY_FAILED"):
            service.client(protocol="https").state(key_id)
        assert service.get("/healthz")[0] != 200, "nothing is answered without TLS"
        assert service.stop() == 0
    finally:
        service.end()
