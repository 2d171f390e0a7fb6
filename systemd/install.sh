#!/bin/sh
# Installs runnerd as a system service from this checkout.  Safe to repeat: settings in /etc are kept.
#
#   PREFIX       where the daemon lives                (/opt/runnerd)
#   SYSTEMD_LIB  units, sysusers.d, tmpfiles.d         (/usr/local/lib; packages: /usr/lib)
#   SYSCONFDIR   the directory above runnerd's own     (/etc)
#   PYTHON       an interpreter, 3.11 or later         (python3)
#   ENGINE       none: build no llama.cpp; llama-server is in the service's PATH, or `path` names it
#   DESTDIR      stage the files below it, for a package; then no environment is made
set -eu
umask 022 # the service, another user, has to read what is installed

PROGRAM=install
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/places.sh"
PYTHON=${PYTHON:-python3}
ENGINE=${ENGINE:-build}
source=$(dirname -- "$here")

make_environment() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$PYTHON is missing or older than 3.11: install it, or set PYTHON"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$PYTHON cannot make environments: apt install python3-venv"
    home=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.base_prefix))')
    if hidden "$home"; then
        fail "PYTHON=$PYTHON lives in $home, which the service cannot see; set PYTHON=/usr/bin/python3"
    fi
    # Also where an earlier attempt was interrupted, or the system's Python has become another.
    if ! "$PREFIX/bin/python" -m pip --version >/dev/null 2>&1; then
        echo "making the environment in $PREFIX"
        "$PYTHON" -m venv "$PREFIX"
    fi
    echo "installing runnerd into $PREFIX"
    pip_install() { "$PREFIX/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
    pip_install --require-hashes --requirement "$source/locks/release.txt"
    pip_install --no-deps "$source"
    # Here and not in the service, whose sandbox is no place for a compiler.
    [ "$ENGINE" = none ] || "$PREFIX/bin/python" -m runnerd.backends.llamacpp.install --into-venv
}

put() { # MODE FILE TARGET
    install -D -m "$1" "$2" "$DESTDIR$3"
    echo "  $DESTDIR$3"
}

put_setting() { # FILE TARGET: an owner's file is never overwritten
    if [ -e "$DESTDIR$2" ]; then
        echo "  $DESTDIR$2 (kept)"
    else
        put 0640 "$1" "$2"
    fi
}

fill_in() { # FILE: a copy with the paths of this installation
    sed -e "s|/opt/runnerd|$PREFIX|g" -e "s|/etc/runnerd|$SYSCONFDIR/runnerd|g" \
        "$here/$1" >"$filled/$1"
}

next_steps() {
    cat <<EOF

Installed.  Next, as root:
  # the user and the group runnerd, then /run/runnerd and the rights of $SYSCONFDIR/runnerd
  systemd-sysusers $SYSTEMD_LIB/sysusers.d/runnerd.conf
  systemd-tmpfiles --create $SYSTEMD_LIB/tmpfiles.d/runnerd.conf
  # the first request starts the daemon; with the second line, the next boot does
  systemctl daemon-reload && systemctl enable --now runnerd.socket
  systemctl enable runnerd.service
  # who may use /run/runnerd/runnerd.sock
  usermod -aG runnerd NAME
$PREFIX/bin/runnerd doctor says what this host still lacks.
EOF
}

check_places
if [ -z "$DESTDIR" ]; then
    [ "$(id -u)" -eq 0 ] || fail "run this as root, or stage it with DESTDIR"
    make_environment
fi
filled=$(mktemp -d)
trap 'rm -rf "$filled"' EXIT
for file in runnerd.service runnerd.tmpfiles.conf runnerd.env; do fill_in "$file"; done

echo "installing files:"
put 0644 "$filled/runnerd.service" "$SYSTEMD_LIB/systemd/system/runnerd.service"
put 0644 "$here/runnerd.socket" "$SYSTEMD_LIB/systemd/system/runnerd.socket"
put 0644 "$here/runnerd.sysusers.conf" "$SYSTEMD_LIB/sysusers.d/runnerd.conf"
put 0644 "$filled/runnerd.tmpfiles.conf" "$SYSTEMD_LIB/tmpfiles.d/runnerd.conf"
put_setting "$here/runnerd.toml" "$SYSCONFDIR/runnerd/runnerd.toml"
put_setting "$filled/runnerd.env" "$SYSCONFDIR/runnerd/runnerd.env"
[ -n "$DESTDIR" ] || next_steps
