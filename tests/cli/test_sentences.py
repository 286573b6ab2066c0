"""What goes wrong is said in words of ours, whatever library found it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Final

import pytest
import typer
from pydantic import BaseModel

from hsmkms import config, supervisor
from hsmkms.cli.running import saying
from hsmkms.core.errors import ConfigurationInvalid
from tests.cli.commands import run
from tests.cli.test_configuration import GOOD

UNUSABLE: Final = 78
DEFECT: Final = 70
OF_PYDANTIC: Final = re.compile(r"input|valid |should|tuple|dict|extra |parse|instance", re.IGNORECASE)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("port = 8765", 'port = "8765"', "listen.port is wrong: write an integer, without quotation marks."),
        ("port = 8765", "port = 0", "listen.port is wrong: write at least 1."),
        ("port = 8765", "port = 65536", "listen.port is wrong: write at most 65535."),
        ("port = 8765", f"port = {10**30}", "listen.port is wrong: write at most 65535."),
        ("port = 8765", "port = 1979-05-27", "listen.port is wrong: write an integer, without quotation marks."),
        ("[listen]", "[listen]\nhost = 5", "listen.host is wrong: write a string, in quotation marks."),
        ("[listen]", '[listen]\nhost = ""', "listen.host is wrong: write at least 1 character."),
        ("[listen]", '[listen]\ntls_cert = ""', "listen.tls_cert: it names no file."),
        (
            "[listen]",
            "[listen]\ntls_terminated_by_proxy = 1",
            "listen.tls_terminated_by_proxy is wrong: write a boolean: true or false, without quotation marks.",
        ),
        ("[listen]", "[listen]\nshutdown_seconds = nan", "listen.shutdown_seconds is wrong: write at most 3600.0."),
        (
            "[listen]",
            '[listen]\nshutdown_seconds = "1"',
            "listen.shutdown_seconds is wrong: write a number, without quotation marks.",
        ),
        ('edition = "fips"', 'edition = "gm"', "edition is wrong: write 'fips' or 'sm'."),
        ("[log]", '[log]\nlevel = "loud"', "log.level is wrong: write 'debug', 'info', 'warning' or 'error'."),
        ('pin_file = "pin"', "pin_file = 1", "hsm.pin_file is wrong: write a path, in quotation marks."),
        ('pin_file = "pin"', 'pin_file = ""', "hsm.pin_file: it names no file."),
        (
            'token_label = "hsmkms"',
            f'token_label = "{"x" * 33}"',
            "hsm.token_label is wrong: write at most 32 characters.",
        ),
        ("[import]", "[import]\nwrapping_algorithms = []", "import.wrapping_algorithms is wrong: name at least 1."),
        (
            "[import]",
            '[import]\nwrapping_algorithms = ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_1"]',
            "import.wrapping_algorithms: it names RSAES_OAEP_SHA_1 twice; name it once.",
        ),
        ("[hsm.env]", "[hsm.env]\nA = 1", "hsm.env.A is wrong: write a string, in quotation marks."),
        ("[hsm.env]", '[hsm.env]\n"A=B" = "x"', "hsm.env: no variable can be called 'A=B'; write NAME = \"value\"."),
        ("[hsm.env]", '[hsm.env]\n"" = "x"', "hsm.env: no variable can be called ''; write NAME = \"value\"."),
        ("[hsm.env]", '[hsm.env]\nA = "x\\u0000"', "hsm.env.A is wrong: write it without the character U+0000."),
        ("[hsm.env]", '[hsm.env]\n"A\\u0000" = "x"', "hsm.env is wrong: write it without the character U+0000."),
        ('"module.so"', '"a\\u0000b"', "hsm.module is wrong: write it without the character U+0000."),
        ('edition = "fips"', '"\\u0000" = 1', "the file is wrong: write it without the character U+0000."),
        ("[hsm.env]", "env = 1", "hsm.env is wrong: write it as a section, [hsm.env]."),
        ('edition = "fips"', 'edition = "fips"\nlimits = 1', "limits is wrong: write it as a section, [limits]."),
    ],
)
def test_a_wrong_value_is_said_in_our_words(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = GOOD.replace("[limits]\n", "") if "limits" in new else GOOD
    assert old in text
    path = tmp_path / "hsmkms.toml"
    path.write_text(text.replace(old, new, 1))
    done = run("serve", "--config", str(path))
    assert (done.code, done.stdout, done.stderr) == (UNUSABLE, "", f"hsmkms: {path}: {says}\n")


KEYS: Final = [
    (section.alias or name, key)
    for name, section in config.Settings.model_fields.items()
    if isinstance(section.annotation, type) and issubclass(section.annotation, BaseModel)
    for key in section.annotation.model_fields
]


@pytest.mark.parametrize(("section", "key"), KEYS)
@pytest.mark.parametrize("value", ["1", "0.5", "-1", '""', f'"{"x" * 999}"', "true", "[]", "[1]", '["x"]', "{ a = 1 }"])
def test_no_value_brings_out_words_of_the_library(section: str, key: str, value: str) -> None:
    content = tomllib.loads(GOOD)
    content.setdefault(section, {}).pop(key, None)
    lines = [f'edition = "{content.pop("edition")}"']
    for name, inside in content.items():
        told = [f"{each} = {json.dumps(of)}" for each, of in inside.items() if of != {}]
        lines += [f"[{name}]", *told, *([f"{key} = {value}"] if name == section else [])]
    said = ""
    try:
        config.parse(Path("f"), "\n".join(lines))
    except ConfigurationInvalid as error:
        said = error.message
    assert not OF_PYDANTIC.search(said)
    assert "cannot be used" not in said


@pytest.mark.parametrize("host", ["x..y", "nowhere.invalid", "x" * 64 + ".y"])
def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"^Cannot listen on .* port 8765 \(.+\); .*listen\.host") as caught:
        supervisor.bind(host, 8765)
    assert "None" not in caught.value.message


def test_a_defect_is_one_sentence_and_then_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as end, saying():
        raise KeyError("what was not foreseen")
    assert end.value.exit_code == DEFECT
    out, err = capsys.readouterr()
    assert out == ""
    first, *rest = err.splitlines()
    assert first == "hsmkms: a defect: KeyError; please report it with the lines below."
    assert rest[0].startswith("Traceback")
    assert rest[-1] == "KeyError: 'what was not foreseen'"


def test_an_end_that_was_asked_for_is_no_defect() -> None:
    with pytest.raises(typer.Exit) as end, saying():
        raise typer.Exit(3)
    assert end.value.exit_code == 3
