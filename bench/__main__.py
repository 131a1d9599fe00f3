"""All benchmarks, one after the other: ``python -m bench``. Each prints ratios beside OTP, made in the same run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> None:
    for script in sorted(Path(__file__).parent.glob("bench_*.py")):
        subprocess.run([sys.executable, script, *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
