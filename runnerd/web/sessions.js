// Conversations that the daemon keeps: listed, read, gone on with, interrupted, removed.
import {events, get, open, path, post, remove} from "./api.js";
import {h, show} from "./dom.js";
import {bytes, clock, date, number, plural, short} from "./format.js";
import {rich} from "./markdown.js";
import {watch} from "./live.js";
import {
	actionsOf,
	button,
	chip,
	choice,
	confirm,
	dialog,
	doing,
	empty,
	facts,
	field,
	footer,
	heading,
	input,
	missing,
	muted,
	table,
	trouble
} from "./widgets.js";

export const sessions = (place, [id]) => (id ? session(place, id) : list(place));

const nameOf = each => each.name || each.id.slice(0, 8);

function list(place) {
	let found = null,
		error = null;

	async function look() {
		try {
			found = await get("runnerd/sessions?limit=200");
			error = null;
		} catch (failure) {
			error = failure;
		}
		draw();
	}

	function draw() {
		show(
			place,
			heading(
				"Sessions",
				button("New session", () => create(look), {kind: "primary"})
			),
			error && trouble(error),
			!found
				? !error && muted("Loading…")
				: !found.length
					? empty(
							"There are no sessions",
							"A session is a conversation that the daemon keeps: after a restart it goes on where it was."
						)
					: table(
							"Sessions",
							[
								{
									title: "Session",
									wide: true,
									cell: each => [
										h("a", {class: "name", link: `sessions/${encodeURIComponent(each.id)}`}, nameOf(each)),
										each.warnings.map(text => h("span", {class: "sub bad-text"}, text))
									]
								},
								{title: "Model", wide: true, cell: each => short(each.model)},
								{title: "Whose", wide: true, cell: each => each.user || "yours"},
								{title: "Turns", number: true, cell: each => number(each.turns)},
								{title: "Size", number: true, cell: each => bytes(each.bytes)},
								{title: "Last used", cell: each => clock(each.last_used)},
								{title: "Kept until", cell: each => date(each.expires)},
								actionsOf(each => [
									each.prompts_waiting
										? button(
												"Interrupt",
												event =>
													doing(
														event,
														async () => {
															await post(`runnerd/sessions/${path(each.id)}/interrupt`);
															await look();
														},
														"Interrupted"
													),
												{kind: "small", name: `Interrupt ${nameOf(each)}`}
											)
										: null,
									button("Remove", () => removal(each).then(done => done && look()), {
										kind: "small danger",
										name: `Remove ${nameOf(each)}`
									})
								])
							],
							found,
							each => each.id
						)
		);
	}

	draw();
	look();
	return watch(kinds => {
		if (kinds.has("request") || kinds.has("time")) look();
	});
}

async function removal(each) {
	if (
		!(await confirm(
			`Remove ${nameOf(each)}?`,
			`All that was said in it (${plural(each.turns, "turn")}) is deleted.`,
			"Remove"
		))
	)
		return false;
	return doing(
		null,
		async () => {
			await remove(`runnerd/sessions/${path(each.id)}`);
			return true;
		},
		done => done && `${nameOf(each)} is removed`
	);
}

async function create(done) {
	let models;
	try {
		models = (await get("models")).filter(each => (each.runnerd?.capabilities || []).includes("completion"));
	} catch {
		models = [];
	}
	const model = choice(
		models.map(each => [each.tags[0] || each.id, short(each.tags[0]) || each.id]),
		models[0]?.tags[0]
	);
	const name = input({maxlength: 100}),
		system = h("textarea", {rows: 3});
	const made = await dialog("A new session", close => [
		field("Model", model),
		field("Name", name, "Letters, digits, spaces and . : @ + - _"),
		field("System prompt", system),
		footer(close, "Make it", async () =>
			close(
				await post("runnerd/sessions", {
					model: model.value,
					...(name.value.trim() ? {name: name.value.trim()} : {}),
					...(system.value.trim() ? {system: system.value} : {})
				})
			)
		)
	]);
	if (made) {
		await done();
		location.hash = `#/sessions/${encodeURIComponent(made.id)}`;
	}
}

