from __future__ import annotations

import ctypes
import struct

import pytest
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from hsmkms.core.custody import CustodyObject, CustodyRole
from hsmkms.hsm.host import templates
from hsmkms.hsm.host.mapper import Mapper

ALL = {
    "material": templates.material(),
    "material before sealing": templates.material(extractable=True),
    "pair": templates.pair_private(),
    "fresh pair": templates.fresh_pair_private(),
    "narrowing": templates.narrowing(),
    "public": templates.pair_public(),
    "transit": templates.transit(),
    "transferable material": templates.material(transferable=True),
    "transferable material in a transfer": templates.material(extractable=True, transferable=True),
    "transferable material to encrypt": templates.ciphering_material(transferable=True),
    **{
        role.value: templates.custody(CustodyObject(role, b"id"), "label", allowed_mechanisms=True)
        for role in CustodyRole
    },
    "transferable sealing": templates.custody(
        CustodyObject(CustodyRole.MATERIAL_SEALING, b"id", transferable=True), "label", allowed_mechanisms=True
    ),
}
CUSTODY = [*(ALL[role.value] for role in CustodyRole), ALL["transferable sealing"]]


def uses(template: templates.Template) -> set[str]:
    known = {*templates.SECRET_KEY_USES, *templates.PRIVATE_KEY_USES}
    return {attribute.name for attribute, value in template.items() if attribute in known and value}


@pytest.mark.parametrize("name", ALL)
def test_every_template_can_be_packed(name: str) -> None:
    assert Mapper().checked(ALL[name]) is ALL[name]


@pytest.mark.parametrize("name", [name for name in ALL if Attribute.MODIFIABLE in ALL[name]])
def test_modifiable_is_last_because_softhsm_takes_nothing_after_it(name: str) -> None:
    assert list(ALL[name])[-1] is Attribute.MODIFIABLE


def test_a_template_with_something_after_modifiable_is_refused() -> None:
    wrong: templates.Template = {Attribute.MODIFIABLE: False, Attribute.LABEL: "late"}
    with pytest.raises(TypeError):
        Mapper().checked(wrong)


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
        Mapper().checked({attribute: value})


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
        "transferable material in a transfer",
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


@pytest.mark.parametrize("name", [name for name in ALL if name.startswith("transferable material")])
def test_what_a_transferable_key_unseals_is_not_extractable_or_goes_to_a_trusted_key_only(name: str) -> None:
    demanded = ALL["transferable sealing"][Attribute.UNWRAP_TEMPLATE]
    assert isinstance(demanded, dict)
    assert Attribute.EXTRACTABLE not in demanded
    assert demanded[Attribute.WRAP_WITH_TRUSTED] is True
    assert {attribute: ALL[name][attribute] for attribute in demanded} == demanded


def test_only_the_transit_key_is_trusted_and_it_is_never_on_a_disk() -> None:
    assert [name for name, template in ALL.items() if Attribute.TRUSTED in template] == ["transit"]
    transit = ALL["transit"]
    assert (transit[Attribute.TOKEN], transit[Attribute.EXTRACTABLE], transit[Attribute.SENSITIVE]) == (
        False,
        False,
        True,
    )
    unsealed = transit[Attribute.UNWRAP_TEMPLATE]
    assert isinstance(unsealed, dict)
    temporary = ALL["material before sealing"]
    assert {attribute: temporary[attribute] for attribute in unsealed} == unsealed


def test_a_nested_template_points_to_values_that_stay() -> None:
    mapper = Mapper()
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
    mapper = Mapper()
    allowed = (Mechanism.AES_KEY_WRAP, Mechanism.AES_CMAC)
    packed = mapper.pack_attribute(Attribute.ALLOWED_MECHANISMS, allowed)
    assert mapper.unpack_attributes(Attribute.ALLOWED_MECHANISMS, packed) == allowed


def test_python_pkcs11_adds_nothing_of_its_own() -> None:
    mapper = Mapper()
    for made in (mapper.secret_key_template(), mapper.public_key_template(), mapper.private_key_template()):
        assert made == {}
    assert mapper.generic_key_template({Attribute.KEY_TYPE: KeyType.AES}) == {}
