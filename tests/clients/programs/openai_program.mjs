// OpenAI's client for JavaScript: ADDRESS; prints what it got as JSON.
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const asked = JSON.parse(readFileSync(process.env.QUESTIONS, "utf8"));
const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "unused", maxRetries: 0 });
const ask = (content, more = {}) =>
  client.chat.completions.create({ model: "demo-a", messages: [{ role: "user", content }], ...more });

const pieces = [];
for await (const part of await ask(asked.count, { stream: true })) {
  const text = part.choices[0]?.delta?.content;
  if (text) pieces.push(text);
}
const [call] = (await ask(asked.weather, { tools: [asked.tool] })).choices[0].message.tool_calls;
const format = { type: "json_schema", json_schema: { name: "named", schema: asked.schema } };
const json = await ask(asked.json, { response_format: format });
const error = await ask("x", { model: "nobody" }).catch((caught) => caught.constructor.name);
const embeddings = await client.embeddings.create({
  model: "demo-embed",
  input: ["a cat", "a dog"],
});
const response = await client.responses.create({ model: "demo-a", input: asked.name });
const leaving = await ask("Count from 1 to 100.", { stream: true });
for await (const _ of leaving) break;

console.log(
  JSON.stringify({
    openai: {
      chat: (await ask(asked.name)).choices[0].message.content,
      whole: (await ask(asked.count)).choices[0].message.content,
      stream: { text: pieces.join(""), pieces: pieces.length },
      tools: [call.function.name, JSON.parse(call.function.arguments)],
      json: JSON.parse(json.choices[0].message.content),
      error,
      embeddings: embeddings.data.map((entry) => entry.embedding),
      response: response.output_text,
    },
  }),
);
