"""Who is master: told by adverts and by silence, with a clock that the tests turn."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from ipfod.vrrp.heard import Heard
from ipfod.vrrp.masters import MasterChange, Masters
from ipfod.vrrp.packet import Advert

A, B, C = "10.77.0.1", "10.77.0.2", "10.77.0.3"


def advert(source: str, priority: int, *, router: int = 1, interval_cs: int = 10, version: int = 3) -> Advert:
    address = ip_address(source)
    return Advert(
        version=version,
        ip_version=address.version,
        source=address,
        destination=IPv4Address("224.0.0.18") if address.version == 4 else IPv6Address("ff02::12"),
        virtual_router_id=router,
        priority=priority,
        interval_cs=interval_cs,
        addresses=(),
    )


def hear(masters: Masters, said: Advert, now: float) -> tuple[MasterChange, ...]:
    return masters.heard(Heard(said, "eth0", outgoing=False, last_s=now))


def change(address: str, priority: int, *, router: int = 1, ip_version: int = 4) -> tuple[MasterChange, ...]:
    return (MasterChange(ip_version, router, address, priority),)


def test_at_first_nobody_is_master() -> None:
    masters = Masters()
    assert masters.current(4, 1) == MasterChange(4, 1, "", 0)
    assert masters.next_deadline() is None
    assert masters.expire(1000.0) == ()


def test_the_first_advert_makes_a_master_and_the_next_ones_change_nothing() -> None:
    masters = Masters()
    said = advert(A, 254)
    assert hear(masters, said, 0.0) == change(A, 254)
    assert hear(masters, said, 0.1) == ()
    assert hear(masters, advert(A, 254), 0.2) == ()
    assert masters.current(4, 1) == MasterChange(4, 1, A, 254)


def test_a_new_priority_of_the_master_is_a_change() -> None:
    masters = Masters()
    hear(masters, advert(A, 254), 0.0)
    assert hear(masters, advert(A, 100), 0.1) == change(A, 100)


def test_a_take_over_after_a_crash_is_one_change() -> None:
    masters = Masters()
    hear(masters, advert(A, 254), 0.0)
    assert masters.expire(0.30) == ()
    assert hear(masters, advert(B, 253), 0.302) == change(B, 253)


def test_a_take_over_is_seen_although_the_last_advert_of_the_old_master_was_heard_late() -> None:
    masters = Masters()
    hear(masters, advert(A, 254), 0.045)
    assert hear(masters, advert(B, 253), 0.302) == change(B, 253)


def test_a_master_that_leaves_is_nobody_at_once() -> None:
    masters = Masters()
    hear(masters, advert(A, 254), 0.0)
    assert hear(masters, advert(A, 0), 0.05) == change("", 0)
    assert hear(masters, advert(B, 253), 0.051) == change(B, 253)


def test_leaving_twice_or_leaving_unheard_is_no_change() -> None:
    masters = Masters()
    assert hear(masters, advert(B, 0), 0.0) == ()
    hear(masters, advert(A, 254), 0.1)
    assert hear(masters, advert(B, 0), 0.2) == ()
    hear(masters, advert(A, 0), 0.3)
    assert hear(masters, advert(A, 0), 0.3) == ()


def test_of_two_masters_the_higher_priority_counts() -> None:
    masters = Masters()
    hear(masters, advert(B, 253), 0.0)
    assert hear(masters, advert(A, 254), 0.05) == change(A, 254)
    assert hear(masters, advert(B, 253), 0.1) == ()


def test_of_two_masters_with_one_priority_the_higher_address_counts() -> None:
    masters = Masters()
    hear(masters, advert("10.77.0.10", 100), 0.0)
    assert hear(masters, advert("10.77.0.9", 100), 0.05) == ()
    assert hear(masters, advert("10.77.0.11", 100), 0.06) == change("10.77.0.11", 100)


def test_when_one_of_two_masters_leaves_the_other_counts() -> None:
    masters = Masters()
    hear(masters, advert(A, 254), 0.0)
    hear(masters, advert(B, 253), 0.01)
    assert hear(masters, advert(A, 0), 0.02) == change(B, 253)


def test_when_one_of_two_masters_falls_silent_the_other_counts() -> None:
    masters = Masters()
    hear(masters, advert(A, 254), 0.0)
    assert [hear(masters, advert(B, 253), tenths / 10) for tenths in (0, 1, 2)] == [(), (), ()]
    assert hear(masters, advert(B, 253), 0.3) == change(B, 253)


def test_a_drained_master_gives_way_to_the_higher_priority() -> None:
    masters = Masters()
    hear(masters, advert(A, 254), 0.0)
    hear(masters, advert(A, 154), 0.1)
    assert hear(masters, advert(B, 253), 0.15) == change(B, 253)


def test_version_3_is_silent_for_three_intervals_and_the_longest_skew() -> None:
    masters = Masters()
    hear(masters, advert(A, 254), 10.0)
    deadline = masters.next_deadline()
    assert deadline is not None
    assert 10.399 < deadline < 10.4
    assert masters.expire(deadline - 0.001) == ()
    assert masters.expire(deadline) == change("", 0)
    assert masters.next_deadline() is None


def test_version_2_counts_its_skew_in_seconds() -> None:
    masters = Masters()
    hear(masters, advert(A, 254, version=2, interval_cs=200), 0.0)
    assert masters.expire(6.99) == ()
    assert masters.expire(7.0) == change("", 0)


def test_every_advert_puts_the_deadline_off() -> None:
    masters = Masters()
    said = advert(A, 254)
    for tenths in range(20):
        hear(masters, said, tenths / 10)
        assert masters.expire(tenths / 10 + 0.09) == ()
    assert masters.expire(1.9 + 0.4) == change("", 0)


def test_a_new_interval_counts_from_the_advert_that_says_it() -> None:
    masters = Masters()
    hear(masters, advert(A, 254, interval_cs=10), 0.0)
    hear(masters, advert(A, 254, interval_cs=100), 0.1)
    assert masters.expire(3.0) == ()
    assert masters.expire(4.1) == change("", 0)


def test_virtual_routers_and_ip_versions_count_apart() -> None:
    masters = Masters()
    assert hear(masters, advert(A, 254, router=1), 0.0) == change(A, 254, router=1)
    assert hear(masters, advert(B, 253, router=2), 0.0) == change(B, 253, router=2)
    assert hear(masters, advert("fe80::1", 100, router=1), 0.3) == change("fe80::1", 100, ip_version=6)
    assert set(masters.expire(0.5)) == {*change("", 0, router=1), *change("", 0, router=2)}
    assert masters.current(6, 1).address == "fe80::1"


def test_forged_sources_neither_pile_up_nor_displace_the_master() -> None:
    masters = Masters()
    hear(masters, advert(A, 254), 0.0)
    for number in range(1, 250):
        assert hear(masters, advert(f"10.77.1.{number}", 50), 0.01) == ()
    assert masters.current(4, 1).address == A
    assert len(masters._routers[4, 1].speakers) <= 8


STEPS = st.lists(
    st.tuples(
        st.sampled_from([A, B, C]),
        st.sampled_from([0, 100, 100, 253, 254]),
        st.sampled_from([5, 10, 40]),
        st.floats(0, 0.6),
        st.booleans(),
    ),
    max_size=40,
)


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_whatever_is_heard_the_invariant_holds(steps: list[tuple[str, int, int, float, bool]]) -> None:
    masters, now, told = Masters(), 0.0, MasterChange(4, 1, "", 0)
    said: dict[str, tuple[float, int, float]] = {}
    for source, priority, interval_cs, pause, expires in steps:
        now += pause
        changes = hear(masters, advert(source, priority, interval_cs=interval_cs), now)
        said[source] = (now, priority, interval_cs / 100)
        if expires:
            changes += masters.expire(now)
        for each in changes:
            assert each != told
            told = each
        assert masters.current(4, 1) == told
        fresh = {
            (rank, IPv4Address(address)): address
            for address, (when, rank, interval) in said.items()
            if rank and now - when < 2.5 * interval - 1e-6
        }
        if fresh and changes:
            assert told.address == fresh[max(fresh)]
        if told.address:
            assert told.priority == said[told.address][1] != 0
        deadline = masters.next_deadline()
        assert (deadline is None) == (told.address == "")
        if expires and deadline is not None:
            assert deadline > now


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_silence_ends_every_mastership(steps: list[tuple[str, int, int, float, bool]]) -> None:
    masters, now = Masters(), 0.0
    for source, priority, interval_cs, pause, _ in steps:
        now += pause
        hear(masters, advert(source, priority, interval_cs=interval_cs), now)
    while (deadline := masters.next_deadline()) is not None:
        assert deadline <= now + 4 * 0.4
        masters.expire(deadline)
        assert masters.next_deadline() != deadline
    assert masters.current(4, 1).address == ""
