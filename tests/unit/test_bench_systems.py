"""What the benchmark runs: the configurations of the three systems, the scenarios, the rows made of samples."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from bench import configs, figures, outages, scenarios
from bench.__main__ import NAMES, main
from bench.configs import LARGE, SMALL, Size
from bench.model import IPFOD, PLAIN
from bench.stage import Sample

NODES = [ip_address("192.168.3.101"), ip_address("192.168.3.102")]


def test_sizes_are_groups_of_neighbouring_addresses() -> None:
    assert SMALL.addresses() == [(ip_address("10.20.0.1"),)]
    assert Size(2, 2, 1).addresses() == [
        (ip_address("10.20.0.1"), ip_address("10.20.0.2")),
        (ip_address("10.20.0.3"), ip_address("10.20.0.4"), ip_address("10.20.0.5")),
    ]
    large = LARGE.addresses()
    assert (len(large), len({address for group in large for address in group})) == (255, 4080)


@pytest.mark.parametrize("size", [SMALL, Size(255, 16, 1)])
def test_ipfod_and_plain_keepalived_get_the_same_groups(size: Size) -> None:
    failover = configs.failover(configs.ipfod(size, NODES))
    assert failover.advert_interval_s == 0.1
    first, second = (configs.planned(size, NODES, node) for node in NODES)
    assert [one.virtual_ips for one in first] == size.addresses()
    assert [one.virtual_router_id for one in first] == list(range(1, size.groups + 1))
    assert {one.priority for one in (*first, *second)} == {252, 242}
    text = configs.plain(first, NODES[0])
    assert text.count("advert_int 0.1\n") == text.count("vrrp_instance") == size.groups
    assert text.count(" dev eth0\n") == sum(len(group) for group in size.addresses())


def test_the_original_has_the_priorities_of_its_formula() -> None:
    first, second = (configs.original_instances(Size(6, 1), node, 2) for node in NODES)
    assert [one.priority for one in second] == [153, 103, 153, 103, 153, 103]  # 255 - 102 and 102 + 1 in turn
    assert all(one.master for one in second)
    assert [one.priority for one in first[1::2]] == [154, 102, 154]
    assert [one.master for one in first] == [False, True] * 3
    assert all(37 <= one.priority < 37 + 32 for one in first[::2])  # 101 % 64, and chance
    assert first == configs.original_instances(Size(6, 1), NODES[0], 2)


def test_the_original_has_the_settings_that_it_generates() -> None:
    [instance] = configs.original_instances(SMALL, NODES[1], 2)
    text = configs.original([instance], NODES[1])
    assert "vrrp_version" not in text  # so 2 it is, with an advert a second
    assert "advert_int" not in text
    for words in ("state MASTER", "priority 153", "auth_pass ipfailov", "preempt_delay 300", "interval 2"):
        assert words in text
    assert "/bin/bash -c '</dev/tcp/192.168.3.102/8080'" in text


def test_every_name_means_one_row() -> None:
    assert len(set(NAMES)) == len(NAMES)
    everything = [*scenarios.wanted(SMALL, []), *scenarios.wanted(LARGE, [])]
    assert all(IPFOD in scenario.acts and PLAIN in scenario.acts for scenario in everything)
    assert [one.name for one in scenarios.wanted(SMALL, ["stop", "event"])] == ["stop"]
    assert scenarios.wanted(LARGE, ["step-down-nopreempt"]) == []
    assert [one.name for one in figures.wanted(LARGE, ["plan", "rule-flushed"])] == ["plan"]
    assert [one.name for one in figures.wanted(SMALL, ["plan", "rule-flushed"])] == ["rule-flushed"]


def test_wrong_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["--only", "nothing"], ["--runs", "0"], ["--runs", "many"]):
        with pytest.raises(SystemExit) as ended:
            main(argv)
        assert ended.value.code == 2
    assert "at least 1" in capsys.readouterr().err


def test_what_is_measured_at_the_other_size_only_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert main(["--quick", "--only", "plan"]) == 1
    assert capsys.readouterr().err == "bench: nothing of that is measured with one group only\n"


def test_samples_of_all_systems_become_a_row() -> None:
    [lost] = scenarios.wanted(SMALL, ["node-lost"])
    samples: outages.Samples = {
        ("node-lost", PLAIN): [Sample(250.0, 0, 0.0), Sample(260.0, 0, 980.0)],
        ("node-lost", IPFOD): [Sample(251.0, 0, 0.0), Sample(261.0, 2, 0.0)],
    }
    row = outages.row(lost, SMALL, samples, 305.5)
    assert (row.samples(PLAIN), row.samples(IPFOD), row.theory) == ((250.0, 260.0), (251.0, 261.0), 305.5)
    assert row.notes == ("plain: the VIP was on both nodes for 980 ms in 1 of 2 runs",)
    assert row.faults == ("up to 2 VIPs did not answer at the end in 1 of 2 runs",)
    assert row.limit == lost.limit
    assert outages.row(lost, LARGE, samples, None).limit == lost.large
