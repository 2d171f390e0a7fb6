// The request on the screen as lines for curl and for Python.
import {address, key} from "./ui.js";

// What OpenAI's client takes by name.
const KNOWN = /^(temperature|top_p|max_tokens|seed|stop|tools|(presence|frequency)_penalty|response_format)$/;
const LONGEST_TEXT = 400; // characters of a picture that are shown

const shell = text => `'${text.replaceAll("'", "'\\''")}'`;

// `runnerd ui` says in a cookie which socket it forwards to.
function socket() {
	const found = document.cookie.split("; ").find(each => each.startsWith("runnerd_socket="));
	return found ? decodeURIComponent(found.slice("runnerd_socket=".length)) : null;
}

export function curl(body) {
	const where = socket();
	const url = `${where ? "http://localhost" : address()}/v1/chat/completions`;
	return [
		`curl ${where ? `--unix-socket ${shell(where)} ` : ""}${url}`,
		"  -H 'Content-Type: application/json'",
		key.get() && '  -H "Authorization: Bearer $RUNNERD_KEY"',
		`  -d ${shell(JSON.stringify(shortened(body), null, 1))}`
	]
		.filter(Boolean)
		.join(" \\\n");
}

export function python(body) {
	const where = socket();
	const {model, messages, stream, stream_options, ...rest} = shortened(body);
	const named = Object.entries(rest)
		.filter(([name]) => KNOWN.test(name))
		.map(([name, value]) => `    ${name}=${literal(value)},`);
	const others = Object.fromEntries(Object.entries(rest).filter(([name]) => !KNOWN.test(name)));
	if (Object.keys(others).length) named.push(`    extra_body=${literal(others)},`);
	const secret = key.get() ? 'os.environ["RUNNERD_KEY"]' : '"unused"';
	const client = where
		? `OpenAI(\n    base_url="http://localhost/v1", api_key=${secret},\n    http_client=httpx.Client(transport=httpx.HTTPTransport(uds=${literal(where)})),\n)`
		: `OpenAI(base_url=${literal(`${address()}/v1`)}, api_key=${secret})`;
	return [
		key.get() ? "import os" : null,
		where ? "import httpx" : null,
		"from openai import OpenAI",
		"",
		`client = ${client}`,
		"stream = client.chat.completions.create(",
		`    model=${literal(model)},`,
		`    messages=${literal(messages)},`,
		...named,
		"    stream=True,",
		")",
		"for chunk in stream:",
		"    if chunk.choices:",
		'        print(chunk.choices[0].delta.content or "", end="", flush=True)'
	]
		.filter(line => line !== null)
		.join("\n");
}

function literal(value) {
	if (value === null || value === undefined) return "None";
	if (value === true) return "True";
	if (value === false) return "False";
	if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
	if (typeof value === "object")
		return `{${Object.entries(value)
			.map(([name, each]) => `${JSON.stringify(name)}: ${literal(each)}`)
			.join(", ")}}`;
	return JSON.stringify(value);
}

// Pictures are too long to be read.
function shortened(value) {
	if (typeof value === "string") return value.startsWith("data:") && value.length > LONGEST_TEXT ? `${value.slice(0, 40)}...` : value;
	if (Array.isArray(value)) return value.map(shortened);
	if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, shortened(each)]));
	return value;
}
