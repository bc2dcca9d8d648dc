"""Ask a vulnerability service about the pinned versions, and say in words what came of it (`make audit`).

Exit code: 0 nothing is known against them, 1 something is, 2 the service could not be asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PINS = Path(__file__).resolve().parents[1] / "constraints.txt"


def main() -> int:
    """Audit constraints.txt."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(PINS), "--no-deps", "--disable-pip", "-f", "json"]
    done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        said = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        print(f"Nothing was audited: the vulnerability service cannot be reached ({said})", file=sys.stderr)
        return 2
    unknown = [one["name"] for one in packages if "skip_reason" in one]
    known = [one for one in packages if "skip_reason" not in one]
    if not known:
        print(
            f"Nothing was audited: the vulnerability service knows none of the {len(packages)} packages, "
            "so it is not the public one (pypi.org); a mirror of packages has no such service",
            file=sys.stderr,
        )
        return 2
    faults = [(one, fault) for one in known for fault in one["vulns"]]
    for one, fault in faults:
        fixed = ", ".join(fault["fix_versions"]) or "no version yet"
        print(f"{one['name']} {one['version']}: {fault['id']}, fixed in {fixed}")
    print(f"{len(known)} packages audited, {len(faults)} known vulnerabilities")
    if unknown:
        print(f"not known to the service: {', '.join(unknown)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
