// Conversations that the daemon keeps: listed, read, gone on with, interrupted, removed.
import {events, get, open, path, post, remove} from "./api.js";
import {el, h} from "./dom.js";
import {bytes, clock, date, number, plural, short} from "./format.js";
import {rich} from "./markdown.js";
import {completes, modelChoice} from "./stored.js";
import {listing, single} from "./view.js";
import {
	act,
	actionsOf,
	amount,
	button,
	chip,
	column,
	dialog,
	doing,
	empty,
	facts,
	field,
	fold,
	footer,
	form,
	input,
	muted,
	prompting,
	table,
	trouble,
	wide
} from "./widgets.js";

export const sessions = (place, [id]) => (id ? session(place, id) : list(place).end);

const titleOf = each => each.name || each.id.slice(0, 8);
const placeOf = each => `sessions/${encodeURIComponent(each.id)}`;
const interrupt = id => post(`runnerd/sessions/${path(id)}/interrupt`);

function list(place) {
	const view = listing(place, {
		title: "Sessions",
		read: () => get("runnerd/sessions?limit=200"),
		after: ["request", "time"],
		actions: () => [button("New session", () => create(view.look), {kind: "primary"})],
		content: found =>
			found.length
				? sessionTable(found, view)
				: empty(
						"There are no sessions",
						"A session is a conversation that the daemon keeps: after a restart it goes on where it was."
					)
	});
	return view;
}

const sessionTable = (found, view) =>
	table(
		"Sessions",
		[
			wide("Session", each => [
				h("a.name", {link: placeOf(each)}, titleOf(each)),
				each.warnings.map(text => el("span.sub.bad-text", text))
			]),
			wide("Model", each => short(each.model)),
			wide("Whose", each => each.user || "yours"),
			amount("Turns", each => number(each.turns)),
			amount("Size", each => bytes(each.bytes)),
			column("Last used", each => clock(each.last_used)),
			column("Kept until", each => date(each.expires)),
			actionsOf(each => [
				each.prompts_waiting > 0 &&
					act("Interrupt", `Interrupt ${titleOf(each)}`, () => interrupt(each.id).then(view.look), "Interrupted"),
				removal(each, view.look)
			])
		],
		found,
		each => each.id
	);

const removal = (each, after, kind = "small danger") =>
	act(
		"Remove",
		`Remove ${titleOf(each)}`,
		() => remove(`runnerd/sessions/${path(each.id)}`).then(after),
		`${titleOf(each)} is removed`,
		{
			kind,
			sure: [
				`Remove ${titleOf(each)}?`,
				`All that was said in it (${plural(each.turns, "turn")}) is deleted.`,
				"Remove"
			]
		}
	);

async function create(done) {
	const model = await modelChoice(completes),
		name = input({maxlength: 100}),
		system = h("textarea", {rows: 3});
	const send = () =>
		post("runnerd/sessions", {
			model: model.value,
			name: name.value.trim() || undefined,
			system: system.value.trim() ? system.value : undefined
		});
	const made = await dialog("A new session", close => [
		field("Model", model),
		field("Name", name, "Letters, digits, spaces and . : @ + - _"),
		field("System prompt", system),
		footer(close, "Make it", async () => close(await send()))
	]);
	if (!made) return;
	await done();
	location.hash = `#/${placeOf(made)}`;
}

function session(place, id) {
	let control = null,
		coming = null,
		failure = null,
		turns = 0;
	const prompt = prompting("Prompt", "Go on; Enter sends", () => say());

	async function say() {
		const text = prompt.value.trim();
		if (!text || control) return;
		prompt.value = "";
		control = new AbortController();
		coming = {prompt: text, response: "", reasoning: ""};
		failure = null;
		view.draw();
		try {
			const response = await open(
				"POST",
				`runnerd/sessions/${path(id)}/prompt`,
				{prompt: text, after: turns},
				{signal: control.signal, accept: "text/event-stream"}
			);
			for await (const {event, data} of events(response)) {
				const news = JSON.parse(data);
				if (event === "error") throw new Error(news.error.message);
				if (event !== "delta") continue;
				coming.response += news.text || "";
				coming.reasoning += news.reasoning || "";
				view.draw();
			}
		} catch (error) {
			if (error.name !== "AbortError") {
				failure = error;
				prompt.value ||= text;
			}
		}
		control = coming = null;
		await view.look();
	}

	const stop = event => doing(event, () => interrupt(id));
	const view = single(place, {
		kind: "Session",
		all: "Sessions",
		back: "sessions",
		read: async () => {
			const found = await get(`runnerd/sessions/${path(id)}`);
			turns = found.turns;
			return found;
		},
		head: found => [titleOf(found), removal(found, () => (location.hash = "#/sessions"), "danger")],
		content: found => [
			found.warnings.map(text => el("div.notice", text)),
			about(found),
			h(
				"div.panel.section.form",
				{role: "log", "aria-label": "What was said"},
				found.history.length || coming
					? [...found.history, coming].filter(Boolean).map(each => turn(each, found, each === coming))
					: muted("Nothing was said yet.")
			),
			failure && trouble(failure),
			form(
				"form.composer-row",
				say,
				prompt,
				el(
					"div.actions",
					control
						? button("Interrupt", stop, {kind: "danger"})
						: button("Send", null, {kind: "primary", type: "submit"})
				)
			)
		]
	});
	return () => {
		view.end();
		control?.abort();
	};
}

const about = found =>
	el(
		"div.panel.section",
		facts([
			["Model", short(found.model)],
			["Whose", found.user],
			["Turns", number(found.turns)],
			["Size", bytes(found.bytes)],
			["Begun", clock(found.created)],
			["Kept until", date(found.expires)],
			["Parameters", Object.keys(found.parameters).length ? el("code", JSON.stringify(found.parameters)) : null]
		]),
		found.system && fold("System prompt", el("p.copyable-text", found.system))
	);

const turn = (each, session, comes) => [
	el("div.turn.user", el("span.who", "Prompt"), el("div.text", each.prompt), each.attachments?.map(({type}) => el("span.muted", type))),
	el(
		"div.turn",
		el(
			"span.who",
			short(session.model),
			" ",
			each.state && !["complete", "ended"].includes(each.state) && chip(each.state, "warn")
		),
		each.reasoning && fold("Reasoning", el("div.text", each.reasoning)),
		el("div.rich", rich(each.response || "")),
		comes && !each.response && el("span.muted", "Waiting for the first token…")
	)
];
