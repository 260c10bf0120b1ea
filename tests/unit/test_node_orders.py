"""Orders: how one replaces another, and that they come back out of the state file or are set aside with it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipfod.config.model import PREEMPT_DELAY_MAX_S, Preemption, PreemptionMode
from ipfod.node.orders import REASON_MAX, Maintenance, Orders, Stance, StanceKind, from_document, to_document
from ipfod.node.statefile import Taken, damaged, load, save
from ipfod.plan.model import GroupKey
from ipfod.plan.planning import WHOLE_FAILOVER

PREEMPT = Preemption(PreemptionMode.PREEMPT)
NOPREEMPT = Preemption(PreemptionMode.NOPREEMPT)
DELAYED = Preemption(PreemptionMode.PREEMPT_DELAY, 30)
FIRST, SECOND = GroupKey("web", 1), GroupKey("web", 2)
CLAIM = Stance(StanceKind.CLAIM, 253)
MAINTENANCE = Maintenance("new kernel", 0, 1_000_000)
BOOT = "5f0c" * 8
ORDERS = Orders(
    preemption={"web": {WHOLE_FAILOVER: NOPREEMPT, 2: DELAYED}},
    stances={FIRST: CLAIM, SECOND: Stance(StanceKind.YIELD, 1, 4711.25)},
    maintenance=MAINTENANCE,
)

failover_names = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
policies = st.sampled_from([PREEMPT, NOPREEMPT]) | st.builds(
    Preemption, st.just(PreemptionMode.PREEMPT_DELAY), st.integers(0, PREEMPT_DELAY_MAX_S)
)
stances = st.builds(
    Stance,
    st.sampled_from(StanceKind),
    st.integers(1, 254),
    st.just(math.inf) | st.floats(0, 2.0**40, allow_nan=False),
)
times_usec = st.integers(0, 2**64 - 1)
maintenances = st.builds(Maintenance, st.text(max_size=REASON_MAX), times_usec, times_usec)
all_orders = st.builds(
    Orders,
    preemption=st.dictionaries(
        failover_names, st.dictionaries(st.integers(0, 255), policies, min_size=1, max_size=4), max_size=3
    ),
    stances=st.dictionaries(st.builds(GroupKey, failover_names, st.integers(1, 255)), stances, max_size=4),
    maintenance=st.none() | maintenances,
)


# ---------------------------------------------------------------- one order after the other


def test_a_group_s_policy_stands_beside_that_of_its_failover() -> None:
    orders = Orders().with_preemption("web", WHOLE_FAILOVER, NOPREEMPT).with_preemption("web", 2, DELAYED)
    assert orders.preemption == {"web": {WHOLE_FAILOVER: NOPREEMPT, 2: DELAYED}}


def test_a_failover_s_policy_replaces_those_of_its_groups_and_of_no_other_failover() -> None:
    orders = Orders(preemption={"web": {1: PREEMPT, 2: DELAYED}, "db": {1: PREEMPT}})
    assert orders.with_preemption("web", WHOLE_FAILOVER, NOPREEMPT).preemption == {
        "web": {WHOLE_FAILOVER: NOPREEMPT},
        "db": {1: PREEMPT},
    }


def test_what_is_taken_back_leaves_nothing_behind() -> None:
    orders = ORDERS.with_preemption("web", 2, None)
    assert orders.preemption == {"web": {WHOLE_FAILOVER: NOPREEMPT}}
    assert orders.with_preemption("web", WHOLE_FAILOVER, None).preemption == {}
    assert Orders().with_preemption("web", 1, PREEMPT).with_preemption("web", 1, None) == Orders()
    assert Orders().with_preemption("never", 7, None) == Orders()


def test_to_reset_a_failover_resets_its_groups() -> None:
    assert ORDERS.with_preemption("web", WHOLE_FAILOVER, None).preemption == {}


def test_a_stance_is_that_of_one_group() -> None:
    changed = ORDERS.with_stance(FIRST, None)
    assert changed.stances == {SECOND: ORDERS.stances[SECOND]}
    assert changed.with_stance(SECOND, CLAIM).stances == {SECOND: CLAIM}
    assert Orders().with_stance(FIRST, None) == Orders()


def test_orders_go_with_their_failover_and_maintenance_stays() -> None:
    more = ORDERS.with_stance(GroupKey("db", 1), CLAIM).with_preemption("db", 1, PREEMPT)
    assert more.without({"web"}) == Orders({"db": {1: PREEMPT}}, {GroupKey("db", 1): CLAIM}, MAINTENANCE)
    assert more.without(set()) == more


@pytest.mark.parametrize(
    ("until", "now", "over"), [(0, 2**63, False), (5, 4, False), (5, 5, True), (5, 6, True)]
)
def test_maintenance_is_over_at_its_end_and_without_one_never(until: int, now: int, over: bool) -> None:
    assert Maintenance("", until, 1).is_over(now) is over


# ---------------------------------------------------------------- the round trip


@settings(deadline=None)
@given(orders=all_orders, boot=st.text(min_size=1, max_size=40))
def test_all_orders_come_back_within_one_boot(orders: Orders, boot: str) -> None:
    document = json.loads(json.dumps(to_document(orders, boot), allow_nan=False))
    assert from_document(document, boot) == orders


@settings(deadline=None)
@given(orders=all_orders)
def test_only_maintenance_outlives_a_reboot(orders: Orders) -> None:
    document = json.loads(json.dumps(to_document(orders, "one boot")))
    assert from_document(document, "another boot") == Orders(maintenance=orders.maintenance)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("orders") / "state.json"


@settings(deadline=None)
@given(orders=all_orders)
def test_the_state_file_keeps_orders(orders: Orders, anywhere: Path) -> None:
    taken = Taken(modules=("ip_vs",), orders=orders)
    save(anywhere, taken, BOOT)
    assert load(anywhere, BOOT) == (taken, "")


def test_the_state_file_of_another_boot_keeps_maintenance_and_what_was_taken(path: Path) -> None:
    save(path, Taken(modules=("ip_vs",), orders=ORDERS), BOOT)
    document = json.loads(path.read_text())
    assert document["orders"]["boot"] == BOOT
    document["orders"]["boot"] = "00000000-0000-0000-0000-000000000000"
    path.write_text(json.dumps(document))
    assert load(path, BOOT) == (Taken(modules=("ip_vs",), orders=Orders(maintenance=MAINTENANCE)), "")


def test_a_file_of_the_version_without_orders_has_none_and_is_not_damaged(path: Path) -> None:
    path.write_text('{"version": 1, "virtual_ips": {}, "anchors": {}, "modules": ["ip_vs"]}')
    assert load(path, BOOT) == (Taken(modules=("ip_vs",)), "")


# ---------------------------------------------------------------- what was never written


def orders_document() -> dict[str, Any]:
    return to_document(ORDERS, BOOT)


def write(path: Path, orders: object) -> bytes:
    document = {"version": 1, "virtual_ips": {}, "anchors": {}, "modules": [], "orders": orders}
    path.write_text(json.dumps(document))
    return path.read_bytes()


def assert_set_aside(path: Path, content: bytes) -> None:
    taken, damage = load(path, BOOT)
    assert taken == Taken()
    assert damage.startswith(f"{path} was damaged (")
    assert damaged(path).read_bytes() == content
    assert not path.exists()


def test_the_document_that_the_others_spoil_is_a_good_one(path: Path) -> None:
    write(path, orders_document())
    assert load(path, BOOT) == (Taken(orders=ORDERS), "")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("preemption", None),
        ("preemption", []),
        ("preemption", {"web": []}),
        ("preemption", {"web": {"1": "sometimes"}}),
        ("preemption", {"web": {"1": "preempt_delay 1001"}}),
        ("preemption", {"web": {"1": 30}}),
        ("preemption", {"web": {"one": "preempt"}}),
        ("preemption", {"web": {"-1": "preempt"}}),
        ("preemption", {"web": {"1000": "preempt"}}),
        ("preemption", {"web": {"01": "preempt"}}),
        ("preemption", {"web": {" 1": "preempt"}}),
        ("preemption", {"web": {"\N{ARABIC-INDIC DIGIT ONE}": "preempt"}}),
        ("preemption", {"web": {"9" * 5000: "preempt"}}),
        ("stances", None),
        ("stances", {"web": 1}),
        ("stances", [["web", 1, "claim", 253]]),
        ("stances", [["web", 1, "claim", 253, None, 0]]),
        ("stances", [[7, 1, "claim", 253, None]]),
        ("stances", [["web", "1", "claim", 253, None]]),
        ("stances", [["web", True, "claim", 253, None]]),
        ("stances", [["web", 1, "keep", 253, None]]),
        ("stances", [["web", 1, [], 253, None]]),
        ("stances", [["web", 1, "claim", 0, None]]),
        ("stances", [["web", 1, "claim", 255, None]]),
        ("stances", [["web", 1, "claim", 2.5, None]]),
        ("stances", [["web", 1, "yield", 1, "17"]]),
        ("stances", [["web", 1, "yield", 1, True]]),
        ("stances", [["web", 1, "yield", 1, -1]]),
        ("stances", [["web", 1, "yield", 1, math.nan]]),
        ("stances", [["web", 1, "yield", 1, math.inf]]),
        ("stances", [["web", 1, "yield", 1, -math.inf]]),
        ("stances", [["web", 1, "yield", 1, 10**400]]),
        ("stances", [["web", 1, "yield", 1, 1e300]]),
        ("maintenance", None),
        ("maintenance", {}),
        ("maintenance", {"reason": 7, "until_usec": 0, "since_usec": 0}),
        ("maintenance", {"reason": "", "until_usec": -1, "since_usec": 0}),
        ("maintenance", {"reason": "", "until_usec": 0, "since_usec": 2**64}),
        ("maintenance", {"reason": "", "until_usec": 0.5, "since_usec": 0}),
        ("maintenance", {"reason": "", "until_usec": False, "since_usec": 0}),
        ("maintenance", {"reason": "", "since_usec": 0}),
    ],
)
def test_orders_that_nobody_gave_are_damage_and_never_an_exception(path: Path, key: str, value: object) -> None:
    assert_set_aside(path, write(path, orders_document() | {key: value}))


@pytest.mark.parametrize("value", [None, [], "none", 7, {}])
def test_orders_of_another_shape_are_damage(path: Path, value: object) -> None:
    assert_set_aside(path, write(path, value))


@pytest.mark.parametrize("key", ["boot", "preemption", "stances"])
def test_a_missing_part_of_the_orders_is_damage(path: Path, key: str) -> None:
    assert_set_aside(path, write(path, {name: part for name, part in orders_document().items() if name != key}))


def test_damaged_maintenance_is_damage_after_a_reboot_too(path: Path) -> None:
    assert_set_aside(path, write(path, {"boot": "another", "maintenance": {"reason": "x"}}))


def test_a_reason_without_end_is_cut(path: Path) -> None:
    write(path, orders_document() | {"maintenance": {"reason": "x" * 9999, "until_usec": 0, "since_usec": 0}})
    maintenance = load(path, BOOT)[0].orders.maintenance
    assert maintenance is not None
    assert maintenance.reason == "x" * REASON_MAX


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(["web", "1", "reason", "until_usec", "since_usec"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(value=json_values, key=st.sampled_from([None, "boot", "preemption", "stances", "maintenance"]))
def test_any_other_json_in_the_orders_is_never_fatal(value: object, key: str | None, anywhere: Path) -> None:
    write(anywhere, value if key is None else orders_document() | {key: value})
    taken, damage = load(anywhere, BOOT)
    assert anywhere.exists() is not bool(damage)
    if damage:
        assert taken == Taken()
    else:
        save(anywhere, taken, BOOT)  # whatever was believed can be written down again
        assert load(anywhere, BOOT) == (taken, "")


@settings(deadline=None)
@given(fields=st.lists(json_values, min_size=5, max_size=5), good=st.sets(st.integers(0, 4)))
def test_a_stance_of_which_some_fields_are_anything_is_never_fatal(
    fields: list[object], good: set[int], anywhere: Path
) -> None:
    stance = [
        known if place in good else field
        for place, (known, field) in enumerate(zip(["web", 1, "yield", 1, 9.5], fields, strict=True))
    ]
    write(anywhere, orders_document() | {"stances": [stance]})
    taken, damage = load(anywhere, BOOT)
    assert (taken == Taken()) is bool(damage)
