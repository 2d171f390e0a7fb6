// One model's side of a chat: its turns, and the response as it comes.
import {events, open} from "./api.js";
import {el, h, show} from "./dom.js";
import {number, seconds, short} from "./format.js";
import {rich} from "./markdown.js";
import {button, choice, muted} from "./widgets.js";

const EVERY = 60; // milliseconds between two looks of a response that comes

export class Column {
	constructor(model, {names, removed, changed}) {
		this.turns = [];
		this.control = null;
		this.model = model;
		this.changed = changed;
		this.log = h("div.chat-log", {
			role: "log",
			"aria-label": `Conversation with ${short(model)}`,
			tabindex: "0",
			own: true
		});
		this.timing = el("div.timing");
		this.top = h("div.chat-top", {own: true});
		this.removed = removed;
		this.element = h("section.chat-column", {"aria-label": short(model), own: true}, this.top, this.log, this.timing);
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
			{"aria-label": "Model"}
		);
		this.top.replaceChildren(
			select,
			button("", () => this.removed(this), {kind: "quiet", name: "Remove this column", picture: "close"})
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
				if (!turn.images?.length) return {role: "user", content: turn.text};
				return {
					role: "user",
					content: [{type: "text", text: turn.text}, ...turn.images.map(url => ({type: "image_url", image_url: {url}}))]
				};
			});
		return system ? [{role: "system", content: system}, ...said] : said;
	}

	body(asked) {
		const {system, parameters} = asked;
		return {
			model: this.model,
			messages: this.messages(system),
			...parameters,
			stream: true,
			stream_options: {include_usage: true}
		};
	}

	async send(text, images, asked) {
		this.turns.push({role: "user", text, images});
		const turn = {role: "assistant", text: "", thought: "", calls: []};
		const body = this.body(asked);
		this.turns.push(turn);
		this.control = new AbortController();
		const began = performance.now();
		let first = null,
			usage = null,
			timings = null,
			due = 0;
		this.draw();
		this.changed();
		try {
			const response = await open("POST", "v1/chat/completions", body, {
				signal: this.control.signal,
				accept: "text/event-stream"
			});
			for await (const {data} of events(response)) {
				if (data === "[DONE]") break;
				const news = JSON.parse(data);
				if (news.error) throw new Error(news.error.message || String(news.error));
				usage = news.usage || usage;
				timings = news.timings || timings;
				if (take(turn, news.choices?.[0]) && first === null) first = performance.now() - began;
				due =
					due ||
					setTimeout(() => {
						due = 0;
						this.draw();
						this.measured({began, first});
					}, EVERY);
			}
			if (!turn.text && !turn.thought && !turn.calls.length) turn.failure = "The response is empty.";
		} catch (error) {
			turn.failure = error.name === "AbortError" ? null : error.message;
			turn.stopped = error.name === "AbortError";
		}
		clearTimeout(due);
		this.control = null;
		this.draw();
		this.measured({began, first, usage, timings, ended: true});
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

	measured({began, first, usage, timings, ended}) {
		const took = (performance.now() - began) / 1000;
		const tokens = usage?.completion_tokens;
		const rate =
			timings?.predicted_per_second ||
			(tokens && took > (first || 0) / 1000 ? tokens / (took - (first || 0) / 1000) : null);
		const parts = [
			first !== null && `first token after ${seconds(first / 1000)}`,
			ended && `${seconds(took)} in all`,
			tokens && `${number(tokens)} tokens`,
			tokens && rate && `${number(Math.round(rate))} per second`,
			usage?.prompt_tokens && `${number(usage.prompt_tokens)} of prompt`
		];
		show(this.timing, parts.filter(Boolean).join(" · "));
	}

	draw() {
		const stays = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 60;
		show(
			this.log,
			this.turns.length
				? this.turns.map((turn, at) => this.turn(turn, at === this.turns.length - 1))
				: muted("Nothing was said yet.")
		);
		if (stays) this.log.scrollTop = this.log.scrollHeight;
	}

	turn(turn, last) {
		const writes = this.busy && last;
		if (turn.role === "user")
			return el(
				"div.turn.user",
				el("span.who", "You"),
				el("div.text", turn.text),
				turn.images?.length ? el("div.thumbs", turn.images.map(picture)) : null
			);
		return h(
			"div.turn",
			{"aria-busy": writes ? "true" : undefined},
			el("span.who", short(this.model)),
			turn.thought &&
				h("details", {open: writes && !turn.text}, el("summary", "Reasoning"), el("div.text", turn.thought)),
			turn.text && el("div.rich", rich(turn.text)),
			turn.calls.map(call =>
				el(
					"div.rich",
					el("p", "Calls ", el("code", call.function.name)),
					el("pre", el("code", call.function.arguments))
				)
			),
			writes && !turn.text && !turn.thought && !turn.calls.length && el("span.muted", "Waiting for the first token…"),
			turn.stopped && el("span.muted", "Stopped."),
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
