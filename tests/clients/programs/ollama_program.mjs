// Ollama's client for JavaScript: ADDRESS; prints what it got as JSON.
import { readFileSync } from "node:fs";
import { Ollama } from "ollama";

const asked = JSON.parse(readFileSync(process.env.QUESTIONS, "utf8"));
const client = new Ollama({ host: process.argv[2] });
const ask = (content, more = {}) =>
  client.chat({ model: "demo-a", messages: [{ role: "user", content }], ...more });

const pieces = [];
for await (const part of await ask(asked.count, { stream: true })) {
  if (part.message.content) pieces.push(part.message.content);
}
const [call] = (await ask(asked.weather, { tools: [asked.tool] })).message.tool_calls;
const json = await ask(asked.json, { format: asked.schema });
const error = await ask("x", { model: "nobody" }).catch((caught) => caught.status_code);
const embeddings = await client.embed({ model: "demo-embed", input: ["a cat", "a dog"] });
const leaving = await ask("Count from 1 to 100.", { stream: true });
for await (const _ of leaving) {
  leaving.abort();
  break;
}
const listed = await client.list();

console.log(
  JSON.stringify({
    ollama: {
      chat: (await ask(asked.name)).message.content,
      whole: (await ask(asked.count)).message.content,
      stream: { text: pieces.join(""), pieces: pieces.length },
      tools: [call.function.name, call.function.arguments],
      json: JSON.parse(json.message.content),
      error,
      embeddings: embeddings.embeddings,
      models: listed.models.map((model) => model.name),
    },
  }),
);
