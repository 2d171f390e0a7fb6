// Vercel's AI SDK with its provider for servers like OpenAI's: ADDRESS; prints JSON.
import { readFileSync } from "node:fs";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, jsonSchema, Output, streamText, tool } from "ai";

const asked = JSON.parse(readFileSync(process.env.QUESTIONS, "utf8"));
const provider = createOpenAICompatible({
  name: "runnerd",
  baseURL: `${process.argv[2]}/v1`,
  supportsStructuredOutputs: true,
  includeUsage: true,
});
const model = provider("demo-a");
const ask = (prompt, more = {}) => generateText({ model, prompt, maxRetries: 0, ...more });

const pieces = [];
for await (const text of streamText({ model, prompt: asked.count }).textStream) pieces.push(text);
const described = asked.tool.function;
const called = await ask(asked.weather, {
  tools: {
    get_weather: tool({
      description: described.description,
      inputSchema: jsonSchema(described.parameters),
    }),
  },
});
const structured = await ask(asked.json, { output: Output.object({ schema: jsonSchema(asked.schema) }) });
const error = await ask("x", { model: provider("nobody") }).catch((caught) => caught.statusCode);
const { embeddings } = await embedMany({
  model: provider.textEmbeddingModel("demo-embed"),
  values: ["a cat", "a dog"],
});
const control = new AbortController();
const leaving = streamText({
  model,
  prompt: "Count from 1 to 100.",
  abortSignal: control.signal,
  onError() {},
});
for await (const _ of leaving.textStream) {
  control.abort();
  break;
}
const answer = await ask(asked.name);

console.log(
  JSON.stringify({
    openai: {
      chat: answer.text,
      usage: [answer.usage.inputTokens, answer.usage.outputTokens],
      whole: (await ask(asked.count)).text,
      stream: { text: pieces.join(""), pieces: pieces.length },
      tools: [called.toolCalls[0].toolName, called.toolCalls[0].input],
      json: structured.output,
      error,
      embeddings,
    },
  }),
);
