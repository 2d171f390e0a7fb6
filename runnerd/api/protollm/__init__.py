"""ProtoLLM's API: prompts with ids of their clients' own; results are waited or asked for.

| module | what it has |
|---|---|
| routes | `/generate`, `/chat_completion`, `/check_status`, `/embed` |
| validation | bodies as ProtoLLM's models check them, and its form of errors |
| prompt_models | which model a prompt is for: it names one, or its `queue_name` means one |
| desks | where prompts are handed in: the daemon's own queue, or RabbitMQ and Redis |
| embedded_desk | the former: no broker at all |
"""
