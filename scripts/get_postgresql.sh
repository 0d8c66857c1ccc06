#!/usr/bin/env bash
# Install PostgreSQL, whose server the nightly tests of sweeps start for themselves; only with CI=true is its absence an
# error.
set -euo pipefail

source "$(dirname "$0")/apt.sh"

installed() {
    compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null
}

installed || apt_install postgresql || true
if ! installed; then
    echo "The tests of sweeps on PostgreSQL need it. As root: apt-get install postgresql" >&2
    [ "${CI:-}" != true ]
fi
