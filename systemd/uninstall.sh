#!/bin/sh
# Removes what install.sh made.  Models, settings and the user `runnerd` stay, unless PURGE=1.
#
#   PREFIX, SYSTEMD_LIB, SYSCONFDIR, BINDIR, DATADIR, DESTDIR   as they were for install.sh
#   PURGE    1: remove the state (/var/lib/runnerd with all models), the settings and the user as well
set -eu

PROGRAM=uninstall
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/places.sh"
PURGE=${PURGE:-}
STATE=/var/lib/runnerd
DROP_INS=/etc/systemd/system

under_systemd() {
    [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]
}

stop_service() {
    for unit in runnerd.socket runnerd.service; do
        if systemctl cat "$unit" >/dev/null 2>&1; then
            systemctl disable --quiet --now "$unit"
            echo "stopped $unit"
        fi
    done
}

remove() { # TARGET: a file or a directory of ours
    if [ -L "$DESTDIR$1" ]; then
        echo "  $DESTDIR$1 (a link; what it leads to, $(readlink -f "$DESTDIR$1"), is left)"
    elif [ -e "$DESTDIR$1" ]; then
        echo "  $DESTDIR$1"
    else
        return 0
    fi
    rm -rf -- "$DESTDIR$1" || fail "$DESTDIR$1 cannot be removed whole, see above"
}

remove_environment() { # under another name: half of it would not be known for ours any more
    remove "$PREFIX.removed"
    [ -e "$DESTDIR$PREFIX" ] || return 0
    if [ -f "$DESTDIR$PREFIX/pyvenv.cfg" ] && [ -x "$DESTDIR$PREFIX/bin/runnerd" ]; then
        mv "$DESTDIR$PREFIX" "$DESTDIR$PREFIX.removed"
        remove "$PREFIX.removed"
    else
        echo "  $DESTDIR$PREFIX is kept: it is no environment with runnerd in it" >&2
    fi
}

purge() {
    remove "$STATE"
    remove "$SYSCONFDIR/runnerd"
    remove "$DROP_INS/runnerd.service.d"
    remove "$DROP_INS/runnerd.socket.d"
    [ -z "$DESTDIR" ] || return 0
    if getent passwd runnerd >/dev/null; then
        userdel runnerd && echo "  the user runnerd"
    fi
    if getent group runnerd >/dev/null; then
        groupdel runnerd && echo "  the group runnerd"
    fi
}

tell_what_is_kept() {
    for kept in "$STATE" "$SYSCONFDIR/runnerd" "$DROP_INS/runnerd.service.d" \
        "$DROP_INS/runnerd.socket.d"; do
        [ ! -e "$DESTDIR$kept" ] || echo "kept: $DESTDIR$kept"
    done
    echo "PURGE=1 removes these too, and the user runnerd.  A state_dir elsewhere is yours to remove."
}

remove_command() { # the link, unless somebody has put something else there
    target=$DESTDIR$BINDIR/runnerd
    if [ -L "$target" ] && [ "$(readlink "$target")" = "$PREFIX/bin/runnerd" ]; then
        echo "  $target"
        rm -f -- "$target"
    fi
}

remove_generated() {
    for page in "$DESTDIR$DATADIR"/man/man1/runnerd.1 "$DESTDIR$DATADIR"/man/man1/runnerd-*.1; do
        [ ! -f "$page" ] || rm -f -- "$page"
    done
    remove "$DATADIR/bash-completion/completions/runnerd"
    remove "$DATADIR/zsh/site-functions/_runnerd"
    remove "$DATADIR/fish/vendor_completions.d/runnerd.fish"
}

check_places
if [ -z "$DESTDIR" ]; then
    [ "$(id -u)" -eq 0 ] || fail "run this as root, or name a staged installation with DESTDIR"
fi
if under_systemd; then stop_service; fi
echo "removing:"
remove "$SYSTEMD_LIB/systemd/system/runnerd.service"
remove "$SYSTEMD_LIB/systemd/system/runnerd.socket"
remove "$SYSTEMD_LIB/sysusers.d/runnerd.conf"
remove "$SYSTEMD_LIB/tmpfiles.d/runnerd.conf"
remove /run/runnerd
remove_command
remove_generated
remove_environment
if [ "$PURGE" = 1 ]; then purge; fi
if under_systemd; then systemctl daemon-reload; fi
if [ "$PURGE" = 1 ]; then echo "Uninstalled."; else tell_what_is_kept; fi
