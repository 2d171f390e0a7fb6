"""Work that waits: jobs are kept until they are done, whatever happens meanwhile.

| noun | what it is |
|---|---|
| job | one or several prompts for one model, whose responses nobody waits for at a connection |
| attempt | one try to run a job; a job that failed is tried again, and each attempt says why |
| queue | keeps jobs and hands them out (`queue.Queue`); two implementations behave alike |
| claim | a worker's hold on one job, with a *fencing token*: who lost it cannot write any more |
| worker | claims jobs, has them computed and hands the responses in |

`sqlite` is the queue that needs nothing installed: it lies in the daemon's database.
"""
