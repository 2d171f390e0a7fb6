#!/bin/sh
# Installs runnerd as a system service from this checkout.  Safe to repeat: settings in /etc are kept.
#
#   PREFIX       where the daemon lives                (/opt/runnerd)
#   SYSTEMD_LIB  units, sysusers.d, tmpfiles.d         (/usr/local/lib; packages: /usr/lib)
#   SYSCONFDIR   the directory above runnerd's own     (/etc)
#   BINDIR       where a link puts the command on the path  (/usr/local/bin; packages: /usr/bin)
#   DATADIR      manual pages and shell completion  (/usr/local/share; packages: /usr/share)
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

put_command() { # a link; what another program has put there is left
    target=$DESTDIR$BINDIR/runnerd
    if [ -e "$target" ] && [ ! -L "$target" ]; then
        echo "  $target (kept: it is no link of ours)"
        return 0
    fi
    install -d -m 0755 "$DESTDIR$BINDIR"
    ln -sfn "$PREFIX/bin/runnerd" "$target"
    echo "  $target"
}

put_generated() { # manual pages and completion, made of the command's arguments
    made=$(mktemp -d)
    runnerd() { PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$source" "$PYTHON" -m runnerd "$@"; }
    if runnerd man --into "$made/man1" >/dev/null; then
        for page in "$made"/man1/*.1; do
            install -D -m 0644 "$page" "$DESTDIR$DATADIR/man/man1/$(basename "$page")"
        done
        echo "  $DESTDIR$DATADIR/man/man1/runnerd*.1"
        for shell in bash zsh fish; do runnerd completion "$shell" >"$made/$shell"; done
        put 0644 "$made/bash" "$DATADIR/bash-completion/completions/runnerd"
        put 0644 "$made/zsh" "$DATADIR/zsh/site-functions/_runnerd"
        put 0644 "$made/fish" "$DATADIR/fish/vendor_completions.d/runnerd.fish"
    else
        echo "  no manual pages: $PYTHON cannot run the command" >&2
    fi
    rm -rf "$made"
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
runnerd doctor says what this host still lacks.
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
put_command
put_generated
[ -n "$DESTDIR" ] || next_steps
