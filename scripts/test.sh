#!/usr/bin/env bash
# Run the tests; arguments go to pytest. Where the environment has CI, a missing BEAM fails instead of being left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -n "${CI:-}" ]; then
    for tool in erl elixir; do
        command -v "$tool" >/dev/null || {
            echo "test: no $tool on this machine, and CI forbids to leave its tests out" >&2
            exit 1
        }
    done
fi
# One worker a core: the tests wait for BEAMs more than they compute, and each has its own epmd port and names.
exec .venv/bin/python -m pytest -n auto --dist worksteal "$@"
