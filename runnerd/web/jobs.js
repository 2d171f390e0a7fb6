// Work that waits: submitted, listed, looked at, tried again, cancelled, deleted.
import {
	act,
	actionsOf,
	amount,
	area,
	block,
	button,
	chip,
	clock,
	column,
	empty,
	facts,
	field,
	fill,
	get,
	h,
	input,
	listing,
	modelChoice,
	number,
	parsed,
	path,
	post,
	remove,
	seconds,
	section,
	short,
	single,
	sub,
	table,
	wide
} from "./ui.js";

const KINDS = {completed: "good", failed: "bad", cancelled: "", expired: "bad"};

export const jobs = (place, [id]) => (id ? job(place, id) : list(place)).end;

const nameOf = each => (each.id.length > 16 ? `…${each.id.slice(-10)}` : each.id);
const isOpen = each => !each.ended;
const chipOf = (state, text = state) => chip(text, KINDS[state] ?? "warn");
const count = ([state, value]) => chipOf(state, `${number(value)} ${state}`);

function list(place) {
	const view = listing(place, {
		title: "Jobs",
		read: () => Promise.all([get("runnerd/jobs?limit=200"), get("runnerd/queues")]),
		after: ["request"],
		moves: found => found?.[0].some(isOpen),
		actions: () => [button("New job", () => submit(view.look), {kind: "primary"})],
		content: ([newest, queues]) => [
			queues.length > 0 && section("By model", queueTable(queues)),
			section(
				"Newest",
				newest.length
					? jobTable(newest, view)
					: empty("There are no jobs", "A job waits for a free place, survives restarts, and keeps its result until you take it.")
			)
		]
	});
	return view;
}

const queueTable = queues =>
	table(
		"Queues",
		[
			wide("Model", each => h("span.name", short(each.model))),
			wide("Jobs", ({model, ...counts}) => h("span.chips", Object.entries(counts).map(count)))
		],
		queues,
		each => each.model
	);

const jobTable = (newest, view) =>
	table(
		"Jobs",
		[
			wide("Job", each => [h("a.name", {link: ["jobs", each.id]}, nameOf(each)), each.reason && sub(each.reason)]),
			wide("Model", "model", short),
			wide("Whose", "user"),
			column("State", each => chipOf(each.state)),
			column("Submitted", "created", clock),
			amount("Took", each => seconds(each.runtime_seconds || null)),
			actionsOf(each => actions(each, view.look))
		],
		newest
	);

function actions(each, after, gone = after) {
	const where = `runnerd/jobs/${path(each.id)}`,
		name = nameOf(each);
	return [
		isOpen(each) && act("Cancel", `job ${name}`, () => post(`${where}/cancel`).then(after), "The job is cancelled"),
		["failed", "cancelled", "expired"].includes(each.state) &&
			act("Try again", `job ${name}`, () => post(`${where}/retry`).then(after), "The job is queued again", {name: `Try job ${name} again`}),
		act("Delete", `job ${name}`, () => remove(where).then(gone), "The job is deleted", {
			kind: "small danger",
			sure: "The job and all that came of it is deleted."
		})
	];
}

async function submit(done) {
	const model = await modelChoice(),
		prompts = h("textarea", {rows: 4, required: true}),
		parameters = area({placeholder: '{"max_tokens": 200}'}),
		priority = input({type: "number", step: 1, placeholder: "0"});
	const send = () => {
		const said = {model: model.value, prompt: prompts.value};
		if (parameters.value.trim()) said.parameters = parsed(parameters.value, "Parameters");
		if (priority.value !== "") said.priority = Number(priority.value);
		return post("runnerd/jobs", said);
	};
	const fields = [field("Model", model), field("Prompt", prompts), field("Parameters, as JSON", parameters), field("Priority", priority)];
	if (await fill("A new job", fields, "Submit", send, "The job is submitted")) done();
}

function job(place, id) {
	const gone = () => view.leave("#/jobs");
	const view = single(place, {
		kind: "Job",
		all: "Jobs",
		back: "jobs",
		read: () => get(`runnerd/jobs/${path(id)}`),
		after: ["request"],
		moves: found => !found || isOpen(found),
		head: found => [`Job ${nameOf(found)}`, chipOf(found.state), ...actions(found, view.look, gone)],
		content: found => [
			found.reason && h("div.notice", found.reason),
			h("div.panel.section", about(found)),
			found.attempts.length > 0 && section("Attempts", attempts(found)),
			section(
				"Asked",
				found.requests.map(each => block(each.body))
			),
			found.responses.length ? section("Responses", found.responses.map(response)) : found.output && section("So far", block(found.output))
		]
	});
	return view;
}

const about = found =>
	facts([
		["Id", h("code", found.id)],
		["Model", short(found.model)],
		["Whose", found.user],
		["Submitted", clock(found.created)],
		["Began", found.started && clock(found.started)],
		["Ended", found.ended && clock(found.ended)],
		["Took", seconds(found.runtime_seconds || null)],
		["Priority", found.priority ? number(found.priority) : null],
		["Deadline", found.deadline && clock(found.deadline)]
	]);

const attempts = found =>
	table(
		"Attempts",
		[
			wide("Worker", "worker"),
			column("From", "started", clock),
			column("To", "ended", clock),
			column("End", each => each.end || "–"),
			wide("Why", each => each.reason || "–")
		],
		found.attempts,
		each => each.started
	);

function response({status, body}) {
	const choice = body?.choices?.[0];
	return h("div.section", status !== 200 && chip(String(status), "bad"), block(choice?.message?.content || choice?.text || body));
}
