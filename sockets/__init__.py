"""Sockets: where they live, how they are opened, who is at the other end.

*Runtime directory*: what lives as long as the machine is up: the control socket, the lock, pid
records.
*Runner socket*: the Unix socket of one runner, in a directory that only the daemon may enter.
*Listener*: a socket that the daemon accepts clients on; opened here or *inherited* from systemd.
*Live* is a socket file that some process listens on, *stale* one that nobody does any more.
*Peer*: the process that connected, as the kernel knows it (pid, uid, gid).
*Notifier*: what the daemon tells the service manager: ready, stopping, still alive.

Everything here happens while the daemon starts or stops; nothing is on a request's way.
"""
