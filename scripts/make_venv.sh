#!/usr/bin/env bash
# Make the private environment and install DiffLUT and its tools into it: make_venv.sh PYTHON FOLDER
set -euo pipefail

python=$1
venv=$2
source "$(dirname "$0")/apt.sh"

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "DiffLUT needs Python 3.11 or newer; $python is $("$python" --version). Name another: make PYTHON=python3.12" >&2
    exit 1
fi

# Debian keeps the part of Python that makes environments in a package of its own.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null && ! apt_install python3-venv; then
    echo "$python cannot make environments. Install python3-venv, as root: apt-get install python3-venv" >&2
    exit 1
fi

echo "Making $venv and installing into it; the first time this takes a few minutes."
"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable ".[sim,pnr,plot,sweep,postgresql,examples,docs,dev]"
