// What was asked last, by whom, and what became of it.
import {get} from "./api.js";
import {h, show} from "./dom.js";
import {bytes, clock, number, seconds, short} from "./format.js";
import {live, watch} from "./live.js";
import {cancel} from "./overview.js";
import {actionsOf, button, chip, dialog, empty, facts, heading, input, muted, sub, table, trouble} from "./widgets.js";

const MOST = 200; // rows that are shown

export function requests(place) {
	let found = null,
		error = null,
		names = {},
		wanted = "";
	const search = input({
		type: "search",
		class: "search",
		placeholder: "Filter",
		"aria-label": "Filter by model, user, origin, status or error",
		on: {
			input: event => {
				wanted = event.target.value.toLowerCase();
				draw();
			}
		}
	});

	async function look() {
		try {
			const [records, models, users] = await Promise.all([
				get("engines/requests"),
				get("models"),
				live.me?.may.includes("superuser") ? get("runnerd/users") : []
			]);
			names = Object.fromEntries(models.map(each => [each.id, short(each.tags[0]) || each.id.slice(0, 19)]));
			const people = Object.fromEntries(users.map(each => [`user ${each.id}`, each.name]));
			found = flattened(records)
				.reverse()
				.map(each => ({...each, principal: people[each.principal] || each.principal}));
			error = null;
		} catch (failure) {
			error = failure;
		}
		draw();
	}

	const nameOf = each => names[each.model] || short(each.model) || "–";

	function draw() {
		const text = each =>
			[
				nameOf(each),
				each.principal,
				each.origin,
				each.user_agent,
				each.status_code,
				each.operation,
				each.error,
				each.id
			]
				.join(" ")
				.toLowerCase();
		const shown = (found || []).filter(each => text(each).includes(wanted)).slice(0, MOST);
		show(
			place,
			heading("Requests", found?.length > 0 && search),
			error && trouble(error),
			!found
				? muted("Loading…")
				: !found.length
					? empty("Nothing was asked yet", "The newest thousand requests are listed here, without their text.")
					: !shown.length
						? empty("No request fits the filter")
						: [
								table("Requests", columns(nameOf), shown, each => each.id),
								found.length > MOST && muted(`The newest ${MOST} of ${found.length} that fit are shown.`)
							]
		);
	}

	draw();
	look();
	const end = watch(kinds => {
		if (kinds.has("request") || kinds.has("time") || kinds.has("all")) look();
	});
	return end;
}

// With capture_requests they come by model.
function flattened(records) {
	if (!records.some(each => Array.isArray(each.records))) return records;
	return records
		.flatMap(group =>
			group.records.map(each => ({
				...each,
				timestamp: Date.parse(each.timestamp) / 1000,
				operation: each.url,
				captured: true
			}))
		)
		.sort((a, b) => a.timestamp - b.timestamp);
}

function columns(nameOf) {
	return [
		{title: "Model", wide: true, cell: each => [h("span", {class: "name"}, nameOf(each)), sub(each.operation)]},
		{title: "Began", cell: each => clock(each.timestamp)},
		{
			title: "From",
			wide: true,
			cell: each => [each.principal || "–", (each.origin || each.user_agent) && sub(each.origin || each.user_agent)]
		},
		{title: "Status", cell: status},
		{title: "Waited", number: true, cell: each => seconds(each.waited_seconds)},
		{title: "First byte", number: true, cell: each => seconds(each.first_byte_seconds)},
		{
			title: "Took",
			number: true,
			cell: each => seconds(each.duration_seconds ?? (isRunning(each) ? Date.now() / 1000 - each.timestamp : null))
		},
		{title: "Prompt", number: true, cell: each => number(each.prompt_tokens)},
		{title: "Response", number: true, cell: each => number(each.completion_tokens)},
		actionsOf(each => [
			isRunning(each) &&
				button("Cancel", event => cancel(event, each), {kind: "small", name: `Cancel request ${each.id}`}),
			button("Details", () => details(each, nameOf(each)), {kind: "small", name: `Details of request ${each.id}`})
		])
	];
}

const isRunning = each => !each.captured && (each.duration_seconds === null || each.duration_seconds === undefined);

function status(each) {
	if (isRunning(each)) return chip(each.runner ? "running" : "waiting", "warn");
	const code = each.status_code;
	return chip(String(code || "–"), code >= 500 || (each.error && code < 400) ? "bad" : code >= 400 ? "warn" : "good");
}

function details(each, name) {
	return dialog("Request", close => [
		each.error && h("div", {class: "notice bad"}, each.error),
		facts([
			["Id", h("code", {}, each.id)],
			["Model", name],
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
		each.request &&
			h("details", {}, h("summary", {}, "What was asked"), h("pre", {class: "copyable-text"}, each.request)),
		each.response &&
			h("details", {}, h("summary", {}, "The response"), h("pre", {class: "copyable-text"}, each.response)),
		h(
			"div",
			{class: "actions end"},
			button("Close", () => close(), {kind: "primary"})
		)
	]);
}
