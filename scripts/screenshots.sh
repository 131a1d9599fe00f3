#!/usr/bin/env bash
# Refresh docs/images/observer_*.png: the tests of observer, run on a copy of the project whose path can be shown.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

declare -A PICTURES=(
    [system]=system
    [load_charts_later]=load_charts
    [memory_allocators_later]=memory_allocators
    [applications]=applications
    [processes]=processes
    [process_information]=process
    [process_state]=state
    [process_busy_stack_trace]=stack_trace
    [process_busy_messages]=messages
    [process_log]=log
    [port]=port
    [sockets]=sockets
    [table]=table
    [trace_log]=trace
)

COPY=/tmp/pyanoma
[ ! -e $COPY ] || { echo "screenshots: $COPY is in the way" >&2 && exit 1; }
trap "rm -rf $COPY" EXIT
mkdir -p $COPY build/observer docs/images
cp -r engines erlang_bridge pyanoma tests pyproject.toml $COPY
here=$PWD
(cd $COPY && PYTHONPATH=$COPY PYANOMA_PICTURES=$here/build/observer CI=true \
    "$here/.venv/bin/python" -m pytest -q -n 0 -p no:cacheprovider tests/gui/test_observer.py "$@")

for taken in "${!PICTURES[@]}"; do
    convert "build/observer/$taken.png" -trim -bordercolor '#c0c0c0' -border 1 -strip -colors 64 \
        "PNG8:docs/images/observer_${PICTURES[$taken]}.png"
done
ls -l docs/images/observer_*.png
