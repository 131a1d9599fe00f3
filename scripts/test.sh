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
exec .venv/bin/python -m pytest "$@"
