"""What is wrong with the scripts of a failover on this machine, as complaints about its file."""

from __future__ import annotations

from ipfod.config.model import Complaint, Failover
from ipfod.host.scripts import script_complaint


def script_complaints(failover: Failover) -> list[Complaint]:
    """One complaint for each script that cannot or must not be run. Reads the file system and user database."""
    complaints = []
    for key, script in (("check_script", failover.check_script), ("notify_script", failover.notify_script)):
        if script is not None and (what := script_complaint(script, failover.script_user)):
            line = failover.source.lines.get(key, 1)
            accepted = "an executable file that nobody but root can change"
            complaints.append(Complaint(failover.source.file, line, key, what, accepted))
    return complaints
