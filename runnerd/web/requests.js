// What was asked last, by whom, and what became of it.
import {
	actionsOf,
	amount,
	block,
	button,
	bytes,
	chip,
	clock,
	column,
	dialog,
	empty,
	facts,
	filter,
	fold,
	get,
	h,
	listing,
	muted,
	number,
	owns,
	seconds,
	short,
	sub,
	table,
	titleOf,
	wide
} from "./ui.js";
import {cancel} from "./runners.js";

const MOST = 200; // rows that are shown

export function requests(place) {
	let wanted = "";
	const search = filter("Filter by model, user, origin, status or error", text => {
		wanted = text;
		view.draw();
	});
	const view = listing(place, {
		title: "Requests",
		read,
		after: ["request", "time", "all"],
		actions: found => [found?.length > 0 && search],
		content: found => {
			const fitting = found.filter(each => each.text.includes(wanted));
			if (!found.length) return empty("Nothing was asked yet", "The newest thousand requests are listed here, without their text.");
			if (!fitting.length) return empty("No request fits the filter");
			return [
				table("Requests", COLUMNS, fitting.slice(0, MOST), each => each.id),
				fitting.length > MOST && muted(`The newest ${MOST} of ${number(fitting.length)} that fit are shown.`)
			];
		}
	});
	return view.end;
}

// Requests, the newest first, with the names of models and people in them.
async function read() {
	const [records, models, users] = await Promise.all([get("engines/requests"), get("models"), owns() ? get("runnerd/users") : []]);
	const names = Object.fromEntries(models.map(each => [each.id, titleOf(each)]));
	const people = Object.fromEntries(users.map(each => [`user ${each.id}`, each.name]));
	return flattened(records)
		.reverse()
		.map(each => {
			const name = names[each.model] || short(each.model) || "–",
				principal = people[each.principal] || each.principal;
			const {origin, user_agent, status_code, operation, error, id} = each;
			const text = [name, principal, origin, user_agent, status_code, operation, error, id].join(" ").toLowerCase();
			return {...each, name, principal, text};
		});
}

// With capture_requests they come by model.
function flattened(records) {
	if (!records.some(each => Array.isArray(each.records))) return records;
	return records
		.flatMap(group =>
			group.records.map(each => ({...each, timestamp: Date.parse(each.timestamp) / 1000, operation: each.url, captured: true}))
		)
		.sort((a, b) => a.timestamp - b.timestamp);
}

const COLUMNS = [
	wide("Model", each => [h("span.name", each.name), sub(each.operation)]),
	column("Began", "timestamp", clock),
	wide("From", each => [each.principal || "–", sub(each.origin || programOf(each.user_agent))]),
	column("Status", status),
	amount("First byte", "first_byte_seconds", seconds),
	amount("Took", each => [
		seconds(each.duration_seconds ?? (isRunning(each) ? Date.now() / 1000 - each.timestamp : null)),
		each.waited_seconds >= 0.1 && sub(`waited ${seconds(each.waited_seconds)}`)
	]),
	amount("Prompt", each => [number(each.prompt_tokens), each.cached_tokens > 0 && sub(`${number(each.cached_tokens)} cached`)]),
	amount("Response", "completion_tokens"),
	amount("Tokens/s", each => number(speedOf(each))),
	actionsOf(each => [
		isRunning(each) && cancel(each),
		button("Details", () => details(each), {kind: "small", name: `Details of request ${each.id}`})
	])
];

const LEFT = "client disconnected";

// A program's name, of all that it says of itself.
const programOf = (said = "") => /(Firefox|Edg|Chrome|Safari)\/\d+/.exec(said)?.[0] || (said ?? "").split(" ")[0];

// Tokens per second, from the first one on where that is known.
function speedOf({streamed, completion_tokens: tokens, duration_seconds: took, waited_seconds, first_byte_seconds}) {
	const spent = took - ((streamed && first_byte_seconds) || waited_seconds || 0);
	return tokens > 1 && spent > 0 ? Number((tokens / spent).toPrecision(3)) : null;
}

const isRunning = each => !each.captured && (each.duration_seconds ?? null) === null;

function status(each) {
	if (isRunning(each)) return chip(each.runner ? "running" : "waiting", "warn");
	const code = each.status_code;
	if (each.error && code < 400) return each.error === LEFT ? chip("client left") : chip("broken off", "bad");
	return chip(String(code || "–"), code >= 500 ? "bad" : code >= 400 ? "warn" : "good");
}

const details = each =>
	dialog("Request", close => [
		each.error && h("div.notice.bad", each.error),
		facts([
			["Id", h("code", each.id)],
			["Model", each.name],
			["Operation", each.operation],
			["Began", clock(each.timestamp)],
			["From", each.principal],
			["Origin", each.origin],
			["Program", each.user_agent],
			["Status", each.status_code],
			["Streamed", each.streamed ? "yes" : "no"],
			["Received", bytes(each.bytes_in)],
			["Sent", bytes(each.bytes_out)],
			["Waited for a runner", seconds(each.waited_seconds)],
			["First byte after", seconds(each.first_byte_seconds)],
			["Took", seconds(each.duration_seconds)],
			["Prompt tokens", number(each.prompt_tokens)],
			["of them evaluated before", number(each.cached_tokens)],
			["Response tokens", number(each.completion_tokens)],
			["Runner", each.runner]
		]),
		each.request && fold("What was asked", block(each.request)),
		each.response && fold("The response", block(each.response)),
		h(
			"div.actions.end",
			button("Close", () => close(), {kind: "primary"})
		)
	]);
