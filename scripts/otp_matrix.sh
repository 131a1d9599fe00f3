#!/usr/bin/env bash
# The BEAM tests against releases of Erlang/OTP and Elixir that this machine does not have: Debian's, in folders of
# their own under .otp, made with debootstrap. Needs root. Quick to begin with once the folders are there.
#
#   scripts/otp_matrix.sh [--install] [RELEASE...] [-- ARGUMENTS OF PYTEST]
#
# RELEASE is one of those below, default all. --install makes the folders and the commands, and runs no test.
# .otp/27/erl (epmd, erl_call, erlc, escript, elixir, iex, mix) can be used as the real ones from any shell. Each call
# sees the machine's /proc, /sys, /dev, /tmp, network and this project at their usual places, through mounts that only
# it has and that go with it: there is nothing to unmount, however it ends.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

declare -A SUITES=([27]=trixie [29]=sid)
ALL=(27 29)
PACKAGES=(
    erlang-base erlang-crypto erlang-runtime-tools erlang-tools erlang-observer erlang-wx erlang-et elixir
    fonts-dejavu-core
)
COMMANDS=(erl erlc epmd erl_call escript elixir iex mix)
MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
TIME=${OTP_MATRIX_TIME:-40m}  # for the tests of one release

HOME_OF_ALL=$PWD/.otp
ENTER=$HOME_OF_ALL/enter

say() { printf 'otp-matrix: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

install_only=no
releases=()
while [ $# -gt 0 ]; do
    case $1 in
        --install) install_only=yes ;;
        --) shift && break ;;
        *) releases+=("$1") ;;
    esac
    shift
