# shellcheck shell=bash
# Sourced by the scripts beside it: how they speak. Colour only for people who look at a terminal and want it.

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' reset=$'\e[0m'
else
    bold='' dim='' green='' reset=''
fi
# Not every script that sources this uses every colour.
export bold dim green reset

# die MESSAGE: one line that says what was expected and what to do, then exit code 1.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# need_root WHAT: dies unless as_root will work. Without a terminal sudo must not wait for a password that nobody
# will type.
need_root() {
    if [ "$(id -u)" != 0 ]; then
        has sudo || die "$1 needs root and there is no sudo: run this script as root"
        [ -t 0 ] || sudo -n true 2>/dev/null ||
            die "$1 needs root, sudo asks for a password and there is no terminal: run this script as root"
    fi
}

# as_root COMMAND...: runs it as root.
as_root() {
    need_root "\`$*\`"
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# apt_install PACKAGE...: from the distribution, reading its lists anew only when the ones at hand don't do.
apt_install() {
    has apt-get || die "expected $* and there is no apt-get to install it with: install it with your system's package manager"
    need_root "\`apt-get install $*\`"
    local log
    log=$(mktemp)
    install_now() {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y "$@" >"$log" 2>&1
    }
    if ! install_now "$@"; then
        as_root apt-get update >>"$log" 2>&1 || true
        if ! install_now "$@"; then
            tail -n 5 "$log" >&2
            rm -f "$log"
            die "apt-get could not install $*: see its words above, put them right and run this again"
        fi
    fi
    rm -f "$log"
}
