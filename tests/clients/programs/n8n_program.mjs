// What n8n's nodes ask, through the libraries that they are made of: ADDRESS; prints it as JSON.
// "OpenAI Chat Model" with its Responses API on (as it is made) and off, "Ollama Chat Model", and
// before them what the credentials and the lists of models ask.
import { readFileSync } from "node:fs";
import { ChatOllama, OllamaEmbeddings } from "@langchain/ollama";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";

const asked = JSON.parse(readFileSync(process.env.QUESTIONS, "utf8"));
const address = process.argv[2];
const headers = { Accept: "application/json,text/html,application/xhtml+xml,application/xml,text/*;q=0.9" };

async function seen(path) {
  const response = await fetch(`${address}${path}`, { headers });
  return [response.status, await response.text()];
}

async function tryAll(chat, nobody, embeddings) {
  const pieces = [];
  for await (const part of await chat.stream(asked.count)) if (part.text) pieces.push(part.text);
  const agent = chat.bindTools([asked.tool]);
  const [call] = (await agent.invoke(asked.weather)).tool_calls;
  const leaving = await chat.stream("Count from 1 to 100.");
  for await (const _ of leaving) break;
  return {
    chat: (await chat.invoke(asked.name)).text,
    whole: (await chat.invoke(asked.count)).text,
    stream: { text: pieces.join(""), pieces: pieces.length },
    tools: [call.name, call.args],
    error: await nobody.invoke("x").catch((caught) => caught.status ?? caught.status_code),
    embeddings: await embeddings.embedDocuments(["a cat", "a dog"]),
  };
}

const openai = { apiKey: "unused", maxRetries: 0, timeout: 60000, supportsStrictToolCalling: false, temperature: 0,
  configuration: { baseURL: `${address}/v1` } };
const through = (model, more) => new ChatOpenAI({ ...openai, model, ...more });
const ollama = (model) => new ChatOllama({ baseUrl: address, model, temperature: 0, keepAlive: "5m", numCtx: 2048 });
const vectors = new OpenAIEmbeddings({ ...openai, model: "demo-embed", encodingFormat: "float" });
const [root, tags, models] = [await seen("/"), await seen("/api/tags"), await seen("/v1/models")];

console.log(
  JSON.stringify({
    lists: {
      root: root[0],
      tags: JSON.parse(tags[1]).models.map((each) => each.name).sort(),
      models: JSON.parse(models[1]).data.map((each) => each.id).sort(),
    },
    responses: await tryAll(through("demo-a", { useResponsesApi: true }), through("nobody", { useResponsesApi: true }), vectors),
    openai: await tryAll(through("demo-a", {}), through("nobody", {}), vectors),
    ollama: await tryAll(ollama("demo-a"), ollama("nobody"), new OllamaEmbeddings({ baseUrl: address, model: "demo-embed" })),
  }),
);
