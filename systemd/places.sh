# Where an installation lies; read by install.sh and uninstall.sh, which set PROGRAM and `here`.

PREFIX=${PREFIX:-/opt/runnerd}
SYSTEMD_LIB=${SYSTEMD_LIB:-/usr/local/lib}
SYSCONFDIR=${SYSCONFDIR:-/etc}
BINDIR=${BINDIR:-/usr/local/bin}
DATADIR=${DATADIR:-/usr/local/share}
DESTDIR=${DESTDIR:-}

fail() {
    echo "$PROGRAM: $*" >&2
    exit 1
}

check_path() { # VARIABLE VALUE
    case $2 in
    /*) ;;
    *) fail "$1=$2 must be an absolute path" ;;
    esac
    case $2 in
    *[!A-Za-z0-9/._-]* | *//* | */../* | */.. | */)
        fail "$1=$2: use letters, digits and . _ - only, and no trailing slash" ;;
    esac
}

check_places() {
    check_path PREFIX "$PREFIX"
    case $PREFIX in
    /usr | /usr/local | /opt | /var | /etc)
        fail "PREFIX=$PREFIX must be a directory of runnerd's own, like /opt/runnerd" ;;
    esac
    if hidden "$PREFIX"; then
        fail "PREFIX=$PREFIX: the service cannot see it (ProtectHome=, PrivateTmp=); take /opt/runnerd"
    fi
    check_path SYSTEMD_LIB "$SYSTEMD_LIB"
    check_path SYSCONFDIR "$SYSCONFDIR"
    check_path BINDIR "$BINDIR"
    check_path DATADIR "$DATADIR"
}

hidden() { # PATH: whether the unit's sandbox hides it
    case $1/ in
    /home/* | /root/* | /run/user/* | /tmp/* | /var/tmp/*) return 0 ;;
    *) return 1 ;;
    esac
}
