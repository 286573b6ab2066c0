"""A running service shows of itself all that the manual promises, and each of it moves when it should.

The steps build on each other, in the order of the file: one service, and as few waits for a background count as can be.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

import hsmkms
from hsmkms.hsm.seats import MOST_AHEAD
from hsmkms.service.admission import IN_PROCESS
from tests.e2e import raw
from tests.e2e.crowd import Crowd
from tests.e2e.running import SHARED_PAIRS, Instance, RunningService, free_port, stopped, until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
MATERIAL: Final = bytes(range(32))
HOSTS: Final = 2
PLACES: Final = HOSTS + IN_PROCESS
MOST_PLACES: Final = PLACES + HOSTS * MOST_AHEAD
"""Where the token was fast."""
"""Of the lane of commands that need the token."""


@dataclass
class Watched:
    """A service, and what it shows."""

    service: RunningService
    port: int

    def families(self) -> dict[str, str]:
        """Return the metrics by name, and of which type each is."""
        families = text_string_to_metric_families(self.text())
        return {each.name + "_total" * (each.type == "counter"): each.type for each in families}

    def text(self) -> str:
        """Return all that is shown now, and not lately."""
        answer = raw.send(f"127.0.0.1:{self.port}", "GET", "/metrics", {"Host": "h"})
        assert answer.status == 200
        return answer.body.decode()

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples that have these labels; below zero if there is none."""
        wanted = [f'{label}="{each}"' for label, each in labels.items()]  # found at once: this is asked often
        lines = re.findall(rf"^{name}(?:{{.*}})? .*$", self.text(), re.MULTILINE)
        found = [float(line.rpartition(" ")[2]) for line in lines if all(each in line for each in wanted)]
        return sum(found) if found else -1.0

    def token_lane(self) -> tuple[float, float]:
        """Return how many commands hold a place in it, and how many wait for one."""
        in_flight, waiting = (self.value(f"hsmkms_commands_{each}", lane="token") for each in ("in_flight", "waiting"))
        return in_flight, waiting

    def reaches(self, value: float, name: str, **labels: str) -> None:
        """Wait until a metric is at least `value`."""
        until(lambda: self.value(name, **labels) >= value, f"{name} {labels} at {value:g}")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One service that is asked for its metrics."""
    port = free_port()
    extra = f"{SHARED_PAIRS}\n[metrics]\nport = {port}\n"
    instance = Instance.make(tmp_path_factory.mktemp("watched") / "softhsm", extra=extra)
    instance.replace("[hsm]\n", f"[hsm]\nhosts = {HOSTS}\nverb_timeout_seconds = 20\n")
    with instance.serving() as service:
        yield Watched(service, port)


def documented() -> set[str]:
    """Return the metrics that the manual names."""
    manual = (ROOT / "docs/operating.md").read_text()
    section = manual.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `(hsmkms_[a-z_]+)`", section, re.MULTILINE)) | set(
        re.findall(r"`(process_[a-z_]+)`", section)
    )


def test_all_that_is_documented_is_there_and_nothing_else(watched: Watched) -> None:
    watched.reaches(0, "hsmkms_store_counts_age_seconds")
    assert set(watched.families()) == documented()
    assert len(documented()) > 25
    assert watched.value("hsmkms_build_info", version=hsmkms.__version__, edition="fips") == 1
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"):
        assert watched.value(name) > 0
    alerts = (ROOT / "conf/hsmkms.rules.yml").read_text()
    named = set(re.findall(r"\b(hsmkms_[a-z_]+)\b", alerts))
    assert named <= documented()
    assert named


def test_hosts_pairs_and_seals_are_those_of_the_service(watched: Watched) -> None:
    watched.reaches(HOSTS, "hsmkms_hosts", duty="operations")
    watched.reaches(1, "hsmkms_hosts", duty="pairs")
    watched.reaches(HOSTS + 1, "hsmkms_hosts_attached_total")
    watched.reaches(1, "hsmkms_wrapping_pairs_ready")
    assert watched.value("hsmkms_wrapping_pairs_wanted") == 1
    assert watched.value("hsmkms_token_calls_total", verb="MakePair", outcome="ok") >= 1
    watched.reaches(1, "hsmkms_audit_last_sealed_sequence")
    watched.reaches(0, "hsmkms_audit_all_sealed_age_seconds")
    assert 0 <= watched.value("hsmkms_audit_last_seal_age_seconds") < 60
    assert watched.value("hsmkms_audit_seal_broken") == 0


def test_requests_calls_and_transactions_are_counted(watched: Watched) -> None:
    client, huawei = watched.service.client(), watched.service.huawei()
    sealed = watched.value("hsmkms_audit_last_sealed_sequence")
    key_id = client.external_key()
    client.bring(key_id, MATERIAL, valid_to=int(time.time()) + 600)
    assert client.decrypt(client.encrypt(key_id, b"text")) == b"text"
    assert client.code("Decrypt", CiphertextBlob="bm8gY2lwaGVydGV4dA==")
    huawei.describe(key_id)
    huawei.schedule_deletion(huawei.generated_key())
    watched.reaches(1, "hsmkms_requests_total", dialect="huawei", action="describe-key", outcome="ok")
    for labels in (
        {"action": "Encrypt", "outcome": "ok"},
        {"action": "Decrypt", "outcome": "ok"},
        {"action": "Decrypt", "outcome": "refused"},
        {"action": "ImportKeyMaterial", "outcome": "ok"},
    ):
        assert watched.value("hsmkms_requests_total", dialect="tencent", **labels) == 1
    assert watched.value("hsmkms_request_seconds_count", dialect="tencent", action="Decrypt") == 2
    assert 0 < watched.value("hsmkms_request_seconds_sum", dialect="tencent", action="Decrypt") < 60
    for verb in ("ImportMaterial", "Encrypt", "Decrypt"):
        assert watched.value("hsmkms_token_calls_total", verb=verb, outcome="ok") == 1
        assert watched.value("hsmkms_token_call_seconds_count", verb=verb) == 1
    assert watched.value("hsmkms_store_transactions_total", kind="write", outcome="ok") > 4
    assert watched.value("hsmkms_store_transaction_seconds_sum", kind="read") > 0
    watched.reaches(sealed + 5, "hsmkms_audit_last_sealed_sequence")


def test_what_is_no_command_is_counted_by_its_reason_and_never_by_its_words(watched: Watched) -> None:
    endpoint, keys = watched.service.endpoint, watched.service.instance.credential()
    raw.signed(endpoint, {**keys, "secret_key": "another"}, "DescribeKey", {})
    raw.signed(endpoint, keys, "SoonToBeALabel", {})
    raw.signed(endpoint, keys, "DescribeKey", {"KeyId": 7})
    raw.send(endpoint, "GET", "/soon-to-be-a-label", {"Host": endpoint})
    watched.reaches(1, "hsmkms_requests_turned_away_total", reason="authentication")
    watched.reaches(2, "hsmkms_requests_turned_away_total", reason="request")
    watched.reaches(2, "hsmkms_requests_total", action="unknown", outcome="refused")
    text = watched.text()
    assert "soon" not in text.lower()
    assert keys["secret_id"] not in text
    assert keys["account"] not in text


def test_it_answers_while_the_token_hangs_and_shows_who_waits(watched: Watched) -> None:
    crowd = Crowd(watched.service.endpoint)
    asking = crowd.ask(MOST_PLACES + 4, watched.service.instance.credential(), "GenerateRandom", {"NumberOfBytes": 8})
    thread = threading.Thread(target=lambda: asyncio.run(asking))
    with stopped(watched.service.serving_hosts()):
        thread.start()
        until(lambda: sum(watched.token_lane()) == MOST_PLACES + 4, "all of them")
        in_flight, waiting = watched.token_lane()
        assert PLACES <= in_flight <= MOST_PLACES
        assert waiting >= 4
    thread.join(60)
    assert crowd.codes() == {"OK": MOST_PLACES + 4}
    until(lambda: watched.value("hsmkms_commands_in_flight") == 0, "nothing in flight")


def test_it_answers_while_the_database_is_locked_and_shows_what_is_not_written(watched: Watched) -> None:
    client = watched.service.client()
    with contextlib.closing(sqlite3.connect(watched.service.instance.database, timeout=10)) as database:
        database.execute("BEGIN IMMEDIATE")
        client.random(8)
        watched.reaches(1, "hsmkms_audit_events_waiting")
        database.rollback()
    until(lambda: watched.value("hsmkms_audit_events_waiting") == 0, "all events on disk")


def test_a_host_that_is_lost_is_counted_and_so_is_the_next(watched: Watched) -> None:
    os.kill(watched.service.serving_hosts()[0], signal.SIGKILL)
    watched.reaches(1, "hsmkms_hosts_lost_total")
    watched.reaches(HOSTS + 2, "hsmkms_hosts_attached_total")
    watched.reaches(HOSTS, "hsmkms_hosts", duty="operations")


def test_the_listener_outlives_the_web_process_and_the_next_one_counts_what_the_database_holds(
    watched: Watched,
) -> None:
    [web] = watched.service.pids("web")
    os.kill(web, signal.SIGKILL)
    watched.service.until_ready()
    watched.reaches(1, "hsmkms_keys", state="Enabled")
    watched.reaches(1, "hsmkms_keys", state="PendingDelete")
    assert watched.value("hsmkms_tickets", state="spent") == 1
    assert [watched.value("hsmkms_materials_expiring", within=each) for each in ("0s", "1h", "30d")] == [0, 1, 1]
    assert [watched.value("hsmkms_key_deletions_due", within=each) for each in ("0s", "1d", "30d")] == [0, 0, 1]
    assert watched.value("hsmkms_store_counts_age_seconds") < 60


def test_it_is_not_on_the_services_own_port(watched: Watched) -> None:
    assert watched.service.get("/metrics")[0] == 404


def test_a_broken_trail_shows(watched: Watched) -> None:
    watched.reaches(0, "hsmkms_audit_all_sealed_age_seconds")
    with contextlib.closing(sqlite3.connect(watched.service.instance.database, timeout=10)) as database, database:
        database.execute("UPDATE events SET digest = zeroblob(32) WHERE sequence = (SELECT max(sequence) FROM events)")
    watched.service.client().random(8)
    watched.reaches(1, "hsmkms_audit_seal_broken")