function session(place, id) {
	let found = null,
		error = null,
		control = null,
		coming = null,
		failure = null;
	const prompt = h("textarea", {
		rows: 2,
		placeholder: "Go on; Enter sends",
		"aria-label": "Prompt",
		on: {
			keydown: event => {
				if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
					event.preventDefault();
					say();
				}
			}
		}
	});

	async function look() {
		try {
			found = await get(`runnerd/sessions/${path(id)}`);
			error = null;
		} catch (trouble) {
			error = trouble;
		}
		draw();
	}

	async function say() {
		const text = prompt.value.trim();
		if (!text || control || !found) return;
		prompt.value = "";
		control = new AbortController();
		coming = {prompt: text, response: "", reasoning: ""};
		failure = null;
		draw();
		try {
			const response = await open(
				"POST",
				`runnerd/sessions/${path(id)}/prompt`,
				{prompt: text, after: found.turns},
				{signal: control.signal, accept: "text/event-stream"}
			);
			for await (const {event, data} of events(response)) {
				const news = JSON.parse(data);
				if (event === "error") throw new Error(news.error.message);
				if (event === "delta") {
					coming.response += news.text || "";
					coming.reasoning += news.reasoning || "";
					draw();
				}
			}
		} catch (trouble) {
			if (trouble.name !== "AbortError") {
				failure = trouble;
				prompt.value = prompt.value || text;
			}
		}
		control = coming = null;
		await look();
	}

	const stop = event => doing(event, () => post(`runnerd/sessions/${path(id)}/interrupt`));

	function draw() {
		if (!found) {
			show(
				place,
				heading(error ? "No such session" : "Session"),
				missing(error),
				h("a", {link: "sessions"}, "All sessions")
			);
			return;
		}
		show(
			place,
			h("p", {}, h("a", {link: "sessions"}, "Sessions")),
			heading(
				nameOf(found),
				button(
					"Remove",
					() =>
						removal(found).then(done => {
							if (done) location.hash = "#/sessions";
						}),
					{kind: "danger"}
				)
			),
			error && trouble(error),
			found.warnings.map(text => h("div", {class: "notice"}, text)),
			h(
				"div",
				{class: "panel section"},
				facts([
					["Model", short(found.model)],
					["Whose", found.user],
					["Turns", number(found.turns)],
					["Size", bytes(found.bytes)],
					["Begun", clock(found.created)],
					["Kept until", date(found.expires)],
					["Parameters", Object.keys(found.parameters).length ? h("code", {}, JSON.stringify(found.parameters)) : null]
				]),
				found.system &&
					h("details", {}, h("summary", {}, "System prompt"), h("p", {class: "copyable-text"}, found.system))
			),
			h(
				"div",
				{class: "panel section form", role: "log", "aria-label": "What was said"},
				found.history.length || coming
					? [...found.history, coming].filter(Boolean).map(turn)
					: muted("Nothing was said yet.")
			),
			failure && trouble(failure),
			h(
				"form",
				{
					class: "composer-row",
					on: {
						submit: event => {
							event.preventDefault();
							say();
						}
					}
				},
				prompt,
				h(
					"div",
					{class: "actions"},
					control
						? button("Interrupt", stop, {kind: "danger"})
						: button("Send", null, {kind: "primary", type: "submit"})
				)
			)
		);
	}

	const turn = each => [
		h("div", {class: "turn user"}, h("span", {class: "who"}, "Prompt"), h("div", {class: "text"}, each.prompt), each.attachments?.map(({type}) => muted(type))),
		h(
			"div",
			{class: "turn"},
			h(
				"span",
				{class: "who"},
				short(found.model),
				" ",
				each.state && each.state !== "complete" && each.state !== "ended" ? chip(each.state, "warn") : null
			),
			each.reasoning && h("details", {}, h("summary", {}, "Reasoning"), h("div", {class: "text"}, each.reasoning)),
			h("div", {class: "rich"}, rich(each.response || "")),
			each === coming && !each.response && h("span", {class: "muted"}, "Waiting for the first token…")
		)
	];

	draw();
	look();
	return () => control?.abort();
}
