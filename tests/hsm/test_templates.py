from __future__ import annotations

import ctypes
import struct

import pytest
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from hsmkms.core.custody import CustodyRole
from hsmkms.hsm.host import templates

ALL = {
    "material": templates.material(),
    "material before sealing": templates.material(extractable=True),
    "pair": templates.pair_private(),
    "fresh pair": templates.fresh_pair_private(),
    "narrowing": templates.narrowing(),
    "public": templates.pair_public(),
    **{role.value: templates.custody(role, b"id", "label", allowed_mechanisms=True) for role in CustodyRole},
}
CUSTODY = [ALL[role.value] for role in CustodyRole]


def uses(template: templates.Template) -> set[str]:
    known = {*templates.SECRET_KEY_USES, *templates.PRIVATE_KEY_USES}
    return {attribute.name for attribute, value in template.items() if attribute in known and value}


@pytest.mark.parametrize("name", ALL)
def test_every_template_can_be_packed(name: str) -> None:
    assert templates.Mapper().checked(ALL[name]) is ALL[name]


@pytest.mark.parametrize("name", [name for name in ALL if Attribute.MODIFIABLE in ALL[name]])
def test_modifiable_is_last_because_softhsm_takes_nothing_after_it(name: str) -> None:
    assert list(ALL[name])[-1] is Attribute.MODIFIABLE


def test_a_template_with_something_after_modifiable_is_refused() -> None:
    wrong: templates.Template = {Attribute.MODIFIABLE: False, Attribute.LABEL: "late"}
    with pytest.raises(TypeError):
        templates.Mapper().checked(wrong)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (Attribute.LABEL, 5),
        (Attribute.ALLOWED_MECHANISMS, "AES"),
        (Attribute.ID, "text"),
        (Attribute.VALUE_LEN, -1),
        (Attribute.UNWRAP_TEMPLATE, 1),
    ],
)
def test_what_would_end_the_process_is_refused_in_python(attribute: Attribute, value: templates.Value) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError, struct.error)):
        templates.Mapper().checked({attribute: value})


def test_each_key_has_one_job() -> None:
    assert uses(ALL["material"]) == uses(ALL["material before sealing"]) == {"SIGN"}
    assert uses(ALL["pair"]) == uses(ALL["fresh pair"]) == {"UNWRAP"}
    assert {role.value: uses(ALL[role.value]) for role in CustodyRole} == {
        "material-sealing": {"WRAP", "UNWRAP"},
        "pair-sealing": {"WRAP", "UNWRAP"},
        "record": {"ENCRYPT", "DECRYPT"},
        "credential": {"ENCRYPT", "DECRYPT"},
        "mac": {"SIGN", "VERIFY"},
    }


@pytest.mark.parametrize("template", CUSTODY)
def test_long_lived_objects_never_leave_and_never_change(template: templates.Template) -> None:
    wanted = {
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.MODIFIABLE: False,
    }
    assert {attribute: template[attribute] for attribute in wanted} == wanted


def test_only_the_temporary_object_of_an_import_and_a_fresh_pair_are_extractable() -> None:
    assert {name for name, template in ALL.items() if template.get(Attribute.EXTRACTABLE)} == {
        "material before sealing",
        "fresh pair",
    }


def test_no_unwrap_template_names_a_length() -> None:
    for name in ("material", "material before sealing", "pair"):
        assert Attribute.VALUE_LEN not in ALL[name]


@pytest.mark.parametrize(
    ("role", "unsealed"),
    [(CustodyRole.MATERIAL_SEALING, templates.material()), (CustodyRole.PAIR_SEALING, templates.pair_private())],
)
def test_what_is_unsealed_says_all_that_the_unwrap_template_demands(
    role: CustodyRole, unsealed: templates.Template
) -> None:
    demanded = ALL[role.value][Attribute.UNWRAP_TEMPLATE]
    assert isinstance(demanded, dict)
    assert {attribute: unsealed[attribute] for attribute in demanded} == demanded
    assert demanded[Attribute.EXTRACTABLE] is False


def test_a_nested_template_points_to_values_that_stay() -> None:
    mapper = templates.Mapper()
    nested = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.EXTRACTABLE: False}
    packed = mapper.pack_attribute(Attribute.UNWRAP_TEMPLATE, nested)
    found = {}
    for kind, pointer, length in struct.iter_unpack("@LPL", packed):
        found[Attribute(kind)] = ctypes.string_at(pointer, length)
    assert found == {
        Attribute.CLASS: struct.pack("@L", ObjectClass.SECRET_KEY),
        Attribute.EXTRACTABLE: b"\0",
    }
    assert mapper.pack_attribute(Attribute.UNWRAP_TEMPLATE, dict(nested)) == packed


def test_allowed_mechanisms_come_out_as_they_went_in() -> None:
    mapper = templates.Mapper()
    allowed = (Mechanism.AES_KEY_WRAP, Mechanism.AES_CMAC)
    packed = mapper.pack_attribute(Attribute.ALLOWED_MECHANISMS, allowed)
    assert mapper.unpack_attributes(Attribute.ALLOWED_MECHANISMS, packed) == allowed


def test_python_pkcs11_adds_nothing_of_its_own() -> None:
    mapper = templates.Mapper()
    for made in (mapper.secret_key_template(), mapper.public_key_template(), mapper.private_key_template()):
        assert made == {}
    assert mapper.generic_key_template({Attribute.KEY_TYPE: KeyType.AES}) == {}
