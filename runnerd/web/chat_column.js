// One model's side of a chat: its turns, the response as it comes; and the same request as code.
import {address, choice, cross, events, h, key, muted, number, open, paced, seconds, short, show} from "./ui.js";
import {prompted, responded} from "./markdown.js";

export const contentOf = (text, images) =>
	images?.length ? [{type: "text", text}, ...images.map(url => ({type: "image_url", image_url: {url}}))] : text;

export class Column {
	constructor(model, {names, removed, changed}) {
		this.turns = [];
		this.control = null;
		this.model = model;
		this.changed = changed;
		this.log = h("div.chat-log", {role: "log", label: `Conversation with ${short(model)}`, tabindex: "0", own: true});
		this.timing = h("div.timing");
		this.top = h("div.chat-top", {own: true});
		this.removed = removed;
		this.element = h("section.chat-column", {label: short(model), own: true}, this.top, this.log, this.timing);
		this.choose(names);
		this.draw();
	}

	// Which models there are has changed.
	choose(names) {
		const all = names.includes(this.model) || !this.model ? names : [this.model, ...names];
		const select = choice(
			all.map(name => [name, short(name)]),
			this.model,
			value => {
				this.model = value;
				this.log.setAttribute("aria-label", `Conversation with ${short(value)}`);
				this.changed();
			},
			{label: "Model"}
		);
		this.top.replaceChildren(
			select,
			cross("Remove this column", () => this.removed(this))
		);
	}

	get busy() {
		return this.control !== null;
	}

	messages(system) {
		const said = this.turns
			.filter(turn => turn.role === "user" || turn.text || turn.calls?.length)
			.map(turn => {
				if (turn.role === "assistant")
					return turn.calls?.length
						? {role: "assistant", content: turn.text || null, tool_calls: turn.calls}
						: {role: "assistant", content: turn.text};
				return {role: "user", content: contentOf(turn.text, turn.images)};
			});
		return system ? [{role: "system", content: system}, ...said] : said;
	}

	body(asked) {
		const {system, parameters} = asked;
		return {model: this.model, messages: this.messages(system), ...parameters, stream: true, stream_options: {include_usage: true}};
	}

	async send(text, images, asked) {
		this.turns.push({role: "user", text, images});
		const turn = {role: "assistant", text: "", thought: "", calls: []};
		const body = this.body(asked);
		this.turns.push(turn);
		this.control = new AbortController();
		const seen = {began: performance.now(), first: null, pieces: 0};
		const drawing = paced(() => {
			this.draw();
			if (this.turns.includes(turn)) this.measured(seen, !this.control);
		});
		this.draw();
		this.changed();
		try {
			const response = await open("POST", "v1/chat/completions", body, {signal: this.control.signal, accept: "text/event-stream"});
			for await (const {data} of events(response)) {
				if (data === "[DONE]") break;
				const news = JSON.parse(data);
				if (news.error) throw new Error(news.error.message || String(news.error));
				seen.usage = news.usage || seen.usage;
				seen.timings = news.timings || seen.timings;
				if (take(turn, news.choices?.[0])) {
					seen.first ??= performance.now();
					seen.pieces += 1;
				}
				drawing.soon();
			}
			if (!turn.text && !turn.thought && !turn.calls.length) turn.failure = "The response is empty.";
		} catch (error) {
			turn.failure = error.name === "AbortError" ? null : error.message;
			turn.stopped = error.name === "AbortError";
		}
		this.control = null;
		drawing.now();
		this.changed();
	}

	stop() {
		this.control?.abort();
	}

	clear() {
		this.stop();
		this.turns = [];
		this.timing.replaceChildren();
		this.draw();
	}

	// Times and tokens; a piece of a stream is a token, as long as the engine has not told how many there were.
	measured({began, first, pieces, usage, timings}, ended) {
		const now = performance.now(),
			tokens = usage?.completion_tokens || pieces,
			rate = timings?.predicted_per_second || (pieces > 1 && (1000 * tokens) / (now - first));
		const parts = [
			first !== null && `first token after ${seconds((first - began) / 1000)}`,
			ended && `${seconds((now - began) / 1000)} in all`,
			tokens && `${number(tokens)} tokens`,
			rate && `${number(Math.round(rate))} per second`,
			usage?.prompt_tokens && `${number(usage.prompt_tokens)} of prompt`
		];
		show(this.timing, parts.filter(Boolean).join(" · "));
	}

	draw() {
		const stays = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 60;
		show(
			this.log,
			this.turns.length ? this.turns.map((turn, at) => this.turn(turn, at === this.turns.length - 1)) : muted("Nothing was said yet.")
		);
		if (stays) this.log.scrollTop = this.log.scrollHeight;
	}

	turn(turn, last) {
		if (turn.role === "user") return prompted("You", turn.text, turn.images?.length > 0 && h("div.thumbs", turn.images.map(picture)));
		return responded(
			short(this.model),
			{...turn, writes: this.busy && last},
			turn.calls.map(call => h("div.rich", h("p", "Calls ", h("code", call.function.name)), h("pre", h("code", call.function.arguments)))),
			turn.stopped && h("span.muted", "Stopped."),
			turn.failure && h("span.failure", {role: "alert"}, turn.failure)
		);
	}
}

// Take in what an event brings; whether that was anything.
function take(turn, choice) {
	const delta = choice?.delta;
	if (!delta) return false;
	if (delta.content) turn.text += delta.content;
	if (delta.reasoning_content) turn.thought += delta.reasoning_content;
	for (const part of delta.tool_calls || []) {
		const call = (turn.calls[part.index ?? 0] ||= {id: "", type: "function", function: {name: "", arguments: ""}});
		call.id = part.id || call.id;
		call.function.name += part.function?.name || "";
		call.function.arguments += part.function?.arguments || "";
	}
	return Boolean(delta.content || delta.reasoning_content || delta.tool_calls?.length);
}

export function picture(url) {
	const image = h("img", {alt: "Image that was sent"});
	if (/^data:image\/(png|jpeg|webp|gif);base64,/.test(url)) image.src = url;
	return image;
}

// The request on the screen as lines for curl and for Python.

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
	const {model, messages, stream, stream_options, ...rest} = shortened(body),
		named = [],
		others = {};
	for (const [name, value] of Object.entries(rest))
		if (KNOWN.test(name)) named.push(`    ${name}=${literal(value)},`);
		else others[name] = value;
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
	if ((value ?? null) === null) return "None";
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