done
[ ${#releases[@]} -gt 0 ] || releases=("${ALL[@]}")
for release in "${releases[@]}"; do
    [ -n "${SUITES[$release]:-}" ] || die "no Debian suite is known for OTP $release (known: ${ALL[*]})"
done

[ "$(id -u)" = 0 ] || die "only root can make and enter the folders with other releases; try: sudo make test-otp-matrix"
if ! command -v debootstrap >/dev/null && command -v apt-get >/dev/null; then
    say "installing debootstrap"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >&2
fi
for tool in debootstrap unshare chroot flock; do
    command -v "$tool" >/dev/null || die "needs $tool; to have it: apt-get install debootstrap util-linux coreutils"
done
unshare --mount true 2>/dev/null || die "this machine gives no mount namespaces (a container without CAP_SYS_ADMIN?)"

# -- folders ----------------------------------------------------------------------------------

# One at a time; another one waits. The lock goes with the shell that has it.
mkdir -p "$HOME_OF_ALL/bin" "$HOME_OF_ALL/python"
exec 9>"$HOME_OF_ALL/lock"
flock --nonblock 9 || { say "another one is making the folders; waiting for it" && flock 9; }

wanted=$(printf '%s\n' "${PACKAGES[@]}" | sha256sum | cut -d' ' -f1)

# In a root that is being made, with the network's names and without starting any service.
in_new_root() {
    local root=$1
    shift
    unshare --mount --propagation private sh -ec '
        root=$1; shift
        mount -t proc proc "$root/proc"
        exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
            chroot "$root" "$@"' sh "$root" "$@"
}

make_root() {
    local suite=$1 root=$HOME_OF_ALL/$1 part=$HOME_OF_ALL/$1.part log=$HOME_OF_ALL/$1.log
    [ "$(cat "$root/.pyanoma-stamp" 2>/dev/null)" = "$wanted" ] && return
    say "making $suite in .otp/$suite (about 1 GB, a minute or more); what happens is in .otp/$suite.log"
    rm -rf "$part"
    {
        debootstrap --variant=minbase "$suite" "$part" "$MIRROR" &&
            cp /etc/resolv.conf "$part/etc/resolv.conf" &&
            printf '#!/bin/sh\nexit 101\n' >"$part/usr/sbin/policy-rc.d" && chmod +x "$part/usr/sbin/policy-rc.d" &&
            in_new_root "$part" apt-get install -y --no-install-recommends "${PACKAGES[@]}" &&
            in_new_root "$part" apt-get clean &&
            mkdir -p "$part/host"
    } >"$log" 2>&1 9>&- || {
        tail -n 20 "$log" >&2
        die "could not make $suite; all of it is in .otp/$suite.log"
    }
    printf '%s\n' "$wanted" >"$part/.pyanoma-stamp"
    rm -rf "$root"
    mv "$part" "$root"
}

# -- commands ---------------------------------------------------------------------------------

# The program that runs a command in a root. `exec` all the way, so the pid, signals and open files are the caller's.
make_enter() {
    cat >"$ENTER.new" <<END
#!/bin/sh
# enter ROOT DIRECTORY COMMAND ARGUMENTS... in a mount namespace of our own
set -e
root=\$1 directory=\$2
shift 2
mount --rbind / "\$root/host"
for shared in /proc /sys /dev /tmp; do
    mount --rbind "\$shared" "\$root\$shared"
done
for shared in /etc/hosts /etc/resolv.conf; do
    [ -e "\$root\$shared" ] || touch "\$root\$shared"
    mount --bind "\$shared" "\$root\$shared"
done
if ! [ -e "\$root$PWD/scripts/otp_matrix.sh" ]; then
    mkdir -p "\$root$PWD"
    mount --bind "$PWD" "\$root$PWD"
fi
# A BEAM that starts a Python of ours has to get the machine's, with its libraries.
mount --bind "$HOME_OF_ALL/python" "\$root$PWD/.venv/bin"
exec chroot "\$root" /bin/sh -c 'cd "\$0" 2>/dev/null || cd /; exec "\$@"' "\$directory" "\$@"
END
    chmod +x "$ENTER.new" && mv "$ENTER.new" "$ENTER"
    local name
    for name in .venv/bin/python* .venv/bin/pyanoma; do
        [ -e "$name" ] || continue
        put "$HOME_OF_ALL/python/${name##*/}" \
            "exec chroot /host /bin/sh -c 'cd \"\$0\" 2>/dev/null || cd /; exec \"\$@\"' \"\$PWD\" \"$PWD/$name\" \"\$@\""
    done
}

# put FILE LINES: a shell script.
put() {
    printf '#!/bin/sh\n%s\n' "$2" >"$1.new" && chmod +x "$1.new" && mv "$1.new" "$1"
}

make_commands() {
    local release=$1 root=$HOME_OF_ALL/${SUITES[$1]} name
    mkdir -p "$HOME_OF_ALL/$release"
    for name in "${COMMANDS[@]}"; do
        # Inside, where one of them looks for another on the PATH, it is the real one.
        put "$HOME_OF_ALL/$release/$name" "[ ! -e /.pyanoma-stamp ] || exec /usr/bin/$name \"\$@\"
exec unshare --mount --propagation private \"$ENTER\" \"$root\" \"\$PWD\" /usr/bin/$name \"\$@\""
        ln -sfn "../$release/$name" "$HOME_OF_ALL/bin/$name$release"
    done
}

release_of() {
    "$HOME_OF_ALL/$1/erl" -noinput -boot start_clean -eval 'io:put_chars(erlang:system_info(otp_release)), halt().' 9>&-
}

make_enter
for release in "${releases[@]}"; do
    make_root "${SUITES[$release]}"
    make_commands "$release"
    found=$(release_of "$release") || die "the erl in .otp/${SUITES[$release]} does not run"
    # Debian's sid moves on.
    [ "$found" = "$release" ] || die "Debian's ${SUITES[$release]} has OTP $found by now, not $release: say so in SUITES"
done
exec 9>&-

# -- tests ------------------------------------------------------------------------------------

if [ "$install_only" = yes ]; then
    say "there are: ${releases[*]/#/$HOME_OF_ALL/bin/erl}"
    exit 0
fi
paths=()
for path in tests/beam tests/gui; do
    if [ -d "$path" ]; then paths+=("$path"); fi
done
# These are about the test kit itself: they run pytest in pytest, which finds the releases of this machine.
say "left out, as they are about finding the releases of this machine: tests/beam/test_plugin.py"
status=0
for release in "${releases[@]}"; do
    say "tests with OTP $release"
    timeout --foreground --kill-after=30 "$TIME" bash scripts/test.sh --require-beam --otp "$release" \
        --erl "$HOME_OF_ALL/$release/erl" --elixir "$HOME_OF_ALL/$release/elixir" --ignore tests/beam/test_plugin.py "${paths[@]}" "$@" || {
        ended=$?
        [ "$ended" != 124 ] || say "OTP $release: not done within $TIME (OTP_MATRIX_TIME)"
        say "OTP $release: failed"
        status=1
    }
done
exit $status
