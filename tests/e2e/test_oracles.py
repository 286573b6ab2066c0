"""How long a failed import takes tells nothing of what was wrong with it: measured on a running service.

`./scripts/test -m torture tests/e2e/test_oracles.py`, which takes six minutes and wants a machine that is quiet.
"""

from __future__ import annotations

import itertools
import random
import secrets
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.running import Instance
from tests.e2e.unwrap_failures import JUDGED, OAEP, PKCS1, UNDECRYPTABLE, ciphertext, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.cloud_client import ImportParameters
    from tests.e2e.running import RunningService

ATTEMPTS: Final = 10
"""Of an import token; a pair that 100 imports failed under is closed, which 8 import tokens do not reach."""
LIVE: Final = 3
"""Import tokens of a key."""
MOST_DIFFERENCE: Final = 0.01
"""Of the deadline."""
CONFIGURATION: Final = f"""
[import]
tickets_per_pair = 8
ready_pairs = 8
failure_deadline_milliseconds = {{deadline}}
wrapping_algorithms = ["{OAEP}", "{PKCS1}"]

[log]
level = "warning"
"""


@dataclass(frozen=True)
class Attempt:
    """An import that will fail, ready to be sent."""

    kind: str
    key_id: str
    parameters: ImportParameters
    sent: bytes


@dataclass
class Laboratory:
    """Imports that fail, of every kind in turn, and how long each was waited for."""

    service: RunningService
    algorithm: str
    material: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def kinds(self) -> tuple[str, ...]:
        """What can be wrong."""
        return UNDECRYPTABLE[self.algorithm] + JUDGED

    def measure(self, samples: int, at_once: int) -> None:
        """Take so many samples of each kind, over so many connections; pairs and ciphertexts are made before."""
        kinds = [*self.kinds * samples]
        random.shuffle(kinds)  # what else happens on the machine happens to all kinds alike
        prepared = [self._prepared(kinds[first::at_once]) for first in range(at_once)]
        with ThreadPoolExecutor(at_once) as threads:
            list(threads.map(self._measure, prepared))
        for attempts in prepared:
            tried = sum(self.service.attempts(key_id) - 1 for key_id in {each.key_id for each in attempts})
            assert tried == len(attempts), "the token tried each of them"

    def _prepared(self, kinds: list[str]) -> list[Attempt]:
        client = self.service.client()
        made: list[Attempt] = []
        for of_one_key in _batches(kinds, ATTEMPTS * LIVE):
            key_id = client.external_key()
            client.bring(key_id, self.material)
            client.delete_material(key_id)
            for of_one_token in _batches(of_one_key, ATTEMPTS):
                parameters = client.parameters(key_id, self.algorithm)
                for kind in of_one_token:
                    sent = ciphertext(kind, parameters.public_key, self.algorithm, self.material)
                    made.append(Attempt(kind, key_id, parameters, sent))
        return made

    def _measure(self, attempts: list[Attempt]) -> None:
        keys = self.service.instance.credential()
        for each in attempts:
            answer = told("tencent", self.service.endpoint, keys, each.key_id, each.parameters, each.sent)
            assert b'"Error"' in answer.body
            self.seconds[each.kind].append(answer.seconds)

    def medians(self) -> dict[str, float]:
        """Return the median of each kind, in milliseconds."""
        return {kind: round(1000 * median(taken), 3) for kind, taken in self.seconds.items()}


def _batches(kinds: list[str], size: int) -> Iterator[list[str]]:
    rest = iter(kinds)
    while batch := list(itertools.islice(rest, size)):
        yield batch


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("at_once", "deadline", "samples"), [(1, 250, 40), (32, 2000, 100)])
def test_the_medians_of_all_kinds_of_failure_are_one(at_once: int, deadline: int, samples: int, tmp_path: Path) -> None:
    """Where 32 fail at once the work for one takes half a second, and the period must be well above that."""
    instance = Instance.make(tmp_path / "instance", extra=CONFIGURATION.format(deadline=deadline))
    found = {}
    with instance.serving() as service:
        for algorithm in (OAEP, PKCS1):
            laboratory = Laboratory(service, algorithm)
            laboratory.measure(samples, at_once)
            medians = laboratory.medians()
            assert set(medians) == set(laboratory.kinds)
            assert min(medians.values()) >= deadline
            found[algorithm] = medians, max(medians.values()) - min(medians.values())
    for algorithm, (medians, difference) in found.items():
        print(f"{algorithm} at {at_once}: {difference:.3f} ms apart: {medians}")  # noqa: T201 - the figures
        assert difference <= MOST_DIFFERENCE * deadline, (algorithm, medians)
