"""What keepalived.conf says of a plan, and that cleaning up can read the same back from it."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import HERE, NO_ANCHORS, failover, failover_texts, plan

from ipfod.addresses import InterfaceAddress
from ipfod.keepalived.files import KeepalivedFiles
from ipfod.keepalived.render import advertised, render
from ipfod.keepalived.reread import virtual_ips_in
from ipfod.plan.model import FailoverPlan, Here
from ipfod.plan.planning import plan_failover

FILES = KeepalivedFiles(Path("/run/ipfod/web"))


def rendered(toml: str) -> str:
    return render(plan(toml), FILES)


def blocks(text: str, keyword: str) -> list[list[str]]:
    """The lines of every block that begins with a word."""
    found = re.findall(rf"^ *{keyword} \{{\n(.*?)^ *\}}", text, re.MULTILINE | re.DOTALL)
    return [[line.strip() for line in block.splitlines()] for block in found]


def served(planned: FailoverPlan) -> set[InterfaceAddress]:
    return {
        InterfaceAddress(planned.interface, address, planned.failover.prefix_length_of(address))
        for address in planned.failover.virtual_ips
    }


@settings(deadline=None, max_examples=30)
@given(toml=failover_texts())
def test_every_instance_starts_as_backup(toml: str) -> None:
    text = rendered(toml)
    assert text.count("    state BACKUP\n") == text.count("vrrp_instance ") == len(plan(toml).groups)
    assert "state MASTER" not in text


@settings(deadline=None, max_examples=30)
@given(toml=failover_texts())
def test_every_vip_is_written_exactly_once(toml: str) -> None:
    text = rendered(toml)
    in_blocks = [
        line.split("/")[0]
        for keyword in ("virtual_ipaddress", "virtual_ipaddress_excluded")
        for block in blocks(text, keyword)
        for line in block
    ]
    assert sorted(in_blocks) == sorted(str(address) for address in failover(toml).virtual_ips)


def test_version_3_carries_the_anchor_alone() -> None:
    configured = failover('virtual_ips = "10.1.0.1-4"\nvip_groups = 1')
    text = render(plan_failover(configured, HERE, {11: ip_address("10.1.0.3")}), FILES)
    assert blocks(text, "virtual_ipaddress") == [["10.1.0.3/32"]]
    assert blocks(text, "virtual_ipaddress_excluded") == [["10.1.0.1/32", "10.1.0.2/32", "10.1.0.4/32"]]


def test_a_group_of_one_has_no_empty_block() -> None:
    text = rendered('virtual_ips = "10.1.0.1"')
    assert blocks(text, "virtual_ipaddress") == [["10.1.0.1/32"]]
    assert "virtual_ipaddress_excluded" not in text


def test_version_2_carries_all_vips_as_far_as_they_fit_into_an_advert() -> None:
    text = rendered('virtual_ips = "10.1.0.1-10.1.1.44"\nvip_groups = 1\nvrrp_version = 2')
    (carried,), (excluded,) = blocks(text, "virtual_ipaddress"), blocks(text, "virtual_ipaddress_excluded")
    assert [len(carried), len(excluded)] == [255, 45]
    assert carried[0] == "10.1.0.1/32"
    assert excluded[0] == "10.1.1.0/32"


@pytest.mark.parametrize("version", [2, 3])
def test_ipv6_has_no_version_2_and_no_password(version: int) -> None:
    text = rendered(f'virtual_ips = ["10.1.0.1", "fd00::1:1"]\nvrrp_version = {version}')
    assert re.findall("^    version ([23])$", text, re.MULTILINE) == [str(version), "3"]
    assert text.count("auth_pass") == (1 if version == 2 else 0)


def test_an_ipv6_vip_is_no_source_address_of_the_node() -> None:
    assert blocks(rendered('virtual_ips = "fd00::1:1"'), "virtual_ipaddress") == [
        ["fd00::1:1/128 preferred_lft 0"]
    ]


def test_a_prefix_length_is_that_of_every_vip() -> None:
    text = rendered('virtual_ips = ["10.1.0.1", "fd00::1:1"]\nprefix_length = 24')
    assert blocks(text, "virtual_ipaddress") == [["10.1.0.1/24"], ["fd00::1:1/24 preferred_lft 0"]]


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        ("preempt", None),
        ("nopreempt", "    nopreempt"),
        ("preempt_delay 300", "    preempt_delay 300"),
        ("preempt_delay 0", "    preempt_delay 0"),
    ],
)
def test_preemption_is_what_the_option_says(policy: str, line: str | None) -> None:
    lines = rendered(f'virtual_ips = "10.1.0.1"\npreemption = "{policy}"').splitlines()
    assert [found for found in lines if "preempt" in found] == ([line] if line else [])


def test_version_2_has_the_password_of_the_original() -> None:
    text = rendered('name = "ipfailover"\nvirtual_ips = "10.1.0.1"\nvrrp_version = 2')
    assert blocks(text, "authentication") == [["auth_type PASS", "auth_pass ipfailov"]]
    assert "    advert_int 1\n" in text


@pytest.mark.parametrize(
    ("interval", "written"), [("0.1", "0.1"), ("0.01", "0.01"), ("12.34", "12.34"), ("40", "40")]
)
def test_the_interval_is_written_as_it_was_given(interval: str, written: str) -> None:
    assert f"    advert_int {written}\n" in rendered(f'virtual_ips = "10.1.0.1"\nadvert_interval = {interval}')


def test_unicast_names_the_source_and_every_other_node() -> None:
    peers = '["10.0.0.1", "10.0.0.2", "10.0.0.3"]'
    text = rendered(f'virtual_ips = "10.1.0.1"\nuse_unicast = true\nunicast_peers = {peers}')
    assert "    unicast_src_ip 10.0.0.1\n" in text
    assert blocks(text, "unicast_peer") == [["10.0.0.2", "10.0.0.3"]]


def test_multicast_names_nobody() -> None:
    assert "unicast" not in rendered('virtual_ips = "10.1.0.1"')


def test_every_instance_has_a_track_file_of_its_own() -> None:
    text = rendered('virtual_ips = "10.1.0.1-2"')
    for name in ("web_VIP_1", "web_VIP_2"):
        assert f'track_file {name} {{\n    file "/run/ipfod/web/track/{name}"\n    weight 1\n}}' in text
    assert blocks(text, " {4}track_file") == [["web_VIP_1"], ["web_VIP_2"]]


def test_keepalived_runs_the_wrapper_of_a_notify_script() -> None:
    text = rendered('virtual_ips = "10.1.0.1"\nnotify_script = "/etc/ipfod/notify.sh"\nscript_user = "daemon"')
    assert "    enable_script_security\n    script_user root\n" in text
    assert '    notify "/bin/sh /run/ipfod/web/notify"\n' in text
    assert "notify " not in rendered('virtual_ips = "10.1.0.1"').replace("vrrp_notify", "")


def test_another_notify_script_changes_nothing_that_keepalived_reads() -> None:
    one = rendered('virtual_ips = "10.1.0.1"\nnotify_script = "/etc/ipfod/one.sh"')
    assert one == rendered('virtual_ips = "10.1.0.1"\nnotify_script = "/etc/two.sh"\nscript_user = "daemon"')


@settings(deadline=None, max_examples=30)
@given(toml=failover_texts())
def test_no_line_is_so_long_that_keepalived_would_tear_it(toml: str) -> None:
    lines = rendered(toml).splitlines()
    assert max(map(len, lines)) < 512
    assert all(line.isascii() and line.isprintable() for line in lines)


@settings(deadline=None, max_examples=30)
@given(toml=failover_texts(vips_max=8))
def test_the_same_plan_gives_the_same_text(toml: str) -> None:
    assert rendered(toml) == rendered(toml)  # or every start would be a reload


# ---------------------------------------------------------------- reading back

interfaces = st.text(
    st.characters(codec="ascii", categories=["L", "N", "P", "S"], exclude_characters="/:*@\"'{}#!\\$"),
    min_size=1,
    max_size=15,
).filter(lambda name: name not in {".", ".."})


@settings(deadline=None, max_examples=30)
@given(toml=failover_texts(), interface=interfaces)
def test_cleaning_up_reads_back_every_vip_and_nothing_else(toml: str, interface: str) -> None:
    planned = plan_failover(failover(toml), Here(interface, HERE.addresses), NO_ANCHORS)
    found = virtual_ips_in(render(planned, FILES))
    assert set(found) == served(planned)
    assert len(found) == len(served(planned))


def test_a_configuration_of_4080_vips_is_read_back() -> None:
    planned = plan('virtual_ips = "10.1.0.0-10.1.15.239"\nvip_groups = 255\nvrrp_id_offset = 0')
    assert len(planned.groups) == 255
    assert set(virtual_ips_in(render(planned, FILES))) == served(planned)


@settings(deadline=None, max_examples=30)
@given(toml=failover_texts(vips_max=5), data=st.data())
def test_a_configuration_cut_off_anywhere_gives_no_foreign_vip(toml: str, data: st.DataObject) -> None:
    planned = plan(toml)
    text = render(planned, FILES)
    lines = text[: data.draw(st.integers(0, len(text)))].splitlines()
    assert set(virtual_ips_in("\n".join(lines[:-1]))) <= served(planned)


@settings(deadline=None)
@given(text=st.text(max_size=200))
def test_any_other_text_is_passed_over(text: str) -> None:
    assert virtual_ips_in(text) == ()


@pytest.mark.parametrize(
    "line",
    ["10.1.0.256/32", "10.1.0.1/33", "fd00::1/129", "1:2/64", "10.1.0.1", "10.1.0.1/32 dev eth1", "::::/1"],
)
def test_lines_that_ipfod_did_not_write_are_passed_over(line: str) -> None:
    text = f"    interface eth0\n    virtual_ipaddress {{\n        {line}\n        10.1.0.9/32\n"
    assert virtual_ips_in(text) == (InterfaceAddress("eth0", ip_address("10.1.0.9"), 32),)


def test_a_vip_without_an_interface_is_none() -> None:
    assert virtual_ips_in("        10.1.0.9/32\n") == ()


@settings(deadline=None, max_examples=30)
@given(toml=failover_texts())
def test_what_adverts_carry_is_what_the_file_says(toml: str) -> None:
    planned = plan(toml)
    text = render(planned, FILES)
    carried = [[line.split("/")[0] for line in block] for block in blocks(text, "virtual_ipaddress")]
    assert carried == [
        [str(address) for address in advertised(planned.failover, group)] for group in planned.groups
    ]
