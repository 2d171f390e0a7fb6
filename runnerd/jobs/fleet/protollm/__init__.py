"""ProtoLLM's wire contract between its API and its workers, as pure codecs.

Two generations of it are published, and they do not understand each other: the *first*
(protollm_api 1.0) keeps a result under one key and waits for a message about it, the *second* (1.1)
keeps a status and an answer.  Both put the same *task message* into RabbitMQ.  Nothing here
connects to anything: `prompts` is what clients send, `task_message` what lies in the queue,
`result_keys` what is written to Redis and in which order, `environment` the variables that both
sides read.
"""
