"""How long a move takes if nothing but VRRP's own timers counts. Pure; all results in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

# RFC 9568 section 6.1 (RFC 5798 likewise): Active_Down_Interval is 3 x Active_Adver_Interval + Skew_Time.
ADVERTS_MISSED = 3
# Measured on an idle machine: the kernel announces a closed listener after 0.3 ms, the check's connection is
# refused within 1 ms, keepalived reads its track file within 1.3 ms. The death of a process takes no longer to
# be seen.
DETECTION_MS = 3.0


@dataclass(frozen=True, slots=True)
class Timers:
    """What both ends of a failover agree on."""

    vrrp_version: int
    advert_interval_s: float

    def skew_ms(self, priority: int) -> float:
        """How long a backup waits after an advert with priority 0 (RFC 9568 section 6.4.2).

        Version 3: (256 - priority) x interval / 256 (RFC 9568 section 6.1). Version 2: (256 - priority) / 256
        seconds, whatever the interval (RFC 3768 section 6.1).
        """
        unit_s = self.advert_interval_s if self.vrrp_version == 3 else 1.0
        return (256 - priority) / 256 * unit_s * 1000

    def master_down_ms(self, priority: int) -> float:
        """How long a backup waits when it hears nothing any more: the longest outage of a lost node.

        The master's last advert was sent up to one interval before it was lost, so the outage can be that much
        shorter.
        """
        return ADVERTS_MISSED * self.advert_interval_s * 1000 + self.skew_ms(priority)

    def planned_ms(self, priority: int) -> float:
        """keepalived is told to stop: it says so (priority 0), the backup waits for its skew time."""
        return self.skew_ms(priority)

    def detected_ms(self, priority: int) -> float:
        """Something dies under a node that is alive: its death is seen, then priority 0 is sent."""
        return DETECTION_MS + self.skew_ms(priority)
