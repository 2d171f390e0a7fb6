"""The published protollm_api 1.1.5 with one of its two routers: PORT sync|async."""

import sys

import uvicorn
from fastapi import FastAPI
from protollm_api.backend.config import Config
from protollm_api.backend.endpoints.async_chat import get_async_chat_router
from protollm_api.backend.endpoints.sync_chat import get_sync_chat_router
from protollm_api.object_interface.message_queue.rabbitmq_adapter import RabbitMQQueue
from protollm_api.object_interface.result_storage import RedisResultStorage

config = Config.read_from_env()
redis = RedisResultStorage(redis_host=config.redis_host, redis_port=config.redis_port)
rabbitmq = RabbitMQQueue(
    host=config.rabbit_host,
    port=config.rabbit_port,
    username=config.rabbit_login,
    password=config.rabbit_password,
)
router = {"sync": get_sync_chat_router, "async": get_async_chat_router}[sys.argv[2]]
app = FastAPI()
app.include_router(router(config, redis, rabbitmq))
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
