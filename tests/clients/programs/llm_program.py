"""Simon Willison's llm, its command line, with its Ollama and OpenAI plugins: ADDRESS; JSON."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

ASKED = json.loads((pathlib.Path(__file__).parent / "questions.json").read_text())
ADDRESS = sys.argv[1]
MODELS = f"""
- model_id: like-openai
  model_name: demo-a
  api_base: {ADDRESS}/v1
  api_key_name: unused
  can_stream: true
- model_id: nobody
  model_name: nobody
  api_base: {ADDRESS}/v1
  api_key_name: unused
"""


def run(folder, *arguments):
    environment = {**os.environ, "LLM_USER_PATH": folder, "OLLAMA_HOST": ADDRESS}
    command = [str(pathlib.Path(sys.executable).with_name("llm")), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder, "extra-openai-models.yaml").write_text(MODELS)
    pathlib.Path(folder, "keys.json").write_text('{"unused": "unused"}')
    found = {}
    for name, model in (("ollama", "demo-a"), ("openai", "like-openai")):
        embeds = run(folder, "embed", "-m", "demo-embed", "-c", "a cat")
        refused = run(folder, "-m", "nobody", "x")
        found[name] = {
            "chat": run(folder, "-m", model, "--no-stream", ASKED["name"]).stdout.strip(),
            "streamed": run(folder, "-m", model, ASKED["name"]).stdout.strip(),
            "error": [refused.returncode, refused.stderr],
            "embeddings": [json.loads(embeds.stdout)],
            "models": run(folder, "models").stdout,
        }
print(json.dumps(found))
