#!/usr/bin/env bash
# Install what simulation needs and no wheel brings: get_simulators.sh PYTHON, which is the environment's own.
# Without it everything else works, and each compile says what it could not check; only with CI=true is it an error.
set -euo pipefail

python=$1
source "$(dirname "$0")/apt.sh"

missing() {  # names Debian's packages
    command -v iverilog >/dev/null || echo iverilog
    # Debian's ghdl may be there without any of its back ends, and then only says so.
    ghdl --version >/dev/null 2>&1 || echo ghdl
    command -v g++ >/dev/null || echo g++
    # The tests open the report in a browser; nobody else needs one here.
    [ "${CI:-}" != true ] || command -v chromium >/dev/null || echo chromium
    # cocotb starts Python inside the simulator, from a library that a bare Debian does not have.
    [ -n "$("$python" -m find_libpython)" ] ||
        "$python" -c 'import sys; print("libpython%d.%d" % sys.version_info[:2])'
}

wanted=$(missing | xargs)
if [ -n "$wanted" ]; then
    # shellcheck disable=SC2086  # one word per package
    apt_install $wanted || true
fi

wanted=$(missing | xargs)
if [ -n "$wanted" ]; then
    echo "Simulation needs more than is installed here. As root: apt-get install $wanted" >&2
    [ "${CI:-}" != true ]
fi
