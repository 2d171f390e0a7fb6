"""Work for a site of many hosts: RabbitMQ carries it, Redis keeps what comes of it.

| noun | what it is |
|---|---|
| broker | RabbitMQ: queues of tasks that survive it, each acknowledged once its result is kept |
| result store | Redis: results, statuses, and who holds a job now |
| worker | `runnerd worker`: takes tasks for one host and has its daemon compute them |
| placement | which queues a worker takes from, so that models are not swapped for every task |
| ProtoLLM queue | a queue of ProtoLLM's task messages (`protollm/`) |

This is the only room that imports aio-pika and redis, which come with the extra `runnerd[fleet]`.
"""
