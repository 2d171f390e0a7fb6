"""The published protollm_api 1.0.4, served as its documentation says: PORT."""

import sys

import old_aioredis  # noqa: F401
import uvicorn
from fastapi import FastAPI
from protollm_api.backend.endpoints import get_router
from protollm_api.config import Config

app = FastAPI()
app.include_router(get_router(Config.read_from_env()))
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
