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
screen=()
for tool in Xvfb xdotool import convert tesseract; do
    command -v "$tool" >/dev/null || screen+=("$tool")
done
observer='halt(case code:which(observer_wx) of non_existing -> 1; _ -> 0 end).'
erl -noinput -boot start_clean -eval "$observer" >/dev/null 2>&1 || screen+=(erlang-observer)
if [ ${#screen[@]} -gt 0 ]; then
    echo "test: no ${screen[*]} on this machine: leaving out tests/gui, the tests of observer" >&2
    [ -z "${CI:-}" ] || { echo "test: CI forbids to leave them out" >&2 && exit 1; }
fi
# One worker a core: the tests wait for BEAMs more than they compute, and each has its own epmd port and names.
exec .venv/bin/python -m pytest -n auto --dist worksteal "$@"
