"""The queue in the daemon's own database: nothing to install, one host.

Only workers of this daemon claim from it, so leases live in memory and are measured by a clock that
nobody sets: whatever a daemon finds as running when it opens the database was lost with another
one.  Fencing tokens lie on the disk, with the jobs.

Nothing that is done for each job looks at all of them: jobs that wait have an index in the order in
which they are claimed, and counts are kept by triggers.
"""
