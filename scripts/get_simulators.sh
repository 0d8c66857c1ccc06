#!/usr/bin/env bash
# Install the simulators that have no wheel. Without them everything else still works, and each compile says what it
# could not check; only with CI=true is a missing one an error.
set -euo pipefail

source "$(dirname "$0")/apt.sh"

declare -A package=([iverilog]=iverilog [ghdl]=ghdl [g++]=g++)

missing() {
    for tool in "${!package[@]}"; do
        command -v "$tool" >/dev/null || echo "${package[$tool]}"
    done
}

wanted=$(missing)
if [ -n "$wanted" ]; then
    # shellcheck disable=SC2086  # one word per package
    apt_install $wanted || true
fi

wanted=$(missing | tr '\n' ' ')
if [ -n "$wanted" ]; then
    echo "Not simulated without: $wanted(as root: apt-get install $wanted)" >&2
    [ "${CI:-}" != true ]
fi
