"""The command line: `arguments` names every command, one module per group carries them out.

Commands talk to the daemon over HTTP (`client`); only `serve` and `install` work in this process.
Modules are imported when their command runs, so that `runnerd --help` stays quick.
"""
