// Work that waits: submitted, listed, looked at, tried again, cancelled, deleted.
import {get, path, post, remove} from "./api.js";
import {h, show} from "./dom.js";
import {clock, number, seconds, short} from "./format.js";
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
	section,
	sub,
	table,
	trouble
} from "./widgets.js";

const KINDS = {completed: "good", failed: "bad", cancelled: "", expired: "bad"};
const EVERY = 2000; // milliseconds between looks while some are open

export const jobs = (place, [id]) => (id ? job(place, id) : list(place));

const nameOf = each => (each.id.length > 16 ? `…${each.id.slice(-10)}` : each.id);
const isOpen = each => !each.ended;
const state = each => chip(each.state, KINDS[each.state] ?? "warn");

function looking(look, open) {
	const timer = setInterval(() => {
		if (open() && !document.hidden) look();
	}, EVERY);
	const end = watch(kinds => {
		if (kinds.has("request") || kinds.has("job")) look();
	});
	look();
	return () => {
		clearInterval(timer);
		end();
	};
}

function list(place) {
	let found = null,
		queues = [],
		error = null;

	async function look() {
		try {
			[found, queues] = await Promise.all([get("runnerd/jobs?limit=200"), get("runnerd/queues")]);
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
				"Jobs",
				button("New job", () => submit(look), {kind: "primary"})
			),
			error && trouble(error),
			!found
				? !error && muted("Loading…")
				: [
						queues.length
							? section(
									"By model",
									table(
										"Queues",
										[
											{title: "Model", wide: true, cell: each => h("span", {class: "name"}, short(each.model))},
											{
												title: "Jobs",
												wide: true,
												cell: each =>
													h(
														"span",
														{class: "chips"},
														Object.entries(each)
															.filter(([name]) => name !== "model")
															.map(([name, count]) => chip(`${number(count)} ${name}`, KINDS[name] ?? "warn"))
													)
											}
										],
										queues,
										each => each.model
									)
								)
							: null,
						section(
							"Newest",
							found.length
								? table(
										"Jobs",
										[
											{
												title: "Job",
												wide: true,
												cell: each => [
													h("a", {class: "name", link: `jobs/${encodeURIComponent(each.id)}`}, nameOf(each)),
													each.reason && sub(each.reason)
												]
											},
											{title: "Model", wide: true, cell: each => short(each.model)},
											{title: "Whose", wide: true, cell: each => each.user},
											{title: "State", cell: state},
											{title: "Submitted", cell: each => clock(each.created)},
											{title: "Took", number: true, cell: each => seconds(each.runtime_seconds || null)},
											actionsOf(each => [actions(each, look, "small")])
										],
										found,
										each => each.id
									)
								: empty(
										"There are no jobs",
										"A job waits for a free place, survives restarts, and keeps its result until you take it."
									)
						)
					]
		);
	}

	draw();
	return looking(look, () => found?.some(isOpen));
}

function actions(each, look, kind) {
	const where = `runnerd/jobs/${path(each.id)}`,
		name = nameOf(each);
	return [
		isOpen(each) &&
			button(
				"Cancel",
				event =>
					doing(
						event,
						async () => {
							await post(`${where}/cancel`);
							await look();
						},
						"The job is cancelled"
					),
				{kind, name: `Cancel job ${name}`}
			),
		!isOpen(each) &&
			["failed", "cancelled", "expired"].includes(each.state) &&
			button(
				"Try again",
				event =>
					doing(
						event,
						async () => {
							await post(`${where}/retry`);
							await look();
						},
						"The job is queued again"
					),
				{kind, name: `Try job ${name} again`}
			),
		button(
			"Delete",
			async event => {
				if (!(await confirm(`Delete job ${name}?`, "The job and all that came of it is deleted.", "Delete"))) return;
				await doing(
					event,
					async () => {
						await remove(where);
						await look(true);
					},
					"The job is deleted"
				);
			},
			{kind: `${kind} danger`, name: `Delete job ${name}`}
		)
	];
}

async function submit(done) {
	let models;
	try {
		models = await get("models");
	} catch {
		models = [];
	}
	const model = choice(
		models.map(each => [each.tags[0] || each.id, short(each.tags[0]) || each.id]),
		models[0]?.tags[0]
	);
	const prompts = h("textarea", {rows: 4, required: true}),
		parameters = h("textarea", {rows: 2, class: "mono", placeholder: '{"max_tokens": 200}', spellcheck: "false"});
	const priority = input({type: "number", step: 1, placeholder: "0"});
	await dialog("A new job", close => [
		field("Model", model),
		field("Prompt", prompts),
		field("Parameters, as JSON", parameters),
		field("Priority", priority),
		footer(
			close,
			"Submit",
			async () => {
				const said = {model: model.value, prompt: prompts.value};
				if (parameters.value.trim()) {
					try {
						said.parameters = JSON.parse(parameters.value);
					} catch {
						throw new Error("Parameters must be JSON.");
					}
				}
				if (priority.value !== "") said.priority = Number(priority.value);
				await post("runnerd/jobs", said);
				close();
				await done();
			},
			"The job is submitted"
		)
	]);
}

function job(place, id) {
	let found = null,
		error = null;

	async function look(gone) {
		if (gone === true) {
			location.hash = "#/jobs";
			return;
		}
		try {
			found = await get(`runnerd/jobs/${path(id)}`);
			error = null;
		} catch (failure) {
			error = failure;
		}
		draw();
	}

	function draw() {
		if (!found) {
			show(place, heading(error ? "No such job" : "Job"), missing(error), h("a", {link: "jobs"}, "All jobs"));
			return;
		}
		show(
			place,
			h("p", {}, h("a", {link: "jobs"}, "Jobs")),
			heading(`Job ${nameOf(found)}`, state(found), actions(found, look, "")),
			error && trouble(error),
			found.reason && h("div", {class: "notice"}, found.reason),
			h(
				"div",
				{class: "panel section"},
				facts([
					["Id", h("code", {}, found.id)],
					["Model", short(found.model)],
					["Whose", found.user],
					["Submitted", clock(found.created)],
					["Began", found.started && clock(found.started)],
					["Ended", found.ended && clock(found.ended)],
					["Took", seconds(found.runtime_seconds || null)],
					["Priority", found.priority ? number(found.priority) : null],
					["Deadline", found.deadline && clock(found.deadline)]
				])
			),
			found.attempts.length
				? section(
						"Attempts",
						table(
							"Attempts",
							[
								{title: "Worker", wide: true, cell: each => each.worker},
								{title: "From", cell: each => clock(each.started)},
								{title: "To", cell: each => clock(each.ended)},
								{title: "End", cell: each => each.end || "–"},
								{title: "Why", wide: true, cell: each => each.reason || "–"}
							],
							found.attempts,
							each => each.started
						)
					)
				: null,
			section(
				"Asked",
				found.requests.map(each => block(each.body))
			),
			found.output && !found.responses.length ? section("So far", block(found.output)) : null,
			found.responses.length
				? section(
						"Responses",
						found.responses.map(each =>
							h(
								"div",
								{class: "section"},
								each.status !== 200 && chip(String(each.status), "bad"),
								block(textOf(each.body) ?? each.body)
							)
						)
					)
				: null
		);
	}

	draw();
	return looking(look, () => !found || isOpen(found));
}

const block = value =>
	h(
		"pre",
		{class: "panel copyable-text", tabindex: "0"},
		typeof value === "string" ? value : JSON.stringify(value, null, 2)
	);

const textOf = body => body?.choices?.[0]?.message?.content || body?.choices?.[0]?.text || null;
