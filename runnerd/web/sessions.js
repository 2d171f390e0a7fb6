// Conversations that the daemon keeps: listed, read, gone on with, interrupted, removed.
import {
	act,
	actionsOf,
	amount,
	button,
	bytes,
	chip,
	clock,
	column,
	completes,
	date,
	doing,
	empty,
	events,
	field,
	fill,
	fold,
	form,
	get,
	h,
	input,
	listing,
	modelChoice,
	muted,
	open,
	paced,
	path,
	plural,
	post,
	prompting,
	record,
	remove,
	short,
	single,
	submit,
	table,
	trouble,
	wide
} from "./ui.js";
import {prompted, responded} from "./markdown.js";

export const sessions = (place, [id]) => (id ? session(place, id) : list(place).end);

const titleOf = each => each.name || each.id.slice(0, 8);
const placeOf = each => ["sessions", each.id];
const interrupt = id => post(`runnerd/sessions/${path(id)}/interrupt`);

function list(place) {
	const view = listing(place, {
		title: "Sessions",
		read: () => get("runnerd/sessions?limit=200"),
		after: ["request", "time"],
		actions: () => [button("New session", () => create(), "primary")],
		content: found =>
			found.length
				? sessionTable(found, view)
				: empty("There are no sessions", "A session is a conversation that the daemon keeps: after a restart it goes on where it was.")
	});
	return view;
}

const sessionTable = (found, view) =>
	table(
		"Sessions",
		[
			wide("Session", each => [h("a.name", {link: placeOf(each)}, titleOf(each)), each.warnings.map(text => h("span.sub.bad-text", text))]),
			wide("Model", "model", short),
			wide("Whose", each => each.user || "yours"),
			amount("Turns", "turns"),
			amount("Size", "bytes", bytes),
			column("Last used", "last_used", clock),
			column("Kept until", "expires", date),
			actionsOf(each => [
				each.prompts_waiting > 0 && act("Interrupt", titleOf(each), () => interrupt(each.id).then(view.look), "Interrupted"),
				removal(each, view.look)
			])
		],
		found
	);

const removal = (each, after, kind = "small danger") =>
	act("Remove", titleOf(each), () => remove(`runnerd/sessions/${path(each.id)}`).then(after), `${titleOf(each)} is removed`, {
		kind,
		sure: `All that was said in it (${plural(each.turns, "turn")}) is deleted.`
	});

async function create() {
	const model = await modelChoice(completes),
		name = input({maxlength: 100}),
		system = h("textarea", {rows: 3});
	const send = () =>
		post("runnerd/sessions", {
			model: model.value,
			name: name.value.trim() || undefined,
			system: system.value.trim() ? system.value : undefined
		});
	const fields = [field("Model", model), field("Name", name, "Letters, digits, spaces and . : @ + - _"), field("System prompt", system)];
	const made = await fill("A new session", fields, "Make it", send);
	if (made) location.hash = `#/${placeOf(made).join("/")}`;
}

function session(place, id) {
	let control = null,
		coming = null,
		failure = null;
	const prompt = prompting("Prompt", "Go on; Enter sends", () => say());

	async function say() {
		const text = prompt.value.trim();
		if (!text || control || !view.found) return;
		prompt.value = "";
		control = new AbortController();
		coming = {prompt: text, response: "", reasoning: ""};
		failure = null;
		const drawing = paced(view.draw);
		drawing.now();
		try {
			const response = await open(
				"POST",
				`runnerd/sessions/${path(id)}/prompt`,
				{prompt: text, after: view.found.turns},
				{signal: control.signal, accept: "text/event-stream"}
			);
			for await (const {event, data} of events(response)) {
				const news = JSON.parse(data);
				if (event === "error") throw new Error(news.error.message);
				if (event !== "delta") continue;
				coming.response += news.text || "";
				coming.reasoning += news.reasoning || "";
				drawing.soon();
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
		read: () => get(`runnerd/sessions/${path(id)}`),
		head: found => [titleOf(found), removal(found, () => view.leave("#/sessions"), "danger")],
		content: found => [
			found.warnings.map(text => h("div.notice", text)),
			about(found),
			h(
				"div.panel.section.form",
				{role: "log", label: "What was said"},
				found.history.length || coming
					? [...found.history, coming].filter(Boolean).map(each => turn(each, found, each === coming))
					: muted("Nothing was said yet.")
			),
			failure && trouble(failure),
			form("form.composer-row", say, prompt, h("div.actions", control ? button("Interrupt", stop, "danger") : submit("Send")))
		]
	});
	return () => {
		view.end();
		control?.abort();
	};
}

const about = found =>
	h(
		"div.panel.section",
		record(found, "name", "warnings", "history", "system"),
		found.system && fold("System prompt", h("p.copyable-text", found.system))
	);

const turn = (each, session, comes) => [
	prompted(
		"Prompt",
		each.prompt,
		each.attachments?.map(({type}) => h("span.muted", type))
	),
	responded([short(session.model), " ", each.state && !["complete", "ended"].includes(each.state) && chip(each.state, "warn")], {
		text: each.response,
		thought: each.reasoning,
		writes: comes
	})
];
