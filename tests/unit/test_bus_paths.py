"""Object paths: escaped as systemd does, and back."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfod.bus import paths
from ipfod.node.events import FailoverRef, Ref, VirtualIPRef
from ipfod.plan.model import GroupKey


@pytest.mark.parametrize(
    ("text", "element"),
    [
        ("", "_"),
        ("web", "web"),
        ("a1", "a1"),
        ("1", "_31"),
        ("255", "_3255"),
        ("my-web_2", "my_2dweb_5f2"),
        ("192.168.3.10", "_3192_2e168_2e3_2e10"),
        ("2001:db8::1", "_32001_3adb8_3a_3a1"),
        ("é", "_c3_a9"),
    ],
)
def test_elements_are_escaped_as_sd_bus_path_encode_does(text: str, element: str) -> None:
    assert paths.encode(text) == element
    assert paths.decode(element) == text


@given(st.text())
def test_every_text_comes_back_from_its_element(text: str) -> None:
    element = paths.encode(text)
    assert element.isascii()
    assert element.replace("_", "a").isalnum()
    assert paths.decode(element) == text


@pytest.mark.parametrize("element", ["", "1web", "_61", "_zz", "we-b", "_2E", "web_", "_ff", "__"])
def test_an_element_that_no_text_has_is_refused(element: str) -> None:
    if element == "":
        assert paths.encode("") != element
    else:
        with pytest.raises(ValueError, match=r"escape|decode"):
            paths.decode(element)


names = st.text("abcXYZ019_-", min_size=1, max_size=64)
refs = st.one_of(
    st.builds(FailoverRef, names),
    st.builds(GroupKey, names, st.integers(1, 255)),
    st.builds(VirtualIPRef, st.ip_addresses()),
)


@given(refs)
def test_every_object_comes_back_from_its_path(ref: Ref) -> None:
    assert paths.parse(paths.path_of(ref)) == ref


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        (FailoverRef("web"), "/org/ipfod/Ipfod1/failover/web"),
        (GroupKey("web", 1), "/org/ipfod/Ipfod1/failover/web/group/_31"),
        (VirtualIPRef(ip_address("192.168.3.10")), "/org/ipfod/Ipfod1/vip/_3192_2e168_2e3_2e10"),
    ],
)
def test_paths_are_those_of_the_contract(ref: Ref, path: str) -> None:
    assert paths.path_of(ref) == path


@pytest.mark.parametrize(
    "path",
    [
        "/",
        paths.ROOT,
        paths.FAILOVERS,
        f"{paths.FAILOVERS}/web/group",
        f"{paths.FAILOVERS}/web/group/_301",
        f"{paths.FAILOVERS}/web/group/x",
        f"{paths.FAILOVERS}/web/group/_3" + "1" * 5000,
        f"{paths.FAILOVERS}/web/group/_31/more",
        f"{paths.FAILOVERS}/1web",
        f"{paths.VIRTUAL_IPS}/web",
        f"{paths.VIRTUAL_IPS}/_32001_3aDB8_3a_3a1",
        "/org/freedesktop/DBus",
    ],
)
def test_other_paths_stand_for_nothing(path: str) -> None:
    assert paths.parse(path) is None
