// Work that waits: jobs, and batches of them, which are files with a request on each line.
import {
	act,
	actionsOf,
	amount,
	area,
	block,
	button,
	chip,
	choice,
	clock,
	column,
	download,
	empty,
	field,
	fileOf,
	fill,
	get,
	h,
	input,
	listing,
	modelChoice,
	note,
	number,
	parsed,
	path,
	post,
	record,
	remove,
	rows,
	seconds,
	section,
	short,
	small,
	single,
	sub,
	table,
	upload,
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
		read: () => Promise.all([get("runnerd/jobs?limit=200"), get("runnerd/queues"), get("v1/batches?limit=100")]),
		after: ["request"],
		moves: found => found?.[0].some(isOpen) || found?.[2].data.some(runs),
		actions: () => [button("New batch", () => newBatch(view.look)), button("New job", () => submit(view.look), "primary")],
		content: ([newest, queues, batches]) => [
			batches.data.length > 0 && section("Batches", batchTable(batches.data, view.look)),
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
	rows(
		"Queues",
		queues,
		["model"],
		each => each.model,
		wide("Jobs", ({model, ...counts}) => h("span.chips", Object.entries(counts).map(count)))
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

async function submit(look) {
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
	fill("A new job", fields, "Submit", send, {done: "The job is submitted", look});
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
			h("div.panel.section", record(found, "state", "reason", "copy", "requests", "responses", "output", "attempts")),
			found.attempts.length > 0 &&
				section(
					"Attempts",
					rows("Attempts", found.attempts, ["worker", "started", "ended", "end", "reason"], each => each.started)
				),
			section(
				"Asked",
				found.requests.map(each => block(each.body))
			),
			found.responses.length ? section("Responses", found.responses.map(response)) : found.output && section("So far", block(found.output))
		]
	});
	return view;
}

function response({status, body}) {
	const choice = body?.choices?.[0];
	return h("div.section", status !== 200 && chip(String(status), "bad"), block(choice?.message?.content || choice?.text || body));
}

// Batches

const runs = each => /^(validating|in_progress|finalizing|cancelling)$/.test(each.status);

const done = ({total, completed, failed}) => `${number(completed)} of ${number(total)}${failed ? `, ${number(failed)} failed` : ""}`;

const saved = (label, each, file) =>
	file && act(label, `of ${each.id}`, () => download(`${each.id}-${label.toLowerCase()}.jsonl`, `v1/files/${path(file)}/content`));

const batchTable = (found, look) =>
	table(
		"Batches",
		[
			wide("Batch", each => [h("span.name", `…${each.id.slice(-10)}`), sub(each.endpoint)]),
			column("State", each => chipOf(each.status, each.status.replace("_", " "))),
			amount("Done", each => done(each.request_counts)),
			column("Submitted", "created_at", clock),
			actionsOf(each => [
				saved("Results", each, each.output_file_id),
				saved("Errors", each, each.error_file_id),
				small("Details", `of batch ${each.id}`, () => note("Batch", "Close", record(each, "object"))),
				runs(each) &&
					act("Cancel", `batch ${each.id}`, () => post(`v1/batches/${path(each.id)}/cancel`).then(look), "The batch is cancelled")
			])
		],
		found
	);

function newBatch(look) {
	const file = upload(),
		endpoint = choice(["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"], "/v1/chat/completions"),
		window = input({value: "24h", maxlength: 20});
	const send = async () => {
		const form = new FormData();
		form.append("purpose", "batch");
		form.append("file", fileOf(file));
		const {id} = await post("v1/files", form);
		return post("v1/batches", {input_file_id: id, endpoint: endpoint.value, completion_window: window.value.trim()});
	};
	const fields = [
		field("File", file, "A request on each line, as OpenAI’s batches have them."),
		field("API that is asked", endpoint),
		field("To be done within", window, "Such as 24h or 2d.")
	];
	fill("A new batch", fields, "Submit", send, {done: "The batch is submitted", look});
}
