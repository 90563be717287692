#!/bin/sh
# Makes the virtual environment $1 with a Python >= 3.11 (the one in $PYTHON, or the first found).
# Where a system package is missing it is installed (root, with apt-get) or named.
set -eu
venv=$1

fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    printf '  %s\n' "$@" >&2
    exit 1
}

fits() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if fits "$name"; then
            command -v "$name"
            return
        fi
    done
    fail "no Python >= 3.11 was found (looked for: ${PYTHON:-python3, python3.13, python3.12, python3.11})" \
        "Debian, Ubuntu  apt install python3 python3-venv   (Ubuntu 22.04: python3.11 python3.11-venv)" \
        "macOS           brew install python" \
        "or name one     make PYTHON=/path/to/python3 demo"
}

# Debian and Ubuntu ship Python without the part that fills a virtual environment with pip.
ensure_venv_module() {
    if "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        return
    fi
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=300 "$package"
    else
        fail "$1 cannot make virtual environments" "Debian, Ubuntu  apt install $package"
    fi
}

command -v git >/dev/null || fail "git was not found" "Debian, Ubuntu  apt install git"
python=$(find_python)
ensure_venv_module "$python"
"$python" -m venv --clear "$venv"
printf 'made %s with %s\n' "$venv" "$("$venv/bin/python" --version)"
