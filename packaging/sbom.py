"""Writes the package's bill of materials, CycloneDX 1.6, to standard output: sbom.py VERSION < bundled.sha256

Run when the RPM is built, by whatever Python is there: standard library only. Version, hashes in
`bundled.sha256` and SOURCE_DATE_EPOCH go into it; the same ones make the same text.
"""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

# As in the spec's License: and the files that it puts below /usr/share/licenses.
LICENCES = {
    "dbus-next": "MIT",
    "ipfod": "Apache-2.0",
    "prometheus-client": "Apache-2.0 AND BSD-2-Clause",
    "pyroute2": "GPL-2.0-or-later OR Apache-2.0",
    "sdnotify": "MIT",
}
# NAME-VERSION-py3-none-any.whl or NAME-VERSION.tar.gz; in wheels an underscore stands for a hyphen.
_LINE = re.compile(r"([0-9a-f]{64})  (([A-Za-z0-9_.]+)-([0-9][0-9.]*)(?:-py3-none-any\.whl|\.tar\.gz))")


def document(version: str, lines: Iterable[str], epoch: int) -> dict[str, Any]:
    """The bill of materials of ipfod's package. Raises ValueError for a line that is no hash and file name."""
    bundled = sorted((_bundled(line.rstrip("\n")) for line in lines), key=lambda each: str(each["name"]))
    ipfod = {
        "type": "application",
        "bom-ref": f"pkg:rpm/ipfod@{version}",
        "name": "ipfod",
        "version": version,
        "purl": f"pkg:rpm/ipfod@{version}",
        "licenses": [{"expression": LICENCES["ipfod"]}],
    }
    content: dict[str, Any] = {
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": ipfod,
        },
        "components": bundled,
        "dependencies": [
            {"ref": ipfod["bom-ref"], "dependsOn": [each["bom-ref"] for each in bundled]},
            *({"ref": each["bom-ref"]} for each in bundled),
        ],
    }
    # A name for this content: random ones would make two builds of one commit differ.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1}
    return {**head, **content}


def _bundled(line: str) -> dict[str, Any]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"not a hash and the name of a wheel or source archive: {line!r}")
    digest, file, stem, version = match.groups()
    name = stem.replace("_", "-")
    purl = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "licenses": [{"expression": LICENCES[name]}],
        "externalReferences": [
            {
                "type": "distribution",
                "url": f"https://pypi.org/project/{name}/{version}/#files",
                "comment": file,
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
        ],
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


if __name__ == "__main__":
    print(json.dumps(document(sys.argv[1], sys.stdin, int(os.environ["SOURCE_DATE_EPOCH"])), indent=2))
