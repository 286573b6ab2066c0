"""That a direct call fails as python-pkcs11 would make it fail: `faults` cannot know which way an error came."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from hsmkms.core.material import Edition
from tests.faults.pkcs11_faults import SOURCE, Faults, compiled

if TYPE_CHECKING:
    from tests.hsm.tokens import TestToken

ASKED: Final = (*range(1, 0x210), 0x80000001)
"""All numbers up to the last one of the standard (PKCS#11 3.1: CKR_TOKEN_RESOURCE_EXCEEDED and its like), and one of a
vendor's."""
PROGRAM: Final = """
import sys
from pathlib import Path
import msgspec, pkcs11
from hsmkms.hsm.host import faults, module
from hsmkms.hsm.host.session import TokenSession
from hsmkms.hsm.settings import HostSettings

settings = msgspec.json.decode(sys.argv[1], type=HostSettings)
rules = Path(sys.argv[2])
library = module.Library.load(settings.module, settings.initialize_args)
token = module.find_token(library, settings.token_label)
(opened,) = module.open_sessions(token, settings, lambda: None)
ours = TokenSession(opened)

def failed(call):
    try:
        call()
    except pkcs11.PKCS11Error as error:
        word = faults.word(error)
        return type(error).__name__, faults.classify(error).name, word, faults.is_pin_refusal(error)
    return "done"

for number in map(int, sys.argv[3].split(",")):
    new = rules.with_suffix(".new")
    new.write_text(f"C_GenerateRandom {number:#x}\\n")
    new.replace(rules)
    theirs, own = failed(lambda: opened.generate_random(64)), failed(lambda: ours.random(8))
    if theirs != own or own == "done":
        print(f"{number:#x}", theirs, own)
print("compared")
"""


def test_a_number_means_the_same_whoever_made_the_call(softhsm: TestToken, tmp_path: Path) -> None:
    faults = Faults(tmp_path, Path(str(softhsm.settings["module"])))
    compiled(SOURCE, faults.library)
    settings = softhsm.host_settings(Edition.FIPS, module=str(faults.library))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, msgspec.json.encode(settings), faults.rules, ",".join(map(str, ASKED))],
        env={**softhsm.env, **faults.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "compared\n", done.stderr
