"""The settings whose price the benchmark tells: each is one that ipfod accepts."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from bench import configs
from bench.tuning import SETTINGS, Setting

NODES = [ip_address("192.168.3.101"), ip_address("192.168.3.102")]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_ipfod_accepts_every_setting(setting: Setting) -> None:
    failover = configs.failover(configs.ipfod(setting.size, NODES, setting.options))
    assert (failover.vrrp_version, failover.advert_interval_s) == (setting.version, setting.interval_s)


def test_no_setting_is_measured_twice() -> None:
    assert len(set(SETTINGS)) == len(SETTINGS)
    assert str(Setting(3, 0.05)) == "version 3, 0.05 s"
