from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["hsmkms.hsm.client", "hsmkms.hsm.spawn", "hsmkms.hsm.handover", "hsmkms.wiring.web_process"]
)
def test_what_runs_outside_a_host_never_loads_pkcs11(module: str) -> None:
    program = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)
    assert module in loaded
    assert [name for name in loaded if name.startswith(("pkcs11", "hsmkms.hsm.host"))] == []
