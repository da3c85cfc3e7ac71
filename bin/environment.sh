# Read by the scripts beside it: `environment run` or `environment test` leaves a .venv and node_modules that fit the
# lock files. A second call costs one start of Python; what is done in the first one is in bin/environment.py.

environment() {
    python=.venv/bin/python
    if [ -x "$python" ] && "$python" -I -S bin/environment.py --is-ready "$1" 2>/dev/null; then return 0; fi
    # A name on PATH may be a shim of a version manager that has no such Python: ask each to start.
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$python" -I bin/environment.py "$1" && return 0
            exit 1
        fi
    done
    echo "This needs Python 3.11 or later, and found $(python3 --version 2>/dev/null || echo none)." >&2
    echo "Debian 12, Ubuntu 24.04 or later: sudo apt install python3 python3-venv    macOS: brew install python" >&2
    exit 1
}
