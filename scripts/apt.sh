# Read by the other scripts: apt_install PACKAGE... succeeds if this machine has apt and lets us use it.
# shellcheck shell=bash

apt_install() {
    command -v apt-get >/dev/null || return 1
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        sudo --non-interactive true 2>/dev/null || return 1
        as_root=(sudo --non-interactive)
    fi
    echo "Installing with apt-get: $*"
    "${as_root[@]}" apt-get update -qq </dev/null || return 1
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null || return 1
}
