// What was asked last, by whom, and what became of it; and what can be done with requests and runners.
import {
	act,
	actionsOf,
	amount,
	block,
	chip,
	clock,
	column,
	empty,
	filter,
	fold,
	get,
	h,
	inUse,
	listing,
	live,
	muted,
	nameOf,
	note,
	nudge,
	number,
	path,
	plural,
	post,
	record,
	remove,
	seconds,
	short,
	small,
	sub,
	table,
	titleOf,
	wide
} from "./ui.js";

const MOST = 200; // rows that are shown

export function requests(place) {
	let wanted = "";
	const search = filter("Filter by model, user, origin, status or error", text => {
		wanted = text;
		view.draw();
	});
	const view = listing(place, {
		title: "Requests",
		read: () => get("runnerd/requests?ended=true").then(found => found.reverse()),
		after: ["request", "time", "all"],
		actions: found => [found?.length > 0 && search],
		content: found => {
			const fitting = found.filter(each => Object.values(each).join(" ").toLowerCase().includes(wanted));
			if (!found.length) return empty("Nothing was asked yet", "The newest thousand requests are listed here, without their text.");
			if (!fitting.length) return empty("No request fits the filter");
			return [
				requestTable("Requests", fitting.slice(0, MOST)),
				fitting.length > MOST && muted(`The newest ${MOST} of ${number(fitting.length)} that fit are shown.`)
			];
		}
	});
	return view.end;
}

export const requestTable = (caption, found) => table(caption, COLUMNS, found);

const COLUMNS = [
	wide("Model", each => [h("span.name", short(each.model) || "–"), sub(each.operation)]),
	column("Began", "started", clock),
	wide("From", each => [each.user || each.principal || "–", sub(each.origin || programOf(each.user_agent))]),
	column("Status", status),
	amount("First byte", "first_byte_seconds", seconds),
	amount("Took", each => [seconds(each.seconds), each.waited_seconds >= 0.1 && sub(`waited ${seconds(each.waited_seconds)}`)]),
	amount("Prompt", each => [number(each.prompt_tokens), each.cached_tokens > 0 && sub(`${number(each.cached_tokens)} cached`)]),
	amount("Response", "completion_tokens"),
	amount("Tokens/s", each => number(speedOf(each))),
	actionsOf(each => [each.state !== "ended" && cancel(each), small("Details", `of request ${each.id}`, () => details(each))])
];

const LEFT = "client disconnected";

// A program's name, of all that it says of itself.
const programOf = said => /(Firefox|Edg|Chrome|Safari)\/\d+/.exec(said)?.[0] || (said ?? "").split(" ")[0];

// Tokens per second, from the first one on where that is known.
function speedOf({streamed, completion_tokens: tokens, seconds: took, waited_seconds, first_byte_seconds}) {
	const spent = took - ((streamed && first_byte_seconds) || waited_seconds || 0);
	return tokens > 1 && spent > 0 ? +(tokens / spent).toPrecision(3) : null;
}

function status({state, status: code, error}) {
	if (state !== "ended") return chip(state, state === "running" ? "good" : "warn");
	if (error && code < 400) return error === LEFT ? chip("client left") : chip("broken off", "bad");
	return chip(String(code || "–"), code >= 500 ? "bad" : code >= 400 ? "warn" : "good");
}

const details = each =>
	note(
		"Request",
		"Close",
		each.error && h("div.notice.bad", each.error),
		record({...each, took_seconds: each.seconds}, "seconds", "error", "request", "response"),
		each.request && fold("What was asked", block(each.request)),
		each.response && fold("The response", block(each.response))
	);

// What can be done with runners and requests: load, unload, pin, cancel; and what state they are in.

const STATES = {
	ready: ["Ready", "good"],
	starting: ["Loading", "warn"],
	stopping: ["Stopping", ""],
	failed: ["Failed", "bad"],
	defunct: ["Ended", "bad"]
};

export const state = runner => chip(...(STATES[runner.state] || [runner.state]));

export const load = (model, kind = "primary") =>
	act(
		"Load",
		titleOf(model),
		async () => {
			nudge("runner", 300);
			await post("engines/load", {models: [nameOf(model)]});
			nudge("runner", 0);
		},
		`${titleOf(model)} is loaded`,
		{kind}
	);

// Stop a model's runners; those in use only if somebody says so.
const unloadAs = (id, name, uses, backend, kind) =>
	act(
		"Unload",
		name,
		async () => {
			const done = await post("engines/unload", {models: [id], force: uses > 0, backend});
			nudge("runner", 0);
			if (!done.unloaded_runners)
				throw new Error(done.runners_in_use ? `${name} is in use; nothing was unloaded.` : `${name} was not loaded.`);
		},
		`${name} is unloaded`,
		{
			kind,
			sure: uses > 0 && [
				`Unload ${name}?`,
				`${plural(uses, "request")} use it or wait for it. They would end with an error.`,
				"Unload anyway"
			]
		}
	);

export const unload = (model, runners, kind) => unloadAs(model.id, titleOf(model), inUse(runners), undefined, kind);

// What a runner's model is called: to be asked for, and by its first client's word, which may be a digest.
export const modelOf = runner => runner.models[0] || runner.model;
export const runnerTitle = runner => short(runner.model.startsWith("sha256:") ? modelOf(runner) : runner.model);

// What there is to be done with one that is loaded.
export function runnerActions(runner) {
	if (!live.me?.may.some(name => name === "superuser" || name === "unload_llm")) return [];
	const name = runnerTitle(runner),
		{pinned, mode, backend} = runner;
	return [
		act(
			pinned ? "Unpin" : "Pin",
			name,
			async () => {
				await post(`models/${path(modelOf(runner))}/configure`, {pinned: !pinned, mode, backend});
				nudge("runner", 0);
			},
			`${name} is ${pinned ? "not pinned any more" : "pinned: it stays loaded"}`,
			{pressed: pinned}
		),
		runner.state !== "failed" && unloadAs(modelOf(runner), name, inUse([runner]), backend, "small")
	];
}

export const cancel = request =>
	act(
		"Cancel",
		`request ${request.id}`,
		async () => {
			await remove(`runnerd/requests/${path(request.id)}`);
			nudge("request", 0);
		},
		"The request is cancelled"
	);
