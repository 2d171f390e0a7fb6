"""The ChatRESTServer of the published protollm 0.1.8: URL."""

import json
import sys

from langchain_core.messages import HumanMessage
from protollm.connectors.rest_server import ChatRESTServer

chat = ChatRESTServer(model_name="demo-a", base_url=sys.argv[1], max_tokens=32, temperature=0)
asked = [HumanMessage(content="What is your name?")]
found = {"chat": chat.invoke(asked).content, "again": chat.invoke(asked).content}
print(json.dumps(found))
