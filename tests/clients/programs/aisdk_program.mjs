// Vercel's AI SDK with its providers for four APIs: ADDRESS; prints JSON.
import { readFileSync } from "node:fs";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";
import { createOllama } from "ollama-ai-provider-v2";

const asked = JSON.parse(readFileSync(process.env.QUESTIONS, "utf8"));
const address = process.argv[2];
const own = { baseURL: `${address}/v1`, apiKey: "unused" };
const compatible = createOpenAICompatible({
  ...own,
  name: "runnerd",
  supportsStructuredOutputs: true,
  includeUsage: true,
});
const ollama = createOllama({ baseURL: `${address}/api` });
const providers = {
  openai: { model: compatible, embedding: (name) => compatible.textEmbeddingModel(name) },
  responses: { model: createOpenAI(own).responses },
  anthropic: { model: createAnthropic(own), formats: false }, // it makes a tool of the schema
  ollama: { model: ollama, embedding: (name) => ollama.embedding(name) },
};
const described = asked.tool.function;
const weather = (more) =>
  tool({
    description: described.description,
    inputSchema: jsonSchema(described.parameters),
    ...more,
  });

async function tryAll({ model: named, embedding, formats = true }) {
  const model = named("demo-a");
  const ask = (prompt, more = {}) =>
    generateText({ model, prompt, maxRetries: 0, maxOutputTokens: 200, ...more });
  const streamed = (prompt, more = {}) =>
    streamText({ model, prompt, maxRetries: 0, maxOutputTokens: 2000, onError() {}, ...more });

  const pieces = [];
  for await (const text of streamed(asked.count).textStream) pieces.push(text);
  const called = await ask(asked.weather, { tools: { get_weather: weather() } });
  const run = streamed(asked.weather, {
    tools: { get_weather: weather({ execute: async () => "sunny" }) },
    stopWhen: stepCountIs(3),
  });
  const structured = formats
    ? { json: (await ask(asked.json, { output: Output.object({ schema: jsonSchema(asked.schema) }) })).output }
    : {};
  const error = await ask("x", { model: named("nobody") }).catch((caught) => caught.statusCode);
  const embedded = embedding
    ? { embeddings: (await embedMany({ model: embedding("demo-embed"), values: ["a cat", "a dog"] })).embeddings }
    : {};
  const control = new AbortController();
  const leaving = streamed("Count from 1 to 100.", { abortSignal: control.signal });
  for await (const _ of leaving.textStream) {
    control.abort();
    break;
  }
  const answer = await ask(asked.name);
  const again = { role: "user", content: asked.name };
  const messages = [again, ...answer.response.messages, again];
  return {
    chat: answer.text,
    again: (await ask(undefined, { messages })).text,
    usage: [answer.usage.inputTokens, answer.usage.outputTokens],
    whole: (await ask(asked.count)).text,
    stream: { text: pieces.join(""), pieces: pieces.length },
    tools: [called.toolCalls[0].toolName, called.toolCalls[0].input],
    told: await run.text,
    error,
    ...structured,
    ...embedded,
  };
}

const found = {};
for (const [name, provider] of Object.entries(providers)) found[name] = await tryAll(provider);
console.log(JSON.stringify(found));
